use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::b3;
use super::request_id::Uuid;
use super::w3c;
use crate::context::{Formats, TraceContext};
use crate::propagation::ids::text::Text;

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
        let found = Incoming::scan(headers, &[]).found;
        let _ = self.write(headers, found, self.marks.formats, IdWritten::Own);
        self.write_carried(headers);
    }

    /// Writes the ids in these formats, over and instead of those that were found. Returns a new
    /// request id as text.
    pub(in crate::propagation) fn write(
        &self,
        headers: &mut HeaderMap,
        found: Found,
        formats: Formats,
        request_id: IdWritten,
    ) -> Option<HeaderValue> {
        // The one buffer that all values share. Its layout is fixed: traceparent, parent, single,
        // request id.
        let mut text = Text::new();
        w3c::push_traceparent(&mut text, self);
        let is_multi = formats.has(Formats::B3_MULTI);
        if let Some(parent) = self.parent_span_id.filter(|_| is_multi) {
            text.push_hex(parent.to_bytes());
        }
        let single_at = text.len();
        if formats.has(Formats::B3_SINGLE) {
            b3::push_single(&mut text, self);
        }
        let id_at = text.len();
        if let IdWritten::New(id) = request_id {
            id.push(&mut text);
        }
        let mut text = text.freeze();
        let (mut id, mut single, mut parent) = (None, Bytes::new(), Bytes::new());
        if text.len() > TRACEPARENT_END {
            // INVARIANT: each place is within what the one before has left, by the layout above.
            id = value(text.split_off(id_at));
            single = text.split_off(single_at);
            parent = text.split_off(TRACEPARENT_END);
        }
        let ids = is_multi.then(|| {
            let digits = if self.marks.short { 19 } else { 3 };
            (text.slice(digits..35), text.slice(36..52))
        });

        let written = self.written(formats);
        let new = written.without(found.seen).count();
        if new > 0 {
            // A map grows once, for all headers that are new, and the request id.
            let _ = headers.try_reserve(new + 1);
        }
        // Places are as they were found until another header is written.
        if formats.has(Formats::W3C)
            && let Some(traceparent) = value(text)
        {
            replace(headers, found.traceparent, TRACEPARENT, traceparent);
        }
        let id_written = match request_id {
            IdWritten::New(_) => id.as_ref(),
            IdWritten::Own => self.request_id.as_ref(),
            IdWritten::AsItCame => None,
        };
        if let Some(id) = id_written {
            replace(headers, found.request_id, X_REQUEST_ID, id.clone());
        }
        if let Some((trace_id, span_id)) = ids {
            put(headers, X_B3_TRACEID, trace_id);
            put(headers, X_B3_SPANID, span_id);
            if self.parent_span_id.is_some() {
                put(headers, X_B3_PARENTSPANID, parent);
            }
            let (name, state) = match (self.marks.debug, self.sampled) {
                (true, _) => (X_B3_FLAGS, "1"),
                (false, true) => (X_B3_SAMPLED, "1"),
                (false, false) => (X_B3_SAMPLED, "0"),
            };
            headers.insert(name, HeaderValue::from_static(state));
        }
        if formats.has(Formats::B3_SINGLE) {
            put(headers, B3, single);
        }
        if written.has(Seen::TRACESTATE)
            && let Some(state) = self.tracestate()
        {
            headers.insert(TRACESTATE, state.clone());
        }
        let stale = found.seen.ids().without(written);
        if stale != Seen::default() {
            for (header, name) in Seen::IDS {
                if stale.has(header) {
                    headers.remove(name);
                }
            }
        }
        id.filter(|_| matches!(request_id, IdWritten::New(_)))
    }

    /// The headers that a context has in these formats.
    fn written(&self, formats: Formats) -> Seen {
        let mut written = Seen::default();
        if formats.has(Formats::W3C) {
            written.add(Seen::TRACEPARENT);
            if self.tracestate().is_some() {
                written.add(Seen::TRACESTATE);
            }
        }
        if formats.has(Formats::B3_SINGLE) {
            written.add(Seen::B3_SINGLE);
        }
        if formats.has(Formats::B3_MULTI) {
            written.add(Seen::B3_TRACE_ID);
            written.add(Seen::B3_SPAN_ID);
            if self.parent_span_id.is_some() {
                written.add(Seen::B3_PARENT);
            }
            written.add(match self.marks.debug {
                true => Seen::B3_FLAGS,
                false => Seen::B3_SAMPLED,
            });
        }
        written
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

#[inline]
fn put(headers: &mut HeaderMap, name: HeaderName, text: Bytes) {
    if let Ok(value) = HeaderValue::from_maybe_shared(text) {
        headers.insert(name, value);
    }
}

/// The value of a text of ours, all of it visible ASCII.
fn value(text: Bytes) -> Option<HeaderValue> {
    HeaderValue::from_maybe_shared(text).ok()
}

/// Puts a value where the header stands, which costs less than to look its name up.
fn replace(headers: &mut HeaderMap, place: Place, name: HeaderName, value: HeaderValue) {
    if let Place::At(place) = place
        && let Some(old) = headers.values_mut().nth(place)
    {
        *old = value;
        return;
    }
    // More than one becomes one.
    headers.insert(name, value);
}

/// What becomes of the request id when a context is written.
#[derive(Clone, Copy, Debug)]
pub(in crate::propagation) enum IdWritten {
    AsItCame,
    /// The context's, if it has one, replaces what came.
    Own,
    /// A new one replaces it.
    New(Uuid),
}

/// The headers that a request has of those that we understand, and where those stand that are
/// replaced in most requests.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::propagation) struct Found {
    pub(in crate::propagation) seen: Seen,
    traceparent: Place,
    request_id: Place,
}

