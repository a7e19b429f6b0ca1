//! Clients that connect and say nothing: how many of one source, and for how long.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tower_mesh::testing::Pki;
use tower_mesh::tls::{Limits, Mode, Protocol};

use crate::support::mesh::{
    app, build, dial, empty, get2, lines, seconds, serve, settle, speak_http2, until,
};

fn pki() -> Pki {
    Pki::new("cluster.local").unwrap()
}

fn hello() -> axum::Router {
    axum::Router::new().fallback(axum::routing::any(|| async { "hello" }))
}

async fn silent(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for _ in 0..count {
        held.push(TcpStream::connect(address).await.unwrap());
        tokio::task::yield_now().await;
    }
    held
}

fn is_open(stream: &TcpStream) -> bool {
    let read = stream.try_read(&mut [0; 64]);
    matches!(read, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

async fn is_closed(name: &str, stream: &mut TcpStream) {
    let read = timeout(Duration::from_secs(10), stream.read(&mut [0; 64])).await;
    assert!(matches!(read, Ok(Ok(0) | Err(_))), "{name}: still held");
}

/// of one source, 256 may be silent at once, on every kind of port; one more is closed at once, and counted.
#[tokio::test]
async fn one_source_has_a_bound_of_silent_connections() {
    for mode in [Mode::Strict, Mode::Permissive, Mode::Disable] {
        let pki = pki();
        let mesh = build(app(&pki).danger().mode(mode)).await;
        let address = serve(&mesh, hello()).await.address;
        let held = silent(address, 256).await;
        let mut more = silent(address, 3).await;
        for stream in &mut more {
            is_closed(&mode.to_string(), stream).await;
        }
        settle().await;
        assert!(held.iter().all(is_open), "{mode}");
        let counted = lines(&mesh, "mesh_tls_handshakes_total", &["too_many_silent"]);
        assert_eq!(counted.len(), 1, "{mode}");
        assert!(counted[0].ends_with(" 3"), "{mode}: {counted:?}");
    }
}

/// One that has said something counts no more; and one that goes leaves its place.
#[tokio::test]
async fn who_speaks_or_goes_is_not_silent_any_more() {
    for mode in [Mode::Strict, Mode::Permissive, Mode::Disable] {
        let pki = pki();
        let mut limits = Limits::default();
        limits.silent_per_source = 2;
        let mesh = build(
            app(&pki)
                .danger()
                .mode(mode)
                .listener(|listener| listener.limits(limits)),
        )
        .await;
        let address = serve(&mesh, hello()).await.address;
        for _ in 0..4 {
            let stream = match mode {
                Mode::Strict => Ok(dial(&pki, "desk", address, Protocol::Http2).await),
                Mode::Permissive | Mode::Disable => Err(TcpStream::connect(address).await.unwrap()),
            };
            let mut sender = match stream {
                Ok(tls) => speak_http2(tls).await,
                Err(tcp) => speak_http2(tcp).await,
            };
            let answer = sender.send_request(empty(get2("/"))).await.unwrap();
            assert_eq!(answer.status(), 200, "{mode}");
            // It stays, beside those to come.
            tokio::spawn(async move {
                let _sender = sender;
                std::future::pending::<()>().await;
            });
        }
        let mut held = silent(address, 2).await;
        settle().await;
        is_closed("a third", &mut silent(address, 1).await[0]).await;
        held.pop();
        settle().await;
        let third = silent(address, 1).await;
        settle().await;
        assert!(is_open(&third[0]) && is_open(&held[0]), "{mode}");
    }
}

/// Others are served beside a source that has had its share, also by a listener for a server of the application's.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn another_source_has_places_of_its_own() {
    let pki = pki();
    let mut limits = Limits::default();
    limits.silent_per_source = 2;
    let mesh = build(
        app(&pki)
            .listener(|listener| listener.limits(limits))
            .danger()
            .mode(Mode::Disable),
    )
    .await;
    let listener = mesh.listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr();
    tokio::spawn(axum::serve(listener, mesh.make(hello())).into_future());
    let mut held = silent(address, 3).await;
    is_closed("a third", &mut held[2]).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let other = socket.connect(address).await.unwrap();
    let mut sender = speak_http2(other).await;
    let answer = sender.send_request(empty(get2("/"))).await.unwrap();
    assert_eq!(answer.status(), 200);
}

/// A load balancer opens connections ahead of need.
#[tokio::test]
async fn a_load_balancer_has_no_bound() {
    let pki = pki();
    let mut limits = Limits::default();
    limits.silent_per_source = 2;
    let mesh = app(&pki).listener(|listener| {
        listener
            .limits(limits)
            .load_balancers(["192.0.2.1", "127.0.0.0/8"])
    });
    let mesh = build(mesh).await;
    let address = serve(&mesh, hello()).await.address;
    let held = silent(address, 20).await;
    settle().await;
    assert!(held.iter().all(is_open));
    for range in [
        "",
        "lb.internal",
        "10.0.0.0/33",
        "10.0.0.1:80",
        "::ffff:10.0.0.1",
    ] {
        let error = app(&pki)
            .listener(|listener| listener.load_balancers([range]))
            .build()
            .await
            .unwrap_err();
        assert!(error.to_string().contains(&format!("{range:?}")), "{error}");
    }
}

/// while there is room a silent client has ten seconds; when others need it, two.
#[tokio::test]
async fn silent_clients_make_room_when_places_run_out() {
    for mode in [Mode::Strict, Mode::Permissive, Mode::Disable] {
        for (count, still, over) in [(4, 9, 11), (20, 1, 3)] {
            let pki = pki();
            let mut limits = Limits::default();
            limits.connections = 20;
            let mesh = build(
                app(&pki)
                    .danger()
                    .mode(mode)
                    .listener(|listener| listener.limits(limits)),
            )
            .await;
            let address = serve(&mesh, hello()).await.address;
            let mut held = silent(address, count).await;
            settle().await;
            seconds(still).await;
            assert!(held.iter().all(is_open), "{mode}, {count}: closed too soon");
            seconds(over - still).await;
            for stream in &mut held {
                is_closed(&format!("{mode}, {count}"), stream).await;
            }
            until("their places", || {
                lines(&mesh, "envoy_listener_downstream_cx_active", &[" 0"]).len() == 1
            })
            .await;
        }
    }
}

/// Half a hello is none.
#[tokio::test]
async fn half_a_hello_is_silence() {
    let pki = pki();
    let mut limits = Limits::default();
    limits.silent_per_source = 2;
    let mesh = build(app(&pki).listener(|listener| listener.limits(limits))).await;
    let address = serve(&mesh, hello()).await.address;
    let mut held = silent(address, 2).await;
    for stream in &mut held {
        stream
            .write_all(b"\x16\x03\x01\x02\x00\x01\x00")
            .await
            .unwrap();
    }
    settle().await;
    is_closed("a third", &mut silent(address, 1).await[0]).await;
    assert!(held.iter().all(is_open));
}

/// A listener of probes and metrics has the bound, too.
#[tokio::test]
async fn a_listener_in_plaintext_has_the_bound() {
    let pki = pki();
    let mut limits = Limits::default();
    limits.silent_per_source = 2;
    let mesh = build(app(&pki).listener(|listener| listener.limits(limits))).await;
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let probe = mesh.probe();
    tokio::spawn(async move { mesh.serve_plaintext_on(socket, probe).await });
    let held = silent(address, 2).await;
    settle().await;
    is_closed("a third", &mut silent(address, 1).await[0]).await;
    assert!(held.iter().all(is_open));
}
