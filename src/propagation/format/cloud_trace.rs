//! Google Cloud's `x-cloud-trace-context`.

use std::fmt::Write as _;

use http::HeaderValue;

use super::parent::{Origin, Parent, Told};
use crate::context::{SpanId, TraceContext, TraceId};
use crate::propagation::ids::hex;

/// Reads `{trace}[/{span}][;o={options}]`: 32 hex digits, a decimal number, `0` or `1`. Without a
/// span, or with the span 0, the request is the root of the trace.
pub(in crate::propagation) fn read(value: &[u8]) -> Told {
    told(value).unwrap_or(Told::Nothing)
}

fn told(value: &[u8]) -> Option<Told> {
    let text = std::str::from_utf8(value).ok()?;
    let (ids, sampled) = match text.split_once(";o=") {
        None => (text, None),
        Some((ids, "0")) => (ids, Some(false)),
        Some((ids, "1")) => (ids, Some(true)),
        Some(_) => return None,
    };
    let (trace_id, span_id) = match ids.split_once('/') {
        None => (ids, 0),
        Some((trace_id, span_id)) => (trace_id, decimal(span_id)?),
    };
    let trace_id = TraceId::from_bytes(hex::any_case(trace_id.as_bytes())?)?;
    Some(match SpanId::from_bytes(span_id.to_be_bytes()) {
        None => Told::Origin(Origin { trace_id, sampled }),
        Some(span_id) => Told::Parent(Parent {
            trace_id,
            span_id,
            sampled,
            debug: false,
            random: false,
            short: false,
            firehose: false,
        }),
    })
}

fn decimal(text: &str) -> Option<u64> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

/// The value for a context.
pub(in crate::propagation) fn write(trace: &TraceContext) -> Option<HeaderValue> {
    let span = u64::from_be_bytes(trace.span_id.to_bytes());
    let mut text = String::new();
    write!(
        text,
        "{}/{span};o={}",
        trace.trace_id,
        u8::from(trace.sampled)
    )
    .ok()?;
    HeaderValue::try_from(text).ok()
}
