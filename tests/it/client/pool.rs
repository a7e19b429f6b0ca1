//! The pool of an endpoint: what is known of its health, and which connection a call takes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use http::{Uri, Version};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tower::Service;
use tower_mesh::testing::{Leaf, Pki};
use tower_mesh::tls::{Identity, Protocol};
use tower_mesh::{Mesh, MeshBuilder, Peer, Workload};

use crate::support::mesh::{app, build, lines, pass, read, serve, settle, still, until};

const APP: [&str; 1] = ["spiffe://cluster.local/ns/default/sa/app"];

fn pki() -> Pki {
    Pki::new("cluster.local").unwrap()
}

fn desk(pki: &Pki) -> MeshBuilder {
    Mesh::builder(
        Workload::new("default", "desk"),
        pki.identity("default", "desk").unwrap(),
    )
}

/// A server that says on which connection a request came: the caller's address and its own.
async fn served(pki: &Pki) -> SocketAddr {
    let whence =
        any(|peer: Peer| async move { format!("{} {}", peer.remote_addr(), peer.local_addr()) });
    let app_ = Router::new().fallback(whence);
    serve(&build(app(pki)).await, app_).await.address
}

async fn ask(mesh: &Mesh, version: Version) -> String {
    let call = mesh.client().get("http://app.default/").version(version);
    let text = read(call.await.unwrap()).await.2;
    // A connection of HTTP/1 goes back to the pool once its task has run.
    settle().await;
    text
}

fn asking(mesh: &Mesh, version: Version) -> JoinHandle<String> {
    let mesh = mesh.clone();
    tokio::spawn(async move { ask(&mesh, version).await })
}

/// A relay in front of a server, which decides what becomes of new connections.
struct Door {
    address: SocketAddr,
    way: watch::Sender<Way>,
    came: Arc<AtomicUsize>,
}

#[derive(PartialEq)]
enum Way {
    Open,
    /// A connection waits until the way changes.
    Held,
    /// A connection is closed.
    Shut,
}

impl Door {
    async fn to(server: SocketAddr) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (way, watching) = watch::channel(Way::Open);
        let came = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&came);
        tokio::spawn(async move {
            while let Ok((mut outer, _)) = socket.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let mut way = watching.clone();
                tokio::spawn(async move {
                    let way = way.wait_for(|way| *way != Way::Held).await;
                    if way.is_ok_and(|way| *way == Way::Open) {
                        let mut inner = TcpStream::connect(server).await.unwrap();
                        let _ = copy_bidirectional(&mut outer, &mut inner).await;
                    }
                });
            }
        });
        Self { address, way, came }
    }

    fn came(&self) -> usize {
        self.came.load(Ordering::Relaxed)
    }
}

/// Connections that are open say nothing about whether a new one can be made.
#[tokio::test]
async fn an_endpoint_with_an_open_connection_is_used_again_once_it_takes_new_ones() {
    let pki = pki();
    let (one, two) = (served(&pki).await, served(&pki).await);
    let is_of = |text: &str, server: SocketAddr| text.ends_with(&server.to_string());
    let _still = still();
    for (open, new) in [
        (Version::HTTP_2, Version::HTTP_11),
        (Version::HTTP_11, Version::HTTP_2),
    ] {
        let door = Door::to(one).await;
        let desk = build(desk(&pki).upstream("app.default", [door.address, two], APP)).await;
        let mut seen = [ask(&desk, open).await, ask(&desk, open).await];
        seen.sort_by_key(|text| is_of(text, two));
        assert!(is_of(&seen[0], one) && is_of(&seen[1], two), "{seen:?}");
        door.way.send_replace(Way::Shut);
        for _ in 0..2 {
            assert!(is_of(&ask(&desk, new).await, two));
        }
        assert!(is_of(&ask(&desk, open).await, two), "it is down");
        door.way.send_replace(Way::Open);
        pass(Duration::from_secs(6)).await;
        let mut calls = 0;
        while !is_of(&ask(&desk, open).await, one) {
            calls += 1;
            assert!(calls < 1000, "{open:?}: it stays down");
        }
    }
}

