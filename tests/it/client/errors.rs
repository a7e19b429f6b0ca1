//! What an error of the client says: which mistake, where, and how to put it right; each level once.

use std::error::Error;
use std::iter::successors;
use std::net::SocketAddr;

use axum::Router;
use axum::routing::any;
use http::{Request, StatusCode, Version};
use tokio::net::TcpListener;
use tower_mesh::mesh::{ClientBody, ClientError, ExternalHost};
use tower_mesh::message::ResponseFlags;
use tower_mesh::testing::Pki;
use tower_mesh::tls::Mode;
use tower_mesh::{Mesh, Workload};
use tracing::Level;

use crate::support::log::Log;
use crate::support::mesh::{app, build, serve};

const APP: [&str; 1] = ["spiffe://cluster.local/ns/default/sa/app"];

async fn desk(pki: &Pki, address: SocketAddr) -> Mesh {
    let mut builder = Mesh::builder(
        Workload::new("default", "desk"),
        pki.identity("default", "desk").unwrap(),
    )
    .outside("legacy.example", ExternalHost::plaintext().at([address]))
    .outside("nowhere.invalid", ExternalHost::plaintext());
    for host in [
        "charts.default",
        "charts.default:9090",
        "charts2.default",
        "chart5.default",
        "app.default",
        "patients.default",
    ] {
        builder = builder.upstream(host, [address], APP);
    }
    build(builder).await
}

async fn nobody() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    socket.local_addr().unwrap()
}

/// What each level says, the first one first.
fn levels(error: &ClientError) -> Vec<String> {
    let error: &dyn Error = error;
    let levels = successors(Some(error), |error| (*error).source());
    levels.map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_uri_that_leads_nowhere_is_told_how_to_be_written() {
    let pki = Pki::new("cluster.local").unwrap();
    let desk = desk(&pki, nobody().await).await;
    let begins = "begins with http:// or https://";
    let rows: [(&str, &[&str]); 11] = [
        (
            "charts.default/7",
            &[begins, "write http://charts.default/..."],
        ),
        ("charts.default", &[begins, "write http://charts.default/"]),
        (
            "charts.default/7?name=secret",
            &[begins, "write http://charts.default/..."],
        ),
        ("secret@charts.default/7", &[begins]),
        ("/7", &[begins]),
        (
            "http:/charts.default/7",
            &[begins, "write http://charts.default/..."],
        ),
        (
            "HTTPS:charts.default/7",
            &[begins, "write http://charts.default/..."],
        ),
        (
            "http://chrats.default/7",
            &[
                "\"chrats.default\"",
                "did you mean \"charts.default\" or \"charts.default:9090\" or \"chart5.default\"?",
                "MeshBuilder::upstream(\"chrats.default\", ..)",
                "MeshBuilder::outside(\"chrats.default\", ..)",
            ],
        ),
        ("http://patients/", &["did you mean \"patients.default\"?"]),
        (
            "https://legacy.example/",
            &["plaintext", "begins with http://"],
        ),
        ("http://secret@charts.default/", &["without a user"]),
    ];
    for (uri, pieces) in rows {
        let error = desk.client().get(uri).await.unwrap_err();
        let said = levels(&error);
        assert_eq!(said.len(), 1, "{said:?}");
        for piece in pieces {
            assert!(said[0].contains(piece), "{uri}: {said:?}");
        }
        assert!(!said[0].contains("secret"), "{said:?}");
        assert!(said[0].len() < 400, "{said:?}");
        assert_eq!(error.flags(), ResponseFlags::NO_ROUTE);
        assert_eq!(error.status(), StatusCode::NOT_FOUND);
    }
    let long = format!("http://{}/", "c".repeat(5000));
    let error = desk.client().get(long).await.unwrap_err();
    assert!(error.is_unknown_host() && error.to_string().len() < 500);
}

/// In the error are the three nearest, in the log all.
#[tokio::test]
async fn the_log_has_all_hosts_at_debug() {
    let pki = Pki::new("cluster.local").unwrap();
    let desk = desk(&pki, nobody().await).await;
    let (log, _listening) = Log::listen(Level::DEBUG);
    for _ in 0..50 {
        let error = desk.client().get("http://weather.default/").await;
        let said = error.unwrap_err().to_string();
        assert!(!said.contains("patients.default"), "{said}");
    }
    let lines = log.with(&["tower_mesh::client", "weather.default", "patients.default"]);
    assert!(!lines.is_empty(), "{}", log.text());
    assert!(lines.len() <= 20, "no more than ten a second: {lines:?}");
}

/// A server that never speaks TLS, and one of ours that takes none on this port.
#[tokio::test]
async fn a_server_that_speaks_plaintext_is_recognised() {
    let pki = Pki::new("cluster.local").unwrap();
    let hello = || Router::new().fallback(any(|| async { "hello" }));
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain = socket.local_addr().unwrap();
    let serving = tokio::spawn(async move { axum::serve(socket, hello()).await });
    let disabled = serve(
        &build(app(&pki).danger().mode(Mode::Disable)).await,
        hello(),
    )
    .await;
    for address in [plain, disabled.address] {
        let desk = desk(&pki, address).await;
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let call = desk.client().get("http://app.default/").version(version);
            let error = call.await.unwrap_err();
            let said = levels(&error);
            let first = format!(
                "no connection to app.default at {address}: the server speaks plaintext, not TLS"
            );
            assert!(said[0].starts_with(&first), "{said:?}");
            assert!(said[0].contains("ExternalHost::plaintext"), "{said:?}");
            assert_eq!(error.flags(), ResponseFlags::UPSTREAM_CONNECTION_FAILURE);
        }
    }
    serving.abort();
}

