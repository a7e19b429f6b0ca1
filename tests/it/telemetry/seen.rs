//! What is seen of handshakes, connections and our own identity from outside: metrics, readiness, logs.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::routing::{any, get as on_get};
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower_mesh::Workload;
use tower_mesh::mesh::{IdentityState, Mesh};
use tower_mesh::metrics::Format;
use tower_mesh::testing::{Leaf, Pki};
use tower_mesh::tls::{
    Acceptor, Clock, Connector, Credentials, Destination, Files, Identity, Mode, NextIdentity,
    Protocol, Reason, Settings, Source, SourceError,
};
use tracing::Level;

use crate::support::log::Log;
use crate::support::mesh::{app, build, caller, dial, lines, pass, serve, until};
use crate::tls::support::{accept, chain, client_config, credentials, id};

fn pki() -> Pki {
    Pki::new("cluster.local").unwrap()
}

fn hello() -> Router {
    Router::new().fallback(any(|| async { "hello" }))
}

fn value(mesh: &Mesh, metric: &str, labels: &[&str]) -> Option<f64> {
    let found = lines(mesh, metric, labels);
    let line = found.first()?;
    Some(line.rsplit_once(' ').unwrap().1.parse().unwrap())
}

#[tokio::test]
async fn handshakes_are_counted_by_result_and_reason_on_both_sides() {
    let pki = pki();
    let mesh = build(app(&pki)).await;
    let served = serve(&mesh, hello()).await;
    let held = dial(&pki, "desk", served.address, Protocol::Http1).await;
    let stranger = Pki::new("cluster.local").unwrap();
    let connector = Connector::new(credentials(&stranger, "desk"));
    let expected = [id("spiffe://cluster.local/ns/default/sa/app")];
    let destination = Destination::new(expected, "app", Protocol::Http1).unwrap();
    let _ = connector.connect(served.address, &destination).await;
    let mut plain = TcpStream::connect(served.address).await.unwrap();
    let _ = plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await;
    let _ = plain.read_to_end(&mut Vec::new()).await;

    let handshakes = "mesh_tls_handshakes_total";
    let inbound = r#"side="inbound""#;
    let counted = |reason: &str| {
        value(
            &mesh,
            handshakes,
            &[inbound, &format!("reason=\"{reason}\"")],
        )
    };
    until("the handshakes", || {
        counted("plaintext_refused") == Some(1.0) && counted("") == Some(1.0)
    })
    .await;
    let address = format!(
        "envoy_listener_address=\"127.0.0.1_{}\"",
        served.address.port()
    );
    for (name, wanted) in [
        ("envoy_listener_ssl_handshake", 1.0),
        ("envoy_listener_downstream_cx_total", 1.0),
        ("envoy_listener_downstream_cx_active", 1.0),
        ("envoy_listener_ssl_fail_verify_no_cert", 0.0),
        ("envoy_listener_ssl_fail_verify_san", 0.0),
    ] {
        assert_eq!(value(&mesh, name, &[&address]), Some(wanted), "{name}");
    }
    // The stranger refuses us for its own reasons, before or after we refuse it.
    let refused = value(&mesh, handshakes, &[inbound, r#"result="refused""#]);
    assert!(refused >= Some(1.0), "{refused:?}");
    drop(held);
    until("the connection to end", || {
        value(&mesh, "envoy_listener_downstream_cx_active", &[]) == Some(0.0)
    })
    .await;

    let desk = caller(&pki, "desk", served.address).await;
    desk.client().get("http://app.default/").await.unwrap();
    let outbound = [r#"side="outbound""#, r#"result="ok""#];
    assert_eq!(value(&desk, handshakes, &outbound), Some(1.0));
    assert_eq!(
        lines(&desk, "mesh_requests_cut_total", &[r#"side="outbound""#]),
        [""; 0]
    );
    // Envoy's names, and not OpenMetrics', which has no counters of such names.
    let text = mesh.metrics().render(Format::OpenMetrics);
    assert!(text.contains("# TYPE envoy_listener_ssl_handshake unknown\n"));
}

/// M-20: counted as Envoy blames it.
#[tokio::test]
async fn certificates_are_blamed_as_envoy_blames_them() {
    let pki = pki();
    let mesh = build(app(&pki)).await;
    let served = serve(&mesh, hello()).await;
    let td = "spiffe://cluster.local/ns/default/sa/desk";
    let expired = pki.issue(&Leaf::workload(td).expired()).unwrap();
    let nobody = pki.issue(&Leaf::without_uri()).unwrap();
    for (shown, name) in [
        (None, "envoy_listener_ssl_fail_verify_no_cert"),
        (
            Some(chain(&expired)),
            "envoy_listener_ssl_fail_verify_error",
        ),
        (Some(chain(&nobody)), "envoy_listener_ssl_fail_verify_san"),
    ] {
        assert_ne!(value(&mesh, name, &[]), Some(1.0), "{name}");
        let tcp = TcpStream::connect(served.address).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(client_config(shown)));
        let name_of = rustls::pki_types::ServerName::try_from("app").unwrap();
        if let Ok(mut stream) = connector.connect(name_of, tcp).await {
            let _ = stream.read_u8().await;
        }
        until(name, || value(&mesh, name, &[]) == Some(1.0)).await;
    }
}

/// M-53, M-28: a refused handshake is told with whom and why, and nothing that a client sends is printed as it came.
#[tokio::test]
async fn a_refused_handshake_is_told_with_peer_and_reason() {
    let (log, _guard) = Log::listen(Level::DEBUG);
    let pki = pki();
    let mut listener =
        tower_mesh::tls::Listener::bind("127.0.0.1:0", Acceptor::new(credentials(&pki, "app")))
            .await
            .unwrap();
    let address = listener.local_addr();
    let tally = listener.stats();
    tokio::spawn(async move {
        loop {
            drop(listener.accept().await);
        }
    });
    let desk = "spiffe://cluster.local/ns/default/sa/desk";
    for (leaf, reason, detail) in [
        (
            Leaf::workload(desk).not_yet_valid(),
            Reason::NotYetValid,
            " seconds by our clock: wait, or set the clock right",
        ),
        (
            Leaf::workload(desk).expired(),
            Reason::Expired,
            " seconds ago by our clock: issue it anew",
        ),
        (
            Leaf::workload(desk).client_only(),
            Reason::ExtendedKeyUsage,
            desk,
        ),
    ] {
        let shown = chain(&pki.issue(&leaf).unwrap());
        let tcp = TcpStream::connect(address).await.unwrap();
        let from = tcp.local_addr().unwrap().to_string();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(client_config(Some(shown))));
        let name = rustls::pki_types::ServerName::try_from("app").unwrap();
        if let Ok(mut stream) = connector.connect(name, tcp).await {
            let _ = stream.read_u8().await;
        }
        until("the refusal", || tally.refused(reason) == 1).await;
        let told = log.with(&["connection refused", &from]);
        let [told] = told.as_slice() else {
            panic!("{reason} is not told once:\n{}", log.text());
        };
        for wanted in [desk, &format!("reason={reason}"), detail] {
            assert!(told.contains(wanted), "{wanted}: {told}");
        }
    }
}

/// M-50: a key that everybody may read is told, once for each version of the files.
#[tokio::test(start_paused = true)]
async fn a_key_for_all_eyes_is_told() {
    use std::os::unix::fs::PermissionsExt;
    let (log, _guard) = Log::listen(Level::INFO);
    let pki = pki();
    let directory = tempfile::TempDir::new().unwrap();
    let file = |name: &str| directory.path().join(name);
    let issued = pki.issue(&Leaf::workload("spiffe://cluster.local/ns/default/sa/app"));
    let issued = issued.unwrap();
    std::fs::write(file("tls.crt"), issued.chain_pem()).unwrap();
    std::fs::write(file("tls.key"), issued.key_pem().as_bytes()).unwrap();
    std::fs::write(file("ca.crt"), pki.root_pem()).unwrap();
    let told = || {
        log.text()
            .matches("everybody may read the private key")
            .count()
    };
    for (mode, wanted) in [(0o600, 0), (0o640, 0), (0o644, 1)] {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(file("tls.key"), mode).unwrap();
        let mut source = Files::watch(directory.path());
        for _ in 0..3 {
            source.next().await.unwrap();
        }
        assert_eq!(told(), wanted);
    }
    assert!(log.text().contains("tls.key"));
}

/// M-53: a certificate of a peer whose clock is ahead is refused with the skew in the reason.
#[tokio::test]
async fn a_skewed_clock_is_told_in_seconds() {
    let pki = pki();
    let now = SystemTime::now();
    let leaf = Leaf::workload("spiffe://cluster.local/ns/default/sa/desk");
    let leaf = leaf.valid(
        now + Duration::from_secs(90),
        now + Duration::from_secs(3600),
    );
    let shown = chain(&pki.issue(&leaf).unwrap());
    let acceptor = Acceptor::new(credentials(&pki, "app"));
    let refused = accept(&acceptor, client_config(Some(shown)))
        .await
        .unwrap_err();
    let text = refused.to_string();
    let ahead = text.split(", in ").nth(1).unwrap();
    let seconds = ahead.split(" seconds by our clock").next().unwrap();
    assert!(
        (80..=90).contains(&seconds.parse::<u32>().unwrap()),
        "{text}"
    );
}

/// A source that says what it is told to.
pub(crate) struct Told(pub(crate) tokio::sync::mpsc::Receiver<Result<Identity, SourceError>>);

impl Source for Told {
    fn next(&mut self) -> NextIdentity<'_> {
        Box::pin(async {
            match self.0.recv().await {
                Some(said) => said,
                None => std::future::pending().await,
            }
        })
    }
}

/// A wall clock that goes with tokio's.
fn clock() -> Clock {
    let (wall, begun) = (SystemTime::now(), tokio::time::Instant::now());
    Clock::from_fn(move || wall + begun.elapsed())
}

/// M-44, M-45: a source that is down, an identity that is withdrawn, one that ends: each is seen in readiness and metrics, and each recovers.
#[tokio::test]
async fn what_stands_with_our_identity_is_seen() {
    let pki = pki();
    let clock = clock();
    let issue = |life| {
        let leaf = Leaf::workload("spiffe://cluster.local/ns/default/sa/app");
        let now = clock.now();
        let leaf = leaf.valid(
            now - Duration::from_secs(60),
            now + Duration::from_secs(life),
        );
        Identity::new(
            pki.issue(&leaf).unwrap().svid().unwrap(),
            pki.bundles().unwrap(),
        )
    };
    let (say, said) = tokio::sync::mpsc::channel(8);
    say.send(Ok(issue(3600))).await.unwrap();
    let builder = Mesh::builder(Workload::new("default", "app"), Told(said));
    let mesh = build(builder.tls(Settings::default().clock(clock.clone()))).await;
    let generation = |mesh: &Mesh| value(mesh, "mesh_identity_generation", &[]);
    let expiry = |resource: &str| {
        let label = format!("resource_name=\"{resource}\"");
        value(&mesh, "istio_agent_cert_expiry_seconds", &[&label]).unwrap()
    };
    assert!(mesh.readiness().is_ready());
    assert_eq!(mesh.readiness().to_string(), "ready");
    assert_eq!(generation(&mesh), Some(1.0));
    assert!(
        (3500.0..3600.5).contains(&expiry("default")),
        "{}",
        expiry("default")
    );
    assert!(expiry("ROOTCA") > 3600.0);
    assert_eq!(
        value(&mesh, "envoy_server_days_until_first_cert_expiring", &[]),
        Some(0.0)
    );

    say.send(Err(SourceError::new("no answer"))).await.unwrap();
    until("the failure", || mesh.readiness().source_down_for.is_some()).await;
    assert!(mesh.readiness().is_ready(), "what we have is good");
    let errors = "mesh_identity_rotation_errors_total";
    assert_eq!(value(&mesh, errors, &[r#"reason="source""#]), Some(1.0));
    let stranger = Pki::new("cluster.local").unwrap();
    let bad = stranger.issue(&Leaf::workload("spiffe://cluster.local/ns/default/sa/app"));
    let bad = Identity::new(bad.unwrap().svid().unwrap(), pki.bundles().unwrap());
    say.send(Ok(bad)).await.unwrap();
    let rejected = || value(&mesh, errors, &[r#"reason="unknown_issuer""#]);
    until("the rejection", || rejected() == Some(1.0)).await;
    assert_eq!(generation(&mesh), Some(1.0));

    say.send(Ok(issue(7200))).await.unwrap();
    until("the rotation", || generation(&mesh) == Some(2.0)).await;
    assert_eq!(mesh.readiness().source_down_for, None);
    assert_eq!(
        value(&mesh, "mesh_identity_rotations_total", &[]),
        Some(1.0)
    );

    say.send(Err(SourceError::withdrawn())).await.unwrap();
    until("the withdrawal", || !mesh.readiness().is_ready()).await;
    assert_eq!(mesh.readiness().identity, IdentityState::Withdrawn);
    assert_eq!(value(&mesh, "mesh_identity_valid", &[]), Some(0.0));
    say.send(Ok(issue(7300))).await.unwrap();
    until("another", || mesh.readiness().is_ready()).await;

    pass(Duration::from_secs(7400)).await;
    assert_eq!(mesh.readiness().identity, IdentityState::Expired);
    assert!(
        mesh.readiness()
            .to_string()
            .starts_with("not ready; our identity has ended")
    );
    assert!(expiry("default") < 0.0);
    say.send(Ok(issue(3600))).await.unwrap();
    until("a fresh one", || mesh.readiness().is_ready()).await;
}

/// R-27: what nobody follows any more is served on, and said to be old at once.
#[tokio::test]
async fn a_driver_that_is_gone_is_seen() {
    let pki = pki();
    let (say, said) = tokio::sync::mpsc::channel(8);
    let identity = || pki.identity("default", "app").unwrap();
    say.send(Ok(identity())).await.unwrap();
    let builder = Mesh::builder(Workload::new("default", "app"), Told(said));
    let (mesh, driver) = builder.build().await.unwrap();
    assert!(mesh.readiness().is_ready(), "not run yet");
    let driver = tokio::spawn(driver.run());
    assert!(mesh.readiness().is_ready());
    driver.abort();
    assert!(driver.await.is_err());
    let readiness = mesh.readiness();
    assert!(readiness.unattended && !readiness.is_ready());
    let said = readiness.to_string();
    assert_eq!(said, "not ready; the driver is gone, nothing is kept fresh");
    assert!(mesh.credentials().unwrap().is_valid(), "served on");
    // Where nothing may change there is nothing to follow.
    let builder = Mesh::builder(Workload::new("default", "app"), identity());
    let (mesh, driver) = builder.build().await.unwrap();
    drop(driver);
    assert!(mesh.readiness().is_ready());
}

async fn ask(address: std::net::SocketAddr, path: &str) -> (StatusCode, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    (status, body.to_owned())
}

/// A listener for health checks tells readiness without a certificate, and serves nothing but what it was given.
#[tokio::test]
async fn a_plaintext_listener_serves_only_what_it_is_given() {
    let pki = pki();
    let identity = pki.identity("default", "app").unwrap();
    let ours = Credentials::new(&identity, Settings::default()).unwrap();
    let mesh = build(Mesh::builder(Workload::new("default", "app"), ours.clone())).await;
    let guarded = serve(
        &mesh,
        Router::new().route("/secret", on_get(|| async { "secret" })),
    )
    .await;
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let probes = Router::new().route_service("/readyz", mesh.probe());
    let probing = tokio::spawn({
        let mesh = mesh.clone();
        async move { mesh.serve_plaintext_on(socket, probes).await }
    });
    assert_eq!(
        ask(address, "/readyz").await,
        (StatusCode::OK, "ready\n".into())
    );
    assert_eq!(ask(address, "/secret").await.0, StatusCode::NOT_FOUND);
    ours.withdraw();
    let label = format!("envoy_listener_address=\"127.0.0.1_{}\"", address.port());
    let count = |metric: &str| value(&mesh, metric, &[&label]);
    assert_eq!(count("envoy_listener_downstream_cx_total"), Some(2.0));
    assert_eq!(count("mesh_tls_handshakes_total"), Some(0.0), "no TLS");
    let (status, body) = ask(address, "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.contains("withdrawn"), "{body}");
    // It does not open the other port.
    let mut plain = TcpStream::connect(guarded.address).await.unwrap();
    let _ = plain
        .write_all(b"GET /secret HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    let mut heard = Vec::new();
    let _ = plain.read_to_end(&mut heard).await;
    assert_eq!(heard, b"");
    mesh.shutdown(Duration::ZERO);
    probing.await.unwrap().unwrap();
}

/// M-23: TLS on a port that takes plaintext only is answered by HTTP, at once.
#[tokio::test]
async fn tls_on_a_port_without_it_is_a_bad_request() {
    let pki = pki();
    let mesh = build(app(&pki).danger().mode(Mode::Disable)).await;
    let served = serve(&mesh, hello()).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream
        .write_all(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{answer:?}");
}
