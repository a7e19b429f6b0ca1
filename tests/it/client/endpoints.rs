//! Endpoints: each address of an upstream has its own connections, which end and fail alone.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::routing::any;
use http::Version;
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tokio::sync::{Barrier, mpsc};
use tokio::task::JoinHandle;
use tower_mesh::mesh::{ExternalHost, Upstreams};
use tower_mesh::testing::{Leaf, Pki};
use tower_mesh::tls::{Acceptor, Credentials, Identity, Lifetimes, Settings};
use tower_mesh::{Mesh, MeshBuilder, Peer, Workload};

use crate::support::mesh::{app, build, caller, pass, read, seconds, serve, settle, still, until};

const APP: [&str; 1] = ["spiffe://cluster.local/ns/default/sa/app"];
const VERSIONS: [Version; 2] = [Version::HTTP_11, Version::HTTP_2];

fn pki() -> Pki {
    Pki::new("cluster.local").unwrap()
}

/// Says which connection a request came on: the caller's address and the server's.
fn whence() -> Router {
    Router::new().fallback(any(|peer: Peer| async move {
        format!("{} {}", peer.remote_addr(), peer.local_addr())
    }))
}

async fn served(pki: &Pki) -> SocketAddr {
    serve(&build(app(pki)).await, whence()).await.address
}

fn desk(pki: &Pki) -> MeshBuilder {
    Mesh::builder(
        Workload::new("default", "desk"),
        pki.identity("default", "desk").unwrap(),
    )
}

/// The connection that a call took.
async fn ask(mesh: &Mesh, host: &str, version: Version) -> String {
    let call = mesh.client().get(format!("http://{host}/"));
    let text = read(call.version(version).await.unwrap()).await.2;
    // A connection of HTTP/1 goes back to the pool once its task has run.
    settle().await;
    text
}

/// The connections that so many calls took.
async fn ask_times(mesh: &Mesh, host: &str, version: Version, times: usize) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for _ in 0..times {
        seen.insert(ask(mesh, host, version).await);
    }
    seen
}

#[tokio::test]
async fn an_upstream_of_three_addresses_uses_three() {
    let pki = pki();
    let addresses = [served(&pki).await, served(&pki).await, served(&pki).await];
    for version in VERSIONS {
        let desk = build(desk(&pki).upstream("app.default", addresses, APP)).await;
        let first = ask_times(&desk, "app.default", version, 3).await;
        let servers = |connections: &BTreeSet<String>| {
            let server = |text: &String| text.split_once(' ').unwrap().1.to_owned();
            connections.iter().map(server).collect::<BTreeSet<_>>()
        };
        let wanted = addresses.iter().map(SocketAddr::to_string).collect();
        assert_eq!(servers(&first), wanted, "{version:?}");
        let later = ask_times(&desk, "app.default", version, 9).await;
        assert_eq!(later, first, "{version:?}: one connection to each");
    }
}

/// Connections of other hosts, and to other endpoints of the same host, stay.
#[tokio::test]
async fn a_connection_that_ages_retires_itself_alone() {
    let pki = pki();
    let addresses = [served(&pki).await, served(&pki).await];
    let other = served(&pki).await;
    let _still = still();
    for version in VERSIONS {
        // 90 to 110 seconds.
        let mut lifetimes = Lifetimes::default();
        lifetimes.max_age = Duration::from_secs(100);
        let desk = desk(&pki)
            .upstream("app.default", addresses, APP)
            .upstream("other.default", [other], APP)
            .lifetimes(lifetimes);
        let desk = build(desk).await;
        let old = ask(&desk, "app.default", version).await;
        seconds(40).await;
        let young = ask(&desk, "app.default", version).await;
        assert_ne!(young, old);
        let others = ask(&desk, "other.default", version).await;
        for _ in 0..2 {
            assert_eq!(ask(&desk, "app.default", version).await, old);
            assert_eq!(ask(&desk, "app.default", version).await, young);
            seconds(20).await;
        }
        assert_eq!(ask(&desk, "app.default", version).await, old);
        assert_eq!(ask(&desk, "app.default", version).await, young);
        assert_eq!(ask(&desk, "other.default", version).await, others);
        seconds(35).await;
        let renewed = ask(&desk, "app.default", version).await;
        assert_ne!(renewed, old, "{version:?}: 115 seconds old");
        assert_eq!(ask(&desk, "app.default", version).await, young);
        assert_eq!(ask(&desk, "other.default", version).await, others);
        assert_eq!(ask(&desk, "app.default", version).await, renewed);
    }
}

fn next(pki: &Pki, account: &str) -> Identity {
    let now = SystemTime::now();
    let leaf = Leaf::workload(format!("spiffe://cluster.local/ns/default/sa/{account}"))
        .valid(now, now + Duration::from_secs(7200));
    let svid = pki.issue(&leaf).unwrap().svid().unwrap();
    Identity::new(svid, pki.bundles().unwrap())
}

