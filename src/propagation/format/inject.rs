//! Writes a trace context into the headers of a request.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::headers::{
    B3, BAGGAGE, Incoming, Seen, TRACEPARENT, TRACESTATE, X_B3_FLAGS, X_B3_PARENTSPANID,
    X_B3_SAMPLED, X_B3_SPANID, X_B3_TRACEID, X_REQUEST_ID,
};
use super::request_id::Uuid;
use super::{b3, w3c};
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
        let cut = |from: usize, to: usize| {
            // INVARIANT: `from <= to <= text.len()`, by the layout above; all bytes are visible ASCII.
            HeaderValue::from_maybe_shared(text.slice(from..to)).ok()
        };
        let written = self.written(formats);
        let new = written.without(seen).count();
        if new > 0 {
            // A map grows once, for all headers that are new, and the request id.
            let _ = headers.try_reserve(new + 1);
        }
        if written.has(Seen::TRACEPARENT)
            && let Some(value) = cut(0, TRACEPARENT_END)
        {
            if seen.has(Seen::TRACEPARENT) {
                replace(headers, TRACEPARENT, value);
            } else {
                headers.insert(TRACEPARENT, value);
            }
        }
        if written.has(Seen::B3) {
            let digits = if self.marks.short { 19 } else { 3 };
            for (header, name, from, to) in [
                (Seen::B3_TRACE_ID, X_B3_TRACEID, digits, 35),
                (Seen::B3_SPAN_ID, X_B3_SPANID, 36, 52),
                (
                    Seen::B3_PARENT,
                    X_B3_PARENTSPANID,
                    TRACEPARENT_END,
                    single_at,
                ),
                (Seen::B3_SINGLE, B3, single_at, id_at),
            ] {
                if written.has(header)
                    && let Some(value) = cut(from, to)
                {
                    headers.insert(name, value);
                }
            }
            if written.has(Seen::B3_SAMPLED) {
                let state = if self.sampled { "1" } else { "0" };
                headers.insert(X_B3_SAMPLED, HeaderValue::from_static(state));
            }
            if written.has(Seen::B3_FLAGS) {
                headers.insert(X_B3_FLAGS, HeaderValue::from_static("1"));
            }
        }
        if written.has(Seen::TRACESTATE)
            && let Some(state) = self.tracestate()
        {
            headers.insert(TRACESTATE, state.clone());
        }
        let stale = seen.without(written);
        if stale != Seen::default() {
            for (header, name) in Seen::IDS {
                if stale.has(header) {
                    headers.remove(name);
                }
            }
        }
        request_id.and_then(|_| cut(id_at, text.len()))
    }

    /// The headers that a context has in these formats.
    fn written(&self, formats: Formats) -> Seen {
        let mut written = Seen::default();
        let is_multi = formats.has(Formats::B3_MULTI);
        for (header, is_written) in [
            (Seen::TRACEPARENT, formats.has(Formats::W3C)),
            (
                Seen::TRACESTATE,
                formats.has(Formats::W3C) && self.tracestate().is_some(),
            ),
            (Seen::B3_SINGLE, formats.has(Formats::B3_SINGLE)),
            (Seen::B3_TRACE_ID, is_multi),
            (Seen::B3_SPAN_ID, is_multi),
            (Seen::B3_PARENT, is_multi && self.parent_span_id.is_some()),
            (Seen::B3_SAMPLED, is_multi && !self.marks.debug),
            (Seen::B3_FLAGS, is_multi && self.marks.debug),
        ] {
            if is_written {
                written.add(header);
            }
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

const TRACEPARENT_END: usize = 55;
