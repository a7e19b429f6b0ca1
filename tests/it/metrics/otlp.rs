//! Metrics as an OpenTelemetry collector gets them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Metric, number_data_point};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use tower_mesh::Mesh;
use tower_mesh::message::{ByteCount, End};
use tower_mesh::propagation::Propagation;
use tower_mesh::testing::Pki;
use tracing::Level;

use super::{call, routes};
use crate::support::log::Log;
use crate::support::mesh::{app, build, caller, lines, pass, serve, settle, until};

type Sent = mpsc::UnboundedSender<ExportMetricsServiceRequest>;

const SOON: Duration = Duration::from_secs(20);

async fn over_http() -> (String, mpsc::UnboundedReceiver<ExportMetricsServiceRequest>) {
    async fn take(State(sent): State<Sent>, headers: HeaderMap, body: Bytes) {
        assert_eq!(headers["content-type"], "application/x-protobuf");
        let _ = sent.send(ExportMetricsServiceRequest::decode(body).unwrap());
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/metrics", listener.local_addr().unwrap());
    let (sent, received) = mpsc::unbounded_channel();
    let app = Router::new()
        .route("/v1/metrics", axum::routing::post(take))
        .with_state(sent);
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, received)
}

struct OverGrpc(Sent);

#[tonic::async_trait]
impl MetricsService for OverGrpc {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let _ = self.0.send(request.into_inner());
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

async fn over_grpc() -> (String, mpsc::UnboundedReceiver<ExportMetricsServiceRequest>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sent, received) = mpsc::unbounded_channel();
    let server = Server::builder().add_service(MetricsServiceServer::new(OverGrpc(sent)));
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    (url, received)
}

/// A mesh that pushes there and has answered one recorded request.
async fn answered(url: &str) -> Mesh {
    let pki = Pki::new("cluster.local").unwrap();
    let builder = app(&pki).telemetry(|telemetry| telemetry.otlp_metrics(url));
    let mesh = build(builder).await;
    let served = serve(&mesh, routes()).await;
    let id = pki
        .identity("default", "app")
        .unwrap()
        .svid()
        .spiffe_id()
        .clone();
    let desk = tower_mesh::Workload::new("default", "desk");
    let desk = Mesh::builder(desk, pki.identity("default", "desk").unwrap())
        .upstream("app.default", [served.address], [id])
        .telemetry(|t| t.propagation(Propagation::new().sample_percent(100.0)));
    call(&build(desk).await, "/text").await;
    until("the count", || {
        lines(&mesh, "istio_requests_total{", &[]).len() == 1
    })
    .await;
    mesh
}

fn metric<'a>(request: &'a ExportMetricsServiceRequest, name: &str) -> &'a Metric {
    let scopes = request
        .resource_metrics
        .iter()
        .flat_map(|resource| &resource.scope_metrics);
    let mut metrics = scopes.flat_map(|scope| &scope.metrics);
    metrics.find(|metric| metric.name == name).unwrap()
}

fn value<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text),
        _ => None,
    }
}

fn is_whole(request: &ExportMetricsServiceRequest) {
    let resource = request.resource_metrics[0].resource.as_ref().unwrap();
    assert_eq!(
        value(&resource.attributes, "service.name"),
        Some("app.default")
    );
    assert_eq!(
        value(&resource.attributes, "service.namespace"),
        Some("default")
    );

    let requests = metric(request, "istio_requests_total");
    let Some(Data::Sum(sum)) = &requests.data else {
        panic!("{requests:?}");
    };
    assert!(sum.is_monotonic);
    assert_eq!(sum.aggregation_temporality, 2, "cumulative");
    let [point] = &sum.data_points[..] else {
        panic!("{sum:?}");
    };
    assert_eq!(point.value, Some(number_data_point::Value::AsInt(1)));
    assert_eq!(point.attributes.len(), 25);
    assert_eq!(value(&point.attributes, "reporter"), Some("destination"));
    assert_eq!(value(&point.attributes, "response_code"), Some("200"));
    assert_eq!(value(&point.attributes, "grpc_response_status"), Some(""));
    assert!(point.start_time_unix_nano <= point.time_unix_nano);
    assert_eq!(point.exemplars[0].trace_id.len(), 16);
    assert_eq!(point.exemplars[0].span_id.len(), 8);

    let bytes = metric(request, "istio_request_bytes");
    assert_eq!(bytes.unit, "By");
    let Some(Data::Histogram(histogram)) = &bytes.data else {
        panic!("{bytes:?}");
    };
    let point = &histogram.data_points[0];
    assert_eq!((point.count, point.bucket_counts.len()), (1, 20));
    assert_eq!(point.explicit_bounds[..3], [0.5, 1.0, 5.0]);
    assert_eq!(point.exemplars[0].trace_id.len(), 16);
    assert!(matches!(
        metric(request, "istio_build").data,
        Some(Data::Gauge(_))
    ));
}

