//! W3C Trace Context, Level 2: `traceparent` and `tracestate`.

use http::HeaderValue;
use http::header::GetAll;

use super::parent::Parent;
use crate::context::{SpanId, TraceContext, TraceId};
use crate::propagation::ids::hex;
use crate::propagation::ids::text::Text;

/// Reads the one `traceparent` of a request; `None` means that the trace restarts.
pub(in crate::propagation) fn traceparent(value: &[u8]) -> Option<Parent> {
    let (fixed, rest) = trim(value).split_first_chunk::<55>()?;
    let [v1, v2, b'-', ids @ .., b'-', f1, f2] = fixed else {
        return None;
    };
    let (trace_id, [b'-', span_id @ ..]) = ids.split_first_chunk::<32>()? else {
        return None;
    };
    match (&[*v1, *v2], rest) {
        // Version 00 is exactly 55 bytes long; a later one may go on after a dash.
        (b"00", []) => {}
        (b"00" | b"ff", _) => return None,
        (version, [] | [b'-', ..]) => {
            hex::lower::<1>(version)?;
        }
        _ => return None,
    }
    let [flags] = hex::lower(&[*f1, *f2])?;
    Some(Parent {
        trace_id: TraceId::from_bytes(hex::lower(trace_id)?)?,
        span_id: SpanId::from_bytes(hex::lower(span_id)?)?,
        sampled: Some(flags & SAMPLED != 0),
        debug: false,
        random: flags & RANDOM != 0,
        short: false,
        firehose: false,
    })
}

/// Appends the `traceparent` of a context: always version 00 and 55 bytes.
pub(in crate::propagation) fn push_traceparent(text: &mut Text, trace: &TraceContext) {
    let mut flags = 0;
    if trace.sampled {
        flags |= SAMPLED;
    }
    if trace.marks.random {
        flags |= RANDOM;
    }
    text.push(b"00-");
    text.push_hex(trace.trace_id.to_bytes());
    text.push(b"-");
    text.push_hex(trace.span_id.to_bytes());
    text.push(b"-");
    text.push_hex([flags]);
}

/// Joins `tracestate` headers and keeps them if all of their members are good; `None` drops the
/// whole list.
pub(in crate::propagation) fn tracestate(values: &GetAll<'_, HeaderValue>) -> Option<HeaderValue> {
    let mut list: Vec<&[u8]> = Vec::new();
    let mut count = 0;
    for value in values {
        for member in value.as_bytes().split(|byte| *byte == b',').map(trim) {
            if member.is_empty() {
                continue;
            }
            count += 1;
            let key = member_key(member)?;
            if count > MAX_MEMBERS {
                return None;
            }
            if !list.iter().any(|kept| member_key(kept) == Some(key)) {
                list.push(member);
            }
        }
    }
    cut(&mut list);
    let mut lone = values.iter();
    match (lone.next(), lone.next()) {
        // The usual case, one header in its best form, is handed on without a copy.
        (Some(only), None) if joined_len(&list) == only.len() => {
            (!only.is_empty()).then(|| only.clone())
        }
        _ if list.is_empty() => None,
        _ => HeaderValue::from_bytes(&list.join(&b","[..])).ok(),
    }
}

/// The key of a good list member.
fn member_key(member: &[u8]) -> Option<&[u8]> {
    let at = member.iter().position(|byte| *byte == b'=')?;
    let (key, value) = member.split_at_checked(at)?;
    let value = value.strip_prefix(b"=")?;
    let (first, rest) = key.split_first()?;
    let start = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let good_key = start(*first)
        && rest.len() <= 255
        && rest
            .iter()
            .all(|byte| start(*byte) || b"_*/@-".contains(byte));
    let good_value = (1..=256).contains(&value.len())
        && value
            .iter()
            .all(|byte| (0x20..=0x7e).contains(byte) && *byte != b'=');
    (good_key && good_value).then_some(key)
}

/// Keeps the list within bounds: whole entries go, the longest kind first, then from the right.
fn cut(list: &mut Vec<&[u8]>) {
    while joined_len(list) > MAX_TRACESTATE {
        match list.iter().rposition(|member| member.len() > 128) {
            Some(long) => drop(list.remove(long)),
            None => drop(list.pop()),
        }
    }
}

fn joined_len(list: &[&[u8]]) -> usize {
    list.iter().map(|member| member.len()).sum::<usize>() + list.len().saturating_sub(1)
}

/// Strips spaces and tabs at both ends.
pub(in crate::propagation) fn trim(text: &[u8]) -> &[u8] {
    let mut text = trim_start(text);
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

fn trim_start(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    text
}

const SAMPLED: u8 = 1;
const RANDOM: u8 = 1 << 1;
const MAX_MEMBERS: usize = 32;
/// More than the 512 bytes that the standard asks for.
const MAX_TRACESTATE: usize = 2048;
