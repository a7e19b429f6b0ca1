//! The trace that a request belongs to.

use std::fmt;
use std::sync::Arc;

use http::HeaderValue;

/// Declares ids of a fixed number of bytes, which are never all zero and print as lower-case
/// hexadecimal digits.
///
/// ```text
/// ids! {
///     /// A 16-byte trace id, never all zero.
///     TraceId: 16,
/// }
/// ```
///
/// This declares `pub struct TraceId` with `from_bytes([u8; 16]) -> Option<Self>` (`None` for
/// zeros), `to_bytes`, `Display` (32 digits) and `Debug` (`TraceId(…)`).
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

/// The trace context of a request: the current span, its parent, and the values that are passed on
/// with it.
///
/// A clone copies the ids and counts references; it does not allocate.
#[derive(Clone)]
#[non_exhaustive]
pub struct TraceContext {
    /// The trace.
    pub trace_id: TraceId,
    /// The current span: the server span of the request, or a child of it.
    pub span_id: SpanId,
    /// The parent span; `None` for the root of a trace.
    pub parent_span_id: Option<SpanId>,
    /// Whether the trace is recorded.
    pub sampled: bool,
    pub(crate) marks: Marks,
    pub(crate) request_id: Option<HeaderValue>,
    /// Behind an `Arc`, because few requests carry these values.
    pub(crate) carried: Option<Arc<Carried>>,
}

/// Why a request is recorded, as its request id says: Envoy keeps the reason in the id's 15th
/// character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TraceReason {
    /// By chance, or because its caller records it (`9`).
    Sampled,
    /// A peer of the mesh asked for it, with `x-envoy-force-trace` (`a`).
    ServiceForced,
    /// The client asked for it, with `x-client-trace-id` (`b`).
    ClientForced,
}

impl TraceReason {
    /// The length of the only ids that carry a reason.
    pub(crate) const LENGTH: usize = 36;
    /// Where it stands.
    pub(crate) const PLACE: usize = 14;

    /// The reason that an id carries; `None` when nothing has been decided, or when the id has no
    /// place for one.
    pub(crate) fn of(id: &[u8]) -> Option<Self> {
        match id.get(Self::PLACE).filter(|_| id.len() == Self::LENGTH)? {
            b'9' => Some(Self::Sampled),
            b'a' => Some(Self::ServiceForced),
            b'b' => Some(Self::ClientForced),
            _ => None,
        }
    }
}

/// Flags that arrive with the ids of a trace and are sent on with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    /// B3's debug flag: the trace is recorded whatever samplers decide.
    pub(crate) debug: bool,
    /// W3C's flag bit 1: the low 7 bytes of the trace id are random.
    pub(crate) random: bool,
    /// B3 sent a 64-bit trace id, so 16 digits are sent on.
    pub(crate) short: bool,
    /// Jaeger's flag 8.
    pub(crate) firehose: bool,
    pub(crate) formats: Formats,
}

/// A set of encodings that a context is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Formats(u8);

impl Formats {
    /// The formats for a trace that starts here.
    pub(crate) const USUAL: Self = Self(1 | 1 << 2);
}

#[cfg(feature = "propagation")]
impl Formats {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const W3C: Self = Self(1);
    pub(crate) const B3_SINGLE: Self = Self(1 << 1);
    pub(crate) const B3_MULTI: Self = Self(1 << 2);
    pub(crate) const JAEGER: Self = Self(1 << 3);
    pub(crate) const OPEN_CENSUS: Self = Self(1 << 4);
    pub(crate) const CLOUD_TRACE: Self = Self(1 << 5);
    /// Those that are read and written only where the application asks for them.
    pub(crate) const OPTIONAL: Self = Self(0b11_1000);

    pub(crate) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// Headers that are passed on with a trace, unchanged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Carried {
    pub(crate) tracestate: Option<HeaderValue>,
    pub(crate) baggage: Option<HeaderValue>,
    /// Headers of formats that are not read, `uberctx-` headers, and headers that the configuration
    /// names.
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

    /// A child of the current span, in the same trace and with the same passed-on values.
    #[must_use]
    pub fn child(&self, span_id: SpanId) -> Self {
        Self {
            span_id,
            parent_span_id: Some(self.span_id),
            ..self.clone()
        }
    }

    /// Removes what belongs only to the current trace.
    #[cfg(feature = "propagation")]
    pub(crate) fn leave_trace(&mut self) {
        self.marks.short = false;
        self.marks.debug = false;
        self.marks.firehose = false;
        if let Some(carried) = self
            .carried
            .as_mut()
            .filter(|carried| carried.tracestate.is_some())
        {
            Arc::make_mut(carried).tracestate = None;
        }
    }

    /// The request id (`x-request-id`) that is sent on.
    #[must_use]
    pub fn request_id(&self) -> Option<&HeaderValue> {
        self.request_id.as_ref()
    }

    /// Why the trace is recorded, if the request id says so. `None` says nothing of whether it is:
    /// an id that is no UUID has no place for a reason. And a caller's own decision counts more than
    /// the id, so that a request with a reason may be one that is not [`sampled`](Self::sampled).
    #[must_use]
    pub fn reason(&self) -> Option<TraceReason> {
        TraceReason::of(self.request_id()?.as_bytes())
    }

    /// W3C's `tracestate`: the values that tracing vendors added to the trace.
    #[must_use]
    pub fn tracestate(&self) -> Option<&HeaderValue> {
        self.carried.as_ref()?.tracestate.as_ref()
    }

    /// W3C's `baggage`, not decoded: the feature `propagation` adds `baggage_entries`.
    #[must_use]
    pub fn baggage(&self) -> Option<&HeaderValue> {
        self.carried.as_ref()?.baggage.as_ref()
    }

    /// Whether a caller asked, with B3's debug flag, to record this trace whatever samplers decide.
    #[must_use]
    pub fn is_debug(&self) -> bool {
        self.marks.debug
    }
}

// Only the ids, because the passed-on values may hold personal data.
debug_fields!(TraceContext {
    trace_id,
    span_id,
    parent_span_id,
    sampled
});
