//! Upstreams whose addresses and identities are written as text, DNS names among them.

use axum::Router;
use axum::routing::any;
use http::{StatusCode, Version};
use tower_mesh::mesh::Upstreams;
use tower_mesh::message::ResponseFlags;
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, MeshBuilder, Workload};
use tracing::Level;

use crate::support::log::Log;
use crate::support::mesh::{app, build, lines, serve, until};

const APP: &str = "spiffe://cluster.local/ns/default/sa/app";

fn desk(pki: &Pki) -> MeshBuilder {
    Mesh::builder(
        Workload::new("default", "desk"),
        pki.identity("default", "desk").unwrap(),
    )
}

#[tokio::test]
async fn an_upstream_is_reached_by_a_name_that_dns_knows() {
    let pki = Pki::new("cluster.local").unwrap();
    let hello = Router::new().fallback(any(|| async { "hello" }));
    let served = serve(&build(app(&pki)).await, hello).await;
    let port = served.address.port();
    // `localhost` may be known as `::1`, too, where no server listens.
    let by_name = desk(&pki).upstream("app.default", [format!("LocalHost:{port}")], [APP]);
    let by_text = desk(&pki).upstream("app.default", [format!("127.0.0.1:{port}")], [APP]);
    let both = format!("unknown.invalid:{port}");
    let by_either = [both.as_str(), &format!("localhost:{port}")];
    let by_either = desk(&pki).upstream("app.default", by_either, [APP]);
    for builder in [by_name, by_text, by_either] {
        let desk = build(builder).await;
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let call = desk.client().get("http://app.default/").version(version);
            let text = call.await.unwrap().into_body().text().await.unwrap();
            assert_eq!(text, "hello");
        }
    }
}

/// It costs neither the start nor the readiness: calls say why, and the log does.
#[tokio::test]
async fn a_name_that_dns_does_not_know_is_no_reason_not_to_start() {
    let pki = Pki::new("cluster.local").unwrap();
    let (log, _listening) = Log::listen(Level::WARN);
    let builder = desk(&pki)
        .upstream("app.default", ["unknown.invalid:8443"], [APP])
        .upstream("other.default", ["unknown.invalid:8443"], [APP]);
    let desk = build(builder).await;
    let warned = log.with(&["unknown.invalid:8443", "DNS"]);
    assert_eq!(warned.len(), 1, "{}", log.text());
    assert_eq!(desk.readiness().to_string(), "ready");
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let call = desk.client().get("http://app.default/").version(version);
        let error = call.await.unwrap_err();
        let words = "no connection to app.default: DNS knows no address of unknown.invalid:8443";
        assert_eq!(error.to_string(), words);
        assert!(error.is_connect() && !error.is_unknown_host());
        assert_eq!(error.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(error.flags(), ResponseFlags::NO_HEALTHY_UPSTREAM);
    }
    let labels = ["name=\"unknown.invalid:8443\"", "result=\"failure\""];
    let counted = lines(&desk, "mesh_upstream_lookups_total", &labels);
    assert_eq!(counted.len(), 1, "one for both upstreams: {counted:?}");
}

/// Addresses of DNS are kept fresh by the driver alone.
#[tokio::test]
async fn without_its_driver_a_mesh_with_names_is_not_ready() {
    let pki = Pki::new("cluster.local").unwrap();
    let builder = desk(&pki).upstream("app.default", ["localhost:8443"], [APP]);
    let (mesh, driver) = builder.build().await.unwrap();
    drop(driver);
    assert!(mesh.readiness().unattended);
}

/// Names that come later need the driver as much as those of the build.
#[tokio::test]
async fn without_its_driver_a_mesh_that_gets_names_is_not_ready() {
    let pki = Pki::new("cluster.local").unwrap();
    let (mesh, driver) = desk(&pki).build().await.unwrap();
    drop(driver);
    assert!(!mesh.readiness().unattended, "there is nothing to follow");
    for (address, is_followed) in [("localhost:8443", false), ("127.0.0.1:8443", true)] {
        let upstreams = Upstreams::new().upstream("app.default", [address], [APP]);
        mesh.replace_upstreams(upstreams).await.unwrap();
        assert_eq!(mesh.readiness().unattended, !is_followed, "{address}");
    }
}

#[tokio::test]
async fn a_name_that_no_upstream_has_any_more_is_no_longer_counted() {
    let pki = Pki::new("cluster.local").unwrap();
    let desk = build(desk(&pki).upstream("app.default", ["localhost:8443"], [APP])).await;
    let counted = || lines(&desk, "mesh_upstream_lookups_total", &["localhost:8443"]);
    assert_eq!(counted().len(), 2);
    let again = Upstreams::new().upstream("other.default", ["localhost:8443"], [APP]);
    desk.replace_upstreams(again).await.unwrap();
    assert_eq!(counted().len(), 2);
    desk.replace_upstreams(Upstreams::new()).await.unwrap();
    until("the driver to let it go", || counted().is_empty()).await;
}

#[tokio::test]
async fn of_two_replacements_at_once_one_holds_wholly() {
    let pki = Pki::new("cluster.local").unwrap();
    let hello = Router::new().fallback(any(|| async { "hello" }));
    let port = serve(&build(app(&pki)).await, hello).await.address.port();
    let desk = build(desk(&pki)).await;
    let hosts = ["one.default", "two.default"];
    let (by_name, by_number) = (format!("localhost:{port}"), format!("127.0.0.1:{port}"));
    for addresses in [[&by_name, &by_number], [&by_number, &by_name]] {
        let replace = |index: usize| {
            let upstreams = Upstreams::new().upstream(hosts[index], [addresses[index]], [APP]);
            desk.replace_upstreams(upstreams)
        };
        let (one, two) = tokio::join!(replace(0), replace(1));
        one.unwrap();
        two.unwrap();
        // The last one, however long its names or those of the other take.
        let gone = desk.client().get("http://one.default/").await;
        assert!(gone.unwrap_err().is_unknown_host());
        let call = desk.client().get("http://two.default/");
        assert_eq!(call.await.unwrap().status(), StatusCode::OK);
        let followed = lines(&desk, "mesh_upstream_lookups_total", &["success"]);
        let is_named = addresses[1] == &by_name;
        assert_eq!(followed.len(), usize::from(is_named), "{followed:?}");
    }
}

#[tokio::test]
async fn texts_that_cannot_be_meant_fail_the_build_with_their_remedy() {
    let pki = Pki::new("cluster.local").unwrap();
    let at = |address: &str| desk(&pki).upstream("app.default", [address], [APP]);
    let by = |id: &str| desk(&pki).upstream("app.default", ["localhost:1"], [id]);
    for (builder, piece) in [
        (at("localhost"), "\"localhost:8443\""),
        (at("http://localhost:8443"), "\"localhost:8443\""),
        (at("10.0.0.7"), "10.0.0.7:8443"),
        (at("local host:1"), "name:port"),
        (by("app"), "spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT"),
        (by("spiffe://cluster.local"), "needs a path"),
    ] {
        let error = builder.build().await.unwrap_err().to_string();
        assert!(error.contains(piece), "{error}");
        assert!(error.contains("\"app.default\""), "{error}");
    }
}
