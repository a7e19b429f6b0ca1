//! First bytes, modes, protocols and versions.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, NamedGroup};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tower_mesh::Workload;
use tower_mesh::context::Peer;
use tower_mesh::istio::MtlsMode;
use tower_mesh::live::Live;
use tower_mesh::policy::{Engine, PerPort};
use tower_mesh::testing::{Leaf, Pki};
use tower_mesh::tls::{
    Acceptor, Connector, Credentials, Destination, HandshakeError, Mode, Modes, Protocol, Reason,
    Settings, Stream, outbound_sni,
};

use crate::tls::support::{
    accept, chain, client_config, connect, credentials, id, provider, server_config, trust_anyone,
};

const PEER: &str = "spiffe://td/ns/default/sa/peer";

fn acceptor(pki: &Pki, mode: Mode) -> Acceptor {
    Acceptor::new(credentials(pki, "ours")).modes(Live::new(Modes::new(mode)))
}

type Accepted = Result<(Stream<DuplexStream>, Peer), HandshakeError>;

async fn accept_from(acceptor: &Acceptor, server: DuplexStream) -> Accepted {
    let address = SocketAddr::from(([127, 0, 0, 1], 8443));
    acceptor.accept(server, address, address).await
}

fn client(pki: &Pki) -> ClientConfig {
    client_config(Some(chain(&pki.issue(&Leaf::workload(PEER)).unwrap())))
}

/// M-21, M-22
#[tokio::test]
async fn permissive_takes_plaintext_whole_and_without_identity() {
    let pki = Pki::new("td").unwrap();
    let (mut client, server) = duplex(64);
    client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let accepted = accept_from(&acceptor(&pki, Mode::Permissive), server).await;
    let (mut stream, peer) = accepted.unwrap();
    assert!(!peer.is_tls());
    assert_eq!(peer.principal(), None);
    let mut heard = [0; 16];
    stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"GET / HTTP/1.1\r\n");
}

/// M-21
#[tokio::test]
async fn permissive_takes_mutual_tls_with_and_without_istios_protocols() {
    let pki = Pki::new("td").unwrap();
    let acceptor = acceptor(&pki, Mode::Permissive);
    for alpn in [&["h2"][..], &["istio-h2", "istio", "h2"], &[]] {
        let peer = accept(&acceptor, offering(client(&pki), alpn))
            .await
            .unwrap();
        assert_eq!(peer.principal(), Some("td/ns/default/sa/peer"));
    }
}

/// M-23
#[tokio::test]
async fn disable_sniffs_nothing() {
    let pki = Pki::new("td").unwrap();
    let (mut client, server) = duplex(64);
    let accepted = accept_from(&acceptor(&pki, Mode::Disable), server).await;
    let (mut stream, peer) = accepted.unwrap();
    assert!(!peer.is_tls());
    client.write_all(b"\x16\x03\x01").await.unwrap();
    let mut heard = [0; 3];
    stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"\x16\x03\x01");
}

/// M-24
#[test]
fn resources_say_the_mode_of_each_port() {
    let mut said = PerPort::same(None);
    for (port, mode) in [
        (1, MtlsMode::Disable),
        (2, MtlsMode::Permissive),
        (3, MtlsMode::Strict),
        (4, MtlsMode::Unset),
    ] {
        said.by_port.insert(port, Some(mode));
    }
    for otherwise in [Mode::Disable, Mode::Permissive, Mode::Strict] {
        let modes = Modes::from_resources(&said, otherwise);
        let of: Vec<_> = (0..5).map(|port| modes.for_port(port)).collect();
        let said = [Mode::Disable, Mode::Permissive, Mode::Strict];
        // Where a resource leaves it open, Istio's default.
        assert_eq!(of, [otherwise, said[0], said[1], said[2], said[1]]);
    }
}

