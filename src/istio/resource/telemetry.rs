//! `telemetry.istio.io`, kind Telemetry, and the settings of MeshConfig that it adds to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::istio::{Meta, Position, Selector, TargetRef, Text};

/// What the workloads that it selects report: spans, metrics and access logs.
///
/// `telemetry::EffectiveTelemetry` tells what several of them mean together for one workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Telemetry {
    /// Its head.
    pub meta: Meta,
    /// The workloads that it is about; empty for all of the namespace, or of the mesh in the root
    /// namespace.
    pub selector: Selector,
    /// What it is attached to in place of a selector.
    pub target_refs: Vec<TargetRef>,
    /// `tracing`, in the order in which it was written.
    pub tracing: Vec<TelemetryTracing>,
    /// `metrics`, likewise.
    pub metrics: Vec<TelemetryMetrics>,
    /// `accessLogging`, likewise.
    pub access_logging: Vec<TelemetryAccessLogging>,
}

/// Whether something is about requests that a workload serves, calls that it makes, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TelemetryMode {
    /// Both.
    #[default]
    ClientAndServer,
    /// Calls.
    Client,
    /// Requests.
    Server,
}

/// An entry of `tracing`. What is `None` is left as it is elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TelemetryTracing {
    /// `match.mode`.
    pub mode: TelemetryMode,
    /// `providers`, of which the first counts.
    pub providers: Vec<Text>,
    /// `randomSamplingPercentage`.
    pub random_sampling_percentage: Option<Percentage>,
    /// `disableSpanReporting`.
    pub disable_span_reporting: Option<bool>,
    /// `customTags`.
    pub custom_tags: Option<BTreeMap<String, CustomTag>>,
    /// `useRequestIdForTraceSampling`.
    pub use_request_id_for_trace_sampling: Option<bool>,
    /// `enableIstioTags`.
    pub enable_istio_tags: Option<bool>,
    /// `disableContextPropagation`.
    pub disable_context_propagation: Option<bool>,
    /// Where it was written.
    pub at: Position,
}

/// A share of all, from 0 to 100 percent in steps of a hundredth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percentage(u32);

impl Percentage {
    /// So many hundredths of a percent; more than 10,000 count as 10,000.
    #[must_use]
    pub const fn from_hundredths(hundredths: u32) -> Self {
        Self(if hundredths > 10_000 {
            10_000
        } else {
            hundredths
        })
    }

    /// Hundredths of a percent.
    #[must_use]
    pub const fn hundredths(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Percentage {
    /// As `12.5%`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.0) / 100.0)
    }
}

/// Where the value of a span's tag comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CustomTag {
    /// `literal.value`.
    Literal(Text),
    /// `environment`: a variable of the process.
    Environment {
        /// Its name.
        name: Text,
        /// The value without it.
        default_value: String,
    },
    /// `header`: a header of the request.
    Header {
        /// Its name.
        name: Text,
        /// The value without it.
        default_value: String,
    },
    /// `formatter.value`: a text with operators of access logs.
    Formatter(Text),
}

/// An entry of `metrics`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TelemetryMetrics {
    /// `providers`.
    pub providers: Vec<Text>,
    /// `reportingInterval`.
    pub reporting_interval: Option<Duration>,
    /// `overrides`, in the order in which they were written.
    pub overrides: Vec<MetricsOverride>,
    /// Where it was written.
    pub at: Position,
}

/// An entry of `overrides`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MetricsOverride {
    /// `match.metric` or `match.customMetric`.
    pub metric: MetricSelector,
    /// `match.mode`.
    pub mode: TelemetryMode,
    /// `disabled`.
    pub disabled: Option<bool>,
    /// `tagOverrides`, by label.
    pub tag_overrides: BTreeMap<String, TagOverride>,
    /// Where it was written.
    pub at: Position,
}

/// Which metrics an override is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricSelector {
    /// All of them: `ALL_METRICS`, or none named.
    #[default]
    All,
    /// One of Istio's.
    Metric(Metric),
    /// `customMetric`.
    Custom(Text),
}

/// One of Istio's metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// `istio_requests_total`.
    RequestCount,
    /// `istio_request_duration_milliseconds`.
    RequestDuration,
    /// `istio_request_bytes`.
    RequestSize,
    /// `istio_response_bytes`.
    ResponseSize,
    /// `istio_request_messages_total`.
    GrpcRequestMessages,
    /// `istio_response_messages_total`.
    GrpcResponseMessages,
    /// `istio_tcp_connections_opened_total`.
    TcpOpenedConnections,
    /// `istio_tcp_connections_closed_total`.
    TcpClosedConnections,
    /// `istio_tcp_sent_bytes_total`.
    TcpSentBytes,
    /// `istio_tcp_received_bytes_total`.
    TcpReceivedBytes,
}

impl Metric {
    /// All of them, in the order in which they are exposed.
    pub const ALL: [Self; 10] = [
        Self::RequestCount,
        Self::RequestDuration,
        Self::RequestSize,
        Self::ResponseSize,
        Self::GrpcRequestMessages,
        Self::GrpcResponseMessages,
        Self::TcpOpenedConnections,
        Self::TcpClosedConnections,
        Self::TcpSentBytes,
        Self::TcpReceivedBytes,
    ];

