//! What a shutdown leaves its time, what it cuts, and what it says of that.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use bytes::Bytes;
use http::Method;
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower_mesh::Mesh;
use tower_mesh::mesh::Drained;
use tower_mesh::testing::Pki;
use tower_mesh::tls::{Mode, Protocol};

use crate::support::mesh::{
    Served, app, build, dial, empty, get, get2, http1, http2, http2_in_plaintext, lines, pass,
    read, serve, speak_http2, until,
};

fn pki() -> Pki {
    Pki::new("cluster.local").unwrap()
}

/// What waits in a handler until it may go on.
struct Gate {
    inside: Arc<AtomicUsize>,
    go: Arc<Semaphore>,
}

impl Gate {
    fn new() -> (Self, Router) {
        let (inside, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let (count, wait) = (Arc::clone(&inside), Arc::clone(&go));
        let slow = any(move || async move {
            count.fetch_add(1, Ordering::Relaxed);
            wait.acquire().await.unwrap().forget();
            "done"
        });
        (Self { inside, go }, Router::new().fallback(slow))
    }

    async fn wait(&self, count: usize) {
        until("requests to arrive", || {
            self.inside.load(Ordering::Relaxed) == count
        })
        .await;
    }
}

/// So many requests, on HTTP/2 connections of a hundred streams each.
async fn in_flight(pki: &Pki, address: SocketAddr, count: usize) -> JoinSet<Option<u16>> {
    let mut calls = JoinSet::new();
    for _ in 0..count / 100 {
        let sender = http2::<Full<Bytes>>(pki, "desk", address).await;
        for _ in 0..100 {
            let mut sender = sender.clone();
            calls.spawn(async move {
                let answer = sender.send_request(empty(get2("/"))).await.ok()?;
                let status = answer.status().as_u16();
                answer.into_body().collect().await.ok()?;
                Some(status)
            });
        }
    }
    calls
}

async fn shut(mesh: &Mesh, address: SocketAddr) {
    mesh.shutdown(Duration::from_secs(30));
    until("the listener to close", || {
        std::net::TcpStream::connect(address).is_err()
    })
    .await;
}

/// R-11: a thousand requests in flight, none of them lost; nothing is accepted any more, and readiness says so at once.
#[tokio::test]
async fn a_shutdown_loses_none_of_a_thousand_requests() {
    let pki = pki();
    let mesh = build(app(&pki)).await;
    let (gate, router) = Gate::new();
    let served = serve(&mesh, router).await;
    let mut calls = in_flight(&pki, served.address, 1000).await;
    gate.wait(1000).await;
    assert!(mesh.readiness().is_ready());
    mesh.shutdown(Duration::from_secs(30));
    assert!(!mesh.readiness().is_ready());
    shut(&mesh, served.address).await;
    assert!(!served.serving.is_finished());
    gate.go.add_permits(1000);
    let mut answered = 0;
    while let Some(status) = calls.join_next().await {
        assert_eq!(status.unwrap(), Some(200));
        answered += 1;
    }
    assert_eq!(answered, 1000);
    let drained = served.serving.await.unwrap().unwrap();
    assert_eq!((drained.cut, drained.cut_streams), (0, 0));
}

/// R-11: what does not end in time is cut, and counted by stream; a second call that is sooner counts.
#[tokio::test]
async fn a_second_shutdown_cuts_at_once_and_counts_streams() {
    let pki = pki();
    let mesh = build(app(&pki)).await;
    let (gate, router) = Gate::new();
    let served = serve(&mesh, router).await;
    let mut calls = in_flight(&pki, served.address, 200).await;
    gate.wait(200).await;
    let mut sender = http1::<Full<Bytes>>(&pki, "desk", served.address).await;
    calls.spawn(async move {
        let answer = sender.send_request(empty(get("/"))).await.ok()?;
        Some(answer.status().as_u16())
    });
    gate.wait(201).await;
    shut(&mesh, served.address).await;
    mesh.shutdown(Duration::ZERO);
    let drained = timeout(Duration::from_secs(10), served.serving).await;
    let drained = drained.unwrap().unwrap().unwrap();
    assert_eq!((drained.cut, drained.cut_streams), (3, 201));
    while let Some(status) = calls.join_next().await {
        assert_eq!(status.unwrap(), None);
    }
    let cut = lines(&mesh, "mesh_requests_cut_total", &[r#"side="inbound""#]);
    assert!(cut[0].ends_with(" 201"), "{cut:?}");
}

/// R-11: with notice, requests are served for a while by a mesh that says that it is not ready.
#[tokio::test]
async fn a_shutdown_with_notice_goes_on_serving_first() {
    let pki = pki();
    let mesh = build(app(&pki)).await;
    let (gate, router) = Gate::new();
    gate.go.add_permits(1);
    let served = serve(&mesh, router).await;
    mesh.shutdown_after(Duration::from_secs(5), Duration::from_secs(30));
    assert!(!mesh.readiness().is_ready());
    let mut sender = http2(&pki, "desk", served.address).await;
    let answer = sender.send_request(empty(get2("/"))).await.unwrap();
    assert_eq!(answer.status(), 200);
    pass(Duration::from_secs(6)).await;
    until("the listener to close", || {
        std::net::TcpStream::connect(served.address).is_err()
    })
    .await;
    served.serving.await.unwrap().unwrap();
}

/// R-11.
#[tokio::test]
async fn a_shutdown_lets_requests_finish_and_takes_no_new_connection() {
    let pki = pki();
    for version in ["h1", "h2", "h2 in plaintext"] {
        let mesh = build(app(&pki).mode(Mode::Permissive)).await;
        let (arrived, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let slow = {
            let (arrived, go) = (arrived.clone(), go.clone());
            any(move || async move {
                arrived.notify_one();
                go.notified().await;
                "finished"
            })
        };
        let served = serve(&mesh, Router::new().fallback(slow)).await;
        let answer = if version == "h1" {
            let mut sender = http1(&pki, "desk", served.address).await;
            tokio::spawn(async move { sender.send_request(empty(get("/"))).await })
        } else {
            let mut sender = if version == "h2" {
                http2(&pki, "desk", served.address).await
            } else {
                http2_in_plaintext(served.address).await
            };
            tokio::spawn(async move { sender.send_request(empty(get2("/"))).await })
        };
        arrived.notified().await;
        mesh.shutdown(Duration::from_secs(30));
        let mut refused = false;
        while !refused {
            refused = TcpStream::connect(served.address).await.is_err();
            tokio::task::yield_now().await;
        }
        assert!(!served.serving.is_finished());
        go.notify_one();
        assert_eq!(
            read(answer.await.unwrap().unwrap()).await.2,
            "finished",
            "{version}"
        );
        let drained = served.serving.await.unwrap().unwrap();
        assert_eq!(drained.cut, 0, "{version}");
    }
}

/// R-11: what does not end in time is cut, and told.
#[tokio::test]
async fn a_shutdown_cuts_what_does_not_end() {
    let pki = pki();
    let mesh = build(app(&pki)).await;
    let arrived = Arc::new(Notify::new());
    let told = arrived.clone();
    let never = any(move || async move {
        told.notify_one();
        std::future::pending::<&str>().await
    });
    let served = serve(&mesh, Router::new().fallback(never)).await;
    let mut idle = http1::<Full<Bytes>>(&pki, "desk", served.address).await;
    idle.ready().await.unwrap();
    let mut sender = http2(&pki, "desk", served.address).await;
    let answer = tokio::spawn(async move { sender.send_request(empty(get2("/"))).await });
    arrived.notified().await;
    mesh.shutdown(Duration::from_secs(30));
    until("the listener to close", || {
        std::net::TcpStream::connect(served.address).is_err()
    })
    .await;
    until("the idle one to be closed", || open(&mesh) == 1).await;
    pass(Duration::from_secs(31)).await;
    let Drained { cut, .. } = served.serving.await.unwrap().unwrap();
    assert_eq!(cut, 1);
    assert!(answer.await.unwrap().is_err());
    until("the request to be counted", || {
        !lines(&mesh, "istio_requests_total", &[r#"response_flags="DC""#]).is_empty()
    })
    .await;
}

/// R-11: who has connected and not asked yet is answered, over either version; who never asks is not waited for.
#[tokio::test]
async fn a_client_that_has_just_connected_is_answered() {
    let pki = pki();
    let mesh = build(app(&pki)).await;
    let (gate, router) = Gate::new();
    gate.go.add_permits(2);
    let Served { address, serving } = serve(&mesh, router).await;
    let mut first = dial(&pki, "desk", address, Protocol::Http1).await;
    let second = dial(&pki, "desk", address, Protocol::Http2).await;
    let _silent = dial(&pki, "desk", address, Protocol::Http1).await;
    until("the connections to be served", || open(&mesh) == 3).await;
    // The half second that they have is not the machine's to spend; a clock that stands moves by itself where there is nothing to do.
    tokio::time::pause();
    let busy = tokio::spawn(async {
        loop {
            tokio::task::yield_now().await;
        }
    });
    mesh.shutdown(Duration::from_secs(30));
    tokio::task::yield_now().await;
    tokio::time::advance(Duration::from_millis(10)).await;
    shut(&mesh, address).await;

    let request = b"GET / HTTP/1.1\r\nhost: app.default\r\n\r\n";
    first.write_all(request).await.unwrap();
    let mut answer = String::new();
    first.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"),
        "{answer}"
    );
    let mut sender = speak_http2(second).await;
    let answer = sender.send_request(empty(get2("/"))).await.unwrap();
    assert_eq!(read(answer).await.2, "done");

    busy.abort();
    tokio::time::resume();
    let drained = timeout(Duration::from_secs(10), serving).await;
    assert_eq!(drained.unwrap().unwrap().unwrap(), Drained::default());
}

/// What ended by itself before is not among what was cut.
#[tokio::test]
async fn a_handler_that_panics_is_no_request_that_was_cut() {
    let mesh = build(app(&pki())).await;
    let arrived = Arc::new(Notify::new());
    let told = Arc::clone(&arrived);
    let handler = any(move |method: Method| {
        let told = Arc::clone(&told);
        async move {
            assert!(method == Method::GET, "a bug of the application's");
            told.notify_one();
            std::future::pending::<&str>().await
        }
    });
    // Behind `serve`, a panic is answered, and its connection goes on.
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let server = mesh.clone();
    let app = Router::new().fallback(handler);
    let serving = tokio::spawn(async move { server.serve_plaintext_on(socket, app).await });
    for method in ["PUT", "PUT", "GET"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("{method} / HTTP/1.1\r\nhost: app.default\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        if method == "PUT" {
            assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
        } else {
            arrived.notified().await;
            mesh.shutdown(Duration::ZERO);
            let Drained {
                cut, cut_streams, ..
            } = serving.await.unwrap().unwrap();
            assert_eq!((cut, cut_streams), (1, 1));
            return;
        }
    }
}

/// R-11: the bound holds for who blocks a thread of the runtime, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_handler_that_blocks_its_thread_is_not_waited_for() {
    let pki = pki();
    let mesh = build(app(&pki)).await;
    let (release, released) = sync_channel::<()>(0);
    let released = Arc::new(Mutex::new(released));
    let arrived = Arc::new(Notify::new());
    let told = Arc::clone(&arrived);
    let blocking = any(move || {
        let (released, told) = (Arc::clone(&released), Arc::clone(&told));
        async move {
            told.notify_one();
            let _ = released.lock().unwrap().recv();
            "late"
        }
    });
    let served = serve(&mesh, Router::new().fallback(blocking)).await;
    let mut sender = http1(&pki, "desk", served.address).await;
    let call = tokio::spawn(async move { sender.send_request(empty(get("/"))).await.is_ok() });
    arrived.notified().await;
    mesh.shutdown(Duration::ZERO);
    let drained = timeout(Duration::from_secs(20), served.serving).await;
    let Drained {
        cut, cut_streams, ..
    } = drained.expect("blocked").unwrap().unwrap();
    assert_eq!((cut, cut_streams), (1, 1));
    drop(release);
    call.await.unwrap();
}

/// How many connections the listener has.
fn open(mesh: &Mesh) -> usize {
    let active = lines(mesh, "envoy_listener_downstream_cx_active", &[]);
    let counts = active
        .iter()
        .filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok());
    counts.sum()
}
