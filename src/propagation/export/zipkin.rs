use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use tokio::time::sleep;

use super::batch::{BoxError, Partial, Transport};
use super::endpoint::{self, EndpointError};
use super::item::Item;
use super::limits::Limits;
use super::post::post;
use super::queue::Queue;
use super::zipkin_json;
use crate::identity::Workload;
use crate::propagation::format::extract::Format;
use crate::propagation::span::export_counts::ExportCounts;
use crate::propagation::span::finished::{FinishedSpan, SpanSink};
use crate::propagation::span::resource;

/// Sends spans to Zipkin, or to what speaks its API v2 (Jaeger does). Cheap to clone; clones share
/// one queue.
///
/// ```
/// use tower_mesh::propagation::{Propagation, Zipkin};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let zipkin = Zipkin::to("http://zipkin.istio-system:9411")?;
/// let propagation = Propagation::new().export_to(zipkin.clone());
/// assert_eq!(zipkin.counts().queued, 0);
/// # drop(propagation);
/// # Ok(()) }
/// ```
///
/// Spans have Istio's tags, all of them texts, an annotation at their end (`ss` of a server, `cr`
/// of a client), `debug` where a caller has sent B3's debug flag, and the trace id in as many digits
/// as it came in. The service is that of [the resource](Self#the-service). With it, B3 is read
/// before W3C unless the application has chosen [formats](crate::propagation::Propagation::formats).
///
/// # Collectors that fail
///
/// Spans wait in a queue, 2048 of them and 64 MiB by default; one that finds no room is dropped. A
/// queue for more spans has 4 KiB for each, if that is more. A task sends
/// them, at most 512 in a batch and at the latest after five seconds; `OTEL_BSP_MAX_QUEUE_SIZE`,
/// `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`, `OTEL_BSP_SCHEDULE_DELAY` and `OTEL_BSP_EXPORT_TIMEOUT`
/// (milliseconds) change that. A batch that the collector cannot take now (no connection, 429, 502,
/// 503, 504) is sent again, up to three times within the timeout of ten seconds. Then it is dropped,
/// and so is one that is refused. [`counts`](Self::counts) has all of it, and so have the mesh's
/// metrics `mesh_span_export_total` and `mesh_span_export_queue`. The log tells, once at WARN, that
/// a collector takes no spans, and at INFO that it does again (target `tower_mesh::export`).
///
/// The task runs on the runtime in which the first span ends; that runtime needs tokio's I/O and
/// time. Spans that end where no runtime is are counted as lost.
///
/// # The service
///
/// `localEndpoint.serviceName` is `<app>.<namespace>` of the workload: `<app>` is the label `app`,
/// else `app.kubernetes.io/name`, else `service.istio.io/canonical-name`, else the workload's name.
/// `service.name` in `OTEL_RESOURCE_ATTRIBUTES` counts before that, and `OTEL_SERVICE_NAME` before
/// all. Use one exporter for each workload: the last one that is named counts for all spans.
///
/// [`Propagation`]: crate::propagation::Propagation
/// [formats]: crate::propagation::Propagation::formats
#[derive(Clone, Debug)]
pub struct Zipkin {
    to: Uri,
    limits: Limits,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Queue,
    service: Arc<ArcSwapOption<String>>,
}

impl Zipkin {
    /// Sends to this URL, which begins with `http://`. One without a path gets Zipkin's,
    /// `/api/v2/spans`.
    ///
    /// Nothing is sent before the first span, so the collector need not be there yet.
    ///
    /// # Errors
    /// When it is no such URL: another scheme, no host, or a user or password in it.
    pub fn to(url: &str) -> Result<Self, EndpointError> {
        Ok(Self {
            to: endpoint::read(url, "/api/v2/spans")?,
            limits: Limits::of_spans(),
            shared: Arc::default(),
        })
    }

    /// Sets how many spans may wait, from 1 to 131,072; 2048 by default.
    #[must_use]
    pub fn queue(mut self, spans: usize) -> Self {
        self.limits = self.limits.queue(spans);
        self
    }

