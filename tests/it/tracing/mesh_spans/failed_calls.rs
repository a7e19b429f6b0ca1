//! Client spans of calls that get no response.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tower_mesh::mesh::Upstreams;
use tower_mesh::testing::Pki;

use super::site::{Spans, app, desk};
use crate::support::mesh::{build, relay};

/// The tags agree with the log and the metrics: the status is the one that Envoy would have answered
/// with.
#[tokio::test]
async fn the_span_of_a_failed_call_has_the_status_that_is_counted() {
    let pki = Pki::new("cluster.local").unwrap();
    let (sent, cut) = (Spans::default(), Arc::new(Notify::new()));
    let cutting = Arc::clone(&cut);
    let routes = Router::new()
        .route("/late", any(pending::<&str>))
        .fallback(any(move || {
            cutting.notify_waiters();
            pending::<&str>()
        }));
    let app = app(&pki, Spans::default().recording(), routes).await;
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = socket.local_addr().unwrap();
    drop(socket);
    let desk = build(desk(&pki, sent.recording(), "app.default", &[app.address])).await;
    let id = "spiffe://cluster.local/ns/default/sa/app";
    let upstreams = Upstreams::new()
        .upstream("late.default", [app.address], [id])
        .upstream("closed.default", [closed], [id])
        .upstream("broken.default", [relay(app.address, cut).await], [id]);
    desk.replace_upstreams(upstreams).await.unwrap();
    let (text, grpc) = ("text/plain", "application/grpc");
    let (error, peer) = (Some("true"), Some("127.0.0.1"));
    for (host, content_type, status, code, flags, error, peer) in [
        ("closed", text, "503", None, "UF", error, peer),
        ("broken", text, "503", None, "UC", error, peer),
        ("late", text, "504", None, "UT", error, peer),
        ("unknown", text, "404", None, "NR", None, None),
        ("closed", grpc, "200", Some("14"), "UF", error, peer),
        ("broken", grpc, "200", Some("14"), "UC", error, peer),
        ("unknown", grpc, "200", Some("12"), "NR", error, None),
    ] {
        let call = desk.client().post(format!("http://{host}.default/{host}"));
        let call = call.header("content-type", content_type).body("x");
        let call = match host {
            "late" => call.timeout(Duration::from_millis(50)),
            _ => call,
        };
        assert!(call.await.is_err(), "{host}");
        let spans = sent.all(1).await;
        for (tag, value) in [
            ("http.status_code", Some(status)),
            ("grpc.status_code", code),
            ("response_flags", Some(flags)),
            ("error", error),
            ("peer.address", peer),
        ] {
            assert_eq!(spans[0].tag(tag), value, "{host}, {content_type}: {tag}");
        }
        assert!(spans[0].is_error, "{host}");
    }
}
