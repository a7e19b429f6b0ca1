//! The acceptor and the listener on real sockets.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tower_mesh::live::Live;
use tower_mesh::testing::Pki;
use tower_mesh::tls::{Acceptor, Connector, Destination, Listener, Mode, Modes, Protocol, Reason};

use crate::tls::support::{accept, client_config, credentials};

async fn listener(pki: &Pki) -> Listener {
    let acceptor = Acceptor::new(credentials(pki, "server"));
    Listener::bind("127.0.0.1:0", acceptor).await.unwrap()
}

#[tokio::test]
async fn both_ends_learn_who_the_other_is() {
    let pki = Pki::new("td").unwrap();
    let mut listener = listener(&pki).await;
    let address = listener.local_addr();
    let connector = Connector::new(credentials(&pki, "client"));
    let server = credentials(&pki, "server").spiffe_id();
    let destination =
        Destination::new([server], "Outbound_.80_._.server.default", Protocol::Http2).unwrap();

    let (mut accepted, connected) =
        tokio::join!(listener.accept(), connector.connect(address, &destination));
    let (mut stream, server) = connected.unwrap();
    assert_eq!(server.principal(), Some("td/ns/default/sa/server"));
    assert!(stream.is_http2());

    let client = accepted.peer();
    assert_eq!(client.principal(), Some("td/ns/default/sa/client"));
    let facts = client.tls_facts().unwrap();
    assert_eq!(facts.version, Some("TLSv1.3"));
    assert_eq!(facts.key_exchange, Some("X25519MLKEM768"));
    assert!(facts.cipher_suite.unwrap().starts_with("TLS_AES_"));
    assert_eq!(facts.alpn.as_deref(), Some(b"h2".as_slice()));
    assert_eq!(facts.sni.as_deref(), Some("outbound_.80_._.server.default"));
    assert!(facts.not_after.is_some());

    stream.write_all(b"ping").await.unwrap();
    let mut heard = [0; 4];
    accepted.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"ping");
}

/// M-20
#[tokio::test]
async fn strict_closes_plaintext_without_an_answer() {
    let pki = Pki::new("td").unwrap();
    let mut listener = listener(&pki).await;
    let tally = listener.stats();
    let mut tcp = TcpStream::connect(listener.local_addr()).await.unwrap();
    let client = async {
        tcp.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        let mut heard = Vec::new();
        let _ = tcp.read_to_end(&mut heard).await;
        heard
    };
    tokio::select! {
        _ = listener.accept() => panic!("accepted"),
        heard = client => assert_eq!(heard, b""),
    }
    assert_eq!(tally.refused(Reason::PlaintextRefused), 1);
}

/// M-20, M-21
#[tokio::test]
async fn tls_without_a_certificate_is_refused_also_where_plaintext_is_not() {
    let pki = Pki::new("td").unwrap();
    for mode in [Mode::Strict, Mode::Permissive] {
        let modes = Live::new(Modes::new(mode));
        let acceptor = Acceptor::new(credentials(&pki, "server")).modes(modes);
        let refused = accept(&acceptor, client_config(None)).await.unwrap_err();
        assert_eq!(refused.reason(), Reason::NoCertificate, "{mode}");
    }
}

#[tokio::test]
async fn garbage_does_not_take_the_listener_down() {
    let pki = Pki::new("td").unwrap();
    let mut listener = listener(&pki).await;
    let address = listener.local_addr();
    for garbage in [
        b"\x16\x03\x01\xff\xff garbage that claims to be a handshake".as_slice(),
        b"\x00",
        b"\xff\xff\xff\xff\xff\xff",
        b"\x16",
    ] {
        let mut tcp = TcpStream::connect(address).await.unwrap();
        tcp.write_all(garbage).await.unwrap();
    }
    let connector = Connector::new(credentials(&pki, "client"));
    let server = credentials(&pki, "server").spiffe_id();
    let destination = Destination::new([server], "server", Protocol::Http1).unwrap();
    let (accepted, connected) =
        tokio::join!(listener.accept(), connector.connect(address, &destination));
    assert!(connected.is_ok());
    assert!(accepted.peer().is_tls());
}

/// a client that says nothing holds a handshake, not the door.
#[tokio::test]
async fn slow_clients_delay_nobody() {
    let pki = Pki::new("td").unwrap();
    let mut listener = listener(&pki).await;
    let address = listener.local_addr();
    let mut silent = Vec::new();
    for _ in 0..32 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let connector = Connector::new(credentials(&pki, "client"));
    let server = credentials(&pki, "server").spiffe_id();
    let destination = Destination::new([server], "server", Protocol::Http1).unwrap();
    let both = async {
        tokio::join!(listener.accept(), connector.connect(address, &destination))
            .1
            .map(drop)
    };
    tokio::time::timeout(Duration::from_secs(5), both)
        .await
        .unwrap()
        .unwrap();
}
