//! Calls that the client cannot make.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use tokio::net::TcpListener;
use tower_mesh::Mesh;
use tower_mesh::mesh::ExternalHost;

use super::{Seen, levels, pki, proven};
use crate::support::mesh::{app, build, serve};

const APP: [&str; 1] = ["spiffe://cluster.local/ns/default/sa/app"];

/// Leads to a server that never answers.
const LATE: &str = "http://app.default/";

/// An address at which nothing listens.
pub(super) async fn nobody() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    socket.local_addr().unwrap()
}

async fn call(mesh: &Mesh, uri: &str) -> String {
    let bound = match uri {
        LATE => Duration::from_millis(50),
        _ => Duration::from_secs(20),
    };
    let call = mesh.client().get(uri).timeout(bound);
    levels(&call.await.unwrap_err())
}

pub(super) async fn make(seen: &mut Seen) {
    let pki = pki();
    let gone = nobody().await;
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain_address = plain.local_addr().unwrap();
    let hello = Router::new().fallback(any(|| async { "hello" }));
    let plain = tokio::spawn(async move { axum::serve(plain, hello).await });
    let silent = Router::new().fallback(any(std::future::pending::<&str>));
    let silent = serve(&build(app(&pki)).await, silent).await.address;
    let desk = proven(&pki)
        .upstream("charts.default", [gone], APP)
        .upstream("plain.default", [plain_address], APP)
        .upstream("app.default", [silent], APP)
        .upstream(
            "other.default",
            [silent],
            ["spiffe://cluster.local/ns/default/sa/charts"],
        )
        .upstream("nowhere.default", ["nowhere.invalid:8443"], APP)
        .outside(
            "legacy.example",
            ExternalHost::plaintext().at([plain_address]),
        );
    let desk = build(desk).await;
    for (id, uri) in [
        ("host-misspelt", "http://chrats.default/7"),
        ("host-unknown", "http://weather.example/"),
        ("uri-without-scheme", "charts.default/7"),
        ("uri-of-path", "/7"),
        ("server-of-plaintext", "http://plain.default/"),
        ("server-of-other-id", "http://other.default/"),
        ("server-down", "http://charts.default/7"),
        ("server-late", LATE),
        ("name-unknown-to-dns", "http://nowhere.default/"),
        ("https-to-plaintext", "https://legacy.example/"),
    ] {
        seen.push((id, call(&desk, uri).await));
    }
    plain.abort();
}
