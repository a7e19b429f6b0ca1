//! The headers by which a response shows what a limit has left.

use http::HeaderName;
use http::HeaderValue;

use super::bucket::Level;
use crate::context::Exchange;

/// Sets `x-ratelimit-limit`, `x-ratelimit-remaining` and `x-ratelimit-reset` of the response, as
/// Envoy's `local_ratelimit` with `DRAFT_VERSION_03`: the most tokens of the bucket, those that are
/// left, and the whole seconds until the next one, rounded down; zero while there are some.
pub(super) fn show(exchange: &Exchange, level: &Level) {
    let numbers = [
        (LIMIT, u64::from(level.max_tokens)),
        (REMAINING, u64::from(level.left)),
        (RESET, level.next_token.as_secs()),
    ];
    for (name, number) in numbers {
        exchange.set_response_header(name, HeaderValue::from(number));
    }
}

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
