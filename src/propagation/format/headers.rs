use http::{HeaderMap, HeaderName, HeaderValue};

use super::b3;
use super::request_id::Uuid;
use crate::propagation::ids::text::Text;
use super::w3c;
use crate::context::{Formats, TraceContext};

impl TraceContext {
    /// Writes the context into the headers of a request that the application sends by other means
    /// than the mesh's client.
    ///
    /// Every header of every format we understand is replaced or removed, so that nothing stale
    /// leaves: the new ones are those of the configured formats and of the formats that came in.
    /// Headers the application has set itself, of `baggage` and of formats we only forward, stay as
    /// they are.
    ///
    /// ```
    /// use http::HeaderMap;
    /// use tower_mesh::context;
    ///
    /// let mut headers = HeaderMap::new();
    /// if let Some(trace) = context::current_trace() {
    ///     trace.inject(&mut headers);
    /// }
    /// assert!(headers.is_empty()); // not inside a request
    /// ```
    pub fn inject(&self, headers: &mut HeaderMap) {
        let seen = Incoming::scan(headers, &[]).seen;
        let _ = self.write(headers, seen, self.marks.formats, None);
        if let Some(id) = &self.request_id {
            headers.insert(X_REQUEST_ID, id.clone());
        }
        self.write_carried(headers);
    }

    /// Writes the ids in these formats, over and instead of those that were seen. Returns a new
    /// request id as text, which shares their buffer, for the caller to write.
    pub(in crate::propagation) fn write(
        &self,
        headers: &mut HeaderMap,
        seen: Seen,
        formats: Formats,
        request_id: Option<Uuid>,
    ) -> Option<HeaderValue> {
        // The one buffer that all values share. Its layout is fixed: traceparent, parent, single,
        // request id.
        let mut text = Text::new();
        w3c::push_traceparent(&mut text, self);
        let parent = self
            .parent_span_id
            .filter(|_| formats.has(Formats::B3_MULTI));
        if let Some(parent) = parent {
            text.push_hex(parent.to_bytes());
        }
        let single_at = text.len();
        if formats.has(Formats::B3_SINGLE) {
            b3::push_single(&mut text, self);
        }
        let id_at = text.len();
        if let Some(id) = request_id {
            id.push(&mut text);
        }
        let text = text.freeze();
        // A map grows once, for all headers that are new.
        let new = seen.missing(formats, parent.is_some());
        if new > 1 {
            let _ = headers.try_reserve(new);
        }
        let cut = |from: usize, to: usize| {
            // INVARIANT: `from <= to <= text.len()`, by the layout above; all bytes are visible
            // ASCII.
            HeaderValue::from_maybe_shared(text.slice(from..to)).ok()
        };
        if formats.has(Formats::W3C)
            && let Some(value) = cut(0, TRACEPARENT_END)
        {
            if seen.traceparent {
                replace(headers, TRACEPARENT, value);
            } else {
                headers.insert(TRACEPARENT, value);
            }
        }
        let mut put = |name: HeaderName, from: usize, to: usize| {
            if let Some(value) = cut(from, to) {
                headers.insert(name, value);
            }
        };
        if formats.has(Formats::B3_MULTI) {
            let digits = if self.marks.short { 19 } else { 3 };
            put(X_B3_TRACEID, digits, 35);
            put(X_B3_SPANID, 36, 52);
            if parent.is_some() {
                put(X_B3_PARENTSPANID, TRACEPARENT_END, single_at);
            }
        }
        if formats.has(Formats::B3_SINGLE) {
            put(B3, single_at, id_at);
        }
        self.write_states(headers, seen, formats);
        request_id.and_then(|_| cut(id_at, text.len()))
    }

