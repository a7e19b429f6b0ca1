//! A whole mesh whose identity changes under it.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::{Router, routing};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower_mesh::Workload;
use tower_mesh::mesh::{HttpLimits, Mesh};
use tower_mesh::source::Directory;
use tower_mesh::testing::{Leaf, Pki};
use tower_mesh::tls::{
    Connector, Destination, Files, Identity, Lifetimes, NextIdentity, Protocol, Source,
};

use crate::support::mesh::until;
use crate::tls::support::{credentials, id};

const OURS: &str = "spiffe://cluster.local/ns/default/sa/ours";

fn write(directory: &TempDir, pki: &Pki) {
    let issued = pki.issue(&Leaf::workload(OURS)).unwrap();
    let file = |name: &str| directory.path().join(name);
    fs::write(file("ca.crt"), pki.root_pem()).unwrap();
    fs::write(file("tls.crt"), issued.chain_pem()).unwrap();
    fs::write(file("tls.key"), issued.key_pem().as_bytes()).unwrap();
}

async fn connect(pki: &Pki, address: SocketAddr) -> (SendRequest<Empty<Bytes>>, Connection) {
    let destination = Destination::new([id(OURS)], "ours", Protocol::Http2).unwrap();
    let connector = Connector::new(credentials(pki, "client"));
    let (stream, _) = connector.connect(address, &destination).await.unwrap();
    let http2 = handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (sender, connection) = http2.unwrap();
    (sender, tokio::spawn(connection))
}

type Connection = tokio::task::JoinHandle<hyper::Result<()>>;

fn get() -> Request<Empty<Bytes>> {
    Request::get("https://ours/").body(Empty::new()).unwrap()
}

/// M-47: GOAWAY, the stream under way finishes, then the connection ends; the next one has the new certificate.
#[tokio::test]
async fn a_rotation_drains_connections_and_fails_no_request() {
    let pki = Pki::new("cluster.local").unwrap();
    let ours = credentials(&pki, "ours");
    let builder = Mesh::builder(Workload::new("default", "ours"), ours.clone());
    let (mesh, _driver) = builder.build().await.unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, wait) = (Arc::clone(&begun), Arc::clone(&go_on));
    let slow = || async move {
        tell.notify_one();
        wait.notified().await;
        "done"
    };
    let app = Router::new().route("/", routing::get(slow));
    let serving = tokio::spawn(async move { mesh.serve_on(socket, app).await });

    let (mut sender, connection) = connect(&pki, address).await;
    let under_way = tokio::spawn(sender.send_request(get()));
    begun.notified().await;
    let next = pki.issue(&Leaf::workload(OURS)).unwrap().svid().unwrap();
    ours.replace(&Identity::new(next, pki.bundles().unwrap()))
        .unwrap();
    // The server says that it is going away, and takes no further stream.
    let refused = async {
        // A stream that it still took just waits, and is given up.
        let patience = Duration::from_millis(10);
        while !matches!(
            timeout(patience, sender.send_request(get())).await,
            Ok(Err(_))
        ) {}
    };
    timeout(Duration::from_secs(5), refused).await.unwrap();
    go_on.notify_one();
    let response = under_way.await.unwrap().unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(&body[..], b"done");
    let ended = timeout(Duration::from_secs(5), connection).await;
    assert!(ended.unwrap().unwrap().is_ok());

    let (mut sender, _connection) = connect(&pki, address).await;
    go_on.notify_one();
    let response = sender.send_request(get()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    serving.abort();
}

