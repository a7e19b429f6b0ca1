//! The headers by which a response shows what a limit has left.

use http::HeaderName;

use super::bucket::Level;
use crate::context::Exchange;

/// Sets `x-ratelimit-limit`, `x-ratelimit-remaining` and `x-ratelimit-reset` of the response, as
/// Envoy's `local_ratelimit` with `DRAFT_VERSION_03`: the most tokens of the bucket, those that are
/// left, and the seconds until the next one, rounded up; zero while there are some.
pub(super) fn show(exchange: &Exchange, level: &Level) {
    let numbers = [
        (LIMIT, level.max_tokens.into()),
        (REMAINING, level.left.into()),
        (
            RESET,
            level.next_token.as_nanos().div_ceil(NANOS_PER_SECOND),
        ),
    ];
    for (name, number) in numbers {
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        exchange.set_response_header(name, number.into());
    }
}

const NANOS_PER_SECOND: u128 = 1_000_000_000;
const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
