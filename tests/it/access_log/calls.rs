//! The lines of calls.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tower_mesh::access_log::{AccessLog, Side};
use tower_mesh::mesh::ExternalHost;
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, Workload};

use super::Lines;
use crate::support::mesh::{app, build, serve};

async fn desk(pki: &Pki, served: SocketAddr, log: AccessLog) -> Mesh {
    let refusing = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = refusing.local_addr().unwrap();
    drop(refusing);
    let id = "spiffe://cluster.local/ns/default/sa/app";
    let identity = pki.identity("default", "desk").unwrap();
    let builder = Mesh::builder(Workload::new("default", "desk"), identity)
        .upstream("app.default", [served], [id])
        .upstream(
            "else.default",
            [served],
            ["spiffe://cluster.local/ns/default/sa/else"],
        )
        .upstream("nobody.default", [nobody], [id])
        .outside("legacy.example", ExternalHost::plaintext().at([nobody]))
        .telemetry(|telemetry| telemetry.access_log(log));
    build(builder).await
}

#[tokio::test]
async fn every_call_leaves_one_line() {
    let pki = Pki::new("cluster.local").unwrap();
    let kept = Lines::default();
    let served = serve(
        &build(app(&pki)).await,
        Router::new()
            .route("/ok", get(async || "ok"))
            .route("/late", get(std::future::pending::<&str>)),
    )
    .await;
    let format = "%REQ(:METHOD)% %REQ(:AUTHORITY)%%REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_FLAGS% \
                  %RESPONSE_CODE_DETAILS% %UPSTREAM_TRANSPORT_FAILURE_REASON% %UPSTREAM_CLUSTER% \
                  %ROUTE_NAME% %DOWNSTREAM_REMOTE_ADDRESS% %UPSTREAM_HOST%";
    let log = AccessLog::format(format).unwrap().to(kept.sink());
    let desk = desk(&pki, served.address, log.side(Side::Both)).await;
    let refused = "delayed_connect_error:_Connection_refused";
    let reset = "upstream_reset_before_response_started";
    let mesh = |name| format!("outbound|80||{name}.default.svc.cluster.local default");
    for (uri, expected) in [
        (
            "http://app.default/ok?token=secret",
            format!(
                "app.default/ok?… 200 - via_upstream - {} - {}",
                mesh("app"),
                served.address
            ),
        ),
        (
            "http://app.default/late",
            format!(
                "app.default/late 504 UT response_timeout - {} - {}",
                mesh("app"),
                served.address
            ),
        ),
        (
            "http://nobody.default/x",
            format!(
                "nobody.default/x 503 UF {reset}{{remote_connection_failure|{refused}}} {refused} {} - 127.0.0.1:",
                mesh("nobody")
            ),
        ),
        (
            "http://else.default/x",
            format!(
                "else.default/x 503 UF {reset}{{remote_connection_failure|TLS_error:_id_not_allowed}} \
                 TLS_error:_id_not_allowed {} - {}",
                mesh("else"),
                served.address
            ),
        ),
        (
            "http://legacy.example/x",
            format!(
                "legacy.example/x 503 UF {reset}{{remote_connection_failure|{refused}}} {refused} \
                 PassthroughCluster allow_any - 127.0.0.1:"
            ),
        ),
        (
            "http://unknown.default/x",
            "unknown.default/x 404 NR route_not_found - - - - -".to_owned(),
        ),
    ] {
        let call = desk.client().get(uri);
        let call = match uri.ends_with("/late") {
            true => call.timeout(Duration::from_millis(50)),
            false => call,
        };
        if let Ok(answer) = call.await {
            drop(answer.into_body().collect().await);
        }
        let line = kept.one().await;
        let start = format!("GET {expected}");
        assert!(line.starts_with(&start), "{line}\n{start}");
    }
}

/// The caller gives up before there is an answer.
#[tokio::test]
async fn a_call_that_is_dropped_has_no_status() {
    let pki = Pki::new("cluster.local").unwrap();
    let kept = Lines::default();
    let routes = Router::new().route("/late", get(std::future::pending::<&str>));
    let served = serve(&build(app(&pki)).await, routes).await;
    let desk = desk(&pki, served.address, kept.log().side(Side::Client)).await;
    let mut call = Box::pin(desk.client().get("http://app.default/late").into_future());
    std::future::poll_fn(|cx| {
        assert!(call.as_mut().poll(cx).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
    drop(call);
    assert_eq!(
        kept.one().await,
        "HTTP/1.1 GET app.default/late 0 DC downstream_remote_disconnect 0/0"
    );
}

/// A call that a handler makes is in the trace of its request, and its line says so.
#[tokio::test]
async fn the_line_of_a_call_has_its_trace_id() {
    let pki = Pki::new("cluster.local").unwrap();
    let kept = Lines::default();
    let served = serve(
        &build(app(&pki)).await,
        Router::new().route("/ok", get(async || "ok")),
    )
    .await;
    let log = AccessLog::format("%TRACE_ID% %REQ(TRACEPARENT)%").unwrap();
    let desk = desk(&pki, served.address, log.to(kept.sink()).side(Side::Client)).await;
    let answer = desk.client().get("http://app.default/ok").await.unwrap();
    drop(answer.into_body().collect().await);
    let line = kept.one().await;
    let (id, parent) = line.split_once(' ').unwrap();
    assert_eq!(id.len(), 32, "{line}");
    assert_eq!(parent.split('-').nth(1), Some(id), "{line}");
}
