//! Sends log records to an OpenTelemetry collector, on the queue and in the batches of spans.

#[cfg(all(feature = "server", feature = "client"))]
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use tokio::time::sleep;
use tonic::Code;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};

use super::batch::{BoxError, Transport};
use super::endpoint::{self, EndpointError, read};
use super::item::{Held, Item, LogItem};
use super::limits::Limits;
use super::otlp_target::{Target, headers};
use super::post::post;
use super::queue::Queue;
use crate::propagation::span::export_counts::ExportCounts;

/// Where log records go. They wait in a queue that is bounded in number and in bytes.
#[derive(Debug)]
pub(crate) struct LogExport {
    to: Target,
    limits: Limits,
    queue: Queue,
    bytes: Arc<AtomicUsize>,
    most_bytes: usize,
    resource: Arc<ArcSwapOption<Resource>>,
    /// Records for which there were too many bytes.
    refused: AtomicUsize,
}

impl LogExport {
    /// Over HTTP where the URL has OTLP's port for it, or a path; else over gRPC.
    pub(crate) fn to(url: &str) -> Result<Self, EndpointError> {
        let to = match Target::guess(url)? {
            Target::Http(_) => Target::Http(read(url, "/v1/logs")?),
            grpc @ Target::Grpc(_) => grpc,
        };
        let limits = Limits::from_env().queue(MOST_RECORDS);
        Ok(Self::new(to, limits, MOST_BYTES))
    }

    fn new(to: Target, limits: Limits, most_bytes: usize) -> Self {
        Self {
            to,
            limits,
            queue: Queue::default(),
            bytes: Arc::default(),
            most_bytes,
            resource: Arc::default(),
            refused: AtomicUsize::new(0),
        }
    }

    /// The same, with other bounds, before anything was sent.
    pub(crate) fn bounded(self, records: usize, bytes: usize, timeout: Duration) -> Self {
        let mut limits = self.limits.queue(records);
        limits.timeout = timeout;
        Self::new(self.to, limits, bytes)
    }

    /// Where to, for the log.
    pub(crate) fn place(&self) -> String {
        place(&self.to)
    }

    /// Says whose records they are.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(crate) fn set_resource<'a>(&self, attributes: impl Iterator<Item = (&'a str, String)>) {
        let attributes = attributes.map(|(name, value)| text(name, value));
        self.resource.store(Some(Arc::new(Resource {
            attributes: attributes.collect(),
            ..Resource::default()
        })));
    }

    /// Takes a record, or drops and counts it. Never waits.
    pub(crate) fn push(&self, record: LogRecord) {
        let size = record.encoded_len();
        let before = self.bytes.fetch_add(size, Ordering::Relaxed);
        let held = Held(size, Arc::clone(&self.bytes));
        if before.saturating_add(size) > self.most_bytes {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let item = Item::Log(Box::new(LogItem { record, held }));
        let sender = || Sender {
            to: self.to.clone(),
            headers: headers("LOGS"),
            resource: Arc::clone(&self.resource),
            grpc: None,
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
        let refused = self.refused.load(Ordering::Relaxed) as u64;
        [exported, dropped + refused, failed + lost + rejected]
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

fn place(to: &Target) -> String {
    let (Target::Grpc(url) | Target::Http(url)) = to;
    endpoint::shown(url)
}

/// An attribute with a text.
pub(crate) fn text(name: &str, value: impl Into<String>) -> KeyValue {
    attribute(name, Value::StringValue(value.into()))
}

/// An attribute.
pub(crate) fn attribute(name: &str, value: Value) -> KeyValue {
    KeyValue {
        key: name.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

/// Sends batches over OTLP.
struct Sender {
    to: Target,
    headers: HeaderMap,
    resource: Arc<ArcSwapOption<Resource>>,
    /// Made in the task of the exporter: a channel needs a runtime.
    grpc: Option<LogsServiceClient<Channel>>,
}

/// Why a batch was not taken.
enum Refused {
    /// For now.
    Later(BoxError),
    ForGood(BoxError),
}

impl Transport for Sender {
    fn place(&self) -> String {
        place(&self.to)
    }

    fn items(&self) -> &'static str {
        "log records"
    }

    /// Sends a batch again, up to three times, that the collector cannot take now; the timeout of
    /// the caller bounds it all.
    async fn send(&mut self, batch: Vec<Item>) -> Result<u64, BoxError> {
        let request = self.request(batch);
        let mut wait = FIRST_WAIT;
        for _ in 0..3 {
            match self.send_once(&request).await {
                Ok(rejected) => return Ok(rejected),
                Err(Refused::ForGood(error)) => return Err(error),
                Err(Refused::Later(_)) => sleep(wait).await,
            }
            wait *= 2;
        }
        match self.send_once(&request).await {
            Ok(rejected) => Ok(rejected),
            Err(Refused::Later(error) | Refused::ForGood(error)) => Err(error),
        }
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
        let scope = InstrumentationScope {
            name: "tower-mesh".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs {
                resource: self.resource.load().as_deref().cloned(),
                scope_logs: vec![ScopeLogs {
                    scope: Some(scope),
                    log_records: records.collect(),
                    schema_url: String::new(),
                }],
                schema_url: String::new(),
            }],
        }
    }

    /// Returns how many of the records the collector has rejected.
    async fn send_once(&mut self, request: &ExportLogsServiceRequest) -> Result<u64, Refused> {
        match &self.to {
            Target::Http(url) => {
                let mut headers = self.headers.clone();
                let protobuf = HeaderValue::from_static("application/x-protobuf");
                headers.insert(header::CONTENT_TYPE, protobuf);
                let body = request.encode_to_vec().into();
                let answer = post(url, headers, body).await.map_err(Refused::Later)?;
                match answer.status() {
                    status if status.is_success() => {
                        let response = ExportLogsServiceResponse::decode(&answer.body()[..]);
                        Ok(rejected(response.unwrap_or_default()))
                    }
                    status => Err(of_status(status)),
                }
            }
            Target::Grpc(url) => {
                let client = match &mut self.grpc {
                    Some(client) => client,
                    none => {
                        let endpoint = Endpoint::from(url.clone());
                        none.insert(LogsServiceClient::new(endpoint.connect_lazy()))
                    }
                };
                let mut request = tonic::Request::new(request.clone());
                *request.metadata_mut() = MetadataMap::from_headers(self.headers.clone());
                match client.export(request).await {
                    Ok(response) => Ok(rejected(response.into_inner())),
                    Err(status) => Err(match status.code() {
                        Code::Unavailable | Code::ResourceExhausted | Code::Aborted => {
                            Refused::Later(status.into())
                        }
                        _ => Refused::ForGood(status.into()),
                    }),
                }
            }
        }
    }
}

fn rejected(response: ExportLogsServiceResponse) -> u64 {
    let partial = response.partial_success.unwrap_or_default();
    u64::try_from(partial.rejected_log_records).unwrap_or(0)
}

fn of_status(status: StatusCode) -> Refused {
    let error = format!("the collector answers {status}").into();
    match status.as_u16() {
        429 | 502..=504 => Refused::Later(error),
        _ => Refused::ForGood(error),
    }
}

const FIRST_WAIT: Duration = Duration::from_millis(200);
const MOST_RECORDS: usize = 8 * 1024;
const MOST_BYTES: usize = 8 * 1024 * 1024;
