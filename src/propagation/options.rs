use std::sync::Arc;

use super::span::custom::tag::CustomTag;

/// What of tracing can change while a mesh runs, for one side of it: its requests, or its calls. It
/// is what Istio's Telemetry API sets.
///
/// [`Propagation::server_options`](super::Propagation::server_options) and
/// [`client_options`](super::Propagation::client_options) give what is in use, and
/// [`Propagation::replace_options`](super::Propagation::replace_options) puts others in their place.
/// Cheap to clone.
///
/// ```
/// use tower_mesh::propagation::{CustomTag, Propagation};
///
/// let propagation = Propagation::new();
/// let server = propagation.server_options().sample_percent(10.0).istio_tags(false);
/// let client = propagation.client_options().custom_tags([CustomTag::literal("ward", "west")?]);
/// propagation.replace_options(server, client);
/// # Ok::<(), tower_mesh::propagation::CustomTagError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until a propagation has them"]
pub struct TraceOptions {
    /// Hundredths of a percent.
    pub(super) sampling: u32,
    pub(super) samples_by_request_id: bool,
    pub(super) reports_spans: bool,
    pub(super) has_istio_tags: bool,
    pub(super) sends_context: bool,
    pub(super) custom_tags: Arc<[CustomTag]>,
}

/// The options of both sides; each request and each call reads them once.
#[derive(Clone, Debug, Default)]
pub(super) struct Sides {
    pub(super) server: TraceOptions,
    pub(super) client: TraceOptions,
}

impl TraceOptions {
    /// Sets the share of new traces that are recorded:
    /// [`Propagation::sample_percent`](super::Propagation::sample_percent). Istio's
    /// `randomSamplingPercentage`.
    pub fn sample_percent(mut self, percent: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped, and a NaN becomes 0"
        )]
        let hundredths = (percent.clamp(0.0, 100.0) * 100.0).round() as u32;
        self.sampling = hundredths;
        self
    }

    /// Whether the request id chooses which new traces are recorded:
    /// [`Propagation::sample_by_request_id`](super::Propagation::sample_by_request_id). Istio's
    /// `useRequestIdForTraceSampling`; on by default.
    pub fn sample_by_request_id(mut self, samples: bool) -> Self {
        self.samples_by_request_id = samples;
        self
    }

    /// Whether spans of this side are recorded; on by default. Istio's `disableSpanReporting`, the
    /// other way round.
    ///
    /// Without spans, this side leaves the trace of its caller as it came: what follows are children
    /// of the caller's span, and no trace has a gap. Spans that handlers open are not recorded
    /// either where the server's are not.
    pub fn report_spans(mut self, reports: bool) -> Self {
        self.reports_spans = reports;
        self
    }

    /// Whether spans have the tags that begin with `istio.`; on by default. Istio's
    /// `enableIstioTags`.
    pub fn istio_tags(mut self, shows: bool) -> Self {
        self.has_istio_tags = shows;
        self
    }

    /// Whether calls have the trace in their headers; on by default. Istio's
    /// `disableContextPropagation`, the other way round. Nothing for the side of the server.
    ///
    /// A call without it has no header of the configured formats, of W3C or of B3, also none that
    /// the application has set. It keeps its request id, its baggage and what is only forwarded.
    pub fn send_context(mut self, sends: bool) -> Self {
        self.sends_context = sends;
        self
    }

    /// Replaces the tags that are added to each span; none by default. Istio's `customTags`. Of
    /// several tags with one name, the last that has a value counts.
    pub fn custom_tags(mut self, tags: impl IntoIterator<Item = CustomTag>) -> Self {
        self.custom_tags = tags.into_iter().collect();
        self
    }
}

/// Istio's.
impl Default for TraceOptions {
    fn default() -> Self {
        Self {
            sampling: 100,
            samples_by_request_id: true,
            reports_spans: true,
            has_istio_tags: true,
            sends_context: true,
            custom_tags: Arc::new([]),
        }
    }
}