/// M-47: an idle HTTP/1 connection is not closed upon a request that may be on its way, its next response says that it ends.
#[tokio::test]
async fn a_rotation_lets_an_http1_connection_answer_once_more() {
    let pki = Pki::new("cluster.local").unwrap();
    let ours = credentials(&pki, "ours");
    let builder = Mesh::builder(Workload::new("default", "ours"), ours.clone());
    let (mesh, _driver) = builder.build().await.unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let app = Router::new().route("/", routing::get(|| async { "done" }));
    let serving = tokio::spawn(async move { mesh.serve_on(socket, app).await });

    let destination = Destination::new([id(OURS)], "ours", Protocol::Http1).unwrap();
    let connector = Connector::new(credentials(&pki, "client"));
    let (stream, _) = connector.connect(address, &destination).await.unwrap();
    let http1 = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = http1.unwrap();
    let connection = tokio::spawn(connection);
    let ask = || {
        Request::get("/")
            .header("host", "ours")
            .body(Empty::<Bytes>::new())
    };
    let before = sender.send_request(ask().unwrap()).await.unwrap();
    assert!(!before.headers().contains_key("connection"));
    before.into_body().collect().await.unwrap();

    let next = pki.issue(&Leaf::workload(OURS)).unwrap().svid().unwrap();
    ours.replace(&Identity::new(next, pki.bundles().unwrap()))
        .unwrap();
    // The server's connection sees the rotation before it sees the next request.
    tokio::task::yield_now().await;
    let last = sender.send_request(ask().unwrap()).await.unwrap();
    assert_eq!(last.headers()["connection"], "close");
    last.into_body().collect().await.unwrap();
    assert!(connection.await.unwrap().is_ok());
    serving.abort();
}

