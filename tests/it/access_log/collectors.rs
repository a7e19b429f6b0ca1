//! Lines that go to an OpenTelemetry collector, and collectors that are no good.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::any;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{
    LogsService, LogsServiceServer,
};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tower_mesh::access_log::{AccessLog, Side, Sink};
use tower_mesh::source::Fixed;
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, Workload};
use tracing::Level;

use crate::support::log::Log;
use crate::support::mesh::{app, build, lines, policy, read, serve, settle, until};

pub(crate) type Exports = mpsc::UnboundedReceiver<ExportLogsServiceRequest>;

/// A collector over HTTP.
pub(crate) async fn over_http() -> (String, Exports) {
    let (sender, exports) = mpsc::unbounded_channel();
    let app = Router::new().route(
        "/v1/logs",
        any(async move |headers: HeaderMap, body: Bytes| {
            assert_eq!(headers["content-type"], "application/x-protobuf");
            let _ = sender.send(ExportLogsServiceRequest::decode(body).unwrap());
            StatusCode::OK
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/logs", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, exports)
}

struct Grpc(mpsc::UnboundedSender<ExportLogsServiceRequest>);

#[async_trait::async_trait]
impl LogsService for Grpc {
    async fn export(
        &self,
        request: tonic::Request<ExportLogsServiceRequest>,
    ) -> Result<tonic::Response<ExportLogsServiceResponse>, tonic::Status> {
        let _ = self.0.send(request.into_inner());
        Ok(tonic::Response::new(ExportLogsServiceResponse::default()))
    }
}

pub(crate) async fn over_grpc() -> (String, Exports) {
    let (sender, exports) = mpsc::unbounded_channel();
    let incoming = tonic::transport::server::TcpIncoming::bind("127.0.0.1:0".parse().unwrap());
    let incoming = incoming.unwrap();
    let url = format!("http://{}", incoming.local_addr().unwrap());
    let server = tonic::transport::Server::builder()
        .add_service(LogsServiceServer::new(Grpc(sender)))
        .serve_with_incoming(incoming);
    tokio::spawn(server);
    (url, exports)
}

/// A mesh whose lines go there, and a caller that logs its calls there, too.
async fn meshes(pki: &Pki, sink: &Sink) -> (Mesh, Mesh, SocketAddr) {
    let log = AccessLog::text().side(Side::Both).to(sink.clone());
    let deny = policy("p", "DENY", "[{to: [{operation: {paths: [/refused]}}]}]");
    let builder = app(pki).config(Fixed::yaml("p.yaml", deny));
    let builder = builder.telemetry(|telemetry| {
        let telemetry = telemetry.access_log(log.clone());
        telemetry.redact_path("/patients/{id}")
    });
    let mesh = build(builder).await;
    let served = serve(&mesh, Router::new().fallback(any(|| async { "hello" }))).await;
    let identity = pki.identity("default", "desk").unwrap();
    let id = "spiffe://cluster.local/ns/default/sa/app";
    let desk = Mesh::builder(Workload::new("default", "desk"), identity)
        .upstream("app.default", [served.address], [id])
        .telemetry(|telemetry| telemetry.access_log(log.side(Side::Client)));
    (mesh, build(desk).await, served.address)
}

pub(crate) fn shown(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|one| one.key == name)?;
    match found.value.clone()?.value? {
        Value::StringValue(text) => Some(text),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn body(record: &LogRecord) -> String {
    match record.body.clone().unwrap().value.unwrap() {
        Value::StringValue(text) => text,
        other => panic!("{other:?}"),
    }
}

/// MeshConfig's `envoyOtelAls`, with its own format and the workload's resource.
#[tokio::test]
async fn a_provider_of_mesh_config_is_a_collector() {
    let pki = Pki::new("cluster.local").unwrap();
    let (url, mut exports) = over_grpc().await;
    let port = url.rsplit(':').next().unwrap();
    let settings = format!(
        "extensionProviders: [{{name: als, envoyOtelAls: {{service: 127.0.0.1, port: {port}, \
         logFormat: {{text: '%REQ(:PATH)% %RESPONSE_CODE%'}}}}}}]\n\
         defaultProviders: {{accessLogging: [als]}}\n"
    );
    let files = Fixed::yaml(
        "p.yaml",
        policy("p", "DENY", "[{to: [{operation: {paths: [/refused]}}]}]"),
    );
    let mesh = build(app(&pki).config(files.mesh_config("mesh.yaml", settings))).await;
    let served = serve(&mesh, Router::new().fallback(any(|| async { "hello" }))).await;
    let identity = pki.identity("default", "desk").unwrap();
    let id = "spiffe://cluster.local/ns/default/sa/app";
    let desk = Mesh::builder(Workload::new("default", "desk"), identity);
    let desk = build(desk.upstream("app.default", [served.address], [id])).await;
    for path in ["/a", "/refused"] {
        let uri = format!("http://app.default{path}");
        drop(read(desk.client().get(uri).await.unwrap()).await);
    }
    let mut bodies = Vec::new();
    while bodies.len() < 2 {
        assert!(mesh.flush_spans(Duration::from_secs(20)).await);
        let Ok(export) = exports.try_recv() else {
            tokio::task::yield_now().await;
            continue;
        };
        for of_resource in export.resource_logs {
            let resource = of_resource.resource.unwrap().attributes;
            assert_eq!(
                shown(&resource, "service.name").as_deref(),
                Some("app.default")
            );
            let records = of_resource.scope_logs.into_iter();
            bodies.extend(
                records
                    .flat_map(|scope| scope.log_records)
                    .map(|one| body(&one)),
            );
        }
    }
    assert_eq!(bodies, ["/a 200", "/refused 403"]);
}

#[tokio::test]
async fn lines_go_to_a_collector_with_their_trace() {
    let pki = Pki::new("cluster.local").unwrap();
    for (url, mut exports) in [over_http().await, over_grpc().await] {
        let own = Sink::otlp(&url).unwrap();
        let (mesh, desk, _) = meshes(&pki, &own).await;
        for path in ["/patients/7", "/refused"] {
            let uri = format!("http://app.default{path}");
            drop(read(desk.client().get(uri).await.unwrap()).await);
        }
        let mut records = Vec::new();
        while records.len() < 4 {
            assert!(mesh.flush_spans(Duration::from_secs(20)).await);
            let Ok(export) = exports.try_recv() else {
                tokio::task::yield_now().await;
                continue;
            };
            for of_resource in export.resource_logs {
                let resource = of_resource.resource.unwrap().attributes;
                assert!(shown(&resource, "service.name").is_some(), "{resource:?}");
                for scope in of_resource.scope_logs {
                    assert_eq!(scope.scope.unwrap().name, "tower-mesh");
                    records.extend(scope.log_records);
                }
            }
        }
        assert_eq!((own.dropped_lines(), own.failed_lines()), (0, 0));
        assert_eq!(own.written_lines(), 4);
        for status in ["200", "403"] {
            let of_status = |record: &&LogRecord| {
                shown(&record.attributes, "http.response.status_code").as_deref() == Some(status)
            };
            let pair: Vec<_> = records.iter().filter(of_status).collect();
            let [one, other] = pair.as_slice() else {
                panic!("{records:?}");
            };
            // A call and the request that it makes are in one trace, and each has a span of its own.
            assert_eq!((one.trace_id.len(), one.span_id.len()), (16, 8));
            assert_eq!(one.trace_id, other.trace_id);
            assert_ne!(one.span_id, other.span_id);
            for record in [one, other] {
                let line = body(record);
                assert!(line.contains(&format!(" HTTP/1.1\" {status} - ")), "{line}");
                assert_eq!(
                    shown(&record.attributes, "http.request.method").unwrap(),
                    "GET"
                );
            }
        }
        let server = |record: &&LogRecord| {
            shown(&record.attributes, "reporter_side").as_deref() == Some("server")
        };
        let server: Vec<_> = records.iter().filter(server).collect();
        assert_eq!(server.len(), 2);
        for record in server {
            let path = shown(&record.attributes, "url.path").unwrap();
            assert!(["/patients/{id}", "/refused"].contains(&&*path), "{path}");
            assert!(!body(record).contains("/patients/7"));
        }
    }
}

/// A collector that does this with each connection.
#[derive(Clone, Copy)]
enum Bad {
    Hangs,
    Refuses,
    TalksNonsense,
    SendsAPage,
}

async fn bad(kind: Bad) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/logs", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 1024];
                let _ = stream.read(&mut buffer).await;
                let answer: &[u8] = match kind {
                    Bad::Hangs => b"",
                    Bad::Refuses => b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
                    Bad::TalksNonsense => b"\x00\xff what is this\r\n\r\n",
                    Bad::SendsAPage => b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>",
                };
                let _ = stream.write_all(answer).await;
                while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
            });
        }
    });
    url
}

