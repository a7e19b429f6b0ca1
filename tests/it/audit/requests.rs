//! Which requests have records, and what these say.

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use http::request::Parts;
use http::{Method, Request, StatusCode};
use tower_mesh::audit::PatientKey;
use tower_mesh::context::Exchange;
use tower_mesh::guard::{Answer, Guard, Question, Verdict};
use tower_mesh::mesh::AuditedRoute;
use tower_mesh::message::LocalReply;
use tower_mesh::source::Fixed;
use tower_mesh::testing::Issuer;

use super::clinic::SetClock;
use super::{Audited, fields, rows};
use crate::support::mesh::{Fed, ISSUER, authentication, policy, unproven};

fn answers() -> Router {
    Router::new()
        .route("/patients/{id}", any(|| async { "chart" }))
        .route("/fails", any(|| async { StatusCode::BAD_GATEWAY }))
        .route(
            "/panics",
            any(|| async {
                if true {
                    panic!("told to panic");
                }
            }),
        )
        .fallback(any(|| async { "other" }))
}

/// A strict route has an intent and a completion, a bounded one a record at its end, and others have none.
#[tokio::test]
async fn marks_choose_the_records_of_a_request() {
    let audited = Audited::new(
        answers(),
        |audit| {
            audit
                .route(AuditedRoute::new("/patients/{id}").methods([Method::GET, Method::PUT]))
                .route(AuditedRoute::new("/wards/{*rest}").bounded())
                .route(AuditedRoute::new("/fails"))
                .route(AuditedRoute::new("/panics"))
        },
        |builder| builder,
    )
    .await;
    let names = ["phase", "action", "resource.route", "outcome", "status"];
    for (method, path, expected) in [
        (
            "GET",
            "/patients/7",
            &[
                "intent,GET,/patients/{id},allow,",
                "completion,GET,/patients/{id},allow,200",
            ][..],
        ),
        (
            "HEAD",
            "/PATIENTS//7/?q=1",
            &[
                "intent,HEAD,/patients/{id},allow,",
                "completion,HEAD,/patients/{id},allow,200",
            ],
        ),
        ("POST", "/patients/7", &[]),
        ("GET", "/wards/3/beds", &[",GET,/wards/{*rest},allow,200"]),
        ("GET", "/elsewhere", &[]),
        (
            "GET",
            "/fails",
            &[
                "intent,GET,/fails,allow,",
                "completion,GET,/fails,error,502",
            ],
        ),
        (
            "GET",
            "/panics",
            &[
                "intent,GET,/panics,allow,",
                "completion,GET,/panics,error,500",
            ],
        ),
    ] {
        let before = audited.access().await.len();
        audited
            .ask(Request::builder().method(method).uri(path))
            .await;
        let records = audited.access().await.split_off(before);
        assert_eq!(rows(&records, &names), expected, "{method} {path}");
        let calls = rows(&records, &["call"]);
        assert!(calls.windows(2).all(|two| two[0] == two[1]), "{calls:?}");
    }
}

