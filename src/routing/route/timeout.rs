//! How long a call may take.

use std::time::Duration;

/// The time for a whole call by its route and, of a call of gRPC, by its `grpc-timeout`: the
/// shorter of both, and no limit without either. What the caller's code asks for counts in place of
/// `grpc-timeout`.
#[must_use]
pub fn overall_timeout(
    of_route: Option<Duration>,
    grpc_timeout: Option<Duration>,
) -> Option<Duration> {
    let limits = of_route.into_iter().chain(grpc_timeout);
    // Envoy takes 0 for "no limit" in both places.
    limits.filter(|limit| !limit.is_zero()).min()
}
