use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

use super::collector::{TRACES, Target};
use super::endpoint::EndpointError;
use super::item::Item;
use super::limits::Limits;
use super::otlp_send::Sender;
use super::queue::Queue;
use crate::identity::Workload;
use crate::propagation::span::export_counts::ExportCounts;
use crate::propagation::span::finished::{FinishedSpan, SpanSink};
use crate::propagation::span::open_telemetry::OpenTelemetry;

/// Sends spans to an OpenTelemetry collector, over OTLP. Cheap to clone; clones share one queue.
///
/// ```
/// use tower_mesh::propagation::{Otlp, Propagation};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let otlp = Otlp::grpc("http://collector.observability:4317")?;
/// let propagation = Propagation::new().semantic_conventions().export_to(otlp.clone());
/// assert_eq!(otlp.counts().queued, 0);
/// # drop(propagation);
/// # Ok(()) }
/// ```
///
/// It is a span processor, too: give a clone to the application's own tracer provider, and the
/// application's spans go the same way. It sets nothing that is global. An application that has a
/// pipeline of its own hands the mesh's spans to that one with [`OpenTelemetry`] instead.
///
/// The resource is [`OpenTelemetry::resource`] of the workload. Use one exporter for each workload:
/// the last one that is named counts for all spans. Headers for the collector are those of
/// `OTEL_EXPORTER_OTLP_TRACES_HEADERS`, else `OTEL_EXPORTER_OTLP_HEADERS`.
///
/// # Collectors that fail
///
/// Spans wait in a queue, 2048 of them and 64 MiB by default; one that finds no room is dropped. A
/// queue for more spans has 4 KiB for each, if that is more. A task sends
/// them, at most 512 in a batch and at the latest after five seconds; `OTEL_BSP_MAX_QUEUE_SIZE`,
/// `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`, `OTEL_BSP_SCHEDULE_DELAY` and `OTEL_BSP_EXPORT_TIMEOUT`
/// (milliseconds) change that. A batch that the collector cannot take now is sent again, up to three
/// times within the timeout of ten seconds. Then it is dropped, and so is one that is refused.
/// [`counts`](Self::counts) has all of it, and so have the mesh's metrics `mesh_span_export_total`
/// and `mesh_span_export_queue`. The log tells, once at WARN, that a collector takes no spans, and at
/// INFO that it does again (target `tower_mesh::export`).
///
/// The task runs on the runtime in which the first span ends; that runtime needs tokio's I/O and
/// time. Spans that end where no runtime is are counted as lost. Spans that a collector rejects of a
/// batch that it takes (a partial success) are counted apart over HTTP; over gRPC they count as
/// exported.
#[derive(Clone, Debug)]
pub struct Otlp {
    pipe: Pipe,
    /// Makes spans of the mesh into those of OpenTelemetry's SDK.
    mesh: OpenTelemetry,
}

#[derive(Clone, Debug)]
struct Pipe(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// `None` when the environment has switched the export off.
    to: Option<Target>,
    limits: Limits,
    queue: Queue,
    resource: Arc<ArcSwapOption<Resource>>,
}

impl Otlp {
    /// Sends over gRPC to this URL, which begins with `http://`; collectors listen on port 4317.
    ///
    /// Nothing is sent before the first span, so the collector need not be there yet.
    ///
    /// # Errors
    /// When it is no such URL: another scheme, no host, or a user or password in it.
    pub fn grpc(url: &str) -> Result<Self, EndpointError> {
        Ok(Self::new(Some(Target::grpc(url)?), Limits::of_spans()))
    }

    /// Sends protobuf over HTTP/1.1 to this URL, which begins with `http://`; collectors listen on
    /// port 4318. A URL without a path gets OTLP's, `/v1/traces`.
    ///
    /// # Errors
    /// As of [`grpc`](Self::grpc).
    pub fn http(url: &str) -> Result<Self, EndpointError> {
        Ok(Self::new(
            Some(Target::http(url, TRACES)?),
            Limits::of_spans(),
        ))
    }

    /// As [`http`](Self::http) where the port of the URL is 4318 or it has a path, else as
    /// [`grpc`](Self::grpc).
    ///
    /// # Errors
    /// As of [`grpc`](Self::grpc).
    pub fn to(url: &str) -> Result<Self, EndpointError> {
        Ok(Self::new(
            Some(Target::guess(url, TRACES)?),
            Limits::of_spans(),
        ))
    }

