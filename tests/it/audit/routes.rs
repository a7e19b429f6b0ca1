//! Which route a record names, and that no way to write a path hides a request.

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::routing::{any, get};
use http::request::Parts;
use http::{Request, StatusCode};
use tower::ServiceExt;
use tower_mesh::audit::{OnFailure, PatientKey, Trail};
use tower_mesh::context::Exchange;
use tower_mesh::guard::{Guard, Verdict};
use tower_mesh::mesh::AuditedRoute;
use tower_mesh::source::Fixed;
use tower_mesh::testing::Pki;

use super::{Audited, Records, rows};
use crate::support::mesh::{app, policy, proven};

fn key() -> PatientKey {
    PatientKey::new("k", &[b'k'; 32]).unwrap()
}

fn patients() -> AuditedRoute {
    AuditedRoute::new("/patients/{id}").patient("id", key())
}

const NAMES: [&str; 3] = ["phase", "resource.route", "status"];

/// Where paths are not normalized, axum's router takes dots for values; what follows them would read the patient's.
#[tokio::test]
async fn dots_hide_no_request_where_paths_are_not_normalized() {
    let router = Router::new()
        .route(
            "/wards/{ward}/patients/{id}",
            get(|Path((ward, id)): Path<(String, String)>| async move { format!("{ward} {id}") }),
        )
        .fallback(any(|| async { "other" }));
    let audited = Audited::new(
        router,
        |audit| {
            let ward = AuditedRoute::new("/wards/{ward}/patients/{id}");
            audit.route(ward).route(AuditedRoute::new("/rooms/{id}"))
        },
        |builder| {
            let none = "pathNormalization: {normalization: NONE}";
            let files = Fixed::yaml("p.yaml", policy("all", "ALLOW", "[{}]"));
            builder.config(files.mesh_config("mesh.yaml", none))
        },
    )
    .await;
    for (path, body, route) in [
        (
            "/wards/../patients/7",
            ".. 7",
            "/wards/{ward}/patients/{id}",
        ),
        (
            "/wards/%2e%2e/patients/7",
            ".. 7",
            "/wards/{ward}/patients/{id}",
        ),
        ("/wards/./patients/7", ". 7", "/wards/{ward}/patients/{id}"),
        (
            "/wards/a%2Fb/patients/7",
            "a/b 7",
            "/wards/{ward}/patients/{id}",
        ),
        ("/x/../rooms/7", "other", "/rooms/{id}"),
    ] {
        let before = audited.access().await.len();
        let (status, text) = audited.ask(Request::get(path)).await;
        assert_eq!((status, &*text), (StatusCode::OK, body), "{path}");
        let records = audited.access().await.split_off(before);
        let expected = [
            format!("intent,{route},"),
            format!("completion,{route},200"),
        ];
        assert_eq!(rows(&records, &NAMES), expected, "{path}");
    }
}

/// The most specific template names the record, as a router's does; the strictest mark counts.
#[tokio::test]
async fn the_route_that_a_router_takes_names_the_record() {
    let router = Router::new().fallback(any(|| async { "x" }));
    let audited = Audited::new(
        router,
        |audit| {
            audit
                .route(AuditedRoute::new("/{*rest}").bounded())
                .route(patients())
                .route(AuditedRoute::new("/patients/search").bounded())
        },
        |builder| builder,
    )
    .await;
    for path in ["/patients/search", "/patients/7", "/wards"] {
        audited.ask(Request::get(path)).await;
    }
    let names = ["phase", "resource.route", "patient.key"];
    assert_eq!(
        rows(&audited.access().await, &names),
        [
            "intent,/patients/search,",
            "completion,/patients/search,",
            "intent,/patients/{id},k",
            "completion,/patients/{id},k",
            ",/{*rest},"
        ]
    );
}

/// Behind a router, its own choice names the record if it says more.
#[tokio::test]
async fn behind_a_router_its_choice_names_the_record() {
    let audited = Audited::new(
        Router::new(),
        |audit| {
            audit
                .route(patients())
                .route(AuditedRoute::new("/api/rooms/{id}"))
        },
        |builder| builder,
    )
    .await;
    let nested = Router::new().route("/rooms/{room}", get(|| async { "room" }));
    let router = Router::new()
        .route("/patients/search", get(|| async { "found" }))
        .route("/patients/{mrn}", get(|| async { "chart" }))
        .layer(audited.mesh.server())
        .nest("/api", nested.layer(audited.mesh.server()));
    for (path, route, key) in [
        ("/patients/search", "/patients/search", ""),
        ("/patients/7", "/patients/{id}", "k"),
        ("/api/rooms/7", "/api/rooms/{id}", ""),
    ] {
        let before = audited.access().await.len();
        let request = Request::get(path)
            .header("host", "app")
            .extension(proven("desk"));
        let request = request.body(Body::empty()).unwrap();
        let answer = router.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        drop(http_body_util::BodyExt::collect(answer.into_body()).await);
        let records = audited.access().await.split_off(before);
        let expected = [
            format!("intent,{route},{key}"),
            format!("completion,{route},{key}"),
        ];
        let names = ["phase", "resource.route", "patient.key"];
        assert_eq!(rows(&records, &names), expected, "{path}");
    }
}

/// Gives a request another path, and counts how often a patient is looked for.
struct Rewrites;

impl Guard for Rewrites {
    fn judge(&self, head: &mut Parts, _: &Exchange) -> Verdict {
        if head.uri.path() == "/alias" {
            head.uri = "/patients/7".parse().unwrap();
        }
        Verdict::Pass
    }
}

#[tokio::test]
async fn a_guard_that_rewrites_the_path_hides_nothing_and_patients_are_looked_for_once() {
    let looked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&looked);
    let audited = Audited::new(
        Router::new().fallback(any(|| async { "x" })),
        |audit| {
            let rooms = AuditedRoute::new("/rooms/{id}").bounded();
            audit
                .route(patients())
                .route(rooms.patient_from(key(), move |_| {
                    counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    None
                }))
        },
        |builder| builder.guard(Rewrites),
    )
    .await;
    audited.ask(Request::get("/alias")).await;
    audited.ask(Request::get("/rooms/7")).await;
    let names = ["phase", "resource.route", "patient.key"];
    assert_eq!(
        rows(&audited.access().await, &names),
        [
            "intent,/patients/{id},k",
            "completion,/patients/{id},k",
            ",/rooms/{id},"
        ]
    );
    assert_eq!(looked.load(std::sync::atomic::Ordering::Relaxed), 1);
}

/// What a shared audit has already cannot be set beside it in silence.
#[tokio::test]
async fn a_shared_audit_has_its_own_options() {
    let pki = Pki::new("cluster.local").unwrap();
    let audit = tower_mesh::audit::Audit::builder();
    let shared = audit
        .trail(Trail::sink(Records::default()))
        .start()
        .unwrap();
    let builder = app(&pki).audit(|audit| {
        let audit = audit.shared(shared).on_failure(OnFailure::Refuse);
        audit
            .deadline(super::PATIENCE)
            .clock(super::clinic::SetClock::new())
    });
    let error = builder.build().await.unwrap_err();
    for (mistake, option) in error
        .mistakes()
        .iter()
        .zip(["on_failure", "deadline", "clock"])
    {
        let expected = format!("audit: {option}: the audit of `shared` has its own");
        assert!(mistake.contains(&expected), "{mistake}");
    }
    assert_eq!(error.mistakes().len(), 3, "{error:?}");
}
