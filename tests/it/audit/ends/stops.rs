//! Requests that do not come to their end: their callers leave, or the process ends.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use http::{Request, Response};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tower::ServiceExt;
use tower_mesh::audit::{Trail, Verify};
use tower_mesh::mesh::{AuditedRoute, ResponseBody};

use crate::audit::clinic::{Clinic, ask};
use crate::audit::{Audited, PATIENCE, rows};
use crate::support::mesh::{empty, get, http1, proven};

/// A handler that has begun, and goes on when it is told.
fn waits() -> (Router, Arc<Notify>, Arc<Notify>) {
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (told, goes) = (Arc::clone(&begun), Arc::clone(&go));
    let router = Router::new().fallback(any(move || {
        let (told, goes) = (Arc::clone(&told), Arc::clone(&goes));
        async move {
            told.notify_one();
            goes.notified().await;
            "chart"
        }
    }));
    (router, begun, go)
}

/// A request that is cut at the end of the mesh has its completion before the trail's `stop`.
#[tokio::test]
async fn a_request_that_the_end_cuts_has_its_completion() {
    let folder = tempfile::tempdir().unwrap();
    let trail = Trail::folder(folder.path());
    let (router, begun, _go) = waits();
    let clinic = Clinic::of(router, |audit| audit.trail(trail)).await;
    let mut sender = http1(&clinic.pki, "desk", clinic.served.address).await;
    let cut = tokio::spawn(async move { sender.send_request(empty(get("/patients/7"))).await });
    begun.notified().await;
    clinic.mesh.shutdown(Duration::ZERO);
    clinic.served.serving.await.unwrap().unwrap();
    assert!(cut.await.unwrap().is_err());
    let report = Verify::new(folder.path()).run().unwrap();
    assert!(report.is_whole(), "{report}");
    assert_eq!(report.open_intents(), 0, "{report}");
    let file = std::fs::read_dir(folder.path()).unwrap();
    let texts = file.filter_map(|file| std::fs::read_to_string(file.unwrap().path()).ok());
    let text: String = texts.collect();
    assert!(text.contains("\"outcome\":\"cancelled\""), "{text}");
}

/// A server of the application's own stops the trail too early: the intent of what still runs is kept, and told as
/// open; what comes later is refused.
#[tokio::test]
async fn a_trail_that_is_stopped_keeps_the_intents_of_what_still_runs() {
    let folder = tempfile::tempdir().unwrap();
    let trail = Trail::folder(folder.path());
    let (router, begun, go) = waits();
    let clinic = Clinic::of(router, |audit| audit.trail(trail)).await;
    let (pki, address) = (Arc::clone(&clinic.pki), clinic.served.address);
    let running = tokio::spawn(async move { ask(&pki, address).await });
    begun.notified().await;
    assert!(clinic.mesh.stop_audit(PATIENCE).await);
    go.notify_one();
    assert_eq!(running.await.unwrap(), 200);
    assert_eq!(clinic.ask().await, 503);
    assert!(!clinic.mesh.readiness().is_ready());
    let report = Verify::new(folder.path()).run().unwrap();
    assert!(report.is_whole(), "{report}");
    assert_eq!(report.open_intents(), 1, "{report}");
}

fn patients(router: Router) -> impl Future<Output = Audited> {
    let route = AuditedRoute::new("/patients/{id}");
    Audited::new(router, |audit| audit.route(route), |builder| builder)
}

/// Begins a request of the desk.
fn begin(
    audited: &Audited,
    router: Router,
) -> JoinHandle<Response<ResponseBody<axum::body::Body>>> {
    let request = Request::get("/patients/7").header("host", "app");
    let request = request
        .extension(proven("desk"))
        .body(axum::body::Body::empty());
    let service = audited.mesh.protect(router);
    tokio::spawn(async move { service.oneshot(request.unwrap()).await.unwrap() })
}

async fn ends(audited: &Audited) -> Vec<String> {
    rows(&audited.access().await, &["phase", "outcome", "status"])
}

#[tokio::test]
async fn who_leaves_while_the_handler_runs_has_a_completion() {
    let (router, begun, _go) = waits();
    let audited = patients(router.clone()).await;
    let call = begin(&audited, router);
    begun.notified().await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    assert_eq!(
        ends(&audited).await,
        ["intent,allow,", "completion,cancelled,"]
    );
}

/// The handler never runs.
#[tokio::test]
async fn who_leaves_while_the_intent_is_written_has_a_completion() {
    let router = Router::new().fallback(any(|| async { "ran" }));
    let audited = patients(router.clone()).await;
    let blocked = audited.records.block();
    let call = begin(&audited, router);
    blocked.reached().await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    drop(blocked);
    assert_eq!(
        ends(&audited).await,
        ["intent,allow,", "completion,cancelled,"]
    );
}
