//! The records of requests that come over sockets: HTTP/1, HTTP/2, gRPC, and behind routers.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{any, get as on_get};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1 as h1, http2 as h2};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tower_mesh::mesh::AuditedRoute;
use tower_mesh::{MeshBuilder, Peer};

use super::{Audited, rows};
use crate::support::mesh::{Fed, Log, Served, empty, get, get2, http1, http2, read, serve, until};

/// A client of either version.
enum Sender {
    Http1(h1::SendRequest<Full<Bytes>>),
    Http2(h2::SendRequest<Full<Bytes>>),
}

impl Sender {
    async fn both(audited: &Audited, address: SocketAddr) -> [Self; 2] {
        [
            Self::Http1(http1(&audited.pki, "desk", address).await),
            Self::Http2(http2(&audited.pki, "desk", address).await),
        ]
    }

    async fn send(&mut self, path: &str) -> hyper::Result<Response<hyper::body::Incoming>> {
        match self {
            Self::Http1(sender) => sender.send_request(empty(get(path))).await,
            Self::Http2(sender) => sender.send_request(empty(get2(path))).await,
        }
    }
}

async fn audited(set: impl FnOnce(MeshBuilder) -> MeshBuilder) -> Audited {
    let route = AuditedRoute::new("/wards/{ward}/patients/{id}");
    Audited::new(Router::new(), |audit| audit.route(route), set).await
}

/// Counts how often its handler runs.
fn counting() -> (Router, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let handler = on_get(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        async { "chart" }
    });
    (
        Router::new().route("/wards/{ward}/patients/{id}", handler),
        count,
    )
}

const PATH: &str = "/wards/3/patients/7";
const NAMES: [&str; 5] = ["phase", "action", "resource.route", "outcome", "status"];

/// A handler runs behind its intent, and not without it.
async fn has_its_records_first(audited: &Audited, mut sender: Sender, count: &AtomicUsize) {
    let (before, ran) = (audited.access().await.len(), count.load(Ordering::Relaxed));
    let answer = sender.send(PATH).await.unwrap();
    let (status, _, body) = read(answer).await;
    assert_eq!((status, &*body), (200, "chart"));
    until("the completion", || {
        audited.records.text().matches("\"phase\"").count() >= before + 2
    })
    .await;
    let template = "/wards/{ward}/patients/{id}";
    assert_eq!(
        rows(&audited.access().await[before..], &NAMES),
        [
            format!("intent,GET,{template},allow,"),
            format!("completion,GET,{template},allow,200")
        ]
    );
    assert_eq!(count.load(Ordering::Relaxed), ran + 1);
}

