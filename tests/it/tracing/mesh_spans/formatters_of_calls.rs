//! What a tag's formatter says of calls.

use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tower_mesh::access_log::{AccessLog, Side};
use tower_mesh::mesh::ExternalHost;
use tower_mesh::propagation::SpanKind;
use tower_mesh::source::Fixed;
use tower_mesh::testing::Pki;

use super::site::{Spans, app, desk, only};
use crate::access_log::Lines;
use crate::support::mesh::build;

const COLUMNS: &str = "%RESPONSE_CODE_DETAILS%|%UPSTREAM_REQUEST_ATTEMPT_COUNT%|%ROUTE_NAME%|\
                       %UPSTREAM_TRANSPORT_FAILURE_REASON%|%REQUEST_DURATION%";

/// A server in plaintext whose answers break off.
async fn breaking() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = socket.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            let half = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf";
            stream.write_all(half).await.unwrap();
        }
    });
    address
}

/// The operators are those of access logs, of calls too: the tag is the line, without the signs that
/// stand for what has no value.
#[tokio::test]
async fn a_formatter_says_of_a_call_what_its_line_says() {
    let pki = Pki::new("cluster.local").unwrap();
    let (sent, kept) = (Spans::default(), Lines::default());
    let routes = Router::new()
        .route("/late", any(pending::<&str>))
        .fallback(any(async |body: String| body));
    let app = app(&pki, Spans::default().recording(), routes).await;
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = socket.local_addr().unwrap();
    drop(socket);
    let telemetry = format!(
        "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\n\
         metadata: {{name: mesh, namespace: istio-system}}\n\
         spec: {{tracing: [{{customTags: {{told: {{formatter: {{value: '{COLUMNS}'}}}}}}}}]}}\n"
    );
    let log = AccessLog::format(COLUMNS).unwrap();
    let log = log.to(kept.sink()).side(Side::Client);
    let id = "spiffe://cluster.local/ns/default/sa/app";
    let old = ExternalHost::plaintext().at([breaking().await]);
    let builder = desk(&pki, sent.recording(), "app.default", &[app.address])
        .upstream("closed.default", [closed], [id])
        .outside("old.example", old)
        .config(Fixed::yaml("telemetry.yaml", telemetry))
        .telemetry(|telemetry| telemetry.access_log(log));
    let desk = build(builder).await;
    let refused = "delayed_connect_error:_Connection_refused";
    let reset = "upstream_reset_before_response_started{remote_connection_failure|";
    for (uri, expected) in [
        ("http://app.default/", "via_upstream|1|default||".to_owned()),
        (
            "http://app.default/late",
            "response_timeout|1|default||".to_owned(),
        ),
        (
            "http://closed.default/",
            format!("{reset}{refused}}}|1|default|{refused}|"),
        ),
        ("http://unknown.default/", "route_not_found|0|||".to_owned()),
        (
            "http://old.example/",
            "upstream_reset_after_response_started{protocol_error}|1|allow_any||".to_owned(),
        ),
    ] {
        let call = desk.client().post(uri).body("hello");
        let call = match uri.ends_with("/late") {
            true => call.timeout(Duration::from_millis(50)),
            false => call,
        };
        if let Ok(answer) = call.await {
            let _ = answer.into_body().collect().await;
        }
        let line = kept.one().await;
        let columns = line.split('|').map(|value| match value {
            "-" => "",
            value => value,
        });
        let line = columns.collect::<Vec<_>>().join("|");
        let spans = sent.all(1).await;
        let tag = only(&spans, SpanKind::Client).tag("told");
        assert_eq!(tag, Some(&*line), "{uri}");
        assert!(line.starts_with(&expected), "{line}\n{expected}");
        // Of a request that was sent whole.
        let is_sent = uri == "http://app.default/";
        assert!(!is_sent || line.len() > expected.len(), "{line}");
    }
}
