//! Pushes the metrics to an OpenTelemetry collector, over OTLP.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Uri, header};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use tokio::sync::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};
use tonic::metadata::MetadataMap;

use crate::identity::Workload;
use crate::metrics::otlp::attribute;
use crate::metrics::{Counter, Registry};
use crate::propagation::{EndpointError, OpenTelemetry, collector};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Where metrics go.
#[derive(Clone, Debug)]
pub(in crate::mesh) struct Collector {
    url: Uri,
    is_http: bool,
}

impl Collector {
    /// Over HTTP where the URL has OTLP's port for it, or a path; else over gRPC.
    pub(in crate::mesh) fn to(url: &str) -> Result<Self, EndpointError> {
        let bare = collector::read(url, "/")?;
        let is_http = bare.port_u16() == Some(4318) || bare.path() != "/";
        let url = match is_http {
            true => collector::read(url, "/v1/metrics")?,
            false => bare,
        };
        Ok(Self { url, is_http })
    }
}

/// Pushes all metrics at intervals. A collector that is slow, broken or absent has no effect beyond
/// the counts and a line in the log: the numbers are totals, so that the next push has all of them.
#[derive(Debug)]
pub(in crate::mesh) struct MetricsPusher {
    to: Collector,
    registry: Registry,
    resource: Resource,
    headers: HeaderMap,
    every: Duration,
    within: Duration,
    exported: Counter,
    failed: Counter,
    /// One push at a time; whether the last one failed.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    grpc: Option<MetricsServiceClient<tonic::transport::Channel>>,
    is_failing: bool,
}

impl MetricsPusher {
    /// `OTEL_METRIC_EXPORT_INTERVAL` and `OTEL_METRIC_EXPORT_TIMEOUT` are in milliseconds.
    pub(in crate::mesh) fn new(
        to: Collector,
        registry: &Registry,
        workload: &Workload,
    ) -> Arc<Self> {
        let resource = OpenTelemetry::resource(workload);
        let attributes = resource.iter();
        let attributes =
            attributes.map(|(key, value)| attribute(key.to_string(), value.to_string()));
        let help = "Pushes of metrics to a collector, by outcome.";
        let count =
            |outcome| registry.counter("mesh_metrics_export_total", help, &[("outcome", outcome)]);
        Arc::new(Self {
            to,
            registry: registry.clone(),
            resource: Resource {
                attributes: attributes.collect(),
                ..Resource::default()
            },
            headers: collector::headers("METRICS"),
            every: milliseconds("OTEL_METRIC_EXPORT_INTERVAL", 60_000),
            within: milliseconds("OTEL_METRIC_EXPORT_TIMEOUT", 30_000),
            exported: count("exported"),
            failed: count("failed"),
            state: Mutex::default(),
        })
    }

    /// Pushes for ever; without a pusher it only waits.
    pub(in crate::mesh) async fn run(pusher: Option<Arc<Self>>) {
        let Some(pusher) = pusher else {
            return pending().await;
        };
        let mut ticks = interval(pusher.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick is at once, when there is nothing to tell.
        ticks.tick().await;
        loop {
            ticks.tick().await;
            pusher.push(pusher.within).await;
        }
    }

    /// Pushes once. Returns whether the collector has taken all metrics.
    pub(in crate::mesh) async fn push(&self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        let is_taken = match timeout_at(deadline, self.state.lock()).await {
            Ok(mut state) => {
                let sent = timeout_at(deadline, self.send(&mut state)).await;
                let sent = sent.unwrap_or_else(|_| {
                    // The connection may be dead without anybody having said so.
                    state.grpc = None;
                    Err(format!("no answer within {within:?}").into())
                });
                self.tell(&mut state, &sent)
            }
            // Another push is under way, which tells.
            Err(_) => false,
        };
        let count = if is_taken {
            &self.exported
        } else {
            &self.failed
        };
        count.add(1);
        is_taken
    }

    async fn send(&self, state: &mut State) -> Result<(), BoxError> {
        for metrics in self.registry.batches() {
            let request = self.request(metrics);
            match self.to.is_http {
                true => self.post(request).await?,
                false => self.call(state, request).await?,
            }
        }
        Ok(())
    }

    fn request(&self, metrics: Vec<Metric>) -> ExportMetricsServiceRequest {
        let scope = InstrumentationScope {
            name: "tower-mesh".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(self.resource.clone()),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(scope),
                    metrics,
                    schema_url: String::new(),
                }],
                schema_url: String::new(),
            }],
        }
    }

    async fn post(&self, request: ExportMetricsServiceRequest) -> Result<(), BoxError> {
        let mut headers = self.headers.clone();
        let protobuf = HeaderValue::from_static("application/x-protobuf");
        headers.insert(header::CONTENT_TYPE, protobuf);
        let body = Bytes::from(request.encode_to_vec());
        let response = collector::post(&self.to.url, headers, body).await?;
        match response.status() {
            status if status.is_success() => Ok(()),
            status => Err(format!("it answered with {status}").into()),
        }
    }

    async fn call(
        &self,
        state: &mut State,
        request: ExportMetricsServiceRequest,
    ) -> Result<(), BoxError> {
        let client = match &mut state.grpc {
            Some(client) => client,
            none => none.insert(MetricsServiceClient::connect(self.to.url.to_string()).await?),
        };
        let mut request = tonic::Request::new(request);
        *request.metadata_mut() = MetadataMap::from_headers(self.headers.clone());
        let answer = client.export(request).await;
        if answer.is_err() {
            state.grpc = None;
        }
        answer?;
        Ok(())
    }

    /// Once until it changes.
    fn tell(&self, state: &mut State, sent: &Result<(), BoxError>) -> bool {
        let collector = collector::shown(&self.to.url);
        match (sent, state.is_failing) {
            (Err(reason), false) => tracing::warn!(
                target: "tower_mesh::export",
                %collector, %reason, "the collector does not take metrics"
            ),
            (Ok(()), true) => tracing::info!(
                target: "tower_mesh::export",
                %collector, "the collector takes metrics again"
            ),
            _ => {}
        }
        state.is_failing = sent.is_err();
        sent.is_ok()
    }
}

fn milliseconds(name: &str, usual: u64) -> Duration {
    let set = variable(name).and_then(|value| value.trim().parse().ok());
    Duration::from_millis(set.filter(|set| *set > 0).unwrap_or(usual))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name)
        .ok()
        .filter(|value| !value.trim().is_empty())
}