#[tokio::test]
async fn a_collector_gets_all_metrics_over_http() {
    let (url, mut received) = over_http().await;
    let mesh = answered(&url).await;
    assert!(mesh.flush_metrics(SOON).await);
    is_whole(&received.recv().await.unwrap());
    let labels = [r#"outcome="exported""#];
    let counted = lines(&mesh, "mesh_metrics_export_total", &labels);
    assert!(counted[0].ends_with(" 1"), "{counted:?}");
}

#[tokio::test]
async fn a_collector_gets_all_metrics_over_grpc() {
    let (url, mut received) = over_grpc().await;
    let mesh = answered(&url).await;
    assert!(mesh.flush_metrics(SOON).await);
    is_whole(&received.recv().await.unwrap());
}

/// None of the series is left out, and none is sent twice.
#[tokio::test]
async fn many_series_are_sent_in_several_requests() {
    let (url, mut received) = over_http().await;
    let mesh = answered(&url).await;
    thousand_hosts(&mesh);
    assert!(mesh.flush_metrics(SOON).await);
    let (points, requests) = requests_total(&mut received);
    assert_eq!(points, 1001);
    assert!(requests >= 8, "{requests}");
}

fn thousand_hosts(mesh: &Mesh) {
    let metrics = mesh.metrics().client(mesh.workload());
    for host in 0..1000 {
        let head = http::Request::get(format!("http://h{host}.example.com/"));
        let (mut head, ()) = head.body(()).unwrap().into_parts();
        let now = Instant::now();
        let record = metrics.begin(&mut head, ByteCount::default(), now);
        record.finish(End::cancelled(), now);
    }
}

/// How many series of it have come, in how many requests in all.
fn requests_total(
    received: &mut mpsc::UnboundedReceiver<ExportMetricsServiceRequest>,
) -> (usize, usize) {
    let (mut points, mut requests) = (0, 0);
    while let Ok(request) = received.try_recv() {
        requests += 1;
        let scopes = request
            .resource_metrics
            .iter()
            .flat_map(|r| &r.scope_metrics);
        for metric in scopes.flat_map(|scope| &scope.metrics) {
            if metric.name == "istio_requests_total"
                && let Some(Data::Sum(sum)) = &metric.data
            {
                assert!(sum.data_points.len() <= 500, "{}", sum.data_points.len());
                points += sum.data_points.len();
            }
        }
    }
    (points, requests)
}

/// One request of a push that is refused for good stops none of the others, and the push has failed.
#[tokio::test]
async fn a_request_that_is_refused_stops_no_other() {
    let (sent, mut received) = mpsc::unbounded_channel();
    let refused = Arc::new(AtomicBool::new(false));
    let app = Router::new().fallback(async move |body: Bytes| {
        let _ = sent.send(ExportMetricsServiceRequest::decode(body).unwrap());
        match refused.swap(true, Ordering::Relaxed) {
            false => StatusCode::BAD_REQUEST,
            true => StatusCode::OK,
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/metrics", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let mesh = answered(&url).await;
    thousand_hosts(&mesh);
    assert!(!mesh.flush_metrics(SOON).await);
    assert_eq!(requests_total(&mut received).0, 1001);
}

/// Some collectors write JSON, whatever they are sent.
#[tokio::test]
async fn an_answer_in_json_is_an_answer() {
    let json = "HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=utf-8\r\n\
                content-length: 2\r\n\r\n{}";
    let url = bad(Some(json.as_bytes())).await + "/v1/metrics";
    let mesh = answered(&url).await;
    assert!(mesh.flush_metrics(SOON).await);
}

#[tokio::test]
async fn the_driver_pushes_once_a_minute() {
    let (url, mut received) = over_http().await;
    let _mesh = answered(&url).await;
    settle().await;
    assert!(received.try_recv().is_err());
    pass(Duration::from_secs(61)).await;
    is_whole(&received.recv().await.unwrap());
}

/// What a bad collector answers each connection with; `None` accepts and never answers.
async fn bad(answer: Option<&'static [u8]>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 1024];
                let _ = stream.read(&mut buffer).await;
                let _ = stream.write_all(answer.unwrap_or_default()).await;
                while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
            });
        }
    });
    format!("http://{address}")
}

