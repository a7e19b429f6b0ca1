//! Records of connections.

use std::net::SocketAddr;
use std::sync::Arc;

use super::auditor::Auditor;
use super::configured::JudgedBy;
use crate::audit::{Actor, Event, Outcome, Resource, with_request};
use crate::context::Exchange;
use crate::policy::PolicyId;
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

    /// Writes that policy refuses a connection that carries no HTTP.
    pub(in crate::mesh) fn connection_refused(
        &self,
        exchange: &Exchange,
        details: &Arc<str>,
        by: &JudgedBy,
    ) {
        let event = self.connection(exchange, by).outcome(Outcome::Deny);
        let event = event.reason(Arc::clone(details));
        let rule = details.strip_prefix(MATCHED);
        let rule = rule.and_then(|rule| rule.strip_suffix(']'));
        self.audit
            .submit(match rule.filter(|rule| *rule != "none") {
                Some(rule) => event.policy(rule.to_owned()),
                None => event,
            });
    }

    /// Writes the end of a connection that rules for audit match.
    pub(in crate::mesh) fn connection_ended(
        &self,
        exchange: &Exchange,
        outcome: Outcome,
        by: &JudgedBy,
    ) {
        let marks = exchange
            .decision()
            .and_then(|decision| decision.marks.as_ref());
        let Some(marks) = marks.filter(|marks| !marks.audit.is_empty()) else {
            return;
        };
        let names: Vec<_> = marks.audit.iter().map(PolicyId::as_str).collect();
        let event = self.connection(exchange, by).policy(names.join(" "));
        self.audit.submit(event.outcome(outcome));
    }

    fn connection(&self, exchange: &Exchange, by: &JudgedBy) -> Event {
        let event = with_request(Event::access(), exchange).action("TCP");
        self.called(event, Resource::default())
            .configuration(by.generation, Arc::clone(&by.config.hash))
    }
}

/// How Envoy tells of the rule that refused.
const MATCHED: &str = "rbac_access_denied_matched_policy[";