/// Each caller gives up sooner than a connection attempt does.
#[tokio::test]
async fn calls_that_give_up_show_that_an_address_is_silent() {
    let pki = pki();
    let up = served(&pki).await;
    let _still = still();
    for way in [Some(Version::HTTP_11), Some(Version::HTTP_2), None] {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = [silent.local_addr().unwrap(), up];
        let desk = desk(&pki)
            .upstream("app.default", addresses, APP)
            .client(|client| client.connect_timeout(Duration::from_secs(3)));
        let desk = build(desk).await;
        let call = || match way {
            Some(version) => asking(&desk, version),
            None => {
                let mut connector = desk.connector(Protocol::Http1);
                tokio::spawn(async move {
                    let uri = Uri::from_static("http://app.default/");
                    connector.call(uri).await.unwrap();
                    String::new()
                })
            }
        };
        let first = call();
        let held = silent.accept().await.unwrap();
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        settle().await;
        pass(Duration::from_secs(4)).await;
        settle().await;
        for _ in 0..4 {
            tokio::select! {
                biased;
                _ = silent.accept() => panic!("{way:?}: the address is not known to be silent"),
                answered = call() => drop(answered.unwrap()),
            }
        }
        drop(held);
    }
}

#[tokio::test]
async fn a_call_of_http1_takes_a_connection_that_is_free_before_its_own() {
    let pki = pki();
    let (entered, mut inside) = mpsc::unbounded_channel();
    let leave = Arc::new(Notify::new());
    let left = Arc::clone(&leave);
    let router = Router::new()
        .route(
            "/wait",
            any(move |peer: Peer| async move {
                entered.send(()).unwrap();
                left.notified().await;
                peer.remote_addr().to_string()
            }),
        )
        .fallback(any(
            |peer: Peer| async move { peer.remote_addr().to_string() },
        ));
    let server = serve(&build(app(&pki)).await, router).await.address;
    let door = Door::to(server).await;
    let desk = build(desk(&pki).upstream("app.default", [door.address], APP)).await;
    let wait = || {
        let call = desk.client().get("http://app.default/wait");
        tokio::spawn(async move { read(call.await.unwrap()).await.2 })
    };
    let first = wait();
    inside.recv().await.unwrap();
    door.way.send_replace(Way::Held);
    let second = asking(&desk, Version::HTTP_11);
    until("the second connection", || door.came() == 2).await;
    leave.notify_one();
    let first = first.await.unwrap();
    until("the first connection", || second.is_finished()).await;
    assert_eq!(second.await.unwrap(), first);

    // The one that came too late serves later calls.
    door.way.send_replace(Way::Open);
    until("the handshake", || {
        let labels = ["side=\"outbound\"", "result=\"ok\""];
        let counted = lines(&desk, "mesh_tls_handshakes_total", &labels);
        counted.iter().any(|line| line.ends_with(" 2"))
    })
    .await;
    settle().await;
    let third = wait();
    inside.recv().await.unwrap();
    let fourth = ask(&desk, Version::HTTP_11).await;
    leave.notify_one();
    assert_ne!(third.await.unwrap(), fourth);
    assert_eq!(door.came(), 2);
}

#[tokio::test]
async fn no_call_waits_for_a_connection_that_is_made_with_the_identity_before() {
    let pki = pki();
    let door = Door::to(served(&pki).await).await;
    door.way.send_replace(Way::Held);
    let desk = build(desk(&pki).upstream("app.default", [door.address], APP)).await;
    let before = asking(&desk, Version::HTTP_2);
    until("the first connection", || door.came() == 1).await;
    let leaf = Leaf::workload("spiffe://cluster.local/ns/default/sa/desk");
    let svid = pki.issue(&leaf).unwrap().svid().unwrap();
    let next = Identity::new(svid, pki.bundles().unwrap());
    assert!(desk.credentials().unwrap().replace(&next).unwrap());
    let after = [(); 2].map(|()| asking(&desk, Version::HTTP_2));
    until("the second connection", || door.came() == 2).await;
    settle().await;
    assert_eq!(door.came(), 2, "both calls wait for one");
    door.way.send_replace(Way::Open);
    let before = before.await.unwrap();
    for after in after {
        let after = after.await.unwrap();
        assert_ne!(after, before);
        assert_eq!(ask(&desk, Version::HTTP_2).await, after);
    }
}