/// Who, on whose behalf, by which rule and which configuration.
#[tokio::test]
async fn a_record_says_who_asked_and_what_decided() {
    let issuer = Issuer::es256(ISSUER);
    let readers = "[{from: [{source: {requestPrincipals: ['*']}}]}]";
    let text = authentication(&issuer) + &policy("readers", "ALLOW", readers);
    let key = PatientKey::new("2026", &[b'k'; 32]).unwrap();
    let audited = Audited::new(
        answers(),
        |audit| {
            let route = AuditedRoute::new("/patients/{id}").patient("id", key);
            audit.route(route.bounded()).purpose_claim("purpose")
        },
        |builder| builder.config(Fixed::yaml("p.yaml", text)),
    )
    .await;
    let token = issuer
        .token()
        .subject("dr-7")
        .claim("azp", "ward-app")
        .claim("purpose", "TREAT")
        .sign();
    let request = Request::get("/patients/MRN-12345?token=secret")
        .header("authorization", format!("Bearer {token}"))
        .header("x-request-id", "0a1b2c3d-0000-4000-8000-00000000000a");
    audited.ask(request).await;
    let records = audited.access().await;
    let names = [
        "actor.spiffe",
        "actor.iss",
        "actor.sub",
        "actor.azp",
        "purpose",
        "policy",
        "generation",
        "request_id",
        "source_ip",
        "dest",
        "resource.service",
        "resource.namespace",
        "patient.key",
        "outcome",
    ];
    assert_eq!(
        rows(&records, &names),
        [
            "spiffe://cluster.local/ns/default/sa/desk,https://issuer.test,dr-7,ward-app,TREAT,\
          ns[default]-policy[readers]-rule[0],1,0a1b2c3d-0000-4000-8000-00000000000a,10.0.0.1,\
          spiffe://cluster.local/ns/default/sa/app,app,default,2026,allow"
        ],
        "{records:?}"
    );
    let text = audited.records.text();
    assert!(
        text.contains("fecc013e136acf673224df5ab0294631dc2cbe9781e04b78a3cadf63802197db"),
        "A-15: {text}"
    );
    let config = audited.records.of(&audited.mesh, "config").await;
    assert_eq!(
        fields(&records[0], &["hash"]),
        fields(&config[0], &["hash"])
    );
    let trace = fields(&records[0], &["trace"]);
    assert_eq!(trace.len(), 32, "{trace}");
}

/// Without an identity the record says so; an AUDIT policy marks; a dry run is told.
#[tokio::test]
async fn audit_policies_and_dry_runs() {
    let trial = policy("trial", "DENY", "[{to: [{operation: {paths: [/a]}}]}]").replace(
        "{name: trial}",
        "{name: trial, annotations: {istio.io/dry-run: 'true'}}",
    );
    let text = policy("looks", "AUDIT", "[{to: [{operation: {paths: [/a]}}]}]") + &trial;
    let audited = Audited::new(
        answers(),
        |audit| audit,
        |builder| builder.config(Fixed::yaml("p.yaml", text)),
    )
    .await;
    for path in ["/a", "/b"] {
        let request = Request::get(path)
            .header("host", "app")
            .extension(unproven());
        audited.send(request.body(Body::empty()).unwrap()).await;
    }
    let records = audited.access().await;
    assert_eq!(
        rows(
            &records,
            &["actor.anonymous", "policy", "dry_run", "outcome"]
        ),
        ["true,ns[default]-policy[looks]-rule[0],deny ns[default]-policy[trial]-rule[0],allow"]
    );
}

/// `all` records what no route does, and strict policies for audit wait.
#[tokio::test]
async fn all_requests_and_strict_policies() {
    let text = policy("looks", "AUDIT", "[{to: [{operation: {paths: [/a]}}]}]");
    let audited = Audited::new(
        answers(),
        |audit| audit.all().strict_audit_policies(),
        |builder| builder.config(Fixed::yaml("p.yaml", text)),
    )
    .await;
    audited.ask(Request::get("/a")).await;
    audited.ask(Request::get("/b")).await;
    assert_eq!(
        rows(&audited.access().await, &["phase", "outcome", "status"]),
        ["intent,allow,", "completion,allow,200", ",allow,200"]
    );
}

///
#[tokio::test]
async fn a28_the_time_may_step_back_and_numbers_order() {
    let clock = SetClock::new();
    let set = clock.clone();
    let audited = Audited::new(
        answers(),
        |audit| audit.all().clock(clock),
        |builder| builder,
    )
    .await;
    audited.ask(Request::get("/one")).await;
    audited.access().await;
    set.step(-3600);
    audited.ask(Request::get("/two")).await;
    let records = audited.records.all(&audited.mesh).await;
    let numbers: Vec<_> = records.iter().map(|one| one["seq"].as_u64()).collect();
    let dense: Vec<_> = (1..=records.len() as u64).map(Some).collect();
    assert_eq!(numbers, dense);
    let last = records.last().unwrap();
    assert!(last["ts"].as_str() < records[0]["ts"].as_str(), "{last}");
    let step = last["clock_step_ms"].as_i64().unwrap();
    assert_eq!(step, -3_600_000);
}