    /// Writes the sampling state and `tracestate`, and removes headers that are stale.
    fn write_states(&self, headers: &mut HeaderMap, seen: Seen, formats: Formats) {
        let is_multi = formats.has(Formats::B3_MULTI);
        let mut settle = |name: HeaderName, seen: bool, value: Option<HeaderValue>| match value {
            Some(value) => drop(headers.insert(name, value)),
            None if seen => drop(headers.remove(name)),
            None => {}
        };
        let one = HeaderValue::from_static("1");
        let flag = if self.sampled {
            one.clone()
        } else {
            HeaderValue::from_static("0")
        };
        let is_debug = self.marks.debug;
        settle(
            X_B3_SAMPLED,
            seen.b3_sampled,
            (is_multi && !is_debug).then_some(flag),
        );
        settle(
            X_B3_FLAGS,
            seen.b3_flags,
            (is_multi && is_debug).then_some(one),
        );
        let tracestate = self.tracestate().filter(|_| formats.has(Formats::W3C));
        settle(TRACESTATE, seen.tracestate, tracestate.cloned());
        if seen.traceparent && !formats.has(Formats::W3C) {
            headers.remove(TRACEPARENT);
        }
        if seen.b3_single && !formats.has(Formats::B3_SINGLE) {
            headers.remove(B3);
        }
        if seen.b3_ids && !is_multi {
            headers.remove(X_B3_TRACEID);
            headers.remove(X_B3_SPANID);
        }
        if seen.b3_parent && (!is_multi || self.parent_span_id.is_none()) {
            headers.remove(X_B3_PARENTSPANID);
        }
    }

    /// What goes along untouched, unless the application has set its own.
    pub(in crate::propagation) fn write_carried(&self, headers: &mut HeaderMap) {
        let Some(carried) = &self.carried else {
            return;
        };
        if let Some(baggage) = &carried.baggage
            && !headers.contains_key(BAGGAGE)
        {
            headers.insert(BAGGAGE, baggage.clone());
        }
        for (name, value) in &carried.verbatim {
            if !headers.contains_key(name) {
                headers.insert(name, value.clone());
            }
        }
    }
}

/// Replaces a header that is there. A glance at the few names costs less than to look it up.
fn replace(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    let mut places = headers.iter_mut().filter(|(found, _)| **found == name);
    if let (Some((_, place)), None) = (places.next(), places.next()) {
        *place = value;
        return;
    }
    // More than one becomes one.
    headers.insert(name, value);
}

/// Which headers of the formats we understand a request has.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::propagation) struct Seen {
    pub(in crate::propagation) traceparent: bool,
    pub(in crate::propagation) tracestate: bool,
    pub(in crate::propagation) b3_single: bool,
    pub(in crate::propagation) b3_ids: bool,
    pub(in crate::propagation) b3_parent: bool,
    pub(in crate::propagation) b3_sampled: bool,
    pub(in crate::propagation) b3_flags: bool,
    pub(in crate::propagation) request_id: bool,
}

impl Seen {
    /// How many of the headers are new to a request that are written in these formats.
    fn missing(self, formats: Formats, has_parent: bool) -> usize {
        let w3c = !self.traceparent && formats.has(Formats::W3C);
        let single = !self.b3_single && formats.has(Formats::B3_SINGLE);
        let is_multi = formats.has(Formats::B3_MULTI);
        let ids = !self.b3_ids && is_multi;
        let parent = !self.b3_parent && is_multi && has_parent;
        let state = !self.b3_sampled && !self.b3_flags && is_multi;
        let id = !self.request_id;
        [w3c, single, ids, ids, parent, state, id].map(usize::from).iter().sum()
    }
}

/// All that the headers of a request say of its trace, collected in one pass.
#[derive(Debug, Default)]
pub(in crate::propagation) struct Incoming<'a> {
    pub(in crate::propagation) seen: Seen,
    pub(in crate::propagation) traceparent: Once<'a>,
    pub(in crate::propagation) b3: Option<&'a HeaderValue>,
    pub(in crate::propagation) b3_multi: b3::Multi<'a>,
    pub(in crate::propagation) request_id: Option<&'a HeaderValue>,
    pub(in crate::propagation) client_trace_id: Option<&'a HeaderValue>,
    pub(in crate::propagation) decorator: Option<&'a HeaderValue>,
    pub(in crate::propagation) has_force_trace: bool,
    pub(in crate::propagation) has_baggage: bool,
    /// Empty, and so without an allocation, for most requests.
    pub(in crate::propagation) verbatim: Vec<(&'a HeaderName, &'a HeaderValue)>,
}