#[tokio::test]
async fn a20_no_handler_runs_without_its_record_over_either_version() {
    let audited = audited(|builder| builder).await;
    let (router, count) = counting();
    let served = serve(&audited.mesh, router).await;
    for sender in Sender::both(&audited, served.address).await {
        has_its_records_first(&audited, sender, &count).await;
    }
    audited.records.fails_after("\"intent\"", 2);
    for mut sender in Sender::both(&audited, served.address).await {
        let answer = sender.send(PATH).await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(count.load(Ordering::Relaxed), 2);
}

/// A router has taken the beginning off the path before the mesh sees the request.
#[tokio::test]
async fn a20_no_handler_runs_without_its_record_behind_nested_routers() {
    let audited = audited(|builder| builder).await;
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let handler = on_get(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        async { "chart" }
    });
    let inner = Router::new().route("/patients/{id}", handler);
    let inner = inner.layer(audited.mesh.server());
    let router = Router::new().nest("/wards", Router::new().nest("/{ward}", inner));
    let listener = audited.mesh.listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr();
    let service = router.into_make_service_with_connect_info::<Peer>();
    tokio::spawn(axum::serve(listener, service).into_future());
    for sender in Sender::both(&audited, address).await {
        has_its_records_first(&audited, sender, &count).await;
    }
    audited.records.fails_after("\"intent\"", 2);
    for mut sender in Sender::both(&audited, address).await {
        let answer = sender.send(PATH).await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(count.load(Ordering::Relaxed), 2);
}

/// Counts its calls, and knows nothing.
struct Traces(Arc<AtomicUsize>);

#[tonic::async_trait]
impl TraceService for Traces {
    async fn export(
        &self,
        _: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        match self.0.fetch_add(1, Ordering::Relaxed) {
            0 => Ok(tonic::Response::new(ExportTraceServiceResponse::default())),
            _ => Err(tonic::Status::not_found("no such patient")),
        }
    }
}

#[tokio::test]
async fn a20_a_grpc_service_is_called_behind_its_record() {
    const METHOD: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    let audited = Audited::new(
        Router::new(),
        |audit| audit.route(AuditedRoute::new(METHOD)),
        |builder| builder,
    )
    .await;
    let count = Arc::new(AtomicUsize::new(0));
    let service = TraceServiceServer::new(Traces(Arc::clone(&count)));
    let listener = audited.mesh.listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr();
    let server = tonic::transport::Server::builder().layer(audited.mesh.server());
    let server = { server }.add_service(service);
    tokio::spawn(server.serve_with_incoming(listener));
    let mut sender = http2::<Full<Bytes>>(&audited.pki, "desk", address).await;
    let mut call = async || {
        let request = Request::post(format!("http://app.default{METHOD}"));
        let request = request.header("content-type", "application/grpc");
        let request = request.header("te", "trailers");
        let empty = Full::new(Bytes::from_static(&[0; 5]));
        let answer = sender.send_request(request.body(empty).unwrap()).await;
        let (head, body) = answer.unwrap().into_parts();
        let body = body.collect().await.unwrap();
        let status = head.headers.get("grpc-status").cloned();
        let status = status.or_else(|| body.trailers()?.get("grpc-status").cloned());
        status.unwrap().to_str().unwrap().to_owned()
    };
    assert_eq!((call().await, call().await), ("0".into(), "5".into()));
    until("the completions", || {
        audited.records.text().matches("\"completion\"").count() == 2
    })
    .await;
    let names = ["phase", "action", "resource.route", "status", "grpc"];
    assert_eq!(
        rows(&audited.access().await, &names),
        [
            format!("intent,POST,{METHOD},,"),
            format!("completion,POST,{METHOD},200,0"),
            format!("intent,POST,{METHOD},,"),
            format!("completion,POST,{METHOD},200,5")
        ]
    );
    audited.records.fails_after("\"intent\"", 2);
    assert_eq!(call().await, "14", "unavailable");
    assert_eq!(count.load(Ordering::Relaxed), 2);
}

/// The client leaves while its intent is being written: the handler never runs, and the record says so.
#[tokio::test]
async fn who_leaves_before_the_record_is_durable_has_a_completion() {
    for version in [0, 1] {
        let log = Log::default();
        let observe = log.observe();
        let audited =
            audited(|builder| builder.telemetry(|telemetry| telemetry.on_complete(observe))).await;
        let (router, count) = counting();
        let served = serve(&audited.mesh, router).await;
        let [one, two] = Sender::both(&audited, served.address).await;
        let mut sender = [one, two].into_iter().nth(version).unwrap();
        let blocked = audited.records.block();
        let call = tokio::spawn(async move { sender.send(PATH).await.is_ok() });
        blocked.reached().await;
        call.abort();
        log.wait(1).await;
        drop(blocked);
        assert_eq!(
            rows(&audited.access().await, &["phase", "outcome", "status"]),
            ["intent,allow,", "completion,cancelled,"]
        );
        assert_eq!(count.load(Ordering::Relaxed), 0);
    }
}

#[tokio::test]
async fn who_leaves_in_the_middle_of_the_answer_has_a_completion() {
    for version in [0, 1] {
        let audited = audited(|builder| builder).await;
        let (frames, body) = mpsc::unbounded_channel();
        let body = Arc::new(Mutex::new(Some(Fed(body))));
        let answers = on_get(move || {
            let body = body.lock().unwrap().take().unwrap();
            async move { Body::new(body) }
        });
        let served = serve(&audited.mesh, Router::new().fallback(answers)).await;
        let [one, two] = Sender::both(&audited, served.address).await;
        let mut sender = [one, two].into_iter().nth(version).unwrap();
        frames
            .send(Frame::data(Bytes::from_static(b"half")))
            .unwrap();
        let mut answer = sender.send(PATH).await.unwrap();
        let half = answer.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(half.into_data().unwrap(), "half");
        assert!(!audited.records.text().contains("completion"));
        drop((answer, sender));
        until("the completion", || {
            audited.records.text().contains("completion")
        })
        .await;
        assert_eq!(
            rows(&audited.access().await, &["phase", "outcome", "status"]),
            ["intent,allow,", "completion,cancelled,200"]
        );
        drop(frames);
    }
}

/// Upgrades each request, and sends back what it gets until the client ends.
fn mirror() -> Router {
    Router::new().fallback(any(|mut request: Request<Body>| async move {
        let upgraded = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut io = TokioIo::new(upgraded.await.unwrap());
            let mut bytes = [0; 4];
            while io.read_exact(&mut bytes).await.is_ok() && io.write_all(&bytes).await.is_ok() {}
        });
        let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
        let response = response.header("connection", "upgrade");
        let response = response.header("upgrade", "mirror");
        response.body(Body::empty()).unwrap()
    }))
}

async fn tunnel(audited: &Audited, served: &Served) -> TokioIo<hyper::upgrade::Upgraded> {
    let mut sender = http1(&audited.pki, "desk", served.address).await;
    let request = get(PATH).header("connection", "upgrade");
    let request = empty(request.header("upgrade", "mirror"));
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let mut io = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    io.write_all(b"ping").await.unwrap();
    io.read_exact(&mut [0; 4]).await.unwrap();
    io
}

/// The access is over when the connection is, and not when it becomes another protocol's.
#[tokio::test]
async fn an_upgraded_request_ends_with_its_connection() {
    let names = ["phase", "outcome", "status"];
    let audited = audited(|builder| builder).await;
    let served = serve(&audited.mesh, mirror()).await;
    let ended = tunnel(&audited, &served).await;
    let cut = tunnel(&audited, &served).await;
    let records = &audited.records;
    assert_eq!(rows(&audited.access().await, &names), ["intent,allow,"; 2]);
    drop(ended);
    until("the completion", || records.text().contains("completion")).await;
    let access = audited.access().await;
    assert_eq!(rows(&access[2..], &names), ["completion,allow,101"]);
    assert_eq!(access[2]["call"], access[0]["call"]);

    audited.mesh.shutdown(Duration::ZERO);
    let drained = served.serving.await.unwrap().unwrap();
    assert_eq!(drained.cut_streams, 1);
    drop(cut);
    let all = records.now();
    assert_eq!(all.last().unwrap()["type"], "stop");
    let access: Vec<_> = all
        .into_iter()
        .filter(|one| one["type"] == "access")
        .collect();
    assert_eq!(rows(&access[3..], &names), ["completion,cancelled,101"]);
    assert_eq!(access[3]["call"], access[1]["call"]);
}
