//! What must be durable before a handler runs, and what happens when it cannot be written.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::routing::any;
use http::{Request, StatusCode};
use tower_mesh::audit::OnFailure;
use tower_mesh::mesh::AuditedRoute;

use super::{Audited, PATIENCE, Records, rows};
use crate::support::mesh::{lines, pass, still};

/// Counts how often its handler runs.
fn counting() -> (Router, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let router = Router::new().fallback(any(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        async { "ok" }
    }));
    (router, count)
}

fn patients() -> AuditedRoute {
    AuditedRoute::new("/patients/{id}")
}

/// The sink fails on record k: the handler runs k−1 times.
#[tokio::test]
async fn a20_no_handler_runs_without_its_record() {
    for k in [1, 2, 5] {
        let (router, count) = counting();
        let audited =
            Audited::new(router, |audit| audit.route(patients()), |builder| builder).await;
        audited.records.fails_after("\"phase\":\"intent\"", k - 1);
        for request in 1..=8 {
            let (status, _) = audited.ask(Request::get("/patients/7")).await;
            let expected = match request < k {
                true => StatusCode::OK,
                false => StatusCode::SERVICE_UNAVAILABLE,
            };
            assert_eq!(status, expected, "request {request}, k = {k}");
        }
        assert_eq!(count.load(Ordering::Relaxed), k - 1, "k = {k}");
        let (status, _) = audited.ask(Request::get("/elsewhere")).await;
        assert_eq!(status, StatusCode::OK, "a route that is not marked");
        let unavailable = lines(&audited.mesh, "mesh_audit_unavailable_total ", &[]);
        assert_eq!(
            unavailable,
            [format!("mesh_audit_unavailable_total {}", 9 - k)]
        );
    }
}

/// The refusal says why, over gRPC, too.
#[tokio::test]
async fn a20_the_refusal_says_why() {
    let (router, count) = counting();
    let log = crate::support::mesh::Log::default();
    let observe = log.observe();
    let audited = Audited::new(
        router,
        |audit| audit.route(patients()),
        |builder| builder.telemetry(|telemetry| telemetry.on_complete(observe)),
    )
    .await;
    audited.records.fails_after("\"phase\":\"intent\"", 0);
    audited.ask(Request::get("/patients/7")).await;
    let grpc = Request::post("/patients/7").header("content-type", "application/grpc");
    let (status, _) = audited.ask(grpc).await;
    assert_eq!(status, StatusCode::OK, "gRPC says it in its own status");
    let details: Vec<_> = log.all().into_iter().map(|seen| seen.details).collect();
    assert_eq!(details, vec![Some("audit_unavailable".to_owned()); 2]);
    assert_eq!(count.load(Ordering::Relaxed), 0);
}

/// An application that goes on without records says so, and the count shows it.
#[tokio::test]
async fn a20_going_on_is_a_choice() {
    let (router, count) = counting();
    let audited = Audited::new(
        router,
        |audit| audit.route(patients()).on_failure(OnFailure::Continue),
        |builder| builder,
    )
    .await;
    audited.records.fails_after("\"phase\":\"intent\"", 0);
    for _ in 0..3 {
        let (status, _) = audited.ask(Request::get("/patients/7")).await;
        assert_eq!(status, StatusCode::OK);
    }
    assert_eq!(count.load(Ordering::Relaxed), 3);
    let unavailable = lines(&audited.mesh, "mesh_audit_unavailable_total ", &[]);
    assert_eq!(unavailable, ["mesh_audit_unavailable_total 3"]);
}

/// What finds no room is in the chain as a number: produced = written + Σ gap.n.
#[tokio::test]
async fn a21_what_finds_no_room_is_counted_exactly() {
    const REQUESTS: usize = 50;
    let records = Records::default();
    let trail = records.trail().queue(4, 1 << 20);
    let (router, count) = counting();
    let audited = Audited::new(router, |audit| audit.all().trail(trail), |builder| builder).await;
    let before = records.all(&audited.mesh).await.len();
    let blocked = records.block();
    audited.ask(Request::get("/first")).await;
    blocked.reached().await;
    for _ in 1..REQUESTS {
        let (status, _) = audited.ask(Request::get("/more")).await;
        assert_eq!(status, StatusCode::OK);
    }
    assert_eq!(count.load(Ordering::Relaxed), REQUESTS);
    drop(blocked);
    let written = records.all(&audited.mesh).await.split_off(before);
    let access = written.iter().filter(|one| one["type"] == "access").count();
    let gaps = written.iter().filter(|one| one["type"] == "gap");
    let lost: u64 = gaps.filter_map(|gap| gap["n"].as_u64()).sum();
    assert!(lost > 0 && access < REQUESTS, "{written:?}");
    assert_eq!(access as u64 + lost, REQUESTS as u64, "{written:?}");
    let dropped = lines(&audited.mesh, "mesh_audit_dropped_total", &["trail=\"1\""]);
    assert_eq!(
        dropped,
        [format!("mesh_audit_dropped_total{{trail=\"1\"}} {lost}")]
    );
    // The other trail has all of them.
    assert_eq!(audited.access().await.len(), REQUESTS);
}

/// One of two trails is enough; when both are stuck the request is refused once its time is over.
#[tokio::test]
async fn a22_a_stuck_sink_is_passed_over() {
    let second = Records::default();
    let trail = second.trail();
    let (router, count) = counting();
    let audited = Audited::new(
        router,
        |audit| audit.trail(trail).route(patients()),
        |builder| builder,
    )
    .await;
    // The time of requests stands, so that only what is waited for below ends a wait.
    let _still = still();
    let one = audited.records.block();
    let (status, _) = audited.ask(Request::get("/patients/7")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(count.load(Ordering::Relaxed), 1);
    one.reached().await;
    let two = second.block();
    let late = async {
        two.reached().await;
        // A timer may be a millisecond late.
        pass(2 * PATIENCE).await;
    };
    let ((status, _), ()) = tokio::join!(audited.ask(Request::get("/patients/7")), late);
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(count.load(Ordering::Relaxed), 1, "the handler never ran");
    drop((one, two));
    let records = audited.access().await;
    let told = rows(&records, &["phase", "outcome", "reason", "status"]);
    assert_eq!(
        told,
        [
            "intent,allow,,",
            "completion,allow,,200",
            "intent,allow,,",
            "completion,error,audit_unavailable,503"
        ]
    );
}
