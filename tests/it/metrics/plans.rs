//! Telemetry resources that remove labels, so that series are added up: what is shown never goes back, and one registry has one plan.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use http::{HeaderMap, Request, Response, StatusCode};
use tower_mesh::message::{ByteCount, End, Watch as _};
use tower_mesh::metrics::{Registry, ServerMetrics};
use tower_mesh::source::Fixed;
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, Peer, Workload};

use super::text;
use crate::support::mesh::{app, build, proven};

/// All labels that the metadata of a caller chooses are gone.
const MERGED: &str = "
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: merged, namespace: istio-system}
spec:
  metrics:
  - overrides:
    - tagOverrides:
        source_workload: {operation: REMOVE}
        source_canonical_service: {operation: REMOVE}
        source_canonical_revision: {operation: REMOVE}
        source_app: {operation: REMOVE}
        source_version: {operation: REMOVE}
        source_cluster: {operation: REMOVE}
";

/// The headers by which a workload of this name describes itself.
fn description(workload: &str) -> HeaderMap {
    let client = Registry::new().client(&Workload::new("default", workload));
    let request = Request::get("http://app.default/").body(()).unwrap();
    let (mut head, ()) = request.into_parts();
    let record = client.begin(&mut head, ByteCount::default(), Instant::now());
    record.finish(End::cancelled(), Instant::now());
    head.headers
}

fn answer(metrics: &ServerMetrics, peer: &Peer, headers: HeaderMap, status: u16, now: Instant) {
    let mut request = Request::get("/").body(()).unwrap();
    *request.headers_mut() = headers;
    request
        .headers_mut()
        .insert("content-type", "application/grpc".parse().unwrap());
    let (mut head, ()) = request.into_parts();
    let mut record = metrics.begin(&mut head, Some(peer), ByteCount::default(), now);
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    record.answered(&mut response.into_parts().0);
    let mut end = End::cancelled();
    end.messages = 1;
    record.finish(end, now);
}

/// The counters and the buckets of calls that came in, by series.
fn counters(registry: &Registry) -> BTreeMap<String, u64> {
    let text = text(registry);
    let lines = text
        .lines()
        .filter(|line| line.starts_with("istio_") && line.contains("reporter=\"destination\""));
    let sample = |line: &str| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        (series.to_owned(), value.parse().unwrap())
    };
    lines.map(sample).collect()
}

#[track_caller]
fn none_went_back(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) {
    assert!(before.len() > 60, "{before:?}");
    for (series, value) in before {
        assert!(after.get(series) >= Some(value), "{series}: {value}");
    }
}

fn requests(counters: &BTreeMap<String, u64>) -> Vec<u64> {
    let all = counters.iter();
    all.filter(|(series, _)| series.starts_with("istio_requests_total{"))
        .map(|(_, count)| *count)
        .collect()
}

#[tokio::test]
async fn no_counter_goes_back_when_a_description_that_is_no_longer_shown_was_part_of_a_sum() {
    let pki = Pki::new("cluster.local").unwrap();
    let mesh = build(app(&pki).config(Fixed::yaml("merged.yaml", MERGED))).await;
    let registry = mesh.metrics();
    let metrics = registry.server(&Workload::new("default", "app"));
    let (desk, now) = (proven("desk"), Instant::now());
    for _ in 0..5 {
        answer(&metrics, &desk, description("desk-v1"), 403, now);
    }
    answer(&metrics, &desk, HeaderMap::new(), 403, now);
    let before = counters(registry);
    assert_eq!(requests(&before), [6], "one series of both");
    // A description that came only with refused requests is dropped after an hour.
    let later = now + Duration::from_secs(2 * 3600);
    answer(&metrics, &desk, HeaderMap::new(), 403, later);
    let after = counters(registry);
    none_went_back(&before, &after);
    assert_eq!(requests(&after), [7]);
    // It comes back as it was.
    answer(&metrics, &desk, description("desk-v1"), 403, later);
    none_went_back(&after, &counters(registry));
    assert_eq!(requests(&counters(registry)), [8]);
}

#[tokio::test]
async fn no_counter_goes_back_when_a_caller_has_described_itself_too_often() {
    let pki = Pki::new("cluster.local").unwrap();
    let mesh = build(app(&pki).config(Fixed::yaml("merged.yaml", MERGED))).await;
    let registry = mesh.metrics();
    let metrics = registry.server(&Workload::new("default", "app"));
    let (desk, now) = (proven("desk"), Instant::now());
    let mut before = None;
    for number in 0..20 {
        answer(
            &metrics,
            &desk,
            description(&format!("desk-{number}")),
            200,
            now,
        );
        let after = counters(registry);
        assert_eq!(requests(&after), [number + 1]);
        if let Some(before) = &before {
            none_went_back(before, &after);
        }
        before = Some(after);
    }
}

/// What is shown is one way of showing, so the second mesh would silently change what the first one shows.
#[tokio::test]
async fn two_meshes_on_one_registry_that_want_it_shown_differently_are_refused_at_build() {
    let pki = Pki::new("cluster.local").unwrap();
    let registry = Registry::new();
    let shared = |name: &str, rules: &str| {
        let identity = pki.identity("default", name).unwrap();
        Mesh::builder(Workload::new("default", name), identity)
            .config(Fixed::yaml("t.yaml", rules.to_owned()))
            .telemetry(|telemetry| telemetry.metrics(registry.clone()))
    };
    let first = shared("app", MERGED).build().await.unwrap();
    let now = Instant::now();
    let metrics = registry.server(&Workload::new("default", "app"));
    answer(&metrics, &proven("desk"), HeaderMap::new(), 200, now);
    let before = counters(&registry);
    let refused = shared("second", "").build().await.err().unwrap();
    let message = refused.to_string();
    assert!(
        message.contains("another mesh counts in this registry"),
        "{message}"
    );
    assert!(
        message.contains("give each mesh a registry of its own"),
        "{message}"
    );
    assert_eq!(
        counters(&registry),
        before,
        "a mesh that is refused changes nothing"
    );
    assert!(before.keys().all(|series| !series.contains("source_app=")));

    // One that agrees may share it, and so may any after the first is gone.
    drop(shared("second", MERGED).build().await.unwrap());
    drop(first);
    drop(shared("third", "").build().await.unwrap());
    assert!(
        counters(&registry)
            .keys()
            .all(|series| series.contains("source_app="))
    );
}

/// A mesh that is refused for another reason has changed nothing that others show.
#[tokio::test]
async fn a_mesh_that_is_not_built_changes_no_metrics() {
    let pki = Pki::new("cluster.local").unwrap();
    let registry = Registry::new();
    let metrics = registry.server(&Workload::new("default", "app"));
    answer(
        &metrics,
        &proven("desk"),
        HeaderMap::new(),
        200,
        Instant::now(),
    );
    let before = counters(&registry);
    let refused = app(&pki)
        .config(Fixed::yaml("t.yaml", MERGED))
        .telemetry(|telemetry| telemetry.metrics(registry.clone()))
        .require_policy()
        .build()
        .await;
    assert!(refused.is_err());
    assert_eq!(counters(&registry), before);
}
