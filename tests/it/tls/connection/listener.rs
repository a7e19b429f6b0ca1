//! The listener: its bounds, and the servers of other crates on it.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower::service_fn;
use tower_mesh::context::Peer;
use tower_mesh::testing::Pki;
use tower_mesh::tls::{Acceptor, Connector, Destination, Limits, Listener, Protocol, Stream};

use crate::tls::support::{client_config, credentials, id};

const SERVER: &str = "spiffe://td/ns/default/sa/server";

async fn listener(pki: &Pki) -> Listener {
    let acceptor = Acceptor::new(credentials(pki, "server"));
    Listener::bind("127.0.0.1:0", acceptor).await.unwrap()
}

async fn connect(
    pki: &Pki,
    listener: std::net::SocketAddr,
    protocol: Protocol,
) -> Stream<TcpStream> {
    let destination = Destination::new([id(SERVER)], "server", protocol).unwrap();
    let connector = Connector::new(credentials(pki, "client"));
    connector.connect(listener, &destination).await.unwrap().0
}

#[tokio::test]
async fn serves_axum_with_the_peer_as_connect_info() {
    let pki = Pki::new("td").unwrap();
    let listener = listener(&pki).await;
    let address = listener.local_addr();
    let who = |ConnectInfo(peer): ConnectInfo<Peer>| async move {
        peer.principal().unwrap_or("nobody").to_owned()
    };
    let app = Router::new().route("/", get(who));
    let app = app.into_make_service_with_connect_info::<Peer>();
    let server = tokio::spawn(async { axum::serve(listener, app).await });

    let stream = connect(&pki, address, Protocol::Http1).await;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::get("/").header("host", "server");
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(&body[..], b"td/ns/default/sa/client");
    server.abort();
}

#[tokio::test]
async fn serves_tonic_with_the_peer_in_the_extensions() {
    let pki = Pki::new("td").unwrap();
    let listener = listener(&pki).await;
    let address = listener.local_addr();
    let service = service_fn(|request: Request<tonic::body::Body>| async move {
        let peer = request.extensions().get::<Peer>().cloned();
        let principal = peer.as_ref().and_then(Peer::principal).unwrap_or("nobody");
        let response = Response::builder().header("who", principal);
        Ok::<_, Infallible>(response.body(tonic::body::Body::empty()).unwrap())
    });
    let server = tonic::transport::Server::builder();
    let server = tokio::spawn(server.serve_with_incoming(service, listener));

    let stream = connect(&pki, address, Protocol::Http2).await;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = Request::post("https://server/a.B/C").header("content-type", "application/grpc");
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.headers()["who"], "td/ns/default/sa/client");
    server.abort();
}

///
#[tokio::test]
async fn serves_exactly_as_many_connections_as_allowed() {
    let pki = Pki::new("td").unwrap();
    let mut limits = Limits::default();
    limits.connections = 2;
    let mut listener = listener(&pki).await.limits(limits);
    let address = listener.local_addr();
    let clients = tokio::spawn(async move {
        let connect = || connect(&pki, address, Protocol::Http1);
        tokio::join!(connect(), connect(), connect())
    });
    let first = listener.accept().await;
    let _second = listener.accept().await;
    let third = timeout(Duration::from_millis(100), listener.accept()).await;
    assert!(third.is_err(), "a third beside two");
    drop(first);
    let _third = listener.accept().await;
    clients.await.unwrap();
}

/// M-25, R-03: who is silent, or says half a hello, computes nothing and so takes no turn, however many they are.
#[tokio::test]
async fn silent_clients_take_no_turn_from_others() {
    let pki = Pki::new("td").unwrap();
    let mut limits = Limits::default();
    (limits.handshakes, limits.handshakes_per_source) = (1, 1);
    let mut listener = listener(&pki).await.limits(limits);
    let address = listener.local_addr();
    let mut silent = Vec::new();
    for begins in [false, true, false, true, false] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        if begins {
            stream.write_all(&[0x16, 3, 1, 2, 0, 1, 0]).await.unwrap();
        }
        silent.push(stream);
    }
    let (_accepted, _connected) =
        tokio::join!(listener.accept(), connect(&pki, address, Protocol::Http1),);
    assert_eq!(listener.stats().refusals().count(), 0);
}

/// M-25, R-03: who goes silent after a whole hello gives its turn back in a second.
#[tokio::test(start_paused = true)]
async fn who_stops_after_a_hello_keeps_its_turn_for_a_second() {
    let pki = Pki::new("td").unwrap();
    let mut limits = Limits::default();
    (limits.handshakes, limits.handshakes_per_source) = (1, 1);
    let mut listener = listener(&pki).await.limits(limits);
    let address = listener.local_addr();
    let name = rustls::pki_types::ServerName::try_from("server").unwrap();
    let config = std::sync::Arc::new(client_config(None));
    let mut hello = Vec::new();
    let mut client = rustls::ClientConnection::new(config, name).unwrap();
    client.write_tls(&mut hello).unwrap();
    let mut silent = TcpStream::connect(address).await.unwrap();
    silent.write_all(&hello).await.unwrap();
    // Its turn has begun once it is answered.
    let answered = async { silent.readable().await.unwrap() };
    tokio::select! {
        _ = listener.accept() => panic!("a handshake that was not made"),
        () = answered => {}
    }
    tokio::time::advance(Duration::from_millis(1100)).await;
    let (_accepted, _connected) =
        tokio::join!(listener.accept(), connect(&pki, address, Protocol::Http1));
    assert_eq!(listener.stats().refusals().count(), 0);
}