    /// Sets how long the collector may take for a batch, retries included; 10 s by default.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.limits.timeout = timeout;
        self
    }

    /// What has become of the spans.
    #[must_use]
    pub fn counts(&self) -> ExportCounts {
        self.shared.queue.counts()
    }

    /// Sends the spans that wait. Returns whether that was done within this time; spans that the
    /// collector has not taken are done, too.
    pub async fn flush(&self, within: Duration) -> bool {
        self.shared.queue.flush(within).await
    }

    fn push(&self, item: Item) {
        let transport = || Post {
            to: self.to.clone(),
            service: Arc::clone(&self.shared.service),
        };
        self.shared.queue.push(item, self.limits, transport);
    }
}

impl SpanSink for Zipkin {
    fn export(&self, span: FinishedSpan) {
        self.push(Item::mesh(span));
    }

    fn workload(&self, workload: &Workload) {
        let name = resource::service_name(workload);
        self.shared.service.store(Some(Arc::new(name)));
    }

    fn names_after_authority(&self) -> bool {
        true
    }

    fn usual_formats(&self) -> &'static [Format] {
        &[Format::B3, Format::W3c]
    }

    fn counts(&self) -> Option<ExportCounts> {
        Some(self.counts())
    }

    fn flush(&self, within: Duration) -> Pin<Box<dyn Future<Output = bool> + Send>> {
        Box::pin(self.shared.queue.flush(within))
    }
}

/// The application's own spans go the same way: give a clone to its tracer provider.
#[cfg(feature = "opentelemetry")]
impl opentelemetry_sdk::trace::SpanProcessor for Zipkin {
    fn on_start(&self, _: &mut opentelemetry_sdk::trace::Span, _: &opentelemetry::Context) {}

    fn on_end(&self, span: opentelemetry_sdk::trace::SpanData) {
        if span.span_context.is_sampled() {
            self.push(Item::Application(Box::new(span)));
        }
    }

    /// Inside a runtime it only asks for it, because it must not block there.
    fn force_flush(&self) -> opentelemetry_sdk::error::OTelSdkResult {
        self.shared.queue.flush_blocking(self.limits.timeout)
    }

    /// As `force_flush`.
    fn shutdown_with_timeout(&self, timeout: Duration) -> opentelemetry_sdk::error::OTelSdkResult {
        self.shared.queue.flush_blocking(timeout)
    }
}

/// Posts batches to Zipkin.
struct Post {
    to: Uri,
    service: Arc<ArcSwapOption<String>>,
}

impl Transport for Post {
    fn place(&self) -> String {
        endpoint::shown(&self.to)
    }

    async fn send(&mut self, batch: Vec<Item>) -> Result<Partial, BoxError> {
        let service = self.service.load();
        let service = service.as_ref().map_or("unknown_service", |name| name);
        let body = Bytes::from(zipkin_json::write(&batch, service)?);
        drop(batch);
        let mut delay = FIRST_DELAY;
        for _ in 0..RETRIES {
            match post(&self.to, headers(), body.clone()).await {
                Ok(response) if response.status().is_success() => return Ok(Partial::default()),
                Ok(response) if !may_pass(response.status()) => {
                    return Err(refused(response.status()));
                }
                // It may be back soon.
                Ok(_) | Err(_) => {}
            }
            sleep(delay).await;
            delay *= 2;
        }
        match post(&self.to, headers(), body).await?.status() {
            status if status.is_success() => Ok(Partial::default()),
            status => Err(refused(status)),
        }
    }
}

/// `b3: 0` keeps a sidecar on the way from tracing the export.
fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert("b3", HeaderValue::from_static("0"));
    headers
}

fn may_pass(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

fn refused(status: StatusCode) -> BoxError {
    format!("the collector answers {status}").into()
}

const RETRIES: u32 = 3;
const FIRST_DELAY: Duration = Duration::from_millis(100);
