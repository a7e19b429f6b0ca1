//! The headers by which a response shows what a limit has left.

use http::{HeaderName, HeaderValue};

use super::bucket::Level;
use crate::context::Exchange;

/// Sets `x-ratelimit-limit`, `x-ratelimit-remaining` and `x-ratelimit-reset` of the response, as
/// Envoy's `local_ratelimit` with `DRAFT_VERSION_03`: the most tokens of the bucket, those that are
/// left, and the seconds until the next one, rounded up; zero while there are some.
pub(super) fn show(exchange: &Exchange, level: &Level) {
    show_as(exchange, level.max_tokens.into(), level);
}

/// As [`show`], with another text for the limit.
pub(super) fn show_as(exchange: &Exchange, limit: HeaderValue, level: &Level) {
    let reset = level.next_token.as_nanos().div_ceil(NANOS_PER_SECOND);
    let reset = u64::try_from(reset).unwrap_or(u64::MAX);
    exchange.set_response_header(LIMIT, limit);
    exchange.set_response_header(REMAINING, level.left.into());
    exchange.set_response_header(RESET, reset.into());
}

const NANOS_PER_SECOND: u128 = 1_000_000_000;
const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
