//! A real Envoy with the TLS settings that Istio gives a sidecar: it calls us, and we call it.

mod client_cert;
mod config;
mod process;

use std::net::SocketAddr;

use http::{Request, Response, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_mesh::context::Peer;
use tower_mesh::identity::SpiffeId;
use tower_mesh::mesh::{ClientBody, ClientError, ClientResponseBody};
use tower_mesh::testing::Pki;
use tower_mesh::tls::{HandshakeError, Mode, Reason, Settings};
use tower_mesh::{Mesh, Workload};

use crate::site::{OURS, Site, THEIRS};
use crate::tool::{self, PATIENCE};
use config::{Cluster, Http, Listener};
use process::Envoy;

/// X25519 and ML-KEM together, as Envoy writes it.
const HYBRID: &str = "X25519MLKEM768";
const NOBODY: &str = "spiffe://cluster.local/ns/default/sa/nobody";

/// What Istio's clusters offer, whether Envoy speaks HTTP or passes bytes on, and what comes out. An Envoy that is given no list offers
/// what it speaks.
const OFFERS: [(&str, Http, &str, &str); 7] = [
    ("istio-http/1.0,istio,http/1.0", Http::One, "HTTP/1.1", "-"),
    (
        "istio-http/1.1,istio,http/1.1",
        Http::One,
        "HTTP/1.1",
        "http/1.1",
    ),
    ("istio-h2,istio,h2", Http::Two, "HTTP/2.0", "h2"),
    ("istio-peer-exchange,istio", Http::Bytes, "HTTP/1.1", "-"),
    ("istio", Http::Bytes, "HTTP/1.1", "-"),
    ("h2,http/1.1", Http::Two, "HTTP/2.0", "h2"),
    ("", Http::One, "HTTP/1.1", "http/1.1"),
];

/// M-26, M-33: every list of Istio's, both HTTP versions, both TLS versions; Envoy proves itself and demands our very id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_calls_us() {
    let Some(program) = tool::find("envoy") else {
        return;
    };
    let site = Site::start().await;
    let mut expected = Vec::new();
    let mut listeners = Vec::new();
    for (alpn, http, version, agreed) in OFFERS {
        for newest in ["TLSv1_2", "TLSv1_3"] {
            let cluster = Cluster::new(&site, alpn, http).newest(newest);
            let sni = "outbound_.8080_._.ours.default.svc.cluster.local";
            let tls = newest.replace('_', ".");
            expected.push(format!(
                "[{version} {tls} {THEIRS} alpn={agreed} sni={sni}]"
            ));
            listeners.push(Listener::To(cluster));
        }
    }
    let envoy = Envoy::start(&program, site.directory(), &listeners).await;
    for (port, expected) in envoy.ports.iter().zip(&expected) {
        let answer = get(*port).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{expected}: {answer}");
        assert!(answer.contains(expected), "{expected}: {answer}");
    }
}

/// M-20, M-33: an Envoy that expects another id, or another root, refuses us; one without a good certificate is refused by us.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_and_we_refuse_each_other_when_it_calls() {
    let Some(program) = tool::find("envoy") else {
        return;
    };
    let site = Site::start().await;
    let mut cases = Vec::new();
    for (alpn, http) in [
        ("istio-http/1.1,istio,http/1.1", Http::One),
        ("istio-h2,istio,h2", Http::Two),
    ] {
        let cluster = || Cluster::new(&site, alpn, http);
        cases.extend([
            ("another id", cluster().expects(NOBODY)),
            (
                "a prefix of our id",
                cluster().expects(&OURS[..OURS.len() - 1]),
            ),
            ("another root", cluster().trusts(&site.foreign)),
            ("no certificate", cluster().shows(None)),
            (
                "a foreign certificate",
                cluster().shows(Some(&site.foreign)),
            ),
        ]);
    }
    let (names, clusters): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
    let listeners: Vec<_> = clusters.into_iter().map(Listener::To).collect();
    let envoy = Envoy::start(&program, site.directory(), &listeners).await;
    for (port, name) in envoy.ports.iter().zip(names) {
        let answer = get(*port).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{name}: {answer}");
        assert!(!answer.contains("spiffe://"), "{name}: {answer}");
    }
}