/// `{:#}` of anyhow writes all levels, one after the other: none repeats what the one above it ends with.
#[tokio::test]
async fn each_level_of_an_error_says_its_own_words_only() {
    let pki = Pki::new("cluster.local").unwrap();
    let gone = nobody().await;
    let desk_of_gone = desk(&pki, gone).await;
    let impostor = Mesh::builder(
        Workload::new("default", "impostor"),
        pki.identity("default", "impostor").unwrap(),
    );
    let cut = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cut_address = cut.local_addr().unwrap();
    let cutting = tokio::spawn(async move { while cut.accept().await.is_ok() {} });
    let impostor = serve(&build(impostor).await, Router::new()).await.address;
    let rows = [
        (
            gone,
            "http://app.default/",
            format!("no connection to app.default at {gone}"),
        ),
        (
            gone,
            "http://legacy.example/",
            format!("no connection to legacy.example at {gone}"),
        ),
        (
            gone,
            "http://nowhere.invalid/",
            "no connection to nowhere.invalid: DNS gives no address of nowhere.invalid".to_owned(),
        ),
        (
            impostor,
            "http://app.default/",
            format!("no connection to app.default at {impostor}"),
        ),
        (
            cut_address,
            "http://legacy.example/",
            "the connection to legacy.example ended before a response came".to_owned(),
        ),
    ];
    for (address, uri, first) in rows {
        let desk = if address == gone {
            desk_of_gone.clone()
        } else {
            desk(&pki, address).await
        };
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let request = Request::get(uri).version(version);
            let request = request.body(ClientBody::empty()).unwrap();
            let error = desk.client().request(request).await.unwrap_err();
            let said = levels(&error);
            assert_eq!(said[0], first, "{said:?}");
            assert!(said.len() >= 2, "{uri} has a reason: {said:?}");
            assert!(!said[0].contains(&said[1]), "{said:?}");
            assert_eq!(error.status(), StatusCode::SERVICE_UNAVAILABLE);
            if let Some(connecting) = error.connect_error() {
                assert_eq!(connecting.to_string(), first);
            }
        }
    }
    cutting.abort();
}
