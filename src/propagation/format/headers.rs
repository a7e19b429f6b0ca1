//! The names of the headers that carry a trace, and one pass over a request's headers that finds
//! them.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::b3;

/// The headers that a request has of those that we understand, and where those stand that are
/// replaced in most requests.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::propagation) struct Found {
    pub(in crate::propagation) seen: Seen,
    pub(super) traceparent: Place,
    pub(super) request_id: Place,
}

/// How many values stand before a header's, if it has only one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Place {
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
    pub(super) const TRACEPARENT: Self = Self(1);
    pub(in crate::propagation) const TRACESTATE: Self = Self(1 << 1);
    pub(super) const B3_SINGLE: Self = Self(1 << 2);
    pub(super) const B3_TRACE_ID: Self = Self(1 << 3);
    pub(super) const B3_SPAN_ID: Self = Self(1 << 4);
    pub(super) const B3_PARENT: Self = Self(1 << 5);
    pub(super) const B3_SAMPLED: Self = Self(1 << 6);
    pub(super) const B3_FLAGS: Self = Self(1 << 7);
    /// All of B3.
    pub(in crate::propagation) const B3: Self = Self(0b1111_1100);
    pub(in crate::propagation) const BAGGAGE: Self = Self(1 << 8);
    pub(in crate::propagation) const FORCE_TRACE: Self = Self(1 << 9);

    /// Those that are removed where they are stale.
    pub(super) const IDS: [(Self, HeaderName); 8] = [
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
    pub(super) const fn ids(self) -> Self {
        Self(self.0 & 0xff)
    }

    pub(super) const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    pub(super) fn add(&mut self, header: Self) {
        self.0 |= header.0;
    }

    pub(super) fn count(self) -> usize {
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
    /// Empty unless they were [taken](Self::take).
    pub(in crate::propagation) optional: Optional<'a>,
    /// Empty, and so without an allocation, for most requests.
    pub(in crate::propagation) verbatim: Vec<(&'a HeaderName, &'a HeaderValue)>,
}

/// The headers of the formats that are read only where they are configured.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::propagation) struct Optional<'a> {
    pub(super) jaeger: Option<&'a HeaderValue>,
    pub(super) open_census: Option<&'a HeaderValue>,
    pub(super) cloud_trace: Option<&'a HeaderValue>,
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

pub(in crate::propagation) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(in crate::propagation) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
pub(in crate::propagation) const BAGGAGE: HeaderName = HeaderName::from_static("baggage");
pub(in crate::propagation) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(in crate::propagation) const X_FORWARDED_CLIENT_CERT: HeaderName =
    HeaderName::from_static("x-forwarded-client-cert");
pub(in crate::propagation) const DECORATOR: HeaderName =
    HeaderName::from_static("x-envoy-decorator-operation");
pub(super) const B3: HeaderName = HeaderName::from_static("b3");
pub(super) const X_B3_TRACEID: HeaderName = HeaderName::from_static("x-b3-traceid");
pub(super) const X_B3_SPANID: HeaderName = HeaderName::from_static("x-b3-spanid");
pub(super) const X_B3_PARENTSPANID: HeaderName = HeaderName::from_static("x-b3-parentspanid");
pub(super) const X_B3_SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
pub(super) const X_B3_FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");
