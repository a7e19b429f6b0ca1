//! Jaeger's own format: `uber-trace-id`, and its baggage, a header for each entry.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::baggage::Limits;
use super::parent::{Parent, Told};
use crate::context::{SpanId, TraceContext, TraceId};
use crate::propagation::ids::hex;

/// Reads `{trace}:{span}:{parent}:{flags}`, in which clients may write the colons as `%3A`. Ids are
/// hex digits without their leading zeros. The parent says nothing of the trace and is passed over.
pub(in crate::propagation) fn read(value: &[u8]) -> Told {
    parent(value).map_or(Told::Nothing, Told::Parent)
}

fn parent(value: &[u8]) -> Option<Parent> {
    let text = std::str::from_utf8(value).ok()?;
    let text = text.replace("%3A", ":").replace("%3a", ":");
    let mut fields = text.split(':');
    let (trace_id, span_id) = (fields.next()?, fields.next()?);
    let (_, flags) = (fields.next()?, fields.next()?);
    if fields.next().is_some() {
        return None;
    }
    let [flags] = padded(flags)?;
    let is_sampled = flags & SAMPLED != 0;
    Some(Parent {
        trace_id: TraceId::from_bytes(padded(trace_id)?)?,
        span_id: SpanId::from_bytes(padded(span_id)?)?,
        sampled: Some(is_sampled),
        debug: is_sampled && flags & DEBUG != 0,
        random: false,
        short: trace_id.len() <= 16,
        firehose: flags & FIREHOSE != 0,
    })
}

/// From one to `2 * N` hex digits, as if zeros stood before them.
fn padded<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let missing = (2 * N).checked_sub(digits.len())?;
    if digits.is_empty() {
        return None;
    }
    hex::any_case(format!("{}{digits}", "0".repeat(missing)).as_bytes())
}

/// The value for a context. Jaeger takes the parent for deprecated, and wants a `0` there.
pub(in crate::propagation) fn write(trace: &TraceContext) -> Option<HeaderValue> {
    let id = trace.trace_id.to_string();
    let id = match trace.marks.short {
        true => id.get(16..)?,
        false => &id,
    };
    let flags = match (trace.marks.debug, trace.sampled) {
        (true, _) => SAMPLED | DEBUG,
        (false, true) => SAMPLED,
        (false, false) => 0,
    };
    let flags = match trace.marks.firehose {
        true => flags | FIREHOSE,
        false => flags,
    };
    let mut text = String::new();
    write!(text, "{id}:{}:0:{flags:x}", trace.span_id).ok()?;
    HeaderValue::try_from(text).ok()
}

/// The headers of Jaeger's baggage, within the bounds of W3C's.
pub(in crate::propagation) fn baggage(
    headers: &HeaderMap,
    limits: Limits,
) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    let mut bytes = 0;
    let entries = headers
        .iter()
        .filter(|(name, _)| is_baggage(name))
        .take_while(move |(name, value)| {
            bytes += name.as_str().len() + value.len();
            bytes <= limits.bytes
        });
    entries.take(limits.members)
}

pub(in crate::propagation) fn is_baggage(name: &HeaderName) -> bool {
    name.as_str().starts_with("uberctx-")
}

const SAMPLED: u8 = 1;
const DEBUG: u8 = 1 << 1;
/// Sent on as it came: the span is stored, and left out of Jaeger's index.
const FIREHOSE: u8 = 1 << 3;
