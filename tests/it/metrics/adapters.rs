//! The same names, labels and values in the registries of other crates.

use tower_mesh::testing::Pki;

use super::{call, routes, samples, text};
use crate::support::mesh::{app, build, caller, lines, serve, until};

/// The metrics of a mesh that has answered, among them characters that must be escaped.
async fn registry() -> tower_mesh::metrics::Registry {
    let pki = Pki::new("cluster.local").unwrap();
    let mesh = build(app(&pki)).await;
    let served = serve(&mesh, routes()).await;
    let desk = caller(&pki, "desk", served.address).await;
    for path in ["/text", "/fails", "/nowhere"] {
        call(&desk, path).await;
    }
    until("three requests", || {
        lines(&mesh, "istio_requests_total{", &[]).len() == 3
    })
    .await;
    let labels = [("reason", "a \"quoted\" \\ text\nof two lines")];
    mesh.metrics()
        .counter("mesh_odd_total", "Odd.", &labels)
        .add(7);
    mesh.metrics()
        .gauge("mesh_share", "A share.", &[])
        .set(0.25);
    drop(
        mesh.metrics()
            .server(mesh.workload())
            .connection(&crate::support::mesh::proven("desk")),
    );
    mesh.metrics().clone()
}

/// Gauges that are computed at each reading differ between two of them.
fn steady(text: &str) -> std::collections::BTreeMap<String, f64> {
    let mut samples = samples(text);
    samples.retain(|name, _| !name.contains("seconds ") || name.starts_with("istio_request"));
    samples
}

#[tokio::test]
async fn a_registry_of_prometheus_client_shows_the_same() {
    let mesh = registry().await;
    let mut registry = prometheus_client::registry::Registry::default();
    registry.register_collector(Box::new(mesh.clone()));
    let mut theirs = String::new();
    prometheus_client::encoding::text::encode(&mut theirs, &registry).unwrap();
    assert_eq!(steady(&theirs), steady(&text(&mesh)));
    assert!(steady(&theirs).len() > 100);
}

#[tokio::test]
async fn a_recorder_of_the_metrics_facade_shows_the_same() {
    let mesh = registry().await;
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    // A second time adds nothing.
    mesh.record_into(&recorder);
    mesh.record_into(&recorder);
    let theirs = recorder.handle().render();
    assert_eq!(steady(&theirs), steady(&text(&mesh)));
}