/// M-24: the port's mode beats the workload's, that the namespace's, that the mesh's; what is UNSET inherits.
#[test]
fn the_nearest_mode_that_is_set_counts() {
    const SAID: [Option<&str>; 5] = [
        None,
        Some("UNSET"),
        Some("DISABLE"),
        Some("PERMISSIVE"),
        Some("STRICT"),
    ];
    let workload = Workload::new("default", "app")
        .label("app", "app")
        .service("app", 8443);
    let resource = |namespace: &str, name: &str, rest: String| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
             metadata: {{name: {name}, namespace: {namespace}}}\nspec: {{{rest}}}\n---\n"
        )
    };
    let mtls = |mode: &str| format!("mtls: {{mode: {mode}}}");
    for (mesh, namespace, own, port) in SAID.into_iter().flat_map(|mesh| {
        let rest = move |namespace| SAID.map(|own| SAID.map(|port| (mesh, namespace, own, port)));
        SAID.into_iter().flat_map(rest).flatten()
    }) {
        if own.is_none() && port.is_some() {
            continue;
        }
        let mut yaml = String::new();
        if let Some(mode) = mesh {
            yaml += &resource("istio-system", "mesh", mtls(mode));
        }
        if let Some(mode) = namespace {
            yaml += &resource("default", "namespace", mtls(mode));
        }
        if let Some(mode) = own {
            let ports = port.map(|mode| format!(", portLevelMtls: {{8443: {{mode: {mode}}}}}"));
            let selector = "selector: {matchLabels: {app: app}}, ";
            let rest = format!("{selector}{}{}", mtls(mode), ports.unwrap_or_default());
            yaml += &resource("default", "own", rest);
        }
        let set = |said: Option<&str>| match said {
            Some("DISABLE") => Some(Mode::Disable),
            Some("PERMISSIVE") => Some(Mode::Permissive),
            Some("STRICT") => Some(Mode::Strict),
            _ => None,
        };
        let nobody = mesh.or(namespace).or(own).is_none();
        let otherwise = if nobody {
            Mode::Strict
        } else {
            Mode::Permissive
        };
        let of_workload = set(own)
            .or_else(|| set(namespace))
            .or_else(|| set(mesh))
            .unwrap_or(otherwise);
        let of_port = set(port).unwrap_or(of_workload);
        let engine = Engine::builder(&workload).yaml(&yaml).build().unwrap();
        let modes = Modes::from_resources(&engine.program().mtls, Mode::Strict);
        let told = (modes.for_port(8443), modes.for_port(9999));
        assert_eq!(
            told,
            (of_port, of_workload),
            "{mesh:?} {namespace:?} {own:?} {port:?}"
        );
    }
}

#[tokio::test]
async fn a_changed_mode_counts_for_the_next_connection() {
    let pki = Pki::new("td").unwrap();
    let modes = Live::new(Modes::new(Mode::Permissive));
    let acceptor = Acceptor::new(credentials(&pki, "ours")).modes(modes.clone());
    for (mode, taken) in [(Mode::Permissive, true), (Mode::Strict, false)] {
        modes.store(Modes::new(mode));
        let (mut client, server) = duplex(64);
        client.write_all(b"GET").await.unwrap();
        let accepted = accept_from(&acceptor, server).await;
        assert_eq!(accepted.is_ok(), taken, "{mode}");
    }
}

/// M-25, R-01: silence never becomes plaintext.
#[tokio::test(start_paused = true)]
async fn silence_is_closed_after_ten_seconds() {
    let pki = Pki::new("td").unwrap();
    for mode in [Mode::Strict, Mode::Permissive] {
        for said in [b"".as_slice(), b"\x16", b"\x16\x03\x01\x02\x00\x01"] {
            let (mut client, server) = duplex(64);
            client.write_all(said).await.unwrap();
            let begun = Instant::now();
            let refused = accept_from(&acceptor(&pki, mode), server)
                .await
                .unwrap_err();
            assert_eq!(refused.reason(), Reason::Timeout, "{mode} {said:?}");
            let waited = begun.elapsed();
            assert!(
                waited < Duration::from_secs(11),
                "{mode} {said:?} {waited:?}"
            );
        }
    }
}

/// M-25, R-01: every byte in time does not buy more of it.
#[tokio::test(start_paused = true)]
async fn a_hello_that_drips_is_cut_after_ten_seconds() {
    let pki = Pki::new("td").unwrap();
    let (mut client, server) = duplex(64);
    tokio::spawn(async move {
        for byte in b"\x16\x03\x01\x10\x00\x01\x00\x0f\xfc".iter().cycle() {
            if client.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(900)).await;
        }
    });
    let begun = Instant::now();
    let refused = accept_from(&acceptor(&pki, Mode::Strict), server).await;
    assert!(refused.is_err());
    assert!(begun.elapsed() < Duration::from_secs(11));
}

