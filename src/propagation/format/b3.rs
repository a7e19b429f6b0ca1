//! B3: the single header and the five.

use http::HeaderValue;

use super::parent::{Parent, State, Told};
use crate::context::{SpanId, TraceContext, TraceId};
use crate::propagation::ids::hex;
use crate::propagation::ids::text::Text;

/// Reads `b3`: `{trace}-{span}[-{state}[-{parent}]]`, or a state alone.
pub(in crate::propagation) fn single(value: &[u8]) -> Told {
    if let Some(state) = single_state(value) {
        return Told::State(state);
    }
    single_ids(value).map_or(Told::Nothing, Told::Parent)
}

fn single_ids(value: &[u8]) -> Option<Parent> {
    let mut fields = value.split(|byte| *byte == b'-');
    let (trace_id, span_id) = (fields.next()?, fields.next()?);
    let state = match fields.next() {
        Some(state) => single_state(state)?,
        None => State::default(),
    };
    if let Some(parent) = fields.next() {
        hex::any_case::<8>(parent)?;
    }
    match fields.next() {
        Some(_) => None,
        None => parent(trace_id, span_id, state),
    }
}

fn single_state(state: &[u8]) -> Option<State> {
    let (sampled, debug) = match state {
        b"0" => (false, false),
        b"1" => (true, false),
        b"d" => (true, true),
        _ => return None,
    };
    Some(State {
        sampled: Some(sampled),
        debug,
    })
}

/// The parent of the span that B3 names: of the single header where that holds a span, else of the
/// others.
pub(in crate::propagation) fn parent_span_id(
    one: Option<&HeaderValue>,
    multi: &Multi<'_>,
) -> Option<SpanId> {
    let one = one.map(HeaderValue::as_bytes);
    let digits = match one.filter(|value| single_ids(value).is_some()) {
        Some(value) => value.split(|byte| *byte == b'-').nth(3)?,
        None => multi.parent_span_id?.as_bytes(),
    };
    SpanId::from_bytes(hex::any_case(digits)?)
}

/// The five headers of B3, as they came.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::propagation) struct Multi<'a> {
    pub(in crate::propagation) trace_id: Option<&'a HeaderValue>,
    pub(in crate::propagation) span_id: Option<&'a HeaderValue>,
    pub(in crate::propagation) parent_span_id: Option<&'a HeaderValue>,
    pub(in crate::propagation) sampled: Option<&'a HeaderValue>,
    pub(in crate::propagation) flags: Option<&'a HeaderValue>,
}

impl Multi<'_> {
    pub(in crate::propagation) fn read(&self) -> Told {
        let state = self.state();
        let ids = self.trace_id.zip(self.span_id);
        if let Some((trace_id, span_id)) = ids {
            let parent_is_good = self
                .parent_span_id
                .is_none_or(|id| id.is_empty() || hex::any_case::<8>(id.as_bytes()).is_some());
            let parent = parent(trace_id.as_bytes(), span_id.as_bytes(), state);
            return match parent.filter(|_| parent_is_good) {
                Some(parent) => Told::Parent(parent),
                None => Told::Nothing,
            };
        }
        match state.sampled {
            Some(_) => Told::State(state),
            None => Told::Nothing,
        }
    }

    fn state(&self) -> State {
        let sampled = self.sampled.map(HeaderValue::as_bytes);
        let debug = self.flags.is_some_and(|flags| flags == "1") || sampled == Some(b"d");
        State {
            sampled: match sampled {
                _ if debug => Some(true),
                Some(b"1" | b"true") => Some(true),
                Some(b"0" | b"false") => Some(false),
                _ => None,
            },
            debug,
        }
    }
}

fn parent(trace_id: &[u8], span_id: &[u8], state: State) -> Option<Parent> {
    let (trace_id, short) = match trace_id.len() {
        32 => (hex::any_case(trace_id)?, false),
        length @ 1..=16 => {
            // Fewer digits than 16 are padded on the left; Envoy takes them too.
            let mut digits = [b'0'; 32];
            let (_, low) = digits.split_at_mut_checked(32 - length)?;
            low.copy_from_slice(trace_id);
            (hex::any_case(&digits)?, true)
        }
        _ => return None,
    };
    Some(Parent {
        trace_id: TraceId::from_bytes(trace_id)?,
        span_id: SpanId::from_bytes(hex::any_case(span_id)?)?,
        sampled: state.sampled,
        debug: state.debug,
        random: false,
        short,
        firehose: false,
    })
}

/// Appends the single header's value for a context. The state is always written.
pub(in crate::propagation) fn push_single(text: &mut Text, trace: &TraceContext) {
    let id = trace.trace_id.to_bytes();
    match id.last_chunk::<8>() {
        Some(low) if trace.marks.short => text.push_hex(*low),
        Some(_) | None => text.push_hex(id),
    }
    text.push(b"-");
    text.push_hex(trace.span_id.to_bytes());
    text.push(match (trace.marks.debug, trace.sampled) {
        (true, _) => b"-d",
        (false, true) => b"-1",
        (false, false) => b"-0",
    });
    if let Some(parent) = trace.parent_span_id {
        text.push(b"-");
        text.push_hex(parent.to_bytes());
    }
}
