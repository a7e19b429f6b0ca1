//! The options that send spans to a collector.

use std::sync::Arc;

use super::TelemetryOptions;
#[cfg(feature = "otlp")]
use crate::propagation::Otlp;
#[cfg(feature = "zipkin")]
use crate::propagation::Zipkin;
#[cfg(feature = "otlp")]
use crate::propagation::collector::Target;
#[cfg(any(feature = "otlp", feature = "zipkin"))]
use crate::propagation::{EndpointError, SpanSink};

impl TelemetryOptions {
    /// Sends spans to an OpenTelemetry collector at this URL, over OTLP: over HTTP where its port is
    /// 4318 or it has a path, else over gRPC. In place of the sink of
    /// [`propagation`](Self::propagation).
    ///
    /// How many requests are recorded is for [`propagation`](Self::propagation) to say; it is one in
    /// a hundred by default. The collector may be absent, slow or broken; no request notices, and the
    /// mesh's metrics tell. At the end of [`serve`](crate::Mesh::serve) the spans that still wait
    /// get five seconds. For more choice, give an [`Otlp`] to
    /// [`Propagation::export_to`](crate::propagation::Propagation::export_to).
    ///
    /// ```
    /// use tower_mesh::mesh::TelemetryOptions;
    ///
    /// let options = TelemetryOptions::default().otlp("http://collector.observability:4317");
    /// # drop(options);
    /// ```
    ///
    /// A URL that cannot be used is a mistake that [`build`](crate::MeshBuilder::build) reports.
    #[cfg(feature = "otlp")]
    pub fn otlp(self, url: &str) -> Self {
        self.export("otlp", Otlp::to(url))
    }

    /// Pushes the metrics to an OpenTelemetry collector at this URL, over OTLP: over HTTP where its
    /// port is 4318 or it has a path, else over gRPC. They can be scraped all the same.
    ///
    /// Names, labels, values and buckets are those of the scrape, as totals since the start, with
    /// exemplars. The [`Driver`](crate::Driver) pushes them once a minute
    /// (`OTEL_METRIC_EXPORT_INTERVAL`, in milliseconds), in requests of some 500 data points,
    /// and gives the collector 30 seconds (`OTEL_METRIC_EXPORT_TIMEOUT`). At the end of
    /// [`serve`](crate::Mesh::serve) they are pushed a last time. Headers are those of
    /// `OTEL_EXPORTER_OTLP_METRICS_HEADERS`, else `OTEL_EXPORTER_OTLP_HEADERS`; the resource is
    /// [`OpenTelemetry::resource`](crate::propagation::OpenTelemetry::resource) of the workload.
    ///
    /// The collector may be absent, slow or broken; no request notices. The metric
    /// `mesh_metrics_export_total` counts what became of the pushes.
    ///
    /// ```
    /// use tower_mesh::mesh::TelemetryOptions;
    ///
    /// let options = TelemetryOptions::default().otlp_metrics("http://collector.observability:4317");
    /// # drop(options);
    /// ```
    ///
    /// A URL that cannot be used is a mistake that [`build`](crate::MeshBuilder::build) reports.
    #[cfg(feature = "otlp")]
    pub fn otlp_metrics(mut self, url: &str) -> Self {
        match Target::guess(url, "/v1/metrics") {
            Ok(collector) => self.metrics_collector = Some(collector),
            Err(error) => self.mistakes.push(format!("otlp_metrics: {error}")),
        }
        self
    }

    /// As `otlp`, to Zipkin, or to what speaks its API v2. B3 is then read before W3C, unless the
    /// application has chosen formats.
    ///
    /// ```
    /// use tower_mesh::mesh::TelemetryOptions;
    ///
    /// let options = TelemetryOptions::default().zipkin("http://zipkin.istio-system:9411");
    /// # drop(options);
    /// ```
    #[cfg(feature = "zipkin")]
    pub fn zipkin(self, url: &str) -> Self {
        self.export("zipkin", Zipkin::to(url))
    }

    #[cfg(any(feature = "otlp", feature = "zipkin"))]
    fn export(mut self, option: &str, sink: Result<impl SpanSink, EndpointError>) -> Self {
        match sink {
            Ok(sink) => self.exporter = Some(Arc::new(sink)),
            Err(error) => self.mistakes.push(format!("{option}: {error}")),
        }
        self
    }

    /// Gives the propagation its exporter, in whatever order the options came.
    pub(in crate::mesh) fn connect_exporter(&mut self) {
        if let Some(exporter) = &self.exporter {
            let propagation = self.propagation.clone();
            self.propagation = propagation.export_to(Arc::clone(exporter));
        }
    }
}
