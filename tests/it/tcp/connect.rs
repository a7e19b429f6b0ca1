//! Connections to upstreams.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, split};
use tokio::net::TcpListener;
use tower_mesh::access_log::{AccessLog, Side};
use tower_mesh::mesh::{ExternalHost, TcpConnection, TcpOptions};
use tower_mesh::testing::Pki;
use tower_mesh::tls::Reason;
use tower_mesh::{Mesh, Workload};

use super::{Seen, Site, ask, echo, go_on};
use crate::support::mesh::{build, caller, lines, seconds, settle, still};

const APP: &str = "spiffe://cluster.local/ns/default/sa/app";

async fn nobody() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    socket.local_addr().unwrap()
}

/// A desk that writes how its connections end.
async fn desk(pki: &Pki, site: SocketAddr, seen: &Seen) -> Mesh {
    let log = AccessLog::format(
        "%RESPONSE_FLAGS% %UPSTREAM_TRANSPORT_FAILURE_REASON% %UPSTREAM_CLUSTER% \
         %BYTES_RECEIVED%/%BYTES_SENT%",
    );
    let log = log.unwrap().to(seen.sink()).side(Side::Client);
    let identity = pki.identity("default", "desk").unwrap();
    let down = nobody().await;
    let builder = Mesh::builder(Workload::new("default", "desk"), identity)
        .upstream("app.default", [site], [APP])
        .upstream("else.default", [site], [APP.replace("app", "else")])
        .upstream("down.default", [down], [APP])
        .upstream("half.default", [down, site], [APP])
        .upstream("lost.default", ["lost.invalid:1"], [APP])
        .outside("old.example", ExternalHost::plaintext().at([site]))
        .outside("gone.invalid", ExternalHost::plaintext())
        .telemetry(|telemetry| telemetry.access_log(log));
    build(builder).await
}

#[tokio::test]
async fn an_upstream_must_prove_its_identity() {
    let site = Site::echo(|app| app).await;
    let seen = Seen::default();
    let desk = desk(&site.pki, site.address, &seen).await;
    let connection = desk.connect_tcp("app.default", 7).await.unwrap();
    assert_eq!(connection.peer().spiffe_id().unwrap().to_string(), APP);
    assert_eq!(ask(connection, "ping").await.as_deref(), Some("ping"));
    let cluster = |name| format!("outbound|7||{name}.default.svc.cluster.local");
    assert_eq!(seen.line().await, format!("- - {} 4/4", cluster("app")));

    let refused = desk.connect_tcp("else.default", 7).await.unwrap_err();
    let reason = refused.handshake().unwrap().reason();
    assert_eq!(reason, Reason::IdNotAllowed);
    assert_eq!(refused.address(), Some(site.address));
    let line = format!("UF TLS_error:_id_not_allowed {} 0/0", cluster("else"));
    assert_eq!(seen.line().await, line);
    let labels = ["response_flags=\"UF\"", "else.default.svc.cluster.local"];
    for family in ["opened", "closed"] {
        let family = format!("istio_tcp_connections_{family}_total");
        assert_eq!(lines(&desk, &family, &labels).len(), 1, "{family}");
    }
}

#[tokio::test]
async fn what_cannot_be_reached_is_an_error_with_its_flag() {
    let site = Site::echo(|app| app).await;
    let seen = Seen::default();
    let desk = desk(&site.pki, site.address, &seen).await;
    let refused = "delayed_connect_error:_Connection_refused";
    for (host, line) in [
        (
            "down.default",
            format!("UF {refused} outbound|7||down.default.svc.cluster.local 0/0"),
        ),
        (
            "lost.default",
            "UH - outbound|7||lost.default.svc.cluster.local 0/0".to_owned(),
        ),
        ("gone.invalid", "DF - PassthroughCluster 0/0".to_owned()),
        ("unknown.default", "NR - - 0/0".to_owned()),
        ("not a host", "NR - - 0/0".to_owned()),
    ] {
        let error = desk.connect_tcp(host, 7).await.unwrap_err();
        assert_eq!(error.is_unknown_host(), line.starts_with("NR"), "{error}");
        assert_eq!(seen.line().await, line);
    }
}

/// A server that never answers the handshake, and a caller that waits no longer.
#[tokio::test]
async fn a_caller_who_leaves_before_the_connection_is_made_is_told() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (pki, seen) = (Pki::new("cluster.local").unwrap(), Seen::default());
    let desk = desk(&pki, silent.local_addr().unwrap(), &seen).await;
    // One that nobody has waited for was never begun.
    drop(desk.connect_tcp("app.default", 7));
    let _held = tokio::select! {
        made = desk.connect_tcp("app.default", 7) => panic!("it is made: {}", made.is_ok()),
        accepted = silent.accept() => accepted.unwrap(),
    };
    let cluster = "outbound|7||app.default.svc.cluster.local";
    assert_eq!(seen.line().await, format!("DC - {cluster} 0/0"));
    let labels = ["response_flags=\"DC\"", "app.default.svc.cluster.local"];
    for family in ["opened", "closed"] {
        let family = format!("istio_tcp_connections_{family}_total");
        let counted = lines(&desk, &family, &labels);
        assert!(
            counted.len() == 1 && counted[0].ends_with(" 1"),
            "{counted:?}"
        );
    }
}