/// No request notices, and every line is accounted for.
#[tokio::test]
async fn a_bad_collector_costs_its_lines_and_nothing_else() {
    let pki = Pki::new("cluster.local").unwrap();
    let absent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}/v1/logs", absent.local_addr().unwrap());
    drop(absent);
    for url in [
        nobody,
        bad(Bad::Hangs).await,
        bad(Bad::Refuses).await,
        bad(Bad::TalksNonsense).await,
        bad(Bad::SendsAPage).await,
    ] {
        let sink = Sink::otlp_with(&url, 2, 1 << 20, Duration::from_millis(50)).unwrap();
        let (mesh, desk, _) = meshes(&pki, &sink).await;
        for _ in 0..10 {
            let answer = desk.client().get("http://app.default/").await.unwrap();
            assert_eq!(read(answer).await.0, 200, "{url}");
        }
        until("the lines", || {
            sink.written_lines() + sink.dropped_lines() + sink.failed_lines() == 20
        })
        .await;
        assert_eq!(sink.written_lines(), 0, "{url}");
        let counted = lines(&mesh, "mesh_access_log_dropped_total", &[]);
        assert_eq!(counted.len(), 2, "{counted:?}");
    }
    for wrong in ["", "https://c:4317", "http://user:word@c", "c:4317"] {
        assert!(Sink::otlp(wrong).is_err(), "{wrong}");
    }
}

