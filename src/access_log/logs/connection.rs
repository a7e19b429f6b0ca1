//! The line of a connection that carries no HTTP.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::{Method, Version};

use super::{AccessLogs, Set};
use crate::access_log::format::{Call, Facts, Kept};
use crate::context::{Exchange, Peer};
use crate::message::{CallProgress, End, EndKind, Report, ResponseFlags, contained};

/// The line of one connection that has not ended, in each log.
pub(crate) struct ConnectionLine {
    set: Arc<Set>,
    kept: Kept,
}

/// How a connection has ended.
#[derive(Debug)]
pub(crate) struct ConnectionEnd<'a> {
    /// Of a connection that came in: its caller.
    pub(crate) exchange: Option<&'a Exchange>,
    /// The other end.
    pub(crate) peer: Option<&'a Peer>,
    /// Of one that could not be made: why.
    pub(crate) progress: Option<&'a CallProgress>,
    pub(crate) flags: ResponseFlags,
    /// Bytes from the calling side.
    pub(crate) received: u64,
    /// Bytes to the calling side.
    pub(crate) sent: u64,
    pub(crate) duration: Duration,
    /// Why it ended, if an end had not to be expected.
    pub(crate) termination: Option<&'a str>,
}

impl AccessLogs {
    /// The line of a connection that begins; `None` if there is no log.
    pub(crate) fn open_connection(
        &self,
        began: impl FnOnce() -> SystemTime,
    ) -> Option<ConnectionLine> {
        let set = self.0.as_ref()?;
        Some(ConnectionLine {
            set: Arc::clone(set),
            kept: Kept::of_connection(began()),
        })
    }
}

impl ConnectionLine {
    /// Where the connection goes.
    pub(crate) fn calls(&mut self, call: Call) {
        self.kept.call = call;
    }

    /// Writes the line.
    pub(crate) fn ended(&self, end: &ConnectionEnd<'_>) {
        if let (Some(kept), Some(text)) = (&self.kept.connection, end.termination) {
            kept.get_or_init(|| text.into());
        }
        let method = Method::default();
        let report = Report {
            direction: self.set.direction,
            exchange: end.exchange,
            peer: end.peer,
            server_address: None,
            progress: end.progress,
            method: &method,
            version: Version::default(),
            authority: None,
            path: None,
            status: None,
            counted_status: None,
            end: End {
                kind: EndKind::Complete,
                bytes: end.sent,
                messages: 0,
                grpc_status: None,
            },
            flags: end.flags,
            request_bytes: end.received,
            request_took: None,
            duration: end.duration,
            ended: Instant::now(),
        };
        for log in &self.set.logs {
            let facts = Facts {
                report: &report,
                kept: &self.kept,
                redaction: log.redaction(),
                own: self.set.own.as_deref(),
            };
            contained(|| log.write(facts));
        }
    }
}

impl fmt::Debug for ConnectionLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionLine").finish_non_exhaustive()
    }
}
