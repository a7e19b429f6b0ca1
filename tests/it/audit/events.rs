//! Events of the application, and policies for emergencies.

use axum::Router;
use axum::routing::get;
use http::{Request, StatusCode};
use tower_mesh::audit::{self, EventError, PatientKey};
use tower_mesh::source::Fixed;
use tracing::Level;

use super::{Audited, fields, rows};
use crate::support::log::Log;
use crate::support::mesh::{lines, policy};

async fn reads() -> &'static str {
    let key = PatientKey::new("k", &[1; 32]).unwrap();
    assert!(
        audit::event("chart.read")
            .subject("lab-results")
            .patient(key.pseudonym("MRN-7"))
            .write()
    );
    let durable = audit::event("chart.printed").write_durable().await;
    assert_eq!(durable, Ok(audit::Recorded::Durable));
    "chart"
}

#[tokio::test]
async fn an_event_has_the_caller_of_its_request() {
    let router = Router::new().route("/charts", get(reads));
    let audited = Audited::new(router, |audit| audit.all(), |builder| builder).await;
    let id = "0a1b2c3d-0000-4000-8000-00000000000a";
    let request = Request::get("/charts").header("x-request-id", id);
    let (status, _) = audited.ask(request).await;
    assert_eq!(status, StatusCode::OK);
    let events = audited.records.of(&audited.mesh, "event").await;
    let names = [
        "name",
        "subject",
        "actor.spiffe",
        "request_id",
        "dest",
        "patient.key",
    ];
    let desk = "spiffe://cluster.local/ns/default/sa/desk";
    let app = "spiffe://cluster.local/ns/default/sa/app";
    assert_eq!(
        rows(&events, &names),
        [
            format!("chart.read,lab-results,{desk},{id},{app},k"),
            format!("chart.printed,,{desk},{id},{app},")
        ]
    );
    let access = audited.access().await;
    assert_eq!(
        fields(&events[0], &["trace"]),
        fields(&access[0], &["trace"])
    );
}

#[tokio::test]
async fn outside_of_a_request_there_is_no_caller() {
    let audited = Audited::new(Router::new(), |audit| audit, |builder| builder).await;
    let (log, _guard) = Log::listen(Level::WARN);
    assert!(!audit::event("export.begun").write());
    let durable = audit::event("export.begun").write_durable().await;
    assert_eq!(durable, Err(EventError::NoTrail));
    assert_eq!(log.with(&["tower_mesh::audit", "write_to"]).len(), 1);
    audit::event("export.begun").write_to(audited.mesh.audit().unwrap());
    let events = audited.records.of(&audited.mesh, "event").await;
    assert_eq!(
        rows(&events, &["name", "actor.anonymous"]),
        ["export.begun,true"]
    );
}

#[tokio::test]
async fn a_policy_for_emergencies_is_recorded_first_and_alerts() {
    let glass = policy(
        "emergency",
        "ALLOW",
        "[{to: [{operation: {paths: [/charts]}}]}]",
    )
    .replace(
        "{name: emergency}",
        "{name: emergency, annotations: {mesh.tower/break-glass: 'true'}}",
    );
    let text = glass + &policy("usual", "ALLOW", "[{to: [{operation: {paths: [/usual]}}]}]");
    let router = Router::new()
        .route("/charts", get(|| async { "chart" }))
        .route("/usual", get(|| async { "usual" }));
    let audited = Audited::new(
        router,
        |audit| audit,
        |builder| builder.config(Fixed::yaml("p.yaml", text)),
    )
    .await;
    let (log, _guard) = Log::listen(Level::WARN);
    for path in ["/usual", "/charts"] {
        let (status, _) = audited.ask(Request::get(path)).await;
        assert_eq!(status, StatusCode::OK);
    }
    let glass = audited.records.of(&audited.mesh, "break_glass").await;
    let names = ["actor.spiffe", "policy", "outcome", "action"];
    let record =
        "spiffe://cluster.local/ns/default/sa/desk,ns[default]-policy[emergency]-rule[0],allow,GET";
    assert_eq!(rows(&glass, &names), [record]);
    assert_eq!(
        rows(&audited.access().await, &["phase", "status"]),
        ["intent,", "completion,200"]
    );
    let alerts = log.with(&[
        "tower_mesh::audit",
        "break glass",
        "policy[emergency]",
        "sa/desk",
    ]);
    assert_eq!(alerts.len(), 1, "{}", log.text());
    let counted = lines(&audited.mesh, "mesh_audit_break_glass_total", &[]);
    assert_eq!(counted, ["mesh_audit_break_glass_total 1"]);
    // It must be in the trail before the handler runs.
    audited.records.fails_after("\"break_glass\"", 0);
    let (status, _) = audited.ask(Request::get("/charts")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
}
