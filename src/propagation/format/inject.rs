//! Writes a trace context into the headers of a request.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::headers::{
    B3, BAGGAGE, Found, Incoming, Place, Seen, TRACEPARENT, TRACESTATE, X_B3_FLAGS,
    X_B3_PARENTSPANID, X_B3_SAMPLED, X_B3_SPANID, X_B3_TRACEID, X_FORWARDED_CLIENT_CERT,
    X_REQUEST_ID,
};
use super::request_id::Uuid;
use super::{b3, jaeger, w3c};
use crate::context::{Formats, TraceContext};
use crate::propagation::ids::text::Text;

impl TraceContext {
    /// Writes the context into the headers of a request that the application sends by other means
    /// than the mesh's client.
    ///
    /// Every header of every format we understand is replaced or removed, so that nothing stale
    /// leaves: the new ones are those of the configured formats and of the formats that came in.
    /// Headers the application has set itself, of `baggage` and of formats we only forward, stay as
    /// they are. `baggage` and the headers of
    /// [`Propagation::forward`](crate::propagation::Propagation::forward) are written for any
    /// server: remove them from a request that leaves the trust domain.
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
        self.write_carried(headers, || true);
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
        // Last, because it may remove headers, and others are written where they stand.
        if self.marks.formats.has(Formats::OPTIONAL) {
            self.write_optional(headers, formats);
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

    /// What goes along untouched, unless the application has set its own. What may tell of the user
    /// goes only to a server that `is_trusted`.
    pub(in crate::propagation) fn write_carried(
        &self,
        headers: &mut HeaderMap,
        is_trusted: impl FnOnce() -> bool,
    ) {
        let Some(carried) = &self.carried else {
            return;
        };
        let name = BAGGAGE;
        let baggage = carried.baggage.as_ref().map(|value| (&name, value));
        let verbatim = carried.verbatim.iter().map(|(name, value)| (name, value));
        let all = || baggage.into_iter().chain(verbatim.clone());
        let tells_of_user = |name: &HeaderName| OF_USER.contains(name) || jaeger::is_baggage(name);
        let is_private = all().any(|(name, _)| tells_of_user(name));
        let goes_all = !is_private || is_trusted();
        for (name, value) in all().filter(|(name, _)| goes_all || !tells_of_user(name)) {
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
    // Where another header had several lines and was written since, this one has moved.
    if let Place::At(place) = place
        && let Some((found, old)) = headers.iter_mut().nth(place)
        && *found == name
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

/// Headers that may tell of the user.
const OF_USER: [HeaderName; 5] = [
    BAGGAGE,
    header::AUTHORIZATION,
    header::COOKIE,
    header::PROXY_AUTHORIZATION,
    X_FORWARDED_CLIENT_CERT,
];

const TRACEPARENT_END: usize = 55;
