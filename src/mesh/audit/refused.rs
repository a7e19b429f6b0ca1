//! Records of connections that are refused before they are made.

use std::net::SocketAddr;
use std::sync::Arc;

use super::auditor::Auditor;
use super::configured::JudgedBy;
use crate::audit::{Actor, Event, Outcome, Resource};
use crate::tls::Reason;

impl Auditor {
    /// Writes that a connection was refused before it was made. Whoever it was has proven nothing.
    /// The configuration is the one that holds now; `None` if none is recorded.
    pub(in crate::mesh) fn handshake_refused(
        &self,
        remote: SocketAddr,
        reason: Reason,
        by: Option<&JudgedBy>,
    ) {
        // Who closes a connection in the middle of its handshake was not refused.
        if reason == Reason::Closed {
            return;
        }
        let event = Event::access()
            .actor(Actor::anonymous())
            .action("TLS")
            .source_ip(remote.ip())
            .outcome(Outcome::Deny)
            .reason(reason.as_str());
        let event = match by {
            Some(JudgedBy { generation, config }) => {
                event.configuration(*generation, Arc::clone(&config.hash))
            }
            None => event,
        };
        self.audit.submit(self.called(event, Resource::default()));
    }
}
