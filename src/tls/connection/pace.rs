use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Duration, Instant, Sleep, sleep_until};

use crate::context::Peer;

use super::frames::Frames;
use super::head::Head;

/// How long a client of HTTP may take, on the connections of a [`Listener`](crate::tls::Listener) whose server watches no clock (security rule
///
///
/// The connection itself keeps these times: it ends in an error of kind [`TimedOut`](io::ErrorKind::TimedOut) where one is over. When a request
/// begins and ends it is told by the peer's [`Activity`](crate::context::Activity), of which a mesh's guard speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpTimes {
    /// From the end of the handshake to the end of HTTP/1's first head, or to HTTP/2's first frame; from the first byte of every other head of
    /// HTTP/1 to its last; and of an HTTP/2 frame, but for the body of a request that is under way; headers
    /// with their continuations are one. 10 s by default.
    pub head: Duration,
    /// Between two requests of an HTTP/1 connection; 60 s by default.
    pub idle: Duration,
    /// Between two pieces of a request's body that the application waits for; 30 s by default. Kept by a mesh's guard.
    pub body_idle: Duration,
    /// For an HTTP/2 client to say something, while it asks for nothing; 40 s by default. It has at least [`head`](Self::head) after an answer;
    /// where no request was told of yet, each piece of an answer gives it this time again.
    pub silence: Duration,
    /// For the client to take what is to be sent; 60 s by default.
    pub stalled: Duration,
}

impl Default for HttpTimes {
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

/// Whether the client of one connection goes on in time, as its bytes and its [`Activity`](crate::context::Activity) tell.
#[derive(Debug)]
pub(in crate::tls) struct Pace {
    times: HttpTimes,
    peer: Peer,
    phase: Phase,
    /// When the head, or the frame, began that has not come whole.
    since: Option<Instant>,
    /// When a byte last came, and when one last went.
    heard: Instant,
    wrote: Instant,
    /// When requests were last seen to have ended: their answers may still be on their way.
    ended: Instant,
    /// How many requests had begun at the last look, and whether one was open.
    seen: (u32, bool),
    /// Looks at the times again, at the latest when the next one is over.
    look: Option<Pin<Box<Sleep>>>,
    /// For the client to take something.
    stalled: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
enum Phase {
    /// It is not told yet which version is spoken: what HTTP/2's preface still lacks.
    Opening(&'static [u8]),
    /// How far the head has come, and how many requests had begun before it.
    Http1(Head, u32),
    Http2(Frames),
}

impl Pace {
    /// Of a connection that begins now.
    pub(in crate::tls) fn new(times: HttpTimes, peer: Peer) -> Self {
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
            look: None,
            stalled: None,
        }
    }

    /// Bytes came from the client.
    pub(in crate::tls) fn heard(&mut self, bytes: &[u8]) {
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
            // A request has begun since, so that its head was whole.
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
        if frames.come(bytes) {
            self.since = None;
        }
        if frames.is_under_way() {
            self.since.get_or_insert(now);
        } else {
            self.since = None;
        }
    }

    /// Nothing more came for now: ready when the client has had time enough.
    pub(super) fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = Instant::now();
            let limit = self.limit(now);
            if limit.is_some_and(|limit| limit <= now) {
                return Poll::Ready(());
            }
            // Also while there is no limit: on HTTP/2 nobody wakes the connection when a request has ended.
            let next = limit.unwrap_or(now + AGAIN).min(now + AGAIN);
            let look = self.look.get_or_insert_with(|| Box::pin(sleep_until(next)));
            // One that is early does no harm, and need not be moved with every request.
            if look.is_elapsed() || next < look.deadline() {
                look.as_mut().reset(next);
            }
            ready!(look.as_mut().poll(cx));
        }
    }

    /// When the client will have had time enough; `None` while it has all the time it wants.
    fn limit(&mut self, now: Instant) -> Option<Instant> {
        let activity = self.peer.activity();
        let (begun, is_open) = (activity.begun(), activity.open() > 0);
        if !is_open && self.seen != (begun, false) {
            self.ended = now;
        }
        self.seen = (begun, is_open);
        let HttpTimes {
            head,
            idle,
            silence,
            ..
        } = self.times;
        match self.phase {
            Phase::Http1(_, before) if begun != before => {
                // Its head was whole.
                self.since = None;
                if is_open {
                    return None;
                }
                let last = self.heard.max(self.wrote).checked_add(idle)?;
                // An end may be seen late, and is no more than what lets its answer go.
                Some(last.max(self.ended.checked_add(head)?))
            }
            Phase::Opening(_) | Phase::Http1(..) => self.since?.checked_add(head),
            Phase::Http2(ref frames) => match self.since {
                // What a request sends of its body is bounded with the body.
                Some(_) if frames.is_in_body() && is_open => None,
                // Of a request that has ended, what is on its way has its time from then.
                Some(since) if frames.is_in_body() => since.max(self.ended).checked_add(head),
                Some(since) => since.checked_add(head),
                None if is_open => None,
                None => {
                    // Where nobody tells of requests, an answer that goes on is all that shows of them.
                    let more = if begun == 0 { silence } else { head };
                    let answered = self.wrote.checked_add(more)?;
                    let answered = answered.max(self.ended.checked_add(head)?);
                    Some(self.heard.checked_add(silence)?.max(answered))
                }
            },
        }
    }

    /// Something was to be written: an error once the client has taken nothing for too long.
    pub(in crate::tls) fn written<R>(
        &mut self,
        polled: Poll<io::Result<R>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<R>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let stalled = self.times.stalled;
        let limit = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(stalled)));
        ready!(limit.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Bytes went to the client.
    pub(in crate::tls) fn wrote(&mut self) {
        self.wrote = Instant::now();
    }
}

/// RFC 9113 §3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How often a connection is looked at that nothing else wakes.
const AGAIN: Duration = Duration::from_secs(30);
