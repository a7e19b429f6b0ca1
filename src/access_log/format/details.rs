//! Envoy's response code details of an exchange.

use super::facts::Facts;
use crate::context::Exchange;
use crate::message::{EndKind, ResponseFlags};

#[cfg(all(feature = "server", feature = "client", feature = "cel"))]
impl<'a> Facts<'a> {
    /// Envoy's response code details.
    pub(crate) fn details(self) -> &'a str {
        of(self)
    }
}

/// Why the exchange ended as it did: a guard's word where a guard has answered.
pub(in crate::access_log) fn of<'a>(facts: Facts<'a>) -> &'a str {
    if let Some(details) = facts.exchange().and_then(Exchange::details) {
        return details;
    }
    if let Some(details) = facts.failure_details() {
        return details;
    }
    match (facts.report.end.kind, facts.report.status) {
        (EndKind::Complete, _) => "via_upstream",
        (EndKind::Cancelled, _) => dropped(facts.report.flags),
        (EndKind::Failed, None) => "upstream_reset_before_response_started{connection_termination}",
        (EndKind::Failed, Some(_)) => facts
            .broken()
            .unwrap_or("upstream_reset_after_response_started{connection_termination}"),
    }
}

/// What has ended a request that was dropped.
fn dropped(flags: ResponseFlags) -> &'static str {
    let found = DROPPED.iter().find(|(flag, _)| flags.is_any_of(*flag));
    found.map_or("downstream_remote_disconnect", |(_, details)| details)
}

const DROPPED: [(ResponseFlags, &str); 4] = [
    (ResponseFlags::DOWNSTREAM_RESET, "http2.remote_reset"),
    (ResponseFlags::STREAM_IDLE_TIMEOUT, "stream_idle_timeout"),
    (ResponseFlags::DURATION_TIMEOUT, "duration_timeout"),
    (
        ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR,
        "http2.violation.of.messaging.rule",
    ),
];
