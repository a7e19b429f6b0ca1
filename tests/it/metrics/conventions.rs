//! OpenTelemetry's metrics of HTTP and RPC, beside Istio's.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::{io, mem};

use axum::Router;
use axum::body::Bytes;
use axum::routing::{get, post};
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::sync::{mpsc, watch};
use tower::{Layer, ServiceExt};
use tower_mesh::context;
use tower_mesh::mesh::ClientBody;
use tower_mesh::message::CountingBody;
use tower_mesh::metrics::{Format, MetricsLayer, Registry};
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, MeshBuilder, Workload};

use super::{call, text};
use crate::support::mesh::{app, build, read, serve, until};

fn both(builder: MeshBuilder) -> MeshBuilder {
    let registry = Registry::builder().semantic_conventions().build().unwrap();
    builder.telemetry(|telemetry| telemetry.metrics(registry))
}

fn app_routes() -> Router {
    let known = async || {
        context::current()
            .unwrap()
            .set_route("/patients/{id}".into());
        "a patient"
    };
    let grpc = async || [("content-type", "application/grpc"), ("grpc-status", "5")];
    Router::new()
        .route("/patients/7", get(known))
        .route("/fails", get(async || StatusCode::INTERNAL_SERVER_ERROR))
        .route("/clinic.Records/Find", post(grpc))
}

fn counts(mesh: &Mesh, family: &str) -> Vec<String> {
    let name = format!("{family}_count{{");
    let text = text(mesh.metrics());
    let mut lines: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix(&name))
        .map(|line| line.replace(['"', '}'], ""))
        .collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn both_sides_of_a_call_have_the_attributes_of_the_conventions() {
    let pki = Pki::new("cluster.local").unwrap();
    let mesh = build(both(app(&pki))).await;
    let served = serve(&mesh, app_routes()).await;
    let id = pki
        .identity("default", "app")
        .unwrap()
        .svid()
        .spiffe_id()
        .clone();
    let desk = Mesh::builder(
        Workload::new("default", "desk"),
        pki.identity("default", "desk").unwrap(),
    );
    let desk = build(both(desk.upstream("app.default", [served.address], [id]))).await;
    assert_eq!(call(&desk, "/patients/7").await, 200);
    assert_eq!(call(&desk, "/fails").await, 500);
    for path in ["/clinic.Records/Find", "/made.Up/Name"] {
        let request = Request::post(format!("http://app.default{path}"));
        let request = request.header("content-type", "application/grpc");
        let request = request.body(ClientBody::empty()).unwrap();
        read(desk.client().request(request).await.unwrap()).await;
    }
    let http = "http_server_request_duration_seconds";
    let rpc = "rpc_server_call_duration_seconds";
    until("the counts", || {
        counts(&mesh, http).len() == 2 && counts(&mesh, rpc).len() == 2
    })
    .await;
    assert_eq!(
        counts(&mesh, http),
        [
            "http_request_method=GET,url_scheme=https,http_response_status_code=500,network_protocol_version=1.1,error_type=500 1",
            "http_request_method=GET,url_scheme=https,http_route=/patients/{id,http_response_status_code=200,network_protocol_version=1.1 1",
        ]
    );
    let served = counts(&mesh, rpc);
    assert!(served[1].starts_with("rpc_system_name=grpc,rpc_method=clinic.Records/Find,rpc_response_status_code=NOT_FOUND 1"), "{served:?}");
    assert!(
        served[0].starts_with("rpc_system_name=grpc,rpc_method=_OTHER"),
        "{served:?}"
    );
    assert_eq!(
        counts(&desk, "http_client_request_duration_seconds"),
        [
            "http_request_method=GET,url_scheme=http,http_response_status_code=200,network_protocol_version=1.1,server_address=app.default,server_port=80 1",
            "http_request_method=GET,url_scheme=http,http_response_status_code=500,network_protocol_version=1.1,server_address=app.default,server_port=80,error_type=500 1",
        ]
    );
    assert!(counts(&desk, "rpc_client_call_duration_seconds").len() == 2);
    let text = text(mesh.metrics());
    assert!(text.contains("istio_requests_total{"), "both views run");
    for le in ["0.005", "0.075", "7.5", "10", "+Inf"] {
        let bucket = format!("le=\"{le}\"");
        let mut lines = text
            .lines()
            .filter(|line| line.starts_with("http_server_request_duration_seconds_bucket"));
        assert!(lines.any(|line| line.contains(&bucket)), "{le}");
    }
}

/// A body of one piece, which then fails or ends.
struct Half {
    is_sent: bool,
    fails: bool,
}

impl Body for Half {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(match mem::replace(&mut self.is_sent, true) {
            false => Some(Ok(Frame::data(Bytes::from_static(b"half")))),
            true => self.fails.then(|| Err(io::Error::other("gone"))),
        })
    }
}

