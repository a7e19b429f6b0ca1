//! Pushes the metrics to an OpenTelemetry collector, over OTLP.

use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use tokio::sync::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::identity::Workload;
use crate::metrics::otlp::attribute;
use crate::metrics::{Counter, Registry};
use crate::propagation::OpenTelemetry;
use crate::propagation::collector::{self, Client, Partial, Refused, Signal, Target};

/// Pushes all metrics at intervals. A collector that is slow, broken or absent has no effect beyond
/// the counts and a line in the log: the numbers are totals, so that the next push has all of them.
#[derive(Debug)]
pub(in crate::mesh) struct MetricsPusher {
    collector: String,
    registry: Registry,
    resource: Resource,
    every: Duration,
    within: Duration,
    exported: Counter,
    failed: Counter,
    /// Data points of pushes that were taken.
    rejected: Counter,
    /// One push at a time.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    client: Client,
    /// Whether the last push failed.
    is_failing: bool,
    /// Whether the collector has rejected some of the last one.
    rejects: bool,
}

/// OTLP's metrics.
struct Metrics;

impl Signal for Metrics {
    const NAME: &'static str = "METRICS";

    type Request = ExportMetricsServiceRequest;
    type Response = ExportMetricsServiceResponse;

    fn call(
        channel: Channel,
        request: Request<Self::Request>,
    ) -> impl Future<Output = Result<Response<Self::Response>, Status>> + Send {
        let mut client = MetricsServiceClient::new(channel);
        async move { client.export(request).await }
    }

    fn partial(response: Self::Response) -> Partial {
        let partial = response.partial_success.unwrap_or_default();
        Partial {
            rejected: u64::try_from(partial.rejected_data_points).unwrap_or(0),
            message: partial.error_message,
        }
    }
}

impl MetricsPusher {
    /// `OTEL_METRIC_EXPORT_INTERVAL` and `OTEL_METRIC_EXPORT_TIMEOUT` are in milliseconds.
    pub(in crate::mesh) fn new(to: Target, registry: &Registry, workload: &Workload) -> Arc<Self> {
        let resource = OpenTelemetry::resource(workload);
        let attributes = resource.iter();
        let attributes =
            attributes.map(|(key, value)| attribute(key.to_string(), value.to_string()));
        let help = "Pushes of metrics to a collector, by outcome.";
        let count =
            |outcome| registry.counter("mesh_metrics_export_total", help, &[("outcome", outcome)]);
        let state = State {
            client: Client::new::<Metrics>(to),
            is_failing: false,
            rejects: false,
        };
        Arc::new(Self {
            collector: state.client.place(),
            registry: registry.clone(),
            resource: collector::resource(attributes),
            every: milliseconds("OTEL_METRIC_EXPORT_INTERVAL", 60_000),
            within: milliseconds("OTEL_METRIC_EXPORT_TIMEOUT", 30_000),
            exported: count("exported"),
            failed: count("failed"),
            rejected: registry.counter(
                "mesh_metrics_rejected_points_total",
                "Data points that a collector has rejected, of pushes that it took.",
                &[],
            ),
            state: Mutex::new(state),
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
                let sent = timeout_at(deadline, self.send(&mut state.client)).await;
                let sent =
                    sent.unwrap_or_else(|_| Err(format!("no answer within {within:?}").into()));
                self.tell(&mut state, &sent);
                sent.is_ok()
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

    /// Returns what the collector has rejected of all. One request that it refuses for good stops
    /// none of the others.
    async fn send(&self, client: &mut Client) -> Result<Partial, BoxError> {
        let (mut all, mut refused) = (Partial::default(), None);
        for metrics in self.registry.batches() {
            let request = self.request(metrics);
            let partial = match client.export::<Metrics>(&request).await {
                Ok(partial) => partial,
                Err(Refused::ForGood(error)) => {
                    refused.get_or_insert(error);
                    continue;
                }
                Err(Refused::Later(error)) => return Err(error),
            };
            all.rejected += partial.rejected;
            if all.message.is_empty() {
                all.message = partial.message;
            }
        }
        refused.map_or(Ok(all), Err)
    }

    fn request(&self, metrics: Vec<Metric>) -> ExportMetricsServiceRequest {
        ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(self.resource.clone()),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(collector::scope()),
                    metrics,
                    schema_url: String::new(),
                }],
                schema_url: String::new(),
            }],
        }
    }

    /// Once until it changes.
    fn tell(&self, state: &mut State, sent: &Result<Partial, BoxError>) {
        let collector = &self.collector;
        match (sent, state.is_failing) {
            (Err(error), false) => tracing::warn!(
                target: "tower_mesh::export",
                %collector, reason = collector::shown(&**error),
                "the collector does not take metrics"
            ),
            (Ok(_), true) => tracing::info!(
                target: "tower_mesh::export",
                %collector, "the collector takes metrics again"
            ),
            _ => {}
        }
        state.is_failing = sent.is_err();
        let Ok(partial) = sent else {
            return;
        };
        self.rejected.add(partial.rejected);
        if partial.rejected > 0 && !state.rejects {
            tracing::warn!(
                target: "tower_mesh::export",
                %collector, rejected = partial.rejected, reason = collector::cut(&partial.message),
                "the collector rejects some data points; they are counted"
            );
        }
        state.rejects = partial.rejected > 0;
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn milliseconds(name: &str, usual: u64) -> Duration {
    let set = variable(name).and_then(|value| value.trim().parse().ok());
    Duration::from_millis(set.filter(|set| *set > 0).unwrap_or(usual))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name)
        .ok()
        .filter(|value| !value.trim().is_empty())
}
