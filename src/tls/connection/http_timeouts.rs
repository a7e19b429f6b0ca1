//! How long an HTTP client may take, on connections whose server keeps no timeouts.

use std::io;
use std::task::{Context, Poll, ready};

use tokio::time::{Duration, Instant};

use crate::context::Peer;

use super::alarm::{Alarm, TimeLimit};
use super::frames::Frames;
use super::head::Head;

/// Time limits for HTTP clients, on the connections of a [`Listener`](crate::tls::Listener) whose
/// server keeps none (security rule R-01).
///
/// The connection itself keeps these limits. When one is exceeded, reads and writes fail with an
/// error of kind [`TimedOut`](io::ErrorKind::TimedOut). The peer's
/// [`Activity`](crate::context::Activity) shows when a request begins and ends; a mesh's guard
/// updates it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpTimeouts {
    /// For HTTP/1: from the end of the handshake to the end of the first head, and from the first
    /// byte of any later head to its last. For HTTP/2: from the end of the handshake to the first
    /// frame, and from the first byte of any frame to its last, where headers and their
    /// continuations count as one frame, and frames that carry the body of a request in progress do
    /// not count. 10 s by default.
    pub head: Duration,
    /// Between two requests of an HTTP/1 connection; 60 s by default.
    pub idle: Duration,
    /// Between two pieces of a request's body that the application waits for; 30 s by default. A
    /// mesh's guard keeps this limit.
    pub body_idle: Duration,
    /// For an HTTP/2 client without a request to send something; 40 s by default. After an answer
    /// the client has at least [`head`](Self::head). Where no guard reports requests, each piece of
    /// an answer renews this time.
    pub silence: Duration,
    /// For the client to take bytes that are ready to be sent; 60 s by default.
    pub stalled: Duration,
}

impl Default for HttpTimeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            body_idle: Duration::from_secs(30),
            silence: Duration::from_secs(40),
            stalled: Duration::from_secs(60),
        }
    }
}

/// Whether the client of one connection keeps its time limits, by its bytes and its
/// [`Activity`](crate::context::Activity).
#[derive(Debug)]
pub(in crate::tls) struct HttpTimer {
    times: HttpTimeouts,
    peer: Peer,
    phase: Phase,
    /// When the head or frame that is incomplete began.
    since: Option<Instant>,
    /// When the last byte came, and when the last one was sent.
    heard: Instant,
    wrote: Instant,
    /// When requests were last seen to have ended. Their answers may still be on their way.
    ended: Instant,
    /// At the last look: how many requests had begun, and whether one was open.
    seen: (u32, bool),
    /// Wakes the connection for the next look, at the latest when the next limit is reached.
    look: Alarm,
    /// Runs while the client takes nothing.
    stalled: TimeLimit,
}

#[derive(Debug)]
enum Phase {
    /// The version is unknown; holds the part of HTTP/2's preface that has not come yet.
    Opening(&'static [u8]),
    /// The progress of the head, and how many requests had begun before it.
    Http1(Head, u32),
    Http2(Frames),
}

impl HttpTimer {
    /// For a connection that begins now.
    pub(in crate::tls) fn new(times: HttpTimeouts, peer: Peer) -> Self {
        let now = Instant::now();
        peer.activity().bound_bodies(times.body_idle);
        Self {
            times,
            peer,
            phase: Phase::Opening(PREFACE),
            since: Some(now),
            heard: now,
            wrote: now,
            ended: now,
            seen: (0, false),
            look: Alarm::default(),
            stalled: TimeLimit::default(),
        }
    }

