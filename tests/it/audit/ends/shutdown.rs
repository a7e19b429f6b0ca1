//! The end of the trail: what comes before it, and what waits for it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{any, get};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::task::JoinSet;
use tower::ServiceExt;
use tower_mesh::mesh::AuditedRoute;

use crate::audit::{Audited, Records};
use crate::support::mesh::{
    Fed, empty, get as get1, get2, http1, http2, pass, proven, read, serve, still, until,
};

const LONG: Duration = Duration::from_secs(3600);

async fn audited(router: Router) -> Audited {
    Audited::new(
        router,
        |audit| audit.route(AuditedRoute::new("/patients/{id}")),
        |builder| builder,
    )
    .await
}

fn waits() -> Router {
    Router::new().fallback(any(std::future::pending::<()>))
}

/// How many intents and completions there are before the `stop` record, which is the last.
fn before_the_stop(records: &Records) -> [usize; 2] {
    let records = records.now();
    let (stop, rest) = records.split_last().unwrap();
    assert_eq!(stop["type"], "stop", "{records:?}");
    ["intent", "completion"].map(|phase| rest.iter().filter(|one| one["phase"] == phase).count())
}

/// A collector that hangs takes seconds, after which the process may be killed.
#[tokio::test]
async fn the_trail_ends_before_a_collector_is_waited_for() {
    let collector = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    collector.set_nonblocking(true).unwrap();
    let url = format!("http://{}/v1/metrics", collector.local_addr().unwrap());
    let audited = Audited::new(
        Router::new(),
        |audit| audit,
        |builder| builder.telemetry(|telemetry| telemetry.otlp_metrics(&url)),
    )
    .await;
    let served = serve(&audited.mesh, Router::new()).await;
    let _still = still();
    audited.mesh.shutdown(Duration::ZERO);
    // Timers are a millisecond late; the collector would have five seconds.
    pass(Duration::from_millis(10)).await;
    until("the end of the trail", || {
        audited.records.text().contains("\"type\":\"stop\"")
    })
    .await;
    until("the metrics", || collector.accept().is_ok()).await;
    assert!(!served.serving.is_finished());
}

/// Streams are tasks of their own, which end behind their connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_cut_has_its_completion_before_the_stop() {
    const STREAMS: usize = 100;
    let audited = audited(Router::new()).await;
    let served = serve(&audited.mesh, waits()).await;
    let sender = http2::<Full<Bytes>>(&audited.pki, "desk", served.address).await;
    let mut calls = JoinSet::new();
    for id in 0..STREAMS {
        let mut sender = sender.clone();
        let request = empty(get2(&format!("/patients/{id}")));
        calls.spawn(async move { sender.send_request(request).await.is_ok() });
    }
    until("the intents", || {
        audited.records.text().matches("\"intent\"").count() == STREAMS
    })
    .await;
    audited.mesh.shutdown(Duration::ZERO);
    let drained = served.serving.await.unwrap().unwrap();
    assert_eq!(drained.cut_streams, STREAMS);
    assert_eq!(before_the_stop(&audited.records), [STREAMS; 2]);
}

/// A request under a server of the application's own, which the mesh does not drain.
#[tokio::test]
async fn a_server_waits_for_requests_that_others_serve() {
    let (_frames, body) = tokio::sync::mpsc::unbounded_channel();
    let body = Arc::new(Mutex::new(Some(Fed(body))));
    let answers = move || {
        let body = body.lock().unwrap().take().unwrap();
        async move { Body::new(body) }
    };
    let audited = audited(Router::new().fallback(get(answers))).await;
    let mut served = serve(&audited.mesh, waits()).await;
    let request = Request::get("/patients/7").header("host", "app");
    let request = request.extension(proven("desk")).body(Body::empty());
    let service = audited
        .mesh
        .protect(Router::new().merge(audited.router.clone()));
    let response = service.oneshot(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    audited.mesh.shutdown(LONG);
    tokio::time::pause();
    // The clock goes on once nothing else is left to be done.
    tokio::select! {
        biased;
        _ = &mut served.serving => panic!("it has not waited"),
        () = tokio::time::sleep(LONG / 2) => {}
    }
    drop(response);
    served.serving.await.unwrap().unwrap();
    assert_eq!(before_the_stop(&audited.records), [1, 1]);
}

/// It waits no longer than the grace period, and the trail then tells of an access without an end.
#[tokio::test]
async fn a_request_that_never_ends_keeps_no_server() {
    let audited = audited(waits()).await;
    let served = serve(&audited.mesh, waits()).await;
    let request = Request::get("/patients/7").header("host", "app");
    let request = request.extension(proven("desk")).body(Body::empty());
    let service = audited.mesh.protect(audited.router.clone());
    let _call = tokio::spawn(service.oneshot(request.unwrap()));
    until("the intent", || audited.records.text().contains("intent")).await;
    audited.mesh.shutdown(LONG);
    tokio::time::pause();
    served.serving.await.unwrap().unwrap();
    assert_eq!(before_the_stop(&audited.records), [1, 0]);
}

/// Of two servers, one has nothing to do when the shutdown comes, and ends before the other.
#[tokio::test]
async fn the_trail_goes_on_while_another_server_drains() {
    let audited = audited(Router::new()).await;
    let (go, gone) = tokio::sync::watch::channel(false);
    let answers = any(move || {
        let mut gone = gone.clone();
        async move {
            let _ = gone.wait_for(|gone| *gone).await;
            "chart"
        }
    });
    let idle = serve(&audited.mesh, waits()).await;
    let dropped = serve(&audited.mesh, waits()).await;
    let busy = serve(&audited.mesh, Router::new().fallback(answers)).await;
    dropped.serving.abort();
    let mut sender = http1::<Full<Bytes>>(&audited.pki, "desk", busy.address).await;
    let call = tokio::spawn(async move {
        let answer = sender.send_request(empty(get1("/patients/7"))).await;
        read(answer.unwrap()).await.0
    });
    until("the intent", || audited.records.text().contains("intent")).await;
    audited.mesh.shutdown(LONG);
    idle.serving.await.unwrap().unwrap();
    assert!(!audited.records.text().contains("\"stop\""));
    go.send(true).unwrap();
    assert_eq!(call.await.unwrap(), 200);
    busy.serving.await.unwrap().unwrap();
    assert_eq!(before_the_stop(&audited.records), [1, 1]);
}