/// Mistakes of the options are told with the others.
#[tokio::test]
async fn mistakes_are_told_together() {
    let pki = tower_mesh::testing::Pki::new("cluster.local").unwrap();
    let key = || PatientKey::new("k", &[0; 32]).unwrap();
    let builder = crate::support::mesh::app(&pki).audit(|audit| {
        audit
            .route(AuditedRoute::new("patients"))
            .route(AuditedRoute::new("/patients/{id}").patient("mrn", key()))
    });
    let builder = builder.telemetry(|telemetry| telemetry.redact_path("x"));
    let error = builder.build().await.unwrap_err();
    let told = error.mistakes().join("\n");
    for piece in [
        "audit: route: \"patients\": a template begins with /",
        "audit: route: \"/patients/{id}\": patient: the template has no parameter {mrn}",
        "audit: there is no trail",
        "telemetry: redact_path",
    ] {
        assert!(told.contains(piece), "{piece}: {told}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let trail = tower_mesh::audit::Trail::folder(file.path().join("x"));
    let builder = crate::support::mesh::app(&pki).audit(|audit| audit.trail(trail));
    let error = builder.build().await.unwrap_err();
    assert!(
        error.mistakes()[0].contains("audit: the folder of the audit trail"),
        "{error:?}"
    );
}

/// Asks before it lets a request pass.
struct Asks;

impl Guard for Asks {
    fn judge(&self, head: &mut Parts, _: &Exchange) -> Verdict {
        let is_refused = head.uri.path() == "/patients/9";
        Verdict::Ask(Question::new(async move {
            tokio::task::yield_now().await;
            match is_refused {
                true => Answer::Refuse(LocalReply::new(StatusCode::FORBIDDEN, "", "asked")),
                false => Answer::Pass,
            }
        }))
    }
}

/// The intent comes after all answers, and there is one of it.
#[tokio::test]
async fn a_request_that_waits_for_an_answer_has_its_intent_after_it() {
    let audited = Audited::new(
        answers(),
        |audit| audit.route(AuditedRoute::new("/patients/{id}")),
        |builder| builder.guard(Asks).guard(Asks),
    )
    .await;
    for path in ["/patients/9", "/patients/7"] {
        audited.ask(Request::get(path)).await;
    }
    assert_eq!(
        rows(
            &audited.access().await,
            &["phase", "outcome", "reason", "status"]
        ),
        [",deny,asked,403", "intent,allow,,", "completion,allow,,200"]
    );
}

/// The end of a call over gRPC has its status, also where that comes in trailers.
#[tokio::test]
async fn a_completion_has_the_status_of_grpc() {
    let in_headers = || async { [("content-type", "application/grpc"), ("grpc-status", "7")] };
    let in_trailers = || async {
        let trailers = [("grpc-status", "14")].map(|(name, value)| {
            let name = http::HeaderName::from_static(name);
            (name, http::HeaderValue::from_static(value))
        });
        let frame = http_body::Frame::trailers(http::HeaderMap::from_iter(trailers));
        let (feed, fed) = tokio::sync::mpsc::unbounded_channel();
        feed.send(frame).unwrap();
        ([("content-type", "application/grpc")], Body::new(Fed(fed)))
    };
    let router = Router::new()
        .route("/charts/Read", any(in_headers))
        .route("/charts/Write", any(in_trailers));
    let audited = Audited::new(
        router,
        |audit| audit.route(AuditedRoute::new("/charts/{call}")),
        |builder| builder,
    )
    .await;
    for path in ["/charts/Read", "/charts/Write"] {
        let request = Request::post(path).header("content-type", "application/grpc");
        audited.ask(request).await;
    }
    let mut records = audited.access().await;
    records.retain(|record| record["phase"] == "completion");
    assert_eq!(rows(&records, &["status", "grpc"]), ["200,7", "200,14"]);
}