    /// Its place in [`ALL`](Self::ALL).
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Its name in a resource.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RequestCount => "REQUEST_COUNT",
            Self::RequestDuration => "REQUEST_DURATION",
            Self::RequestSize => "REQUEST_SIZE",
            Self::ResponseSize => "RESPONSE_SIZE",
            Self::GrpcRequestMessages => "GRPC_REQUEST_MESSAGES",
            Self::GrpcResponseMessages => "GRPC_RESPONSE_MESSAGES",
            Self::TcpOpenedConnections => "TCP_OPENED_CONNECTIONS",
            Self::TcpClosedConnections => "TCP_CLOSED_CONNECTIONS",
            Self::TcpSentBytes => "TCP_SENT_BYTES",
            Self::TcpReceivedBytes => "TCP_RECEIVED_BYTES",
        }
    }
}

/// What becomes of a label.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TagOverride {
    /// `UPSERT`: it has the value of this expression in CEL.
    Upsert(Text),
    /// `REMOVE`: no series has it.
    Remove(Position),
}

impl TagOverride {
    /// Where it was written.
    #[must_use]
    pub fn at(&self) -> &Position {
        match self {
            Self::Upsert(value) => value.at(),
            Self::Remove(at) => at,
        }
    }
}

/// An entry of `accessLogging`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TelemetryAccessLogging {
    /// `match.mode`.
    pub mode: TelemetryMode,
    /// `providers`.
    pub providers: Vec<Text>,
    /// `disabled`.
    pub disabled: Option<bool>,
    /// `filter.expression`: a condition in CEL.
    pub filter: Option<Text>,
    /// Where it was written.
    pub at: Position,
}

/// An `extensionProvider` of MeshConfig that Telemetry can name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TelemetryProvider {
    /// `prometheus`: the metrics that are scraped.
    Prometheus,
    /// `envoyFileAccessLog`.
    FileAccessLog {
        /// `path`; `/dev/stdout` by default.
        path: Option<Text>,
        /// `logFormat`; Istio's text by default.
        format: FileLogFormat,
        /// `omitEmptyValues`.
        omit_empty_values: bool,
    },
    /// `envoyOtelAls`: log records for an OpenTelemetry collector.
    OtelAccessLog {
        /// The collector: over gRPC, but over HTTP at port 4318.
        collector: TracingService,
        /// `logFormat`, which makes the body of a record; Istio's text by default.
        format: FileLogFormat,
    },
    /// `zipkin`.
    Zipkin(TracingService),
    /// `opentelemetry`.
    OpenTelemetry(TracingService),
    /// Another kind, which this crate does not serve, by its field.
    Unserved(String),
}

/// The format of a file's lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileLogFormat {
    /// Istio's text.
    #[default]
    Default,
    /// Istio's JSON.
    DefaultJson,
    /// A text with operators.
    Text(Text),
    /// A JSON object: its keys, and a text with operators for each.
    Labels(Vec<(Text, Text)>),
}

/// Where spans of a provider go.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TracingService {
    /// `service`, `[namespace/]host`.
    pub service: Text,
    /// `port`.
    pub port: u16,
    /// `http.path` of OpenTelemetry, or `path` of Zipkin. OpenTelemetry without it is sent by gRPC.
    pub path: Option<String>,
}

/// The settings of MeshConfig about telemetry, which count where no Telemetry says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MeshTelemetry {
    /// `accessLogFile`; none: no log.
    pub access_log_file: Option<Text>,
    /// `accessLogFormat` and `accessLogEncoding`.
    pub access_log_format: FileLogFormat,
    /// `defaultProviders.tracing`.
    pub default_tracing: Vec<Text>,
    /// `defaultProviders.metrics`; Istio's own default is `prometheus`.
    pub default_metrics: Option<Vec<Text>>,
    /// `defaultProviders.accessLogging`.
    pub default_access_logging: Vec<Text>,
    /// `enableTracing`; Istio's own default is true.
    pub enable_tracing: Option<bool>,
    /// `defaultConfig.tracing.sampling`. Istio reads more than 100 as 1.
    pub sampling: Option<Percentage>,
    /// `defaultConfig.tracing.customTags`.
    pub custom_tags: Option<BTreeMap<String, CustomTag>>,
    /// `defaultConfig.tracing.zipkin.address`.
    pub zipkin_address: Option<Text>,
    /// `defaultConfig.tracingServiceName`.
    pub tracing_service_name: Option<TracingServiceName>,
}

/// How spans name their service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TracingServiceName {
    /// `APP_LABEL_AND_NAMESPACE`, Istio's default.
    #[default]
    AppLabelAndNamespace,
    /// `CANONICAL_NAME_ONLY`.
    CanonicalNameOnly,
    /// `CANONICAL_NAME_AND_NAMESPACE`.
    CanonicalNameAndNamespace,
}