#[tokio::test]
async fn the_rotation_of_one_upstreams_certificate_costs_the_others_nothing() {
    let pki = pki();
    let other = served(&pki).await;
    for version in VERSIONS {
        let mesh = build(app(&pki)).await;
        let rotating = serve(&mesh, whence()).await.address;
        let desk = desk(&pki)
            .upstream("app.default", [rotating], APP)
            .upstream("other.default", [other], APP);
        let desk = build(desk).await;
        let before = ask(&desk, "app.default", version).await;
        let others = ask(&desk, "other.default", version).await;
        let rotated = mesh.credentials().unwrap().replace(&next(&pki, "app"));
        assert!(rotated.unwrap());
        let mut calls = 0;
        while ask(&desk, "app.default", version).await == before {
            calls += 1;
            assert!(calls < 1000, "{version:?}: the server has ended it");
        }
        assert_eq!(ask(&desk, "other.default", version).await, others);
    }
}

/// A host outside the mesh, which says which connection a request came on.
async fn served_outside() -> (SocketAddr, JoinHandle<std::io::Result<()>>) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let outside = socket.local_addr().unwrap();
    let names = Router::new().fallback(any(
        |axum::extract::ConnectInfo(from): axum::extract::ConnectInfo<SocketAddr>| async move {
            from.to_string()
        },
    ));
    let names = names.into_make_service_with_connect_info::<SocketAddr>();
    let serving = tokio::spawn(async move { axum::serve(socket, names).await });
    (outside, serving)
}

/// A host whose DNS answer has changed would keep its calls otherwise, as long as they come.
#[tokio::test]
async fn a_connection_to_a_host_outside_ages_too() {
    let pki = pki();
    let (outside, serving) = served_outside().await;
    let _still = still();
    for version in VERSIONS {
        let mut lifetimes = Lifetimes::default();
        lifetimes.max_age = Duration::from_secs(100);
        let desk = desk(&pki)
            .outside("legacy.example", ExternalHost::plaintext().at([outside]))
            .lifetimes(lifetimes);
        let desk = build(desk).await;
        let old = ask(&desk, "legacy.example", version).await;
        for _ in 0..4 {
            seconds(20).await;
            assert_eq!(ask(&desk, "legacy.example", version).await, old);
        }
        seconds(35).await;
        let renewed = ask(&desk, "legacy.example", version).await;
        assert_ne!(renewed, old, "{version:?}: 115 seconds old");
    }
    serving.abort();
}

/// Our own rotation is all connections' of the mesh, and of none outside of it.
#[tokio::test]
async fn our_own_rotation_leaves_connections_without_an_identity() {
    let pki = pki();
    let inside = served(&pki).await;
    let (outside, serving) = served_outside().await;
    for version in VERSIONS {
        let desk = desk(&pki)
            .upstream("app.default", [inside], APP)
            .outside("legacy.example", ExternalHost::plaintext().at([outside]));
        let desk = build(desk).await;
        let before = ask(&desk, "app.default", version).await;
        let others = ask(&desk, "legacy.example", version).await;
        let rotated = desk.credentials().unwrap().replace(&next(&pki, "desk"));
        assert!(rotated.unwrap());
        assert_ne!(ask(&desk, "app.default", version).await, before);
        assert_eq!(ask(&desk, "legacy.example", version).await, others);
    }
    serving.abort();
}

/// No call waits for an endpoint that is down while another one is up; once it is up, it is used.
#[tokio::test]
async fn an_endpoint_that_is_down_is_tried_beside_the_calls() {
    let pki = pki();
    let up = served(&pki).await;
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let down = socket.local_addr().unwrap();
    let desk = desk(&pki)
        .upstream("app.default", [down, up], APP)
        .client(|client| client.connect_timeout(Duration::from_secs(3)));
    let desk = build(desk).await;
    let _still = still();
    // It takes a connection and never speaks.
    let first = {
        let desk = desk.clone();
        tokio::spawn(async move { ask(&desk, "app.default", Version::HTTP_2).await })
    };
    let (held, _) = socket.accept().await.unwrap();
    settle().await;
    assert!(!first.is_finished(), "nothing is known of it yet");
    pass(Duration::from_secs(4)).await;
    let wanted = first.await.unwrap();
    let seen = ask_times(&desk, "app.default", Version::HTTP_2, 10).await;
    assert_eq!(seen, BTreeSet::from([wanted]));
    drop(held);
    let mesh = build(app(&pki)).await;
    let serving = tokio::spawn(async move { mesh.serve_on(socket, whence()).await });
    pass(Duration::from_secs(6)).await;
    let mut seen = BTreeSet::new();
    for _ in 0..1000 {
        seen.insert(ask(&desk, "app.default", Version::HTTP_2).await);
        if seen.len() == 2 {
            break;
        }
    }
    assert_eq!(seen.len(), 2, "{seen:?}");
    serving.abort();
}