/// A header that has to be alone.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::propagation) enum Once<'a> {
    #[default]
    Absent,
    One(&'a HeaderValue),
    Several,
}

impl<'a> Incoming<'a> {
    /// Looks at each header once; `forward` names further headers to carry.
    pub(in crate::propagation) fn scan(headers: &'a HeaderMap, forward: &[HeaderName]) -> Self {
        let mut found = Self::default();
        for (name, value) in headers {
            found.see(name, value);
            if !forward.is_empty() && forward.contains(name) {
                found.verbatim.push((name, value));
            }
        }
        found
    }

    fn see(&mut self, name: &'a HeaderName, value: &'a HeaderValue) {
        let first = |slot: &mut Option<&'a HeaderValue>| {
            slot.get_or_insert(value);
        };
        let name_text = name.as_str();
        // Most headers have no name that could be one of these: one glance at a letter shows it.
        if !matches!(name_text.as_bytes(), [b'b' | b'g' | b's' | b't' | b'u' | b'x', ..]) {
            return;
        }
        match name_text {
            "traceparent" => {
                self.seen.traceparent = true;
                self.traceparent = match self.traceparent {
                    Once::Absent => Once::One(value),
                    Once::One(_) | Once::Several => Once::Several,
                };
            }
            "tracestate" => self.seen.tracestate = true,
            "baggage" => self.has_baggage = true,
            "b3" => {
                self.seen.b3_single = true;
                first(&mut self.b3);
            }
            "x-b3-traceid" => {
                self.seen.b3_ids = true;
                first(&mut self.b3_multi.trace_id);
            }
            "x-b3-spanid" => {
                self.seen.b3_ids = true;
                first(&mut self.b3_multi.span_id);
            }
            "x-b3-parentspanid" => {
                self.seen.b3_parent = true;
                first(&mut self.b3_multi.parent_span_id);
            }
            "x-b3-sampled" => {
                self.seen.b3_sampled = true;
                first(&mut self.b3_multi.sampled);
            }
            "x-b3-flags" => {
                self.seen.b3_flags = true;
                first(&mut self.b3_multi.flags);
            }
            "x-request-id" => {
                self.seen.request_id = true;
                first(&mut self.request_id);
            }
            "x-client-trace-id" => first(&mut self.client_trace_id),
            "x-envoy-decorator-operation" => first(&mut self.decorator),
            "x-envoy-force-trace" => self.has_force_trace = true,
            "x-ot-span-context"
            | "x-datadog-trace-id"
            | "x-datadog-parent-id"
            | "x-datadog-sampling-priority"
            | "x-cloud-trace-context"
            | "grpc-trace-bin"
            | "uber-trace-id"
            | "sw8" => self.verbatim.push((name, value)),
            _ => {}
        }
    }
}

/// The value of a header as text, when it is text.
pub(in crate::propagation) fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()
}

const TRACEPARENT_END: usize = 55;

pub(in crate::propagation) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(in crate::propagation) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
pub(in crate::propagation) const BAGGAGE: HeaderName = HeaderName::from_static("baggage");
pub(in crate::propagation) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(in crate::propagation) const DECORATOR: HeaderName = HeaderName::from_static("x-envoy-decorator-operation");
const B3: HeaderName = HeaderName::from_static("b3");
const X_B3_TRACEID: HeaderName = HeaderName::from_static("x-b3-traceid");
const X_B3_SPANID: HeaderName = HeaderName::from_static("x-b3-spanid");
const X_B3_PARENTSPANID: HeaderName = HeaderName::from_static("x-b3-parentspanid");
const X_B3_SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
const X_B3_FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");