/// Some collectors write JSON, whatever they are sent.
#[tokio::test]
async fn an_answer_in_json_is_an_answer() {
    let pki = Pki::new("cluster.local").unwrap();
    let app = Router::new().fallback(any(async || axum::Json(())));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/logs", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let sink = Sink::otlp(&url).unwrap();
    let (_mesh, desk, _) = meshes(&pki, &sink).await;
    let answer = desk.client().get("http://app.default/").await.unwrap();
    drop(read(answer).await);
    until("the lines", || {
        sink.written_lines() + sink.failed_lines() == 2
    })
    .await;
    assert_eq!(sink.failed_lines(), 0);
}

/// Bytes are bounded as well as records, also while a batch is being sent.
#[tokio::test]
async fn large_lines_do_not_fill_the_memory() {
    let pki = Pki::new("cluster.local").unwrap();
    let (sent, mut connections) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/logs", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = sent.send(stream);
        }
    });
    let sink = Sink::otlp_with(&url, 1000, 16 << 10, Duration::from_secs(600)).unwrap();
    let (mesh, desk, _) = meshes(&pki, &sink).await;
    let ask = async |times: usize| {
        for _ in 0..times {
            let answer = desk.client().get("http://app.default/").await.unwrap();
            drop(read(answer).await);
        }
        settle().await;
        sink.dropped_lines()
    };
    let before = ask(30).await;
    assert!((20..60).contains(&before), "{before}");
    // The collector has the batch and does not answer.
    assert!(!mesh.flush_spans(Duration::ZERO).await);
    let _held = connections.recv().await.unwrap();
    assert_eq!(ask(5).await, before + 10);
}

/// The connection that has died without a word is not used again.
#[tokio::test]
async fn a_dead_connection_costs_one_batch() {
    let pki = Pki::new("cluster.local").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let sink = Sink::otlp_with(&url, 1000, 1 << 20, Duration::from_secs(2)).unwrap();
    let (_mesh, desk, _) = meshes(&pki, &sink).await;
    let ask = async || {
        let answer = desk.client().get("http://app.default/").await.unwrap();
        assert_eq!(read(answer).await.0, 200);
    };
    ask().await;
    let (_dead, _) = listener.accept().await.unwrap();
    until("the first batch", || sink.failed_lines() > 0).await;
    let (sender, mut exports) = mpsc::unbounded_channel();
    let server = tonic::transport::Server::builder()
        .add_service(LogsServiceServer::new(Grpc(sender)))
        .serve_with_incoming(tonic::transport::server::TcpIncoming::from(listener));
    tokio::spawn(server);
    ask().await;
    exports.recv().await.unwrap();
    until("the count", || sink.written_lines() > 0).await;
}

/// What a collector has not taken of a batch is counted, and told once.
#[tokio::test]
async fn records_that_a_collector_rejects_are_told() {
    let pki = Pki::new("cluster.local").unwrap();
    let (events, _listening) = Log::listen(Level::WARN);
    let partial = ExportLogsServiceResponse {
        partial_success: Some(ExportLogsPartialSuccess {
            rejected_log_records: 1,
            error_message: "too old".to_owned(),
        }),
    };
    let app = Router::new().fallback(move || async move { partial.encode_to_vec() });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/logs", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let sink = Sink::otlp(&url).unwrap();
    let (mesh, desk, _) = meshes(&pki, &sink).await;
    for batch in 1..=2 {
        let answer = desk.client().get("http://app.default/").await.unwrap();
        drop(read(answer).await);
        until("a batch", || sink.failed_lines() >= batch).await;
        let _ = mesh.flush_spans(Duration::from_secs(20)).await;
    }
    let told = events.with(&["rejects some log records", "too old"]);
    assert_eq!(told.len(), 1, "{told:?}");
}