/// A server of HTTP/2 that allows one stream at a time on each connection; says who connects. It
/// answers `/together` to two calls at once, and `/body` with a body.
async fn one_stream_at_a_time(pki: &Pki) -> (SocketAddr, mpsc::UnboundedReceiver<SocketAddr>) {
    let identity = pki.identity("default", "app").unwrap();
    let acceptor = Acceptor::new(Credentials::new(&identity, Settings::default()).unwrap());
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let together = Arc::new(Barrier::new(2));
    let (seen, accepted) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((tcp, remote)) = socket.accept().await {
            seen.send(remote).unwrap();
            let (stream, _) = acceptor.accept(tcp, remote, address).await.unwrap();
            let together = Arc::clone(&together);
            tokio::spawn(async move {
                let mut builder = h2::server::Builder::new();
                let builder = builder.max_concurrent_streams(1);
                let mut connection = builder.handshake::<_, bytes::Bytes>(stream).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let together = Arc::clone(&together);
                    tokio::spawn(async move {
                        let has_body = request.uri().path() == "/body";
                        if request.uri().path() == "/together" {
                            together.wait().await;
                        }
                        let head = http::Response::new(());
                        let mut sending = respond.send_response(head, !has_body).unwrap();
                        if has_body {
                            sending.send_data("body".into(), true).unwrap();
                        }
                    });
                }
            });
        }
    });
    (address, accepted)
}

/// A server that allows one stream at a time gets a connection for each of two calls.
#[tokio::test]
async fn a_full_connection_of_http2_gets_another_one_beside_it() {
    let pki = pki();
    let (address, mut accepted) = one_stream_at_a_time(&pki).await;
    let desk = caller(&pki, "desk", address).await;
    let call = |path: &str| {
        let call = desk.client().get(format!("http://app.default{path}"));
        tokio::spawn(call.version(Version::HTTP_2).into_future())
    };
    assert_eq!(call("/").await.unwrap().unwrap().status(), 200);
    for _ in 0..3 {
        let (one, two) = (call("/together"), call("/together"));
        assert_eq!(one.await.unwrap().unwrap().status(), 200);
        assert_eq!(two.await.unwrap().unwrap().status(), 200);
    }
    accepted.recv().await.unwrap();
    until("the second connection", || accepted.try_recv().is_ok()).await;
    assert!(accepted.try_recv().is_err(), "both are used again");
}

/// Whoever keeps a response, keeps no other call from the connection.
#[tokio::test]
async fn a_response_that_has_ended_frees_its_stream_before_it_is_dropped() {
    let pki = pki();
    let (address, mut accepted) = one_stream_at_a_time(&pki).await;
    let desk = caller(&pki, "desk", address).await;
    let call = async |path: &str| {
        let call = desk.client().get(format!("http://app.default{path}"));
        call.version(Version::HTTP_2).await.unwrap()
    };
    let mut kept = Vec::new();
    for path in ["/", "/", "/body", "/body", "/"] {
        let mut body = call(path).await.into_body();
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            bytes += frame.unwrap().into_data().map_or(0, |data| data.len());
        }
        assert_eq!(bytes, if path == "/body" { 4 } else { 0 });
        kept.push(body);
        // The server frees the stream once it has polled its connection.
        settle().await;
    }
    accepted.recv().await.unwrap();
    assert!(accepted.try_recv().is_err(), "one connection serves all");
}

/// The unit tests of the client hold what becomes of each connection.
#[tokio::test]
async fn upstreams_are_replaced_while_the_mesh_runs_or_not_at_all() {
    let pki = pki();
    let (one, two) = (served(&pki).await, served(&pki).await);
    let desk = build(desk(&pki).upstream("app.default", [one], APP)).await;
    let before = ask(&desk, "app.default", Version::HTTP_2).await;
    let calls = async || ask(&desk, "app.default", Version::HTTP_2).await;

    let mistaken = Upstreams::new()
        .upstream("a b", [two], APP)
        .upstream("app.default", [two], [] as [&str; 0])
        .outside("api.example", ExternalHost::tls_with_roots("no PEM"));
    let error = desk.replace_upstreams(mistaken).await.unwrap_err();
    let begins = |piece: &str| {
        let is_told = |mistake: &String| mistake.starts_with(piece);
        error.mistakes().iter().any(is_told)
    };
    for piece in [
        "Mesh::replace_upstreams: upstream \"a b\"",
        "Mesh::replace_upstreams: upstream \"app.default\"",
        "Mesh::replace_upstreams: outside \"api.example\"",
    ] {
        assert!(begins(piece), "{piece}: {error:?}");
    }
    assert_eq!(calls().await, before, "nothing is changed");

    let named = format!("localhost:{}", two.port());
    let others = Upstreams::new().upstream("other.default", [named.as_str()], APP);
    desk.replace_upstreams(others).await.unwrap();
    let gone = desk.client().get("http://app.default/").await;
    assert!(gone.unwrap_err().is_unknown_host());
    let other = ask(&desk, "other.default", Version::HTTP_2).await;
    assert!(other.ends_with(&two.to_string()), "{other}");
}