/// How many values stand before a header's, if it has only one.
#[derive(Clone, Copy, Debug, Default)]
enum Place {
    #[default]
    Nowhere,
    At(usize),
    Several,
}

impl Place {
    fn see(&mut self, place: usize) {
        *self = match self {
            Self::Nowhere => Self::At(place),
            Self::At(_) | Self::Several => Self::Several,
        };
    }
}

/// A set of headers that we understand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::propagation) struct Seen(u16);

impl Seen {
    const TRACEPARENT: Self = Self(1);
    pub(in crate::propagation) const TRACESTATE: Self = Self(1 << 1);
    const B3_SINGLE: Self = Self(1 << 2);
    const B3_TRACE_ID: Self = Self(1 << 3);
    const B3_SPAN_ID: Self = Self(1 << 4);
    const B3_PARENT: Self = Self(1 << 5);
    const B3_SAMPLED: Self = Self(1 << 6);
    const B3_FLAGS: Self = Self(1 << 7);
    /// All of B3.
    pub(in crate::propagation) const B3: Self = Self(0b1111_1100);
    pub(in crate::propagation) const BAGGAGE: Self = Self(1 << 8);
    pub(in crate::propagation) const FORCE_TRACE: Self = Self(1 << 9);

    /// Those that are removed where they are stale.
    const IDS: [(Self, HeaderName); 8] = [
        (Self::B3_SAMPLED, X_B3_SAMPLED),
        (Self::B3_FLAGS, X_B3_FLAGS),
        (Self::TRACESTATE, TRACESTATE),
        (Self::TRACEPARENT, TRACEPARENT),
        (Self::B3_SINGLE, B3),
        (Self::B3_TRACE_ID, X_B3_TRACEID),
        (Self::B3_SPAN_ID, X_B3_SPANID),
        (Self::B3_PARENT, X_B3_PARENTSPANID),
    ];

    pub(in crate::propagation) const fn has(self, header: Self) -> bool {
        self.0 & header.0 != 0
    }

    /// Those that hold ids.
    const fn ids(self) -> Self {
        Self(self.0 & 0xff)
    }

    const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    fn add(&mut self, header: Self) {
        self.0 |= header.0;
    }