/// Nothing but the count and one line of the log tells.
#[tokio::test]
async fn a_bad_collector_harms_nothing() {
    let pki = Pki::new("cluster.local").unwrap();
    let absent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}", absent.local_addr().unwrap());
    drop(absent);
    let page = Some(&b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>"[..]);
    let broken = Some(&b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n"[..]);
    let garbage = Some(&b"\x00\xff what is this\r\n\r\n"[..]);
    let (grpc, http) = ("", "/v1/metrics");
    for (url, path, reason) in [
        (nobody, grpc, ""),
        (bad(None).await, grpc, "no answer within"),
        (bad(None).await, http, "no answer within"),
        (bad(page).await, http, "200 OK with a body that is no OTLP"),
        (bad(broken).await, http, "the collector answers 500"),
        (bad(garbage).await, http, ""),
        (bad(garbage).await, grpc, ""),
    ] {
        let (events, _listening) = Log::listen(Level::WARN);
        let url = url + path;
        let mesh = build(app(&pki).telemetry(|telemetry| telemetry.otlp_metrics(&url))).await;
        let served = serve(&mesh, routes()).await;
        let desk = caller(&pki, "desk", served.address).await;
        let within = match reason {
            "no answer within" => Duration::from_millis(200),
            _ => SOON,
        };
        for _ in 0..2 {
            let (is_taken, status) = tokio::join!(mesh.flush_metrics(within), call(&desk, "/text"));
            assert_eq!((is_taken, status), (false, 200), "{url}");
        }
        let counted = lines(&mesh, "mesh_metrics_export_total", &[r#"outcome="failed""#]);
        assert!(counted[0].ends_with(" 2"), "{url}: {counted:?}");
        let told = events.with(&["the collector does not take metrics", &url, reason]);
        assert_eq!(told.len(), 1, "{url}: {told:?}");
    }
}

/// The connection that has died without a word is not used again.
#[tokio::test]
async fn a_dead_connection_costs_one_push() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mesh = answered(&url).await;
    let (is_taken, dead) = tokio::join!(
        mesh.flush_metrics(Duration::from_secs(2)),
        listener.accept()
    );
    let _dead = dead.unwrap();
    assert!(!is_taken);
    let (sent, mut received) = mpsc::unbounded_channel();
    let server = Server::builder().add_service(MetricsServiceServer::new(OverGrpc(sent)));
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    assert!(mesh.flush_metrics(SOON).await);
    is_whole(&received.recv().await.unwrap());
}

/// What a collector has not taken of a push is counted, and told once.
#[tokio::test]
async fn points_that_a_collector_rejects_are_told() {
    let (events, _listening) = Log::listen(Level::WARN);
    let partial = ExportMetricsServiceResponse {
        partial_success: Some(ExportMetricsPartialSuccess {
            rejected_data_points: 3,
            error_message: "too old".to_owned(),
        }),
    };
    let app = Router::new().fallback(move || async move { partial.encode_to_vec() });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/metrics", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let mesh = answered(&url).await;
    for _ in 0..2 {
        assert!(mesh.flush_metrics(SOON).await);
    }
    let counted = &lines(&mesh, "mesh_metrics_rejected_points_total", &[])[0];
    let count: u64 = counted.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(count >= 6 && count.is_multiple_of(3), "{counted}");
    let told = events.with(&["rejects some data points", "too old"]);
    assert_eq!(told.len(), 1, "{told:?}");
}

#[tokio::test]
async fn a_url_that_cannot_be_used_is_a_mistake_of_the_builder() {
    let pki = Pki::new("cluster.local").unwrap();
    let builder = app(&pki).telemetry(|telemetry| telemetry.otlp_metrics("collector:4317"));
    let error = builder.build().await.err().unwrap().to_string();
    assert!(
        error.contains("otlp_metrics: not a collector's URL"),
        "{error}"
    );
}
