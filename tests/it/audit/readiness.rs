//! What probes and metrics show of a trail that cannot be written.

use std::time::Duration;

use axum::Router;
use tower_mesh::audit::{OnFailure, Sink, SinkError, Trail};
use tower_mesh::mesh::{AuditOptions, AuditState};

use super::clinic::{Clinic, SetClock};
use super::{Audited, PATIENCE, Records};
use crate::support::mesh::{lines, until};

/// Takes everything, and keeps nothing.
struct Nowhere;

impl Sink for Nowhere {
    fn record(&mut self, _: &str) -> Result<(), SinkError> {
        Ok(())
    }
}

fn failing(clinic: &Clinic) -> Vec<String> {
    lines(&clinic.mesh, "mesh_audit_failing", &[])
}

#[tokio::test]
async fn a_trail_that_strict_routes_need_and_that_fails_shows_in_readiness() {
    let (records, clock) = (Records::default(), SetClock::new());
    let (trail, set) = (records.trail(), clock.clone());
    // A trail that makes nothing durable helps no request.
    let nowhere = Trail::sink(Nowhere);
    let clinic = Clinic::new(|audit| audit.trail(trail).trail(nowhere).clock(set)).await;
    let readiness = clinic.mesh.readiness();
    assert_eq!(
        (readiness.audit, readiness.is_ready()),
        (AuditState::Good, true)
    );
    assert_eq!(failing(&clinic), ["mesh_audit_failing 0"]);
    records.fails(true);
    assert_eq!(clinic.ask().await, 503);
    let readiness = clinic.mesh.readiness();
    assert_eq!(readiness.audit, AuditState::Unavailable);
    assert!(!readiness.is_ready());
    let told = readiness.to_string();
    assert!(
        told.starts_with("not ready; the audit trail cannot be written"),
        "{told}"
    );
    assert_eq!(failing(&clinic), ["mesh_audit_failing 1"]);
    records.fails(false);
    clock.pass(Duration::from_secs(2));
    assert!(clinic.mesh.flush_audit(PATIENCE).await);
    assert_eq!(clinic.mesh.readiness().to_string(), "ready");
    assert_eq!(clinic.ask().await, 200);
    // What hangs cannot be written, too.
    let blocked = records.block();
    clinic
        .mesh
        .audit()
        .unwrap()
        .submit(tower_mesh::audit::Event::application("x"));
    blocked.reached().await;
    assert!(clinic.mesh.readiness().is_ready());
    clock.pass(2 * PATIENCE);
    assert_eq!(clinic.mesh.readiness().audit, AuditState::Unavailable);
    drop(blocked);
}

/// Requests go on without, or have another trail, or need none: the mesh is ready, and tells of it.
#[tokio::test]
async fn a_trail_that_fails_and_keeps_no_request_waiting_is_told_and_the_mesh_is_ready() {
    type Options = fn(AuditOptions) -> AuditOptions;
    let second = |audit: AuditOptions| audit.trail(Records::default().trail());
    let rows: [Options; 2] = [|audit| audit.on_failure(OnFailure::Continue), second];
    for options in rows {
        let records = Records::default();
        let trail = records.trail();
        let clinic = Clinic::new(|audit| options(audit.trail(trail))).await;
        records.fails(true);
        assert_eq!(clinic.ask().await, 200);
        let readiness = clinic.mesh.readiness();
        assert_eq!(readiness.audit, AuditState::Failing(1));
        assert_eq!(
            readiness.to_string(),
            "ready; audit trails that cannot be written: 1"
        );
        assert_eq!(failing(&clinic), ["mesh_audit_failing 1"]);
    }
    let audited = Audited::new(Router::new(), |audit| audit.all(), |builder| builder).await;
    audited.records.fails(true);
    audited.ask(http::Request::get("/")).await;
    let state = || audited.mesh.readiness().audit;
    until("the failure", || state() == AuditState::Failing(1)).await;
}

#[tokio::test]
async fn a_mesh_without_a_trail_says_nothing_of_one() {
    let pki = tower_mesh::testing::Pki::new("cluster.local").unwrap();
    let mesh = crate::support::mesh::build(crate::support::mesh::app(&pki)).await;
    assert_eq!(mesh.readiness().audit, AuditState::Absent);
    assert_eq!(mesh.readiness().to_string(), "ready");
}