/// The addresses take turns; one that is down costs no connection, and is asked again later.
#[tokio::test]
async fn an_address_that_is_down_is_passed_over() {
    let site = Site::echo(|app| app).await;
    let seen = Seen::default();
    let desk = desk(&site.pki, site.address, &seen).await;
    for _ in 0..4 {
        let connection = desk.connect_tcp("half.default", 7).await.unwrap();
        assert_eq!(ask(connection, "ping").await.as_deref(), Some("ping"));
    }
    assert_eq!(seen.lines(4).await.len(), 4);
}

/// An address that answers again is used again, although another one was up all the time.
#[tokio::test]
async fn an_address_that_answers_again_is_used_again() {
    let pki = Pki::new("cluster.local").unwrap();
    let mesh = build(crate::support::mesh::app(&pki)).await;
    let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (up, down) = (first.local_addr().unwrap(), nobody().await);
    tokio::spawn(mesh.serve_tcp_on(first, echo));
    let identity = pki.identity("default", "desk").unwrap();
    let builder = Mesh::builder(Workload::new("default", "desk"), identity);
    let desk = build(builder.upstream("app.default", [down, up], [APP])).await;
    let reached = async || {
        let connection = desk.connect_tcp("app.default", 7).await.unwrap();
        connection.peer().remote_addr()
    };
    assert_eq!((reached().await, reached().await), (up, up));
    let second = TcpListener::bind(down).await.unwrap();
    tokio::spawn(mesh.serve_tcp_on(second, echo));
    let clock = still();
    seconds(6).await;
    go_on(clock);
    // This one has it tried, beside itself.
    reached().await;
    for _ in 0..1000 {
        settle().await;
        if reached().await == down {
            return;
        }
    }
    panic!("it is never used");
}

#[tokio::test]
async fn a_host_outside_the_mesh_gets_no_identity_and_proves_none() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = socket.accept().await.unwrap();
        let mut word = [0; 4];
        stream.read_exact(&mut word).await.unwrap();
        stream.write_all(&word).await.unwrap();
    });
    let (pki, seen) = (Pki::new("cluster.local").unwrap(), Seen::default());
    let desk = desk(&pki, address, &seen).await;
    let connection = desk.connect_tcp("old.example", 5432).await.unwrap();
    assert!(!connection.peer().is_encrypted() && connection.peer().spiffe_id().is_none());
    assert_eq!(connection.peer().remote_addr(), address);
    assert_eq!(ask(connection, "ping").await.as_deref(), Some("ping"));
    assert_eq!(seen.line().await, "- - PassthroughCluster 4/4");
    // Of a name of two labels outside the mesh no service is made.
    assert!(desk.connect_tcp("gone.invalid", 7).await.is_err());
    for (host, flags) in [("old.example", "-"), ("gone.invalid", "DF")] {
        let labels = [
            &*format!("destination_service=\"{host}\""),
            r#"destination_service_name="PassthroughCluster""#,
            r#"destination_service_namespace="unknown""#,
            &format!("response_flags=\"{flags}\""),
        ];
        for family in ["opened", "closed"] {
            let family = format!("istio_tcp_connections_{family}_total");
            let counted = lines(&desk, &family, &labels);
            assert_eq!(counted.len(), 1, "{host}: {counted:?}");
        }
    }
}

/// telemetry.md §4: `istio`, and not the name that promises a preamble. Who names no protocol gets in, too.
#[tokio::test]
async fn both_ends_agree_on_istio() {
    async fn tell(mut connection: TcpConnection) -> io::Result<()> {
        let alpn = connection
            .peer()
            .tls_facts()
            .and_then(|facts| facts.alpn.clone());
        let alpn = alpn.map(|alpn| String::from_utf8(alpn.to_vec()).unwrap());
        let alpn = alpn.unwrap_or_else(|| "none".to_owned());
        connection.write_all(alpn.as_bytes()).await
    }
    let site = Site::start(|app| app, TcpOptions::default(), tell).await;
    let desk = caller(&site.pki, "desk", site.address).await;
    let connection = desk.connect_tcp("app.default", 7).await.unwrap();
    let facts = connection.peer().tls_facts().unwrap();
    assert_eq!(facts.alpn.as_deref(), Some(&b"istio"[..]));
    assert_eq!(ask(connection, "x").await.as_deref(), Some("istio"));
}

/// The two halves of a connection in two tasks: both learn that it is cut.
#[tokio::test]
async fn a_connection_that_is_idle_for_too_long_is_cut_in_both_halves() {
    let site = Site::echo(|app| app).await;
    let identity = site.pki.identity("default", "desk").unwrap();
    let builder = Mesh::builder(Workload::new("default", "desk"), identity)
        .upstream("app.default", [site.address], [APP])
        .client(|client| client.tcp_idle(Duration::from_secs(10)));
    let desk = build(builder).await;
    let connection = desk.connect_tcp("app.default", 7).await.unwrap();
    let (mut read, mut write) = split(connection);
    write.write_all(b"x").await.unwrap();
    read.read_exact(&mut [0]).await.unwrap();
    let reading = tokio::spawn(async move { read.read(&mut [0]).await });
    settle().await;
    let clock = still();
    seconds(11).await;
    go_on(clock);
    let cut = reading.await.unwrap().unwrap_err();
    assert_eq!(cut.kind(), io::ErrorKind::ConnectionAborted);
    let cut = write.write(b"x").await.unwrap_err();
    assert_eq!(cut.kind(), io::ErrorKind::ConnectionAborted);
}