    /// Sends where OpenTelemetry's environment variables say.
    ///
    /// `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL`, else `OTEL_EXPORTER_OTLP_PROTOCOL`, is `grpc` or
    /// `http/protobuf`, the default. The URL is `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` as it stands,
    /// else `OTEL_EXPORTER_OTLP_ENDPOINT`, over HTTP with `/v1/traces` behind it, else
    /// `http://localhost:4317` or `http://localhost:4318`. Spans go nowhere, and are not counted,
    /// where `OTEL_SDK_DISABLED` is `true`, or `OTEL_TRACES_EXPORTER` is `none`.
    ///
    /// # Errors
    /// When the protocol is another, or the URL is not usable, as of [`grpc`](Self::grpc).
    pub fn from_env() -> Result<Self, EndpointError> {
        let to = Target::from_env(|name| std::env::var(name).ok())?;
        Ok(Self::new(to, Limits::of_spans()))
    }

    /// Sets how many spans may wait, from 1 to 131,072; 2048 by default. To be called before the
    /// exporter is cloned.
    #[must_use]
    pub fn queue(self, spans: usize) -> Self {
        let shared = &self.pipe.0;
        Self::new(shared.to.clone(), shared.limits.queue(spans))
    }

    /// Sets how long the collector may take for a batch, retries included; 10 s by default. To be
    /// called before the exporter is cloned.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        let shared = &self.pipe.0;
        let mut limits = shared.limits;
        limits.timeout = timeout;
        Self::new(shared.to.clone(), limits)
    }

    /// What has become of the spans.
    #[must_use]
    pub fn counts(&self) -> ExportCounts {
        self.pipe.0.queue.counts()
    }

    /// Sends the spans that wait. Returns whether that was done within this time; spans that the
    /// collector has not taken are done, too.
    pub async fn flush(&self, within: Duration) -> bool {
        self.pipe.0.queue.flush(within).await
    }

    fn new(to: Option<Target>, limits: Limits) -> Self {
        let pipe = Pipe(Arc::new(Shared {
            to,
            limits,
            queue: Queue::default(),
            resource: Arc::default(),
        }));
        let empty = Resource::builder_empty().build();
        Self {
            mesh: OpenTelemetry::new(pipe.clone(), &empty),
            pipe,
        }
    }
}

impl SpanSink for Otlp {
    fn export(&self, span: FinishedSpan) {
        self.mesh.export(span);
    }

    fn workload(&self, workload: &Workload) {
        let resource = OpenTelemetry::resource(workload);
        self.pipe.0.resource.store(Some(Arc::new(resource)));
    }

    fn takes_shared_spans(&self) -> bool {
        self.mesh.takes_shared_spans()
    }

    fn counts(&self) -> Option<ExportCounts> {
        Some(self.counts())
    }

    fn flush(&self, within: Duration) -> Pin<Box<dyn Future<Output = bool> + Send>> {
        Box::pin(self.pipe.0.queue.flush(within))
    }
}

impl SpanProcessor for Otlp {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.pipe.on_end(span);
    }

    /// Inside a runtime it only asks for it, because it must not block there.
    fn force_flush(&self) -> OTelSdkResult {
        self.pipe.force_flush()
    }

    /// As `force_flush`.
    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.pipe.shutdown_with_timeout(timeout)
    }

    /// Of a tracer provider; that of a workload of the mesh counts before it.
    fn set_resource(&mut self, resource: &Resource) {
        let own = &self.pipe.0.resource;
        if own.load().is_none() {
            own.store(Some(Arc::new(resource.clone())));
        }
    }
}

impl SpanProcessor for Pipe {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        let shared = &*self.0;
        let Some(to) = &shared.to else {
            return;
        };
        if !span.span_context.is_sampled() {
            return;
        }
        let sender = || Sender::new(to.clone(), shared.limits.timeout, &shared.resource);
        let item = Item::Application(Box::new(span));
        shared.queue.push(item, shared.limits, sender);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.queue.flush_blocking(self.0.limits.timeout)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.queue.flush_blocking(timeout)
    }
}