/// M-27, M-28, M-29, M-33: Envoy demands our certificate and our very id, we demand its; also where its other filter chains take anybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn we_call_envoy() {
    let Some(program) = tool::find("envoy") else {
        return;
    };
    let site = Site::start().await;
    let both = [Version::HTTP_11, Version::HTTP_2];
    let mut cases = Vec::new();
    for (alpn, versions) in [
        ("istio-peer-exchange,h2,http/1.1", &both[..]),
        ("h2,http/1.1", &both),
        ("", &both),
        // Envoy takes whatever is not called `h2` for HTTP/1.
        ("istio-peer-exchange,istio", &[Version::HTTP_11]),
    ] {
        for newest in ["TLSv1_2", "TLSv1_3"] {
            let listener = Listener::demanding(&site.pki, THEIRS, OURS, alpn, newest);
            cases.push((alpn, newest, versions, listener));
        }
    }
    let permissive = Listener::permissive(&site.pki, THEIRS, OURS);
    cases.push(("permissive", "TLSv1_3", &both, permissive));
    let listeners: Vec<_> = cases.iter().map(|(.., listener)| listener).collect();
    let envoy = Envoy::start(&program, site.directory(), &listeners).await;
    for (port, (alpn, newest, versions, _)) in envoy.ports.iter().zip(&cases) {
        let mesh = caller(&site.pki, *port, &[NOBODY, THEIRS]).await;
        for version in *versions {
            let response = call(&mesh, *version).await;
            let case = format!("{alpn:?} {newest} {version:?}: {response:?}");
            let response = response.unwrap_or_else(|_| panic!("{case}"));
            assert_eq!(response.status(), 200, "{case}");
            assert_eq!(response.version(), *version, "{case}");
            // What Envoy knows of us.
            assert_eq!(response.headers()["x-peer"], OURS, "{case}");
            let sni = "outbound_.8080_._.theirs.default.svc.cluster.local";
            assert_eq!(response.headers()["x-sni"], sni, "{case}");
            let tls = newest.replace('_', ".");
            assert_eq!(response.headers()["x-tls"], tls, "{case}");
        }
    }
}

/// M-29, M-33: nothing is sent to an Envoy of another id or another authority; one that expects another id refuses us.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_and_we_refuse_each_other_when_we_call() {
    let Some(program) = tool::find("envoy") else {
        return;
    };
    let site = Site::start().await;
    let alpn = "istio-peer-exchange,h2,http/1.1";
    let mut cases = Vec::new();
    for newest in ["TLSv1_2", "TLSv1_3"] {
        let envoy = |pki, own, expected| Listener::demanding(pki, own, expected, alpn, newest);
        // In TLS 1.3 the client's handshake is over before the server judges its certificate.
        let refused = (newest == "TLSv1_2").then_some(Reason::PeerRefused);
        cases.extend([
            (Some(Reason::IdNotAllowed), envoy(&site.pki, NOBODY, OURS)),
            (
                Some(Reason::UnknownIssuer),
                envoy(&site.foreign, THEIRS, OURS),
            ),
            (refused, envoy(&site.pki, THEIRS, NOBODY)),
        ]);
    }
    let listeners: Vec<_> = cases.iter().map(|(_, listener)| listener).collect();
    let envoy = Envoy::start(&program, site.directory(), &listeners).await;
    for (port, (reason, _)) in envoy.ports.iter().zip(&cases) {
        let mesh = caller(&site.pki, *port, &[THEIRS]).await;
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let error = call(&mesh, version).await.unwrap_err();
            let told = error.handshake().map(HandshakeError::reason);
            assert_eq!(told, *reason, "{version:?}: {error:?}");
        }
    }
}

