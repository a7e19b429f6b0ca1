//! OpenCensus' binary format in the gRPC header `grpc-trace-bin`.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderValue;

use super::parent::{Parent, Told};
use crate::context::{SpanId, TraceContext, TraceId};

/// Reads base64, padded or not, of version 0: the trace id, the span id and the options, each behind
/// its number.
pub(in crate::propagation) fn read(value: &[u8]) -> Told {
    parent(value).map_or(Told::Nothing, Told::Parent)
}

fn parent(value: &[u8]) -> Option<Parent> {
    // As a slice, because any length may come.
    let mut room = [0; LENGTH + 3];
    let length = BASE64.decode_slice(value, &mut room).ok()?;
    let bytes: &[u8; LENGTH] = room.get(..length)?.try_into().ok()?;
    let ([0, 0], rest) = bytes.split_first_chunk()? else {
        return None;
    };
    let (trace_id, rest) = rest.split_first_chunk()?;
    let (1, rest) = rest.split_first().map(|(field, rest)| (*field, rest))? else {
        return None;
    };
    let (span_id, rest) = rest.split_first_chunk()?;
    let [2, options] = rest else {
        return None;
    };
    Some(Parent {
        trace_id: TraceId::from_bytes(*trace_id)?,
        span_id: SpanId::from_bytes(*span_id)?,
        sampled: Some(options & SAMPLED != 0),
        debug: false,
        random: false,
        short: false,
        firehose: false,
    })
}

/// The value for a context, without padding, as gRPC sends binary headers.
pub(in crate::propagation) fn write(trace: &TraceContext) -> Option<HeaderValue> {
    let mut bytes = Vec::with_capacity(LENGTH);
    bytes.extend([0, 0]);
    bytes.extend(trace.trace_id.to_bytes());
    bytes.push(1);
    bytes.extend(trace.span_id.to_bytes());
    bytes.extend([2, u8::from(trace.sampled)]);
    HeaderValue::try_from(BASE64.encode(bytes)).ok()
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
const LENGTH: usize = 29;
const SAMPLED: u8 = 1;