    /// Takes bytes that came from the client.
    pub(super) fn heard(&mut self, bytes: &[u8]) {
        let now = Instant::now();
        self.heard = now;
        match &mut self.phase {
            Phase::Opening(lacks) => {
                let missing: &'static [u8] = lacks;
                if let Some(rest @ [_, ..]) = missing.strip_prefix(bytes) {
                    *lacks = rest;
                } else if let Some(rest) = bytes.strip_prefix(missing) {
                    self.phase = Phase::Http2(Frames::default());
                    self.frames_came(rest, now);
                } else {
                    let mut head = Head::default();
                    let known = PREFACE.strip_suffix(missing).unwrap_or_default();
                    head.ends_in(known);
                    self.phase = Phase::Http1(head, 0);
                    self.head_came(bytes, now);
                }
            }
            Phase::Http1(..) => self.head_came(bytes, now),
            Phase::Http2(_) => self.frames_came(bytes, now),
        }
    }

    fn head_came(&mut self, bytes: &[u8], now: Instant) {
        let Phase::Http1(head, before) = &mut self.phase else {
            return;
        };
        let activity = self.peer.activity();
        if activity.begun() != *before {
            // A request has begun since, so its head was complete.
            self.since = None;
            if activity.open() > 0 {
                return;
            }
            (*head, *before) = (Head::default(), activity.begun());
            self.since = Some(now);
        }
        if self.since.is_some() && head.ends_in(bytes) {
            self.since = None;
        }
    }

    fn frames_came(&mut self, bytes: &[u8], now: Instant) {
        let Phase::Http2(frames) = &mut self.phase else {
            return;
        };
        let rested = frames.come(bytes);
        let since = self.since.filter(|_| !rested).unwrap_or(now);
        self.since = frames.is_under_way().then_some(since);
    }

    /// No more bytes have come. Ready when the client has used up its time.
    pub(super) fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = Instant::now();
            let limit = self.limit(now);
            if limit.is_some_and(|limit| limit <= now) {
                return Poll::Ready(());
            }
            // Looks again even without a limit: on HTTP/2 the end of a request wakes no task that
            // would look.
            let next = limit.unwrap_or(now + AGAIN).min(now + AGAIN);
            ready!(self.look.poll(next, cx));
        }
    }

    /// When the client's time will be used up; `None` while it has no limit.
    fn limit(&mut self, now: Instant) -> Option<Instant> {
        let activity = self.peer.activity();
        let (begun, is_open) = (activity.begun(), activity.open() > 0);
        if !is_open && self.seen != (begun, false) {
            self.ended = now;
        }
        self.seen = (begun, is_open);
        let HttpTimeouts {
            head,
            idle,
            silence,
            ..
        } = self.times;
        match self.phase {
            Phase::Http1(_, before) if begun != before => {
                // The head was complete.
                self.since = None;
                if is_open {
                    return None;
                }
                let last = self.heard.max(self.wrote).checked_add(idle)?;
                // The end may be noticed late, and the answer may still be on its way.
                Some(last.max(self.ended.checked_add(head)?))
            }
            Phase::Opening(_) | Phase::Http1(..) => self.since?.checked_add(head),
            Phase::Http2(ref frames) => match self.since {
                // The guard bounds the body of a request in progress.
                Some(_) if frames.is_in_body() && is_open => None,
                // After the end of a request, the rest of its body has the time of a head.
                Some(since) if frames.is_in_body() => since.max(self.ended).checked_add(head),
                Some(since) => since.checked_add(head),
                None if is_open => None,
                None => {
                    // Where no guard reports requests, only the bytes of an answer show that one is
                    // in progress.
                    let more = if begun == 0 { silence } else { head };
                    let answered = self.wrote.checked_add(more)?;
                    let answered = answered.max(self.ended.checked_add(head)?);
                    Some(self.heard.checked_add(silence)?.max(answered))
                }
            },
        }
    }

    /// Passes on the result of a write; an error once the client has taken nothing for too long.
    pub(super) fn written<R>(
        &mut self,
        polled: Poll<io::Result<R>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<R>> {
        self.stalled.of_write(polled, self.times.stalled, cx)
    }

    /// Notes that bytes went to the client.
    pub(super) fn wrote(&mut self) {
        self.wrote = Instant::now();
    }
}

/// RFC 9113 §3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How often to look at a connection that no other event wakes.
const AGAIN: Duration = Duration::from_secs(30);