/// M-31, M-33: keys agreed on with the post-quantum hybrid alone, and with a classic group alone, in both directions; judged by Envoy's own
/// rules for SPIFFE too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_and_we_agree_on_keys_after_and_before_quantum() {
    let Some(program) = tool::find("envoy") else {
        return;
    };
    let post_quantum = || Settings::default().post_quantum_only();
    let strict = Site::with(|builder| builder.tls(post_quantum())).await;
    let site = Site::start().await;
    let alpn = "istio-h2,istio,h2";
    let calls = |site, groups| {
        Listener::To(
            Cluster::new(site, alpn, Http::Two)
                .groups(groups)
                .by_domain(),
        )
    };
    let demands = |groups| {
        let listener = Listener::demanding(&site.pki, THEIRS, OURS, "h2,http/1.1", "TLSv1_3");
        listener.groups(groups).by_domain()
    };
    let listeners = [
        calls(&site, HYBRID),
        calls(&site, "X25519"),
        calls(&site, "P-256"),
        calls(&strict, HYBRID),
        calls(&strict, "X25519"),
        demands(HYBRID),
        demands("X25519"),
    ];
    let envoy = Envoy::start(&program, site.directory(), &listeners).await;
    let [
        hybrid,
        x25519,
        p256,
        strict_hybrid,
        strict_x25519,
        demands_hybrid,
        demands_x25519,
    ] = envoy.ports[..]
    else {
        panic!("a port for each listener")
    };
    for (port, group) in [
        (hybrid, "X25519MLKEM768"),
        (x25519, "x25519"),
        (p256, "secp256r1"),
        (strict_hybrid, "X25519MLKEM768"),
    ] {
        let answer = get(port).await;
        let expected = format!("x-key-exchange: {group}\r\n");
        assert!(answer.contains(&expected), "{group}: {answer}");
        assert!(answer.contains(THEIRS), "{group}: {answer}");
    }
    let answer = get(strict_x25519).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");

    for (port, settings, group) in [
        (demands_hybrid, Settings::default(), Some("X25519MLKEM768")),
        (demands_x25519, Settings::default(), Some("x25519")),
        (demands_hybrid, post_quantum(), Some("X25519MLKEM768")),
        (demands_x25519, post_quantum(), None),
    ] {
        let mesh = caller_with(settings, &site.pki, port, &[THEIRS]).await;
        let response = call(&mesh, Version::HTTP_2).await;
        let agreed = response.as_ref().ok().map(|response| {
            let peer: &Peer = response.extensions().get().unwrap();
            peer.tls_facts().unwrap().key_exchange.unwrap()
        });
        assert_eq!(agreed, group, "{response:?}");
    }
}

/// M-21, M-22, M-23: on a PERMISSIVE port Envoy is answered with mutual TLS and without; on a DISABLE port without.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_in_plaintext_is_answered_where_the_mode_allows_it() {
    let Some(program) = tool::find("envoy") else {
        return;
    };
    let permissive = Site::with(|builder| builder.mode(Mode::Permissive)).await;
    let disabled = Site::with(|builder| builder.danger().mode(Mode::Disable)).await;
    let strict = Site::start().await;
    let mut cases = Vec::new();
    for (alpn, http, version) in [
        ("istio-http/1.1,istio,http/1.1", Http::One, "HTTP/1.1"),
        ("istio-h2,istio,h2", Http::Two, "HTTP/2.0"),
    ] {
        let nobody = format!("[{version} plaintext]");
        let refused = "HTTP/1.1 503".to_owned();
        for (site, plain, mutual) in [
            (&permissive, &nobody, THEIRS.to_owned()),
            (&disabled, &nobody, refused.clone()),
            (&strict, &refused, THEIRS.to_owned()),
        ] {
            let cluster = || Cluster::new(site, alpn, http);
            cases.push((Listener::To(cluster().plaintext()), plain.clone()));
            cases.push((Listener::To(cluster()), mutual));
        }
    }
    let (listeners, expected): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
    let envoy = Envoy::start(&program, strict.directory(), &listeners).await;
    for (index, (port, expected)) in envoy.ports.iter().zip(&expected).enumerate() {
        let answer = get(*port).await;
        assert!(answer.contains(expected), "{index} {expected}: {answer}");
    }
}

/// A mesh of ours that calls Envoy, which must be one of these.
async fn caller(pki: &Pki, port: u16, expected: &[&str]) -> Mesh {
    caller_with(Settings::default(), pki, port, expected).await
}

async fn caller_with(settings: Settings, pki: &Pki, port: u16, expected: &[&str]) -> Mesh {
    let ids = expected.iter().map(|id| SpiffeId::new(id).unwrap());
    let builder = Mesh::builder(
        Workload::new("default", "ours"),
        pki.identity("default", "ours").unwrap(),
    )
    .tls(settings)
    .upstream(
        "theirs:8080",
        [SocketAddr::from(([127, 0, 0, 1], port))],
        ids,
    );
    let (mesh, _driver) = builder.build().await.unwrap();
    mesh
}

async fn call(mesh: &Mesh, version: Version) -> Result<Response<ClientResponseBody>, ClientError> {
    let request = Request::get("http://theirs:8080/")
        .version(version)
        .body(ClientBody::empty())
        .unwrap();
    let call = mesh.client().request(request);
    timeout(PATIENCE, call).await.unwrap()
}

/// Asks a plaintext port; the whole answer.
async fn get(port: u16) -> String {
    let asking = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let question = b"GET / HTTP/1.1\r\nhost: ours\r\nconnection: close\r\n\r\n";
        stream.write_all(question).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        std::io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    timeout(PATIENCE, asking).await.unwrap().unwrap()
}
