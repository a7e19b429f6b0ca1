//! The application's own TLS on a PERMISSIVE port, for clients that are not of the mesh yet (M-21).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, copy_bidirectional, duplex};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_mesh::context::Peer;
use tower_mesh::live::Live;
use tower_mesh::source::{Directory, Fixed};
use tower_mesh::testing::{Leaf, Pki};
use tower_mesh::tls::{Acceptor, Credentials, Mode, Modes, Settings};

use crate::support::mesh::{app, build, pass, policy, serve, write};
use crate::tls::support::{chain, client_config, provider, server_config};

/// What the application had before the mesh: a certificate of an authority that the mesh knows nothing of.
struct Before {
    authority: Pki,
    config: Arc<ServerConfig>,
}

impl Before {
    fn new() -> Self {
        let authority = Pki::new("public").unwrap();
        let leaf = Leaf::without_uri().dns("localhost");
        let mut config = server_config(chain(&authority.issue(&leaf).unwrap()));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let config = Arc::new(config);
        Self { authority, config }
    }

    /// A client that knows the application by its name, and shows no certificate.
    fn client(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.root().clone()).unwrap();
        ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }
}

/// Offers these protocols.
fn offering(mut client: ClientConfig, alpn: &[&str]) -> ClientConfig {
    client.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    client
}

fn echo() -> Router {
    Router::new().fallback(any(|peer: Peer| async move {
        let principal = peer.principal().unwrap_or("nobody").to_owned();
        format!(
            "{principal}, {}",
            if peer.is_tls() { "proven" } else { "unproven" }
        )
    }))
}

async fn dial(client: ClientConfig, address: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(client))
        .connect(name, tcp)
        .await
}

