//! The result of a merge.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::istio::{
    CustomTag, FileLogFormat, Metric, Percentage, Problem, TagOverride, Text, TracingService,
};

/// What one workload reports: see the [module](super).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EffectiveTelemetry {
    /// For the requests that it serves.
    pub server: ModeTelemetry,
    /// For the calls that it makes.
    pub client: ModeTelemetry,
    /// What has no effect and was probably meant to have one, with its place.
    pub notes: Vec<Problem>,
    /// What cannot be used: a mesh refuses the configuration.
    pub problems: Vec<Problem>,
    /// How many resources count for the workload.
    pub resources: usize,
}

/// What is reported about requests, or about calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModeTelemetry {
    /// Spans.
    pub tracing: EffectiveTracing,
    /// Metrics.
    pub metrics: EffectiveMetrics,
    /// Access logs, in the order of their providers' names.
    pub access_logs: Vec<EffectiveAccessLog>,
}

/// How spans are made. `None` leaves the choice to the application's own settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EffectiveTracing {
    /// Where spans go.
    pub provider: SpanProvider,
    /// Whether no spans are made, and headers of traces are left alone.
    pub is_off: bool,
    /// The share of new traces that are recorded.
    pub sampling: Option<Percentage>,
    /// Tags of each span.
    pub custom_tags: BTreeMap<String, CustomTag>,
    /// Whether the request id chooses what is recorded; true by default.
    pub uses_request_id: Option<bool>,
    /// Whether spans have Istio's own tags; true by default.
    pub has_istio_tags: Option<bool>,
    /// Whether the context is sent on; true by default.
    pub propagates_context: Option<bool>,
}

/// Where spans go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpanProvider {
    /// No provider is named: to the exporter of the application.
    #[default]
    Application,
    /// To a provider of the kind `zipkin`.
    Zipkin(TracingService),
    /// To a provider of the kind `opentelemetry`.
    OpenTelemetry(TracingService),
    /// The provider that is named does not exist or is not served.
    Missing,
}

/// Which metrics are counted, and their labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EffectiveMetrics {
    /// Whether none is.
    pub is_off: bool,
    /// `reportingInterval`.
    pub reporting_interval: Option<Duration>,
    /// By [`Metric::index`].
    pub metrics: [EffectiveMetric; Metric::ALL.len()],
}

impl EffectiveMetrics {
    /// What becomes of a metric.
    #[must_use]
    pub fn get(&self, metric: Metric) -> &EffectiveMetric {
        let [first, ..] = &self.metrics;
        // INVARIANT: each metric has its place.
        self.metrics.get(metric.index()).unwrap_or(first)
    }

    /// Whether a metric is counted.
    #[must_use]
    pub fn counts(&self, metric: Metric) -> bool {
        !self.is_off && !self.get(metric).is_disabled
    }

    /// Whether all metrics are counted as if there were no resources.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        let is_plain = |metric: &EffectiveMetric| *metric == EffectiveMetric::default();
        !self.is_off && self.reporting_interval.is_none() && self.metrics.iter().all(is_plain)
    }
}

/// What becomes of one metric.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EffectiveMetric {
    /// Whether it is not counted.
    pub is_disabled: bool,
    /// What becomes of its labels, by name.
    pub tags: BTreeMap<String, TagOverride>,
}

/// An access log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EffectiveAccessLog {
    /// The provider's name in lower case; empty for MeshConfig's `accessLogFile`.
    pub provider: String,
    /// The file; `None` is standard output.
    pub path: Option<Text>,
    /// The OpenTelemetry collector that gets the lines, in place of a file.
    pub collector: Option<TracingService>,
    /// The format of its lines.
    pub format: FileLogFormat,
    /// Whether values that are not there are left out.
    pub omits_empty_values: bool,
    /// The condition in CEL under which an exchange has a line.
    pub filter: Option<Text>,
}
