//! Samples name the newest recorded request that they count.

use std::convert::Infallible;

use http::{Request, Response};
use tower::{ServiceBuilder, ServiceExt};
use tower_mesh::metrics::{Format, MetricsLayer, Registry};
use tower_mesh::propagation::{Propagation, PropagationLayer};
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, MeshBuilder, Workload};

use super::{call, routes};
use crate::support::mesh::{app, build, lines, proven, serve, until};

fn recording(builder: MeshBuilder, percent: f64, registry: Registry) -> MeshBuilder {
    builder.telemetry(|telemetry| {
        let propagation = Propagation::new().sample_percent(percent);
        telemetry.propagation(propagation).metrics(registry)
    })
}

/// A mesh that has answered, and the one that called.
async fn answered(percent: f64, registry: Registry) -> (Mesh, Mesh) {
    let pki = Pki::new("cluster.local").unwrap();
    let mesh = build(recording(app(&pki), percent, registry)).await;
    let served = serve(&mesh, routes()).await;
    let id = pki
        .identity("default", "app")
        .unwrap()
        .svid()
        .spiffe_id()
        .clone();
    let desk = pki.identity("default", "desk").unwrap();
    let desk = Mesh::builder(Workload::new("default", "desk"), desk);
    let desk = desk.upstream("app.default", [served.address], [id]);
    // Who calls decides for both.
    let desk = build(recording(desk, percent, Registry::new())).await;
    call(&desk, "/text").await;
    until("the count", || {
        lines(&mesh, "istio_requests_total{", &[]).len() == 1
    })
    .await;
    (mesh, desk)
}

fn open_metrics(mesh: &Mesh) -> String {
    mesh.metrics().render(Format::OpenMetrics)
}

/// The exemplars of a family, as written.
fn exemplars<'a>(text: &'a str, family: &str) -> Vec<&'a str> {
    let lines = text.lines().filter(|line| line.starts_with(family));
    lines
        .filter_map(|line| Some(line.split_once(" # ")?.1))
        .collect()
}

/// The trace and the span that an exemplar names.
fn ids(exemplar: &str) -> (&str, &str) {
    let mut quoted = exemplar.split('"');
    (quoted.nth(1).unwrap(), quoted.nth(1).unwrap())
}

#[tokio::test]
async fn a_recorded_request_is_the_exemplar_of_its_samples() {
    let registry = Registry::new();
    let workload = Workload::new("default", "app");
    let metrics = MetricsLayer::new(registry.server(&workload));
    let spans = PropagationLayer::new(Propagation::new().sample_percent(100.0));
    let service = ServiceBuilder::new()
        .layer(spans)
        .layer(metrics)
        .service_fn(async |_: Request<_>| Ok::<_, Infallible>(Response::new(String::new())));
    let head = Request::get("/").extension(proven("desk"));
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let head = head.header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"));
    let request = head.body(String::new()).unwrap();
    drop(service.oneshot(request).await.unwrap());
    let text = registry.render(Format::OpenMetrics);
    for family in [
        "istio_requests_total{",
        "istio_request_duration_milliseconds_bucket{",
        "istio_request_bytes_bucket{",
        "istio_response_bytes_bucket{",
    ] {
        let [exemplar] = exemplars(&text, family)[..] else {
            panic!("{family}: {text}");
        };
        assert!(
            exemplar.starts_with(&format!("{{trace_id=\"{trace}\",span_id=\"")),
            "{exemplar}"
        );
        // The span of the server, not the caller's.
        assert!(!exemplar.contains("b7ad6b7169203331"), "{exemplar}");
    }
    assert!(exemplars(&text, "istio_request_bytes_sum").is_empty());
    let older = registry.render(Format::Text);
    assert!(!older.contains("trace_id"), "{older}");
}

#[tokio::test]
async fn the_client_and_the_server_name_their_own_spans() {
    let (mesh, desk) = answered(100.0, Registry::new()).await;
    let text = (open_metrics(&mesh), open_metrics(&desk));
    let of = |text: &str| exemplars(text, "istio_requests_total{").join("\n");
    let (server, client) = (of(&text.0), of(&text.1));
    let (server, client) = (ids(&server), ids(&client));
    assert_eq!(server.0, client.0, "one trace");
    assert_ne!(server.1, client.1, "two spans");
}

#[tokio::test]
async fn a_request_that_is_not_recorded_is_no_exemplar() {
    let (mesh, _) = answered(0.0, Registry::new()).await;
    assert!(!open_metrics(&mesh).contains("trace_id"));
}

#[tokio::test]
async fn exemplars_can_be_switched_off() {
    let registry = Registry::builder().exemplars(false).build().unwrap();
    let (mesh, _) = answered(100.0, registry).await;
    assert!(!open_metrics(&mesh).contains("trace_id"));
}
