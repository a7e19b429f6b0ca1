//! Metrics, the access log, and log events.

use tokio::net::TcpListener;
use tower_mesh::Workload;
use tower_mesh::access_log::{AccessLog, Side};
use tower_mesh::source::Fixed;
use tower_mesh::testing::Pki;
use tracing::Level;

use super::{Seen, Site, ask, echo};
use crate::support::log::Log;
use crate::support::mesh::{app, build, caller, lines, policy, settle, until};

/// telemetry.md §3.1 and §3.2: the four families with 23 labels, on both sides.
#[tokio::test]
async fn both_sides_count_with_all_labels() {
    let pki = Pki::new("cluster.local").unwrap();
    let mesh = build(app(&pki)).await;
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(mesh.serve_tcp_on(socket, echo));
    let desk = caller(&pki, "desk", address).await;
    let connection = desk.connect_tcp("app.default", 8443).await.unwrap();
    assert_eq!(ask(connection, "ping").await.as_deref(), Some("ping"));
    let closed = |mesh| lines(mesh, "istio_tcp_connections_closed_total", &[]).len();
    until("the ends", || closed(&mesh) == 1 && closed(&desk) == 1).await;

    let principal = |account| format!("\"spiffe://cluster.local/ns/default/sa/{account}\"");
    for (mesh, reporter, security) in [
        (&mesh, "destination", "mutual_tls"),
        (&desk, "source", "unknown"),
    ] {
        for (family, value) in [
            ("istio_tcp_connections_opened_total", 1),
            ("istio_tcp_connections_closed_total", 1),
            ("istio_tcp_sent_bytes_total", 4),
            ("istio_tcp_received_bytes_total", 4),
        ] {
            let lines = lines(mesh, family, &[]);
            assert_eq!(lines.len(), 1, "{reporter}: {lines:?}");
            let line = &lines[0];
            assert_eq!(line.matches("=\"").count(), 23, "{line}");
            assert!(line.ends_with(&format!(" {value}")), "{line}");
            for label in [
                format!("reporter=\"{reporter}\""),
                format!("source_principal={}", principal("desk")),
                format!("destination_principal={}", principal("app")),
                "destination_service_namespace=\"default\"".to_owned(),
                "request_protocol=\"tcp\"".to_owned(),
                "response_flags=\"-\"".to_owned(),
                format!("connection_security_policy=\"{security}\""),
            ] {
                assert!(line.contains(&label), "{label}: {line}");
            }
        }
    }
    let service = "destination_service=\"app.default.svc.cluster.local\"";
    assert_eq!(
        lines(&desk, "istio_tcp_sent_bytes_total", &[service]).len(),
        1
    );
}

/// telemetry.md §5.1: the default text, with no HTTP in it.
#[tokio::test]
async fn a_connection_is_one_line_on_either_side() {
    let (pki, served, called) = (
        Pki::new("cluster.local").unwrap(),
        Seen::default(),
        Seen::default(),
    );
    let log = AccessLog::text().to(served.sink());
    let mesh = build(app(&pki).telemetry(|telemetry| telemetry.access_log(log))).await;
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let port = address.port();
    tokio::spawn(mesh.serve_tcp_on(socket, echo));
    let log = AccessLog::text().to(called.sink()).side(Side::Client);
    let identity = pki.identity("default", "desk").unwrap();
    let desk = tower_mesh::Mesh::builder(Workload::new("default", "desk"), identity)
        .upstream("app.default", [address], [mesh.spiffe_id()])
        .telemetry(|telemetry| telemetry.access_log(log));
    let desk = build(desk).await;
    let connection = desk.connect_tcp("app.default", 7007).await.unwrap();
    let local = connection.peer().local_addr();
    assert_eq!(ask(connection, "ping").await.as_deref(), Some("ping"));

    let middle = |line: &str| {
        let (_, line) = line.split_once("] ").unwrap();
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        // The duration differs.
        assert!(words[10].parse::<u64>().is_ok(), "{line}");
        [&words[..10], &words[11..]].concat().join(" ")
    };
    assert_eq!(
        middle(&served.line().await),
        format!(
            r#""- - -" 0 - - - "-" 4 4 - "-" "-" "-" "-" "-" inbound|{port}|| - {address} {local} outbound_.7007_._.app.default.svc.cluster.local -"#
        )
    );
    assert_eq!(
        middle(&called.line().await),
        format!(
            r#""- - -" 0 - - - "-" 4 4 - "-" "-" "-" "-" "{address}" outbound|7007||app.default.svc.cluster.local {local} - - - -"#
        )
    );
}

#[tokio::test]
async fn a_refused_connection_is_counted_and_logged() {
    let (log, _guard) = Log::listen(Level::INFO);
    let deny = policy(
        "nobody",
        "DENY",
        "[{from: [{source: {principals: [cluster.local/ns/default/sa/desk]}}]}]",
    );
    let site = Site::echo(|app| app.config(Fixed::yaml("p.yaml", deny))).await;
    assert_eq!(ask(site.dial("desk").await, "secret").await, None);
    let details = "rbac_access_denied_matched_policy[ns[default]-policy[nobody]-rule[0]]";
    assert_eq!(site.seen.line().await, format!("- {details} 0/0"));
    settle().await;
    let events = log.with(&["connection refused", details, "p.yaml:", "sa/desk"]);
    assert_eq!(events.len(), 1, "{}", log.text());
    assert!(!log.text().contains("secret"));
    for (family, count) in [
        ("istio_tcp_connections_opened_total", 1),
        ("istio_tcp_connections_closed_total", 1),
        ("istio_tcp_received_bytes_total", 0),
        ("istio_tcp_sent_bytes_total", 0),
    ] {
        assert_eq!(site.count(family, &[]), count, "{family}");
    }

    // Where no ALLOW rule matches, the event lists those that might have.
    let allow = policy(
        "web",
        "ALLOW",
        "[{from: [{source: {principals: [cluster.local/ns/default/sa/web]}}]}]",
    );
    let site = Site::echo(|app| app.config(Fixed::yaml("q.yaml", allow))).await;
    assert_eq!(ask(site.dial("desk").await, "x").await, None);
    let none = "rbac_access_denied_matched_policy[none]";
    assert_eq!(site.seen.line().await, format!("- {none} 0/0"));
    let events = log.with(&["connection refused", none, "policy[web]", "q.yaml:"]);
    assert_eq!(events.len(), 1, "{}", log.text());
}
