//! Envoy's response code details of an exchange.

use super::facts::Facts;
use crate::context::Exchange;
use crate::message::EndKind;

/// Why the exchange ended as it did: a guard's word where a guard has answered.
pub(super) fn of<'a>(facts: Facts<'a>) -> &'a str {
    if let Some(details) = facts.exchange().and_then(Exchange::details) {
        return details;
    }
    if let Some(failure) = &facts.kept.call.failure {
        return &failure.details;
    }
    match (facts.report.end.kind, facts.report.status) {
        (EndKind::Complete, _) => "via_upstream",
        (EndKind::Cancelled, _) => "downstream_remote_disconnect",
        (EndKind::Failed, None) => "upstream_reset_before_response_started{connection_termination}",
        (EndKind::Failed, Some(_)) => {
            "upstream_reset_after_response_started{connection_termination}"
        }
    }
}
