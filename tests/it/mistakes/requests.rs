//! Connections and requests that we refuse, by the log of the one who refuses.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use http::Request;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tower::ServiceExt;
use tower_mesh::mesh::ExternalHost;
use tower_mesh::source::Fixed;
use tower_mesh::testing::{Leaf, Pki};
use tower_mesh::tls::Identity;
use tower_mesh::{Mesh, Workload};
use tracing::Level;

use super::{Seen, line, pki, proven};
use crate::support::log::Log;
use crate::support::mesh::{self, build, policy, serve, unproven};

pub(super) async fn make(seen: &mut Seen) {
    connections(seen).await;
    requests(seen).await;
}

async fn connections(seen: &mut Seen) {
    let pki = pki();
    let leaf =
        Leaf::workload("spiffe://cluster.local/ns/default/sa/patients").dns("patients.default");
    let svid = pki.issue(&leaf).unwrap().svid().unwrap();
    let own = Identity::new(svid, pki.bundles().unwrap());
    let builder = Mesh::builder(Workload::new("default", "patients"), own);
    let address = serve(&build(builder).await, Router::new()).await.address;

    let (log, _guard) = Log::listen(Level::DEBUG);
    let refused = |reason: &'static str| ["tower_mesh::tls", "connection refused", reason];
    let plain = async || {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: patients\r\n\r\n")
            .await
            .unwrap();
    };
    let told = line(&log, &refused("reason=plaintext_refused"), plain).await;
    seen.push(("caller-of-plaintext", told));

    let outsider = ExternalHost::tls_with_roots(pki.root_pem()).at([address]);
    let outsider = build(proven(&pki).outside("patients.default", outsider)).await;
    let bare = async || drop(outsider.client().get("http://patients.default/").await);
    let told = line(&log, &refused("reason=no_certificate"), bare).await;
    seen.push(("caller-without-certificate", told));

    let other = Pki::new("cluster.local").unwrap();
    let stranger = stranger(&other, &pki, address).await;
    let call = async || drop(stranger.client().get("http://patients.default/").await);
    let told = line(&log, &refused("reason=unknown_issuer"), call).await;
    seen.push(("caller-of-other-root", told));
}

/// A caller of another authority, that trusts ours.
async fn stranger(other: &Pki, pki: &Pki, address: SocketAddr) -> Mesh {
    let identity = other.identity("default", "desk").unwrap();
    let ours = pki.bundles().unwrap();
    let both =
        [other.bundles().unwrap(), ours].map(|bundles| bundles.roots(pki.trust_domain()).to_vec());
    let bundles = other
        .bundles()
        .unwrap()
        .with(pki.trust_domain().clone(), both.concat());
    let identity = Identity::new(identity.svid().clone(), bundles.unwrap());
    let builder = Mesh::builder(Workload::new("default", "desk"), identity);
    let patients = ["spiffe://cluster.local/ns/default/sa/patients"];
    build(builder.upstream("patients.default", [address], patients)).await
}

async fn requests(seen: &mut Seen) {
    let principal = "[{from: [{source: {principals: [cluster.local/ns/default/sa/desk]}}], to: [{operation: {methods: [GET]}}]}]";
    let text = policy("reads", "ALLOW", principal)
        + &policy(
            "closed",
            "DENY",
            "[{to: [{operation: {paths: [/closed]}}]}]",
        );
    let mesh = build(proven(&pki()).config(Fixed::yaml("policies/reads.yaml", text))).await;
    let desk = mesh::proven("desk");
    for (id, peer, request) in [
        (
            "no-rule-allows",
            desk.clone(),
            Request::delete("/patients/7"),
        ),
        ("rule-denies", desk, Request::get("/closed")),
        (
            "no-identity-for-principals",
            unproven(),
            Request::get("/patients/7"),
        ),
    ] {
        let (log, _guard) = Log::listen(Level::INFO);
        let service = mesh
            .protect(Router::new().fallback(any(|| async {})))
            .of(peer);
        let request = request
            .header("host", "patients.default")
            .body(Body::empty())
            .unwrap();
        let ask = async || {
            let again = Request::builder()
                .method(request.method())
                .uri(request.uri());
            let again = again.header("host", "patients.default").body(Body::empty());
            drop(service.clone().oneshot(again.unwrap()).await);
        };
        let told = line(&log, &["tower_mesh::access", "request refused"], ask).await;
        seen.push((id, told));
    }
}