/// M-46, M-47: a rotation between a client's handshake and its first request costs it neither.
#[tokio::test]
async fn a_rotation_before_the_first_request_loses_nothing() {
    let pki = Pki::new("cluster.local").unwrap();
    let ours = credentials(&pki, "ours");
    let builder = Mesh::builder(Workload::new("default", "ours"), ours.clone());
    let (mesh, _driver) = builder.build().await.unwrap();
    let tally = |mesh: &Mesh| mesh.metrics().render(tower_mesh::metrics::Format::Text);
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let app = Router::new().route("/", routing::get(|| async { "done" }));
    let serving = tokio::spawn({
        let mesh = mesh.clone();
        async move { mesh.serve_on(socket, app).await }
    });
    let destination = Destination::new([id(OURS)], "ours", Protocol::Http2).unwrap();
    let connector = Connector::new(credentials(&pki, "client"));
    let (stream, _) = connector.connect(address, &destination).await.unwrap();
    let next = pki.issue(&Leaf::workload(OURS)).unwrap().svid().unwrap();
    ours.replace(&Identity::new(next, pki.bundles().unwrap()))
        .unwrap();
    let ended = r#"mesh_connections_ended_total{side="inbound",reason="rotated""#;
    until("the server to see the rotation", || {
        tally(&mesh).contains(ended)
    })
    .await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let http2 = handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = http2.unwrap();
    let connection = tokio::spawn(connection);
    let response = sender.send_request(get()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response.into_body().collect().await.unwrap();
    // And then it is told to go.
    let ended = timeout(Duration::from_secs(5), connection).await;
    assert!(ended.unwrap().unwrap().is_ok());
    serving.abort();
}

/// M-46: a thousand rotations under connections and requests, with fifty streams that stand the whole time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_rotations_fail_no_request() {
    let pki = Arc::new(Pki::new("cluster.local").unwrap());
    let ours = credentials(&pki, "ours");
    // The streams stand for as long as a busy machine needs for all these rotations: no limit of time may end them before.
    let (mut lifetimes, mut http) = (Lifetimes::default(), HttpLimits::default());
    lifetimes.drain = Duration::from_secs(3600);
    http.keep_alive = Duration::from_secs(3600);
    let builder = Mesh::builder(Workload::new("default", "ours"), ours.clone());
    let builder = builder
        .lifetimes(lifetimes)
        .listener(|listener| listener.http(http));
    let (mesh, _driver) = builder.build().await.unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (inside, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (tell, wait) = (Arc::clone(&inside), Arc::clone(&go));
    let slow = || async move {
        tell.add_permits(1);
        wait.acquire().await.unwrap().forget();
        "done"
    };
    let app = Router::new().route("/", routing::get(slow));
    let app = app.route("/quick", routing::get(|| async { "done" }));
    let serving = tokio::spawn({
        let mesh = mesh.clone();
        async move { mesh.serve_on(socket, app).await }
    });
    let (sender, _connection) = connect(&pki, address).await;
    let mut standing = JoinSet::new();
    for _ in 0..50 {
        let mut sender = sender.clone();
        standing.spawn(async move {
            sender
                .send_request(get())
                .await
                .map(|answer| answer.status())
        });
    }
    inside.acquire_many(50).await.unwrap().forget();
    let (authority, rotated) = (Arc::clone(&pki), ours.clone());
    let rotating = tokio::task::spawn_blocking(move || {
        for _ in 0..1000 {
            let next = authority.issue(&Leaf::workload(OURS)).unwrap();
            let next = Identity::new(next.svid().unwrap(), authority.bundles().unwrap());
            rotated.replace(&next).unwrap();
        }
    });
    let mut calls = 0;
    let destination = Destination::new([id(OURS)], "ours", Protocol::Http1).unwrap();
    let connector = Connector::new(credentials(&pki, "client"));
    while !rotating.is_finished() {
        let (stream, _) = connector.connect(address, &destination).await.unwrap();
        let http1 = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = http1.unwrap();
        tokio::spawn(connection);
        let request = Request::get("/quick").header("host", "ours");
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        assert_eq!(
            sender.send_request(request).await.unwrap().status(),
            StatusCode::OK
        );
        calls += 1;
    }
    rotating.await.unwrap();
    assert_eq!(ours.generation(), 1001);
    go.add_permits(50);
    let mut done = 0;
    while let Some(status) = standing.join_next().await {
        assert_eq!(status.unwrap().unwrap(), StatusCode::OK);
        done += 1;
    }
    assert!(done == 50 && calls > 0, "{done} streams, {calls} calls");
    let refused = mesh.metrics().render(tower_mesh::metrics::Format::Text);
    assert!(!refused.contains("result=\"refused\""), "{refused}");
    serving.abort();
}

#[tokio::test]
async fn a_mesh_follows_the_files_of_its_identity() {
    let pki = Pki::new("cluster.local").unwrap();
    let directory = TempDir::new().unwrap();
    write(&directory, &pki);
    let builder = Mesh::builder(
        Workload::new("default", "ours"),
        Files::watch(directory.path()),
    );
    let (mesh, driver) = builder.build().await.unwrap();
    let driver = tokio::spawn(driver.run());
    assert_eq!(mesh.credentials().unwrap().generation(), 1);
    write(&directory, &pki);
    let rotated = timeout(Duration::from_secs(10), async {
        while mesh.credentials().unwrap().generation() == 1 {
            tokio::task::yield_now().await;
        }
    });
    rotated.await.unwrap();
    driver.abort();
}

/// A source that takes longer than a look at the configuration is away.
struct Slow(Pki);

impl Source for Slow {
    fn next(&mut self) -> NextIdentity<'_> {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            Ok(self.0.identity("default", "ours").unwrap())
        })
    }
}

/// M-43
#[tokio::test(start_paused = true)]
async fn a_slow_source_is_heard_beside_a_watched_configuration() {
    let policies = TempDir::new().unwrap();
    let policy = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p}\nspec: {action: ALLOW}\n";
    fs::write(policies.path().join("p.yaml"), policy).unwrap();
    let builder = Mesh::builder(
        Workload::new("default", "ours"),
        Slow(Pki::new("cluster.local").unwrap()),
    )
    .config(Directory::watch(policies.path()));
    let (mesh, driver) = builder.build().await.unwrap();
    let driver = tokio::spawn(driver.run());
    let rotated = timeout(Duration::from_secs(30), async {
        while mesh.credentials().unwrap().generation() < 3 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    rotated.await.unwrap();
    driver.abort();
}

#[tokio::test]
async fn a_mesh_without_its_files_is_not_built() {
    let directory = TempDir::new().unwrap();
    let builder = Mesh::builder(
        Workload::new("default", "ours"),
        Files::watch(directory.path()),
    );
    let error = format!("{:?}", builder.build().await.unwrap_err());
    assert!(error.contains("tls.crt"), "{error}");
}
