//! What a peer of the mesh asks of us in headers: a trace, and an answer in time. The gate removes
//! Envoy's own of these headers, so they are read before.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use crate::context::{Exchange, Peer};
use crate::message::{grpc_timeout, is_grpc};

/// Notes in the exchange what its peer asks for in Envoy's headers. Only a peer with a proven
/// identity is heard: what a trusted proxy says of its caller is no proof.
pub(in crate::gate) fn note(headers: &HeaderMap, exchange: &Exchange) {
    if !is_heard(exchange) {
        return;
    }
    if headers.contains_key(FORCE_TRACE) {
        exchange.set_forces_trace();
    }
    if let Some(expected) = headers.get(EXPECTED).and_then(milliseconds) {
        let of_grpc = grpc_timeout(headers).filter(|_| is_grpc(headers));
        set_deadline(
            exchange,
            of_grpc.map_or(expected, |time| time.min(expected)),
        );
    }
}

/// Notes until when a gRPC caller waits, unless a deadline is noted already.
pub(crate) fn note_grpc_deadline(headers: &HeaderMap, exchange: &Exchange) {
    if let Some(time) = grpc_timeout(headers)
        && is_heard(exchange)
    {
        set_deadline(exchange, time);
    }
}

fn is_heard(exchange: &Exchange) -> bool {
    exchange.peer().and_then(Peer::spiffe_id).is_some()
}

/// A time that is too long for the clock is no deadline.
fn set_deadline(exchange: &Exchange, time: Duration) {
    if let Some(deadline) = Instant::now().checked_add(time) {
        exchange.set_deadline(deadline.into_std());
    }
}

/// Envoy writes a positive whole number, and nothing for a request without a bound.
fn milliseconds(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?;
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = text.parse().ok().filter(|_| is_number)?;
    (number > 0).then(|| Duration::from_millis(number))
}

const FORCE_TRACE: HeaderName = HeaderName::from_static("x-envoy-force-trace");
const EXPECTED: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");
