//! The plaintext port of a mesh: readiness, metrics, and how long it stays.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tower_mesh::Mesh;
use tower_mesh::mesh::Drained;
use tower_mesh::testing::Pki;

use crate::support::mesh::{
    Served, app, build, empty, get, http1, pass, read, serve, still, until,
};

/// A port of the mesh's own for probes and scrapes.
async fn probe(mesh: &Mesh) -> Served {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let mesh = mesh.clone();
    let serving = tokio::spawn(async move { mesh.serve_plaintext_on(socket, mesh.probe()).await });
    Served { address, serving }
}

/// The head and the body of the answer to a request on a connection of its own; `None` where none is taken.
async fn ask(address: SocketAddr, method: &str, path: &str, accept: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: probe\r\naccept: {accept}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer).filter(|answer| !answer.is_empty())
}

#[tokio::test]
async fn metrics_have_two_paths_and_every_other_one_is_readiness() {
    let pki = Pki::new("cluster.local").unwrap();
    let mesh = build(app(&pki)).await;
    let probe = probe(&mesh).await;
    let (text, open) = ("text/plain", "application/openmetrics-text");
    let rows = [
        ("GET", "/metrics", text, "200 OK", "mesh_identity_valid 1"),
        (
            "GET",
            "/metrics?x=1",
            text,
            "200 OK",
            "content-type: text/plain; version=0.0.4",
        ),
        ("GET", "/metrics", open, "200 OK", "# EOF"),
        (
            "HEAD",
            "/metrics",
            open,
            "200 OK",
            "content-type: application/openmetrics-text",
        ),
        (
            "POST",
            "/metrics",
            text,
            "405 Method Not Allowed",
            "allow: GET, HEAD",
        ),
        // The path in the annotations that Istio's injector writes.
        (
            "GET",
            "/stats/prometheus",
            text,
            "200 OK",
            "mesh_identity_valid 1",
        ),
        ("GET", "/stats/prometheus", open, "200 OK", "# EOF"),
        (
            "HEAD",
            "/stats/prometheus?x=1",
            open,
            "200 OK",
            "content-type: application/openmetrics-text",
        ),
        (
            "POST",
            "/stats/prometheus",
            text,
            "405 Method Not Allowed",
            "allow: GET, HEAD",
        ),
        ("GET", "/", text, "200 OK", "\r\n\r\nready\n"),
        ("GET", "/stats", text, "200 OK", "\r\n\r\nready\n"),
        ("GET", "/metrics/", text, "200 OK", "\r\n\r\nready\n"),
        ("GET", "/healthz", open, "200 OK", "\r\n\r\nready\n"),
    ];
    for (method, path, accept, status, part) in rows {
        let answer = ask(probe.address, method, path, accept).await.unwrap();
        let is_expected = answer.contains(status) && answer.contains(part);
        assert!(is_expected, "{method} {path} {accept}: {answer}");
        if method == "HEAD" {
            assert!(answer.ends_with("\r\n\r\n"), "{answer}");
        }
    }
}

/// An application that has a request under way, until it may go on.
struct Busy {
    served: Served,
    go: Arc<Notify>,
    call: JoinHandle<String>,
}

impl Busy {
    async fn new(pki: &Pki, mesh: &Mesh) -> Self {
        let (arrived, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let slow = {
            let (arrived, go) = (Arc::clone(&arrived), Arc::clone(&go));
            any(move || async move {
                arrived.notify_one();
                go.notified().await;
                "finished"
            })
        };
        let served = serve(mesh, Router::new().fallback(slow)).await;
        let mut sender = http1::<Full<_>>(pki, "desk", served.address).await;
        let call = tokio::spawn(async move {
            match sender.send_request(empty(get("/"))).await {
                Ok(answer) => read(answer).await.2,
                Err(_) => "cut".to_owned(),
            }
        });
        arrived.notified().await;
        Self { served, go, call }
    }
}

async fn ended(serving: JoinHandle<std::io::Result<Drained>>) -> Drained {
    let ended = timeout(Duration::from_secs(20), serving).await;
    ended.expect("it has not ended").unwrap().unwrap()
}

#[tokio::test]
async fn it_answers_until_the_guarded_servers_have_drained() {
    let pki = Pki::new("cluster.local").unwrap();
    let mesh = build(app(&pki)).await;
    let busy = Busy::new(&pki, &mesh).await;
    let second = Busy::new(&pki, &mesh).await;
    let probe = probe(&mesh).await;
    mesh.shutdown(Duration::from_secs(30));
    for address in [busy.served.address, second.served.address] {
        until("the guarded listeners to close", || {
            std::net::TcpStream::connect(address).is_err()
        })
        .await;
    }
    let still_there = async || {
        let answer = ask(probe.address, "GET", "/", "*/*").await.unwrap();
        assert!(answer.contains("503"), "{answer}");
        assert!(answer.contains("not ready; draining"), "{answer}");
        let scraped = ask(probe.address, "GET", "/metrics", "*/*").await.unwrap();
        assert!(scraped.contains("200 OK"), "{scraped}");
    };
    still_there().await;
    busy.go.notify_one();
    assert_eq!(busy.call.await.unwrap(), "finished");
    assert_eq!(ended(busy.served.serving).await.cut, 0);
    still_there().await;
    assert!(!probe.serving.is_finished());
    second.go.notify_one();
    assert_eq!(second.call.await.unwrap(), "finished");
    assert_eq!(ended(second.served.serving).await.cut, 0);
    assert_eq!(ended(probe.serving).await.cut, 0);
    assert_eq!(ask(probe.address, "GET", "/", "*/*").await, None);
}

#[tokio::test]
async fn a_second_shutdown_without_grace_ends_it_too() {
    let pki = Pki::new("cluster.local").unwrap();
    let mesh = build(app(&pki)).await;
    let busy = Busy::new(&pki, &mesh).await;
    let probe = probe(&mesh).await;
    mesh.shutdown(Duration::from_secs(3600));
    assert!(ask(probe.address, "GET", "/", "*/*").await.is_some());
    mesh.shutdown(Duration::ZERO);
    assert_eq!(ended(probe.serving).await.cut, 0);
    assert_eq!(ended(busy.served.serving).await.cut, 1);
    assert_eq!(busy.call.await.unwrap(), "cut");
}

#[tokio::test]
async fn it_ends_when_the_grace_is_over() {
    let _still = still();
    let pki = Pki::new("cluster.local").unwrap();
    let mesh = build(app(&pki)).await;
    let busy = Busy::new(&pki, &mesh).await;
    let probe = probe(&mesh).await;
    mesh.shutdown(Duration::from_secs(30));
    assert!(ask(probe.address, "GET", "/", "*/*").await.is_some());
    pass(Duration::from_secs(31)).await;
    until("both to end", || {
        probe.serving.is_finished() && busy.served.serving.is_finished()
    })
    .await;
}

#[tokio::test]
async fn without_a_guarded_server_it_ends_with_the_shutdown() {
    let pki = Pki::new("cluster.local").unwrap();
    let mesh = build(app(&pki)).await;
    // One that has ended, too.
    let dropped = serve(&mesh, Router::new()).await;
    let probe = probe(&mesh).await;
    assert!(ask(probe.address, "GET", "/", "*/*").await.is_some());
    dropped.serving.abort();
    let _ = dropped.serving.await;
    mesh.shutdown(Duration::from_secs(3600));
    assert_eq!(ended(probe.serving).await, Drained::default());
}