    fn count(self) -> usize {
        self.0.count_ones().try_into().unwrap_or_default()
    }
}

/// All that the headers of a request say of its trace, collected in one pass.
#[derive(Debug, Default)]
pub(in crate::propagation) struct Incoming<'a> {
    pub(in crate::propagation) found: Found,
    pub(in crate::propagation) traceparent: Once<'a>,
    pub(in crate::propagation) b3: Option<&'a HeaderValue>,
    pub(in crate::propagation) b3_multi: b3::Multi<'a>,
    pub(in crate::propagation) request_id: Option<&'a HeaderValue>,
    pub(in crate::propagation) client_trace_id: Option<&'a HeaderValue>,
    pub(in crate::propagation) decorator: Option<&'a HeaderValue>,
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
        let mut incoming = Self::default();
        for (place, (name, value)) in headers.iter().enumerate() {
            incoming.see(place, name, value);
            if !forward.is_empty() && forward.contains(name) {
                incoming.verbatim.push((name, value));
            }
        }
        incoming
    }

    pub(in crate::propagation) const fn has(&self, header: Seen) -> bool {
        self.found.seen.has(header)
    }

    fn see(&mut self, place: usize, name: &'a HeaderName, value: &'a HeaderValue) {
        let text = name.as_str();
        // Most headers have no name that could be one of these: one glance at a letter shows it.
        if !matches!(
            text.as_bytes(),
            [b'b' | b'g' | b's' | b't' | b'u' | b'x', ..]
        ) {
            return;
        }
        let seen = &mut self.found.seen;
        let (header, slot) = match text {
            "traceparent" => {
                self.found.traceparent.see(place);
                self.traceparent = match self.traceparent {
                    Once::Absent => Once::One(value),
                    Once::One(_) | Once::Several => Once::Several,
                };
                return seen.add(Seen::TRACEPARENT);
            }
            "tracestate" => return seen.add(Seen::TRACESTATE),
            "baggage" => return seen.add(Seen::BAGGAGE),
            "x-envoy-force-trace" => return seen.add(Seen::FORCE_TRACE),
            "b3" => (Seen::B3_SINGLE, &mut self.b3),
            "x-b3-traceid" => (Seen::B3_TRACE_ID, &mut self.b3_multi.trace_id),
            "x-b3-spanid" => (Seen::B3_SPAN_ID, &mut self.b3_multi.span_id),
            "x-b3-parentspanid" => (Seen::B3_PARENT, &mut self.b3_multi.parent_span_id),
            "x-b3-sampled" => (Seen::B3_SAMPLED, &mut self.b3_multi.sampled),
            "x-b3-flags" => (Seen::B3_FLAGS, &mut self.b3_multi.flags),
            "x-request-id" => {
                self.found.request_id.see(place);
                (Seen::default(), &mut self.request_id)
            }
            "x-client-trace-id" => (Seen::default(), &mut self.client_trace_id),
            "x-envoy-decorator-operation" => (Seen::default(), &mut self.decorator),
            "x-ot-span-context"
            | "x-datadog-trace-id"
            | "x-datadog-parent-id"
            | "x-datadog-sampling-priority"
            | "x-cloud-trace-context"
            | "grpc-trace-bin"
            | "uber-trace-id"
            | "sw8" => return self.verbatim.push((name, value)),
            _ => return,
        };
        seen.add(header);
        // The first of several with one name counts.
        slot.get_or_insert(value);
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
pub(in crate::propagation) const DECORATOR: HeaderName =
    HeaderName::from_static("x-envoy-decorator-operation");
const B3: HeaderName = HeaderName::from_static("b3");
const X_B3_TRACEID: HeaderName = HeaderName::from_static("x-b3-traceid");
const X_B3_SPANID: HeaderName = HeaderName::from_static("x-b3-spanid");
const X_B3_PARENTSPANID: HeaderName = HeaderName::from_static("x-b3-parentspanid");
const X_B3_SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
const X_B3_FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");
