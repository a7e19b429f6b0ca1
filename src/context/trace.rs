use std::fmt;
use std::sync::Arc;

use http::HeaderValue;

/// Declares an id of so many bytes, which prints as hexadecimal digits.
macro_rules! ids {
    ($($(#[$on_id:meta])* $Id:ident: $length:literal,)+) => {
        $(
            $(#[$on_id])*
            #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
            pub struct $Id([u8; $length]);

            impl $Id {
                /// The id; `None` when all bytes are zero.
                #[must_use]
                pub fn from_bytes(bytes: [u8; $length]) -> Option<Self> {
                    (bytes != [0; $length]).then_some(Self(bytes))
                }

                /// The bytes, most significant first.
                #[must_use]
                pub fn to_bytes(self) -> [u8; $length] {
                    self.0
                }
            }

            impl fmt::Display for $Id {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
                }
            }

            impl fmt::Debug for $Id {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    write!(f, "{}({self})", stringify!($Id))
                }
            }
        )+
    };
}

ids! {
    /// A 16-byte trace id, never all zero.
    TraceId: 16,
    /// An 8-byte span id, never all zero.
    SpanId: 8,
}

/// A request's place in its trace: the current span, its parent, and what travels with
/// it.
///
/// A clone copies the ids and counts references; it allocates nothing.
#[derive(Clone)]
#[non_exhaustive]
pub struct TraceContext {
    /// The trace.
    pub trace_id: TraceId,
    /// The current span: the server span of the request, or a child of it.
    pub span_id: SpanId,
    /// The span that caused it; `None` on a root.
    pub parent_span_id: Option<SpanId>,
    /// Whether the trace is recorded.
    pub sampled: bool,
    pub(crate) marks: Marks,
    pub(crate) request_id: Option<HeaderValue>,
    /// What few requests carry, so it is allocated for those only.
    pub(crate) carried: Option<Arc<Carried>>,
}

/// What came with the ids of a trace and goes out with them again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    /// B3's debug flag: recorded whatever samplers say.
    pub(crate) debug: bool,
    /// W3C's flag bit 1: the low 7 bytes of the trace id are random.
    pub(crate) random: bool,
    /// B3 gave a 64-bit trace id and gets 16 digits back.
    pub(crate) short: bool,
    pub(crate) formats: Formats,
}

/// A set of encodings that a context is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Formats(u8);

impl Formats {
    /// What a trace is written in that came from nowhere.
    pub(crate) const USUAL: Self = Self(1 | 1 << 2);
}

#[cfg(feature = "propagation")]
impl Formats {
    pub(crate) const W3C: Self = Self(1);
    pub(crate) const B3_SINGLE: Self = Self(1 << 1);
    pub(crate) const B3_MULTI: Self = Self(1 << 2);

    pub(crate) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// Headers that go with a trace, as they came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Carried {
    pub(crate) tracestate: Option<HeaderValue>,
    pub(crate) baggage: Option<HeaderValue>,
    /// Headers of formats we do not read, and those that the configuration names.
    #[cfg(feature = "propagation")]
    pub(crate) verbatim: Vec<(http::HeaderName, HeaderValue)>,
}

impl TraceContext {
    /// The root of a trace.
    #[must_use]
    pub fn root(trace_id: TraceId, span_id: SpanId, sampled: bool) -> Self {
        Self {
            trace_id,
            span_id,
            parent_span_id: None,
            sampled,
            marks: Marks {
                formats: Formats::USUAL,
                ..Marks::default()
            },
            request_id: None,
            carried: None,
        }
    }

    /// A child of the current span, in the same trace and with everything that travels with it.
    #[must_use]
    pub fn child(&self, span_id: SpanId) -> Self {
        Self {
            span_id,
            parent_span_id: Some(self.span_id),
            ..self.clone()
        }
    }

    /// Leaves behind what belongs to one trace only.
    #[cfg(feature = "propagation")]
    pub(crate) fn leave_trace(&mut self) {
        self.marks.short = false;
        self.marks.debug = false;
        if let Some(carried) = self
            .carried
            .as_mut()
            .filter(|carried| carried.tracestate.is_some())
        {
            Arc::make_mut(carried).tracestate = None;
        }
    }

    /// The request id (`x-request-id`), as it goes out.
    #[must_use]
    pub fn request_id(&self) -> Option<&HeaderValue> {
        self.request_id.as_ref()
    }

    /// W3C's `tracestate`: what tracing vendors added to the trace on its way.
    #[must_use]
    pub fn tracestate(&self) -> Option<&HeaderValue> {
        self.carried.as_ref()?.tracestate.as_ref()
    }

    /// W3C's `baggage`, not decoded.
    #[must_use]
    pub fn baggage(&self) -> Option<&HeaderValue> {
        self.carried.as_ref()?.baggage.as_ref()
    }

    /// Whether a caller asked, by B3's debug flag, that this trace be recorded whatever samplers
    /// say.
    #[must_use]
    pub fn is_debug(&self) -> bool {
        self.marks.debug
    }
}

// The ids; what travels with them may hold personal data.
debug_fields!(TraceContext {
    trace_id,
    span_id,
    parent_span_id,
    sampled
});
