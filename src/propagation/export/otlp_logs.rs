//! Sends log records to an OpenTelemetry collector, on the queue and in the batches of spans.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::resource::v1::Resource;
use tokio::time::sleep;

use super::batch::{BoxError, Partial, Transport};
#[cfg(all(feature = "server", feature = "client"))]
use super::collector::resource;
#[cfg(all(feature = "server", feature = "client"))]
use super::collector::text;
use super::collector::{Client, LOGS, Logs, Refused, Target, logs_request};
use super::endpoint::EndpointError;
use super::item::{Item, LogItem};
use super::limits::Limits;
use super::queue::Queue;
use crate::propagation::span::export_counts::ExportCounts;

/// Where log records go. They wait in a queue that is bounded in number and in bytes.
#[derive(Debug)]
pub(crate) struct LogExport {
    to: Target,
    limits: Limits,
    queue: Queue,
    resource: Arc<ArcSwapOption<Resource>>,
}

impl LogExport {
    /// Over HTTP where the URL has OTLP's port for it, or a path; else over gRPC.
    pub(crate) fn to(url: &str) -> Result<Self, EndpointError> {
        let mut limits = Limits::of_logs();
        limits.bytes = MOST_BYTES;
        Ok(Self::new(Target::guess(url, LOGS)?, limits))
    }

    fn new(to: Target, limits: Limits) -> Self {
        Self {
            to,
            limits,
            queue: Queue::default(),
            resource: Arc::default(),
        }
    }

    /// The same, with other bounds, before anything was sent.
    pub(crate) fn bounded(self, records: usize, bytes: usize, timeout: Duration) -> Self {
        let mut limits = self.limits.queue(records);
        limits.bytes = bytes as u64;
        limits.timeout = timeout;
        Self::new(self.to, limits)
    }

    /// Where to, for the log.
    pub(crate) fn place(&self) -> String {
        self.to.place()
    }

    /// Says whose records they are.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn set_resource<'a>(&self, attributes: impl Iterator<Item = (&'a str, String)>) {
        let attributes = attributes.map(|(name, value)| text(name, value));
        self.resource.store(Some(Arc::new(resource(attributes))));
    }

    /// Takes a record, or drops and counts it. Never waits. Its bytes count until its batch was
    /// sent or given up.
    pub(crate) fn push(&self, record: LogRecord) {
        let item = Item::Log(Box::new(LogItem::new(record)));
        let sender = || Sender {
            client: Client::new::<Logs>(self.to.clone()),
            resource: Arc::clone(&self.resource),
        };
        self.queue.push(item, self.limits, sender);
    }

    /// What has become of the records: those that the collector has taken, that found no room, and
    /// that failed, were lost or rejected.
    pub(crate) fn counts(&self) -> [u64; 3] {
        let ExportCounts {
            exported,
            dropped,
            failed,
            lost,
            rejected,
            ..
        } = self.queue.counts();
        [exported, dropped, failed + lost + rejected]
    }

    /// Sends what waits. Returns whether that was done within this time.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn flush(&self, within: Duration) -> impl Future<Output = bool> + Send + use<> {
        self.queue.flush(within)
    }

    /// As [`flush`](Self::flush), for callers that are not async. Inside a runtime it only asks for
    /// it.
    pub(crate) fn flush_blocking(&self, within: Duration) -> bool {
        self.queue.flush_blocking(within).is_ok()
    }
}

/// Sends batches over OTLP.
struct Sender {
    client: Client,
    resource: Arc<ArcSwapOption<Resource>>,
}

impl Transport for Sender {
    fn place(&self) -> String {
        self.client.place()
    }

    fn items(&self) -> &'static str {
        "log records"
    }

    /// Sends a batch again, up to three times, that the collector cannot take now; the timeout of
    /// the caller bounds it all.
    async fn send(&mut self, batch: Vec<Item>) -> Result<Partial, BoxError> {
        let request = self.request(batch);
        let mut wait = FIRST_WAIT;
        for _ in 0..3 {
            match self.client.export::<Logs>(&request).await {
                Err(Refused::Later(_)) => sleep(wait).await,
                done => return done.map_err(Refused::into_error),
            }
            wait *= 2;
        }
        let last = self.client.export::<Logs>(&request).await;
        last.map_err(Refused::into_error)
    }
}

impl Sender {
    fn request(&self, batch: Vec<Item>) -> ExportLogsServiceRequest {
        let records = batch.into_iter().filter_map(|item| match item {
            Item::Log(item) => Some(item.record),
            // The queue of logs has nothing else.
            #[cfg(feature = "zipkin")]
            Item::Mesh(_) => None,
            Item::Application(_) => None,
        });
        let resource = self.resource.load().as_deref().cloned();
        logs_request(resource, records.collect())
    }
}

const FIRST_WAIT: Duration = Duration::from_millis(200);
const MOST_BYTES: u64 = 8 * 1024 * 1024;