/// Asks once, over HTTP/1.1, and reads to the end.
async fn ask(client: ClientConfig, path: &str, address: SocketAddr) -> io::Result<String> {
    let mut stream = dial(client, address).await?;
    let question = format!("GET {path} HTTP/1.1\r\nhost: app.default\r\nconnection: close\r\n\r\n");
    stream.write_all(question.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn who_offers_no_protocol_of_istio_meets_the_applications_own_certificate() {
    let (pki, before) = (Pki::new("cluster.local").unwrap(), Before::new());
    let callers = r#"[{to: [{operation: {paths: [/closed]}}], from: [{source: {notPrincipals: ["cluster.local/ns/default/sa/desk"]}}]}]"#;
    let builder = app(&pki)
        .config(Fixed::yaml("p.yaml", policy("closed", "DENY", callers)))
        .mode(Mode::Permissive)
        .listener(|listener| listener.own_tls(Arc::clone(&before.config)));
    let mesh = build(builder).await;
    let served = serve(&mesh, echo()).await;

    for alpn in [&["http/1.1"][..], &["h2", "http/1.1"], &[]] {
        let client = offering(before.client(), alpn);
        let answer = ask(client, "/", served.address).await.unwrap();
        assert!(answer.ends_with("nobody, unproven"), "{alpn:?}: {answer}");
    }
    // Who has no identity is nobody to the policy.
    let answer = ask(before.client(), "/closed", served.address)
        .await
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");

    let desk = || {
        let leaf = Leaf::workload("spiffe://cluster.local/ns/default/sa/desk");
        chain(&pki.issue(&leaf).unwrap())
    };
    let istio = ["istio-http/1.1", "istio", "http/1.1"];
    let of_the_mesh = offering(client_config(Some(desk())), &istio);
    let answer = ask(of_the_mesh, "/closed", served.address).await.unwrap();
    assert!(
        answer.ends_with("cluster.local/ns/default/sa/desk, proven"),
        "{answer}"
    );
    // Whoever claims to be of the mesh must prove it, and a certificate that nobody asked for proves nothing.
    let unproven = offering(client_config(None), &istio);
    assert!(ask(unproven, "/", served.address).await.is_err());
    let not_asked = offering(client_config(Some(desk())), &["http/1.1"]);
    let answer = ask(not_asked, "/", served.address).await.unwrap();
    assert!(answer.ends_with("nobody, unproven"), "{answer}");
}

#[tokio::test]
async fn without_it_and_on_a_strict_port_nobody_does() {
    let (pki, before) = (Pki::new("cluster.local").unwrap(), Before::new());
    for (mode, given) in [(Mode::Permissive, false), (Mode::Strict, true)] {
        let mut builder = app(&pki).mode(mode);
        if given {
            builder = builder.listener(|listener| listener.own_tls(Arc::clone(&before.config)));
        }
        let served = serve(&build(builder).await, echo()).await;
        let known = ask(before.client(), "/", served.address).await;
        assert!(known.is_err(), "{mode}: {known:?}");
        let anyone = offering(client_config(None), &["http/1.1"]);
        let anyone = ask(anyone, "/", served.address).await;
        assert!(anyone.is_err(), "{mode}: {anyone:?}");
    }
}

#[tokio::test]
async fn it_goes_when_the_port_becomes_strict() {
    let (pki, before) = (Pki::new("cluster.local").unwrap(), Before::new());
    let directory = tempfile::tempdir().unwrap();
    let mode = |mode: &str| {
        let head =
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default}";
        let text = format!("{head}\nspec: {{mtls: {{mode: {mode}}}}}\n");
        write(directory.path(), &text);
    };
    mode("PERMISSIVE");
    let builder = app(&pki)
        .config(Directory::watch(directory.path()))
        .listener(|listener| listener.own_tls(Arc::clone(&before.config)));
    let mesh = build(builder).await;
    let served = serve(&mesh, echo()).await;
    let mut stream = dial(before.client(), served.address).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let mut heard = vec![0; 4096];
    let read = stream.read(&mut heard).await.unwrap();
    assert!(heard[..read].starts_with(b"HTTP/1.1 200"));

    mode("STRICT");
    let gone = async {
        while !matches!(
            tokio::time::timeout(Duration::ZERO, stream.read(&mut heard)).await,
            Ok(Ok(0) | Err(_))
        ) {
            pass(Duration::from_secs(1)).await;
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(50), gone)
        .await
        .unwrap();
}

/// A client that was silent, or in the middle of its handshake, when the mode changed is met by the mode that is in force by then.
#[tokio::test]
async fn the_mode_is_that_of_the_moment_and_not_that_of_the_connect() {
    let (pki, before) = (Pki::new("cluster.local").unwrap(), Before::new());
    let identity = pki.identity("default", "app").unwrap();
    let address: SocketAddr = "127.0.0.1:8443".parse().unwrap();
    for (tls, said_before, mode, wanted) in [
        (false, 0, Mode::Strict, Some("plaintext_refused")),
        (false, 0, Mode::Disable, None),
        (true, 0, Mode::Disable, None),
        // It is shown the mesh's certificate, which it does not trust.
        (true, 1, Mode::Strict, Some("peer_refused")),
        (true, usize::MAX, Mode::Strict, Some("plaintext_refused")),
    ] {
        let modes = Live::new(Modes::new(Mode::Permissive));
        let acceptor = Acceptor::new(Credentials::new(&identity, Settings::default()).unwrap())
            .modes(modes.clone())
            .own_tls(Arc::clone(&before.config));
        let (client, mut near) = duplex(1 << 16);
        let (mut far, server) = duplex(1 << 16);
        let accepting = tokio::spawn(async move {
            let accepted = acceptor.accept(server, address, address).await;
            accepted.err().map(|error| error.reason().as_str())
        });
        tokio::spawn(say(client, tls.then(|| before.client())));

        let mut said = vec![0; 1 << 16];
        let length = near.read(&mut said).await.unwrap();
        let (first, rest) = said[..length].split_at(length.min(said_before));
        far.write_all(first).await.unwrap();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        modes.store(Modes::new(mode));
        far.write_all(rest).await.unwrap();
        let _ = copy_bidirectional(&mut near, &mut far).await;
        assert_eq!(
            accepting.await.unwrap(),
            wanted,
            "{mode}, {tls} {said_before}"
        );
    }
}

async fn say(mut stream: DuplexStream, tls: Option<ClientConfig>) {
    if let Some(config) = tls {
        let name = ServerName::try_from("localhost").unwrap();
        let _ = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await;
    } else {
        let _ = stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await;
    }
}
