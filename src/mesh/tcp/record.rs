//! What one connection has carried, and the one report of its end.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::access_log::{ConnectionEnd, ConnectionLine};
use crate::context::{Exchange, Peer};
use crate::message::{Direction, ResponseFlags};
use crate::metrics;
use crate::tls::CloseReason;

/// What one connection has carried. Its stream, its watch and its server share it.
pub(super) struct Record {
    pub(super) direction: Direction,
    pub(super) peer: Peer,
    /// Of a connection that came in.
    pub(super) exchange: Option<Exchange>,
    metrics: metrics::Connection,
    line: Option<ConnectionLine>,
    began: Instant,
    received: Counted,
    sent: Counted,
    /// When it has last carried something, in milliseconds after `began`.
    used: AtomicU64,
    /// Whether reading or writing has failed.
    is_broken: AtomicBool,
    is_over: AtomicBool,
    /// Cancelled when the connection must be cut.
    pub(super) cut: CancellationToken,
    /// Cancelled when the connection should end.
    pub(super) draining: CancellationToken,
}

/// Bytes, and how many of them the metrics have.
#[derive(Default)]
struct Counted {
    bytes: AtomicU64,
    reported: AtomicU64,
}

/// How a connection has ended.
#[derive(Debug)]
pub(super) enum End {
    /// Its user was done with it.
    Done,
    /// Its handler has returned an error.
    Failed,
    /// Its handler has panicked.
    Panicked,
    Cut(Cut),
}

/// Why a connection was cut.
#[derive(Clone, Debug)]
pub(super) enum Cut {
    /// Policy refuses it.
    Refused(Arc<str>, ResponseFlags),
    /// The client has not sent its first byte in time.
    Silent,
    /// It has carried nothing for too long.
    Idle,
    /// It has lasted as long as it may.
    Age,
    /// An identity on it is no longer good.
    NoLongerGood(CloseReason),
    /// The server has shut down.
    Shutdown,
}

impl Record {
    pub(super) fn new(
        direction: Direction,
        peer: Peer,
        exchange: Option<Exchange>,
        metrics: metrics::Connection,
        line: Option<ConnectionLine>,
    ) -> Self {
        Self {
            direction,
            peer,
            exchange,
            metrics,
            line,
            began: Instant::now(),
            received: Counted::default(),
            sent: Counted::default(),
            used: AtomicU64::new(0),
            is_broken: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            cut: CancellationToken::new(),
            draining: CancellationToken::new(),
        }
    }

    /// For a connection that began at this time.
    pub(super) fn since(mut self, began: Instant) -> Self {
        self.began = began;
        self
    }

    /// For a connection that this token tells of the shutdown.
    pub(super) fn until(mut self, draining: &CancellationToken) -> Self {
        self.draining = draining.clone();
        self
    }

    /// Bytes were read from the other end.
    pub(super) fn read(&self, bytes: usize) {
        match self.direction {
            Direction::Inbound => self.moved(&self.received, bytes),
            Direction::Outbound => self.moved(&self.sent, bytes),
        }
    }

    /// Bytes were written to the other end.
    pub(super) fn wrote(&self, bytes: usize) {
        match self.direction {
            Direction::Inbound => self.moved(&self.sent, bytes),
            Direction::Outbound => self.moved(&self.received, bytes),
        }
    }

    fn moved(&self, counted: &Counted, bytes: usize) {
        if bytes > 0 {
            counted.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            let used = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.used.store(used, Ordering::Relaxed);
        }
    }

    /// Whether it has ended.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Reading or writing has failed.
    pub(super) fn broke(&self) {
        self.is_broken.store(true, Ordering::Relaxed);
    }

    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// When it has last carried something.
    pub(super) fn used(&self) -> Instant {
        self.began + Duration::from_millis(self.used.load(Ordering::Relaxed))
    }

    /// How often the metrics get what it carries; at most ten times a second.
    pub(super) fn reporting_interval(&self) -> Duration {
        let interval = self.metrics.reporting_interval(self.direction);
        interval.max(Duration::from_millis(100))
    }

    /// Adds to the metrics what they do not have yet.
    pub(super) fn report(&self) {
        let (received, sent) = (self.received.unreported(), self.sent.unreported());
        if received > 0 {
            self.metrics.received(received);
        }
        if sent > 0 {
            self.metrics.sent(sent);
        }
    }

    /// The connection has ended: counts it, writes its line, and lets nobody use it any more. Only
    /// the first end counts.
    pub(super) fn end(&self, end: &End) {
        if self.is_over.swap(true, Ordering::Relaxed) {
            return;
        }
        self.cut.cancel();
        let (flags, termination) = self.told(end);
        self.metrics.add_flags(flags);
        self.report();
        self.metrics.close();
        if let Some(line) = &self.line {
            line.ended(&ConnectionEnd {
                exchange: self.exchange.as_ref(),
                peer: Some(&self.peer),
                progress: None,
                flags,
                received: self.received.bytes.load(Ordering::Relaxed),
                sent: self.sent.bytes.load(Ordering::Relaxed),
                duration: self.began.elapsed(),
                termination: termination.as_deref(),
            });
        }
    }

    /// Why the connection has ended, if its handler and its client did not simply end it.
    #[cfg(feature = "audit")]
    pub(super) fn termination(&self, end: &End) -> Option<String> {
        self.told(end).1.map(Cow::into_owned)
    }

    /// The flags of an end, and its reason in the access log.
    fn told(&self, end: &End) -> (ResponseFlags, Option<Cow<'static, str>>) {
        let none = ResponseFlags::none();
        let failed = ResponseFlags::UPSTREAM_CONNECTION_TERMINATION;
        let is_broken = self.is_broken.load(Ordering::Relaxed);
        match end {
            // The other end has gone, whatever the handler has made of it.
            End::Done | End::Failed if is_broken => match self.direction {
                Direction::Inbound => (ResponseFlags::DOWNSTREAM_DISCONNECT, None),
                Direction::Outbound => (failed, None),
            },
            End::Done => (none, None),
            End::Failed => (failed, Some("handler_failed".into())),
            End::Panicked => (failed, Some("handler_panicked".into())),
            End::Cut(Cut::Refused(details, flags)) => (*flags, Some(details.to_string().into())),
            End::Cut(Cut::Silent) => (none, Some("first_byte_timeout".into())),
            // Envoy's words for the end of its own side.
            End::Cut(Cut::Idle) => (none, Some("tcp_session_idle_timeout".into())),
            End::Cut(Cut::Age) => (
                ResponseFlags::DURATION_TIMEOUT,
                Some("max_connection_duration_reached".into()),
            ),
            End::Cut(Cut::NoLongerGood(reason)) => {
                (none, Some(format!("no_longer_good{{{reason}}}").into()))
            }
            End::Cut(Cut::Shutdown) => (none, Some("server_shutdown".into())),
        }
    }
}

impl Counted {
    fn unreported(&self) -> u64 {
        let bytes = self.bytes.load(Ordering::Relaxed);
        let reported = self.reported.fetch_max(bytes, Ordering::Relaxed);
        bytes.saturating_sub(reported)
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("direction", &self.direction)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}