/// M-25
#[tokio::test]
async fn a_hello_may_come_byte_by_byte() {
    let pki = Pki::new("td").unwrap();
    let (near, far) = duplex(1 << 16);
    let config = client(&pki);
    let client = tokio::spawn(async move {
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, near).await.map(drop)
    });
    let address = SocketAddr::from(([127, 0, 0, 1], 8443));
    let acceptor = acceptor(&pki, Mode::Strict);
    let accepted = acceptor.accept(ByteByByte(far), address, address).await;
    let (_stream, peer) = accepted.unwrap();
    assert_eq!(peer.principal(), Some("td/ns/default/sa/peer"));
    client.await.unwrap().unwrap();
}

/// Reads yield one byte each.
struct ByteByByte(DuplexStream);

impl AsyncRead for ByteByByte {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut byte = [0];
        let mut one = ReadBuf::new(&mut byte);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut one))?;
        buf.put_slice(one.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ByteByByte {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// M-25
#[tokio::test]
async fn a_hello_of_more_than_8_kib_is_refused() {
    let pki = Pki::new("td").unwrap();
    // Names that make the hello long, 250 bytes each.
    let names: Vec<_> = (0..40).map(|i| format!("{i:0>250}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let refused = accept(
        &acceptor(&pki, Mode::Strict),
        offering(client(&pki), &names),
    )
    .await;
    assert_eq!(refused.unwrap_err().reason(), Reason::HelloTooLong);
}

/// M-26
#[tokio::test]
async fn agrees_on_http_and_never_on_istios_names() {
    let pki = Pki::new("td").unwrap();
    let acceptor = acceptor(&pki, Mode::Strict);
    for (offered, agreed) in [
        (&["istio-http/1.0", "istio", "http/1.0"][..], None),
        (&["istio-http/1.1", "istio", "http/1.1"], Some("http/1.1")),
        (&["istio-h2", "istio", "h2"], Some("h2")),
        (&["istio-peer-exchange", "istio"], None),
        (&["http/1.1", "h2"], Some("h2")),
        (&[], None),
    ] {
        let peer = accept(&acceptor, offering(client(&pki), offered))
            .await
            .unwrap();
        let alpn = peer.tls_facts().unwrap().alpn.as_deref();
        assert_eq!(alpn, agreed.map(str::as_bytes), "{offered:?}");
    }
    let foreign = accept(&acceptor, offering(client(&pki), &["smtp"])).await;
    assert_eq!(foreign.unwrap_err().reason(), Reason::Alpn);
}

/// M-27
#[tokio::test]
async fn offers_istios_names_before_http() {
    let pki = Pki::new("td").unwrap();
    let shown = || chain(&pki.issue(&Leaf::workload(PEER)).unwrap());
    let ours = Connector::new(credentials(&pki, "ours"));
    for (protocol, picked, http2) in [
        (Protocol::Http1, "istio-http/1.1", false),
        (Protocol::Http1, "http/1.1", false),
        (Protocol::Http2, "istio-h2", true),
        (Protocol::Http2, "h2", true),
        (Protocol::Either, "h2", true),
        (Protocol::Either, "http/1.1", false),
    ] {
        let mut server = server_config(shown());
        server.alpn_protocols = vec![picked.as_bytes().to_vec()];
        let (address, _server) = crate::tls::support::serve_once(server).await;
        let destination = Destination::new([id(PEER)], "peer", protocol).unwrap();
        let (stream, peer) = ours.connect(address, &destination).await.unwrap();
        let alpn = peer.tls_facts().unwrap().alpn.as_deref();
        assert_eq!(alpn, Some(picked.as_bytes()));
        assert_eq!(stream.is_http2(), http2, "{picked}");
    }
    let mut server = server_config(shown());
    server.alpn_protocols = vec![b"smtp".to_vec()];
    let refused = connect(&ours, server, &[id(PEER)]).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::Alpn);
}

/// M-28
#[tokio::test]
async fn sends_istios_server_name() {
    let sni = outbound_sni("reviews.default.svc.cluster.local", 80);
    assert_eq!(sni, "outbound_.80_._.reviews.default.svc.cluster.local");
    let destination = Destination::new([id(PEER)], &sni, Protocol::Http2);
    assert!(destination.is_ok());
    let pipes = "outbound|80||reviews.default.svc.cluster.local";
    assert!(Destination::new([id(PEER)], pipes, Protocol::Http2).is_err());
}

/// M-29, R-25: a wrong address is harmless.
#[tokio::test]
async fn connects_only_to_an_expected_identity() {
    let pki = Pki::new("td").unwrap();
    let ours = Connector::new(credentials(&pki, "ours"));
    let named = Leaf::workload(PEER).dns("localhost");
    let server = || server_config(chain(&pki.issue(&named).unwrap()));
    let wanted = id("spiffe://td/ns/default/sa/wanted");
    let refused = connect(&ours, server(), std::slice::from_ref(&wanted))
        .await
        .unwrap_err();
    assert_eq!(refused.reason(), Reason::IdNotAllowed);
    assert!(refused.to_string().contains(PEER), "{refused}");
    assert!(connect(&ours, server(), &[wanted, id(PEER)]).await.is_ok());
    let nobody = Destination::new([], "localhost", Protocol::Http1);
    assert_eq!(nobody.unwrap_err().reason(), Reason::IdNotAllowed);
}

/// M-30
#[tokio::test]
async fn takes_tls_1_2_unless_told_otherwise() {
    let pki = Pki::new("td").unwrap();
    let identity = pki.identity("default", "ours").unwrap();
    let newest = Settings::default().tls_1_3_only();
    let newest = Acceptor::new(Credentials::new(&identity, newest).unwrap());
    for (acceptor, version, taken) in [
        (acceptor(&pki, Mode::Strict), &TLS12, Some("TLSv1.2")),
        (acceptor(&pki, Mode::Strict), &TLS13, Some("TLSv1.3")),
        (newest.clone(), &TLS12, None),
        (newest, &TLS13, Some("TLSv1.3")),
    ] {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(trust_anyone())
            .with_client_cert_resolver(client(&pki).client_auth_cert_resolver);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let peer = accept(&acceptor, config).await;
        let version = peer.ok().and_then(|peer| peer.tls_facts()?.version);
        assert_eq!(version, taken);
    }
}

/// M-30
#[tokio::test]
async fn takes_of_tls_1_2_only_the_suites_of_istios_sidecars() {
    let pki = Pki::new("td").unwrap();
    for suite in provider().cipher_suites.clone() {
        let name = suite.suite().as_str().unwrap_or_default();
        if suite.tls13().is_some() || name.contains("_RSA_") {
            continue;
        }
        let mut crypto = (*provider()).clone();
        crypto.cipher_suites = vec![suite];
        let mut config = ClientConfig::builder_with_provider(Arc::new(crypto))
            .with_protocol_versions(&[&TLS12])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(trust_anyone())
            .with_client_cert_resolver(client(&pki).client_auth_cert_resolver);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let taken = accept(&acceptor(&pki, Mode::Strict), config).await.is_ok();
        assert_eq!(taken, name.contains("_GCM_"), "{name}");
    }
}

/// M-31
#[tokio::test]
async fn prefers_post_quantum_and_demands_it_only_when_told() {
    let pki = Pki::new("td").unwrap();
    let identity = pki.identity("default", "ours").unwrap();
    let demanding = Settings::default().post_quantum_only();
    let demanding = Acceptor::new(Credentials::new(&identity, demanding).unwrap());
    let by_default = acceptor(&pki, Mode::Strict);
    for (acceptor, groups, agreed) in [
        (
            &by_default,
            &[NamedGroup::X25519MLKEM768, NamedGroup::X25519][..],
            Some("X25519MLKEM768"),
        ),
        (&by_default, &[NamedGroup::X25519], Some("x25519")),
        (&by_default, &[NamedGroup::secp256r1], Some("secp256r1")),
        (&by_default, &[NamedGroup::secp384r1], None),
        (
            &demanding,
            &[NamedGroup::X25519MLKEM768, NamedGroup::X25519],
            Some("X25519MLKEM768"),
        ),
        (&demanding, &[NamedGroup::X25519], None),
    ] {
        let mut crypto = (*provider()).clone();
        crypto
            .kx_groups
            .retain(|group| groups.contains(&group.name()));
        crypto
            .kx_groups
            .sort_by_key(|group| groups.iter().position(|g| *g == group.name()));
        let mut config = ClientConfig::builder_with_provider(Arc::new(crypto))
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(trust_anyone())
            .with_client_cert_resolver(client(&pki).client_auth_cert_resolver);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let peer = accept(acceptor, config).await;
        let group = peer.ok().and_then(|peer| peer.tls_facts()?.key_exchange);
        assert_eq!(group, agreed, "{groups:?}");
    }
}

fn offering(mut config: ClientConfig, alpn: &[&str]) -> ClientConfig {
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}
