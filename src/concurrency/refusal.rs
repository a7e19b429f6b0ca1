//! The answer to a request that is one too many.

use http::StatusCode;

use crate::message::{LocalReply, ResponseFlags};

/// The text and details of Envoy's `adaptive_concurrency`, with the flag of a circuit breaker. A
/// gRPC caller gets UNAVAILABLE.
pub(crate) fn overflow() -> LocalReply {
    LocalReply::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "reached concurrency limit",
        "reached_concurrency_limit",
    )
    .flags(ResponseFlags::UPSTREAM_OVERFLOW)
}