/// The status was sent before the body broke, so only `error.type` shows it.
#[tokio::test]
async fn a_body_that_breaks_after_a_good_status_is_an_error_and_one_that_ends_is_none() {
    let registry = Registry::builder().semantic_conventions().build().unwrap();
    let metrics = registry.server(&Workload::new("default", "app"));
    for fails in [true, false] {
        let answer = move |_: Request<CountingBody<ClientBody>>| async move {
            Ok::<_, Infallible>(Response::new(Half {
                is_sent: false,
                fails,
            }))
        };
        let served = MetricsLayer::new(metrics.clone()).layer(tower::service_fn(answer));
        let request = Request::builder().method("QUERY").uri("/");
        let request = request.body(ClientBody::empty()).unwrap();
        let answer = served.oneshot(request).await.unwrap();
        assert_eq!(answer.into_body().collect().await.is_err(), fails);
    }
    let text = text(&registry);
    let counts = text
        .lines()
        .filter_map(|line| line.strip_prefix("http_server_request_duration_seconds_count{"));
    let mut counts: Vec<_> = counts.map(|line| line.replace(['"', '}'], "")).collect();
    counts.sort();
    let labels = "http_request_method=QUERY,url_scheme=http,http_response_status_code=200,network_protocol_version=1.1";
    assert_eq!(
        counts,
        [format!("{labels} 1"), format!("{labels},error_type=UC 1")]
    );
}

#[tokio::test]
async fn body_sizes_and_active_requests_are_counted_on_both_sides_where_they_are_asked_for() {
    let opted_in = |builder: MeshBuilder| {
        let registry = Registry::builder().opt_in_semantic_conventions();
        let registry = registry.build().unwrap();
        builder.telemetry(|telemetry| telemetry.metrics(registry))
    };
    let pki = Pki::new("cluster.local").unwrap();
    let mesh = build(opted_in(app(&pki))).await;
    let (called, mut calls) = mpsc::channel(1);
    let (answer, answers) = watch::channel(false);
    let waits = async move |body: String| {
        let mut answers = answers.clone();
        called.send(()).await.unwrap();
        answers.wait_for(|may_go| *may_go).await.unwrap();
        body + "!"
    };
    let served = serve(&mesh, Router::new().route("/wait", post(waits))).await;
    let id = pki.identity("default", "app").unwrap();
    let id = id.svid().spiffe_id().clone();
    let desk = Mesh::builder(
        Workload::new("default", "desk"),
        pki.identity("default", "desk").unwrap(),
    );
    let desk = build(opted_in(desk.upstream(
        "app.default",
        [served.address],
        [id],
    )))
    .await;
    let request = Request::post("http://app.default/wait");
    let request = request.body(ClientBody::from("seven b")).unwrap();
    let caller = desk.clone();
    let call = tokio::spawn(async move {
        let answer = caller.client().request(request).await.unwrap();
        read(answer).await
    });
    calls.recv().await.unwrap();
    let active = |mesh: &Mesh, side: &str| {
        let name = format!("http_{side}_active_requests{{");
        let text = text(mesh.metrics());
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(&name));
        lines.next().map(|line| line.replace(['"', '}'], ""))
    };
    let server = "http_request_method=POST,url_scheme=https";
    let client =
        "http_request_method=POST,url_scheme=http,server_address=app.default,server_port=80";
    assert_eq!(active(&mesh, "server"), Some(format!("{server} 1")));
    assert_eq!(active(&desk, "client"), Some(format!("{client} 1")));
    answer.send(true).unwrap();
    assert_eq!(call.await.unwrap().0, 200);
    until("the ends", || {
        active(&mesh, "server") == Some(format!("{server} 0"))
            && active(&desk, "client") == Some(format!("{client} 0"))
    })
    .await;
    for (mesh, side) in [(&mesh, "server"), (&desk, "client")] {
        let text = text(mesh.metrics());
        for (body, bytes, below, at) in [("request", 7, "5", "10"), ("response", 8, "5", "10")] {
            let name = format!("http_{side}_{body}_body_size_bytes");
            let value = |part: &str, le: &str| {
                let name = format!("{name}_{part}{{");
                let mut lines = text.lines().filter(|line| line.starts_with(&name));
                let line = lines.find(|line| line.contains(le)).unwrap();
                line.rsplit_once(' ').unwrap().1.to_owned()
            };
            assert_eq!(value("sum", ""), bytes.to_string(), "{name}");
            assert_eq!(value("count", "http_response_status_code=\"200\""), "1");
            assert_eq!(value("bucket", &format!("le=\"{below}\"")), "0", "{name}");
            assert_eq!(value("bucket", &format!("le=\"{at}\"")), "1", "{name}");
        }
    }
    let plain = Registry::builder().semantic_conventions().build().unwrap();
    let metrics = plain.server(&Workload::new("default", "app"));
    drop(MetricsLayer::new(metrics));
    assert!(!text(&plain).contains("active_requests"));
}

#[test]
fn they_are_off_by_default() {
    assert!(!Registry::new().render(Format::Text).contains("http_server"));
}
