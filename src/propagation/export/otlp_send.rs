//! Drives OpenTelemetry's own exporter.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};

use super::batch::{BoxError, Partial, Transport};
use super::collector::Target;
use super::item::Item;
use super::post::{post, read};

/// Sends batches over OTLP.
pub(super) struct Sender {
    to: Target,
    timeout: Duration,
    /// Made in the task of the exporter: a gRPC channel needs a runtime. It is kept only behind an
    /// answer, so that a connection that has died without a word costs one batch.
    exporter: Option<SpanExporter>,
    resource: Arc<ArcSwapOption<Resource>>,
    /// The one that the exporter has.
    told: Option<Arc<Resource>>,
    /// How many spans of the current batch the collector has rejected, over HTTP.
    rejected: Arc<AtomicU64>,
}

impl Sender {
    pub(super) fn new(
        to: Target,
        timeout: Duration,
        resource: &Arc<ArcSwapOption<Resource>>,
    ) -> Self {
        Self {
            to,
            timeout,
            exporter: None,
            resource: Arc::clone(resource),
            told: None,
            rejected: Arc::default(),
        }
    }
}

impl Transport for Sender {
    fn place(&self) -> String {
        self.to.place()
    }

    async fn send(&mut self, batch: Vec<Item>) -> Result<Partial, BoxError> {
        let mut exporter = match self.exporter.take() {
            Some(exporter) => exporter,
            None => {
                self.told = None;
                exporter(&self.to, self.timeout, &self.rejected)?
            }
        };
        let resource = self.resource.load_full();
        let same = |(told, now): (&Arc<_>, &Arc<_>)| Arc::ptr_eq(told, now);
        if let Some(now) = &resource
            && !self.told.as_ref().zip(Some(now)).is_some_and(same)
        {
            exporter.set_resource(now);
            self.told = resource;
        }
        let spans = batch.into_iter().filter_map(data).collect();
        self.rejected.store(0, Ordering::Relaxed);
        exporter.export(spans).await?;
        self.exporter = Some(exporter);
        Ok(Partial {
            rejected: self.rejected.swap(0, Ordering::Relaxed),
            message: String::new(),
        })
    }
}

fn exporter(
    to: &Target,
    timeout: Duration,
    rejected: &Arc<AtomicU64>,
) -> Result<SpanExporter, ExporterBuildError> {
    match to {
        Target::Grpc(url) => SpanExporter::builder()
            .with_tonic()
            .with_endpoint(url.to_string())
            .with_timeout(timeout)
            .build(),
        Target::Http(url) => SpanExporter::builder()
            .with_http()
            .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
            .with_http_client(Poster(Arc::clone(rejected)))
            .with_endpoint(url.to_string())
            .with_timeout(timeout)
            .build(),
    }
}

#[cfg_attr(
    not(any(feature = "zipkin", feature = "access-log")),
    expect(clippy::unnecessary_wraps, reason = "Zipkin has spans of another kind")
)]
fn data(item: Item) -> Option<SpanData> {
    match item {
        Item::Application(span) => Some(*span),
        #[cfg(feature = "zipkin")]
        Item::Mesh(_) => None,
        #[cfg(feature = "access-log")]
        Item::Log(_) => None,
    }
}

/// Posts batches, and reads how many of their spans the collector rejects.
#[derive(Debug)]
struct Poster(Arc<AtomicU64>);

impl HttpClient for Poster {
    fn send_bytes<'this, 'future>(
        &'this self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'future>>
    where
        'this: 'future,
        Self: 'future,
    {
        let (head, body) = request.into_parts();
        Box::pin(async move {
            let response = post(&head.uri, head.headers, body).await?;
            if response.status().is_success() {
                let answer: ExportTraceServiceResponse = read(&response)?;
                let partial = answer.partial_success.unwrap_or_default();
                let rejected = u64::try_from(partial.rejected_spans).unwrap_or(0);
                self.0.store(rejected, Ordering::Relaxed);
            }
            Ok(response)
        })
    }
}
