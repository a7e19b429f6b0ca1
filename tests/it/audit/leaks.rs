//! Nothing of a patient or a token is where it does not belong.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use http::{Method, Request};
use tower_mesh::access_log::AccessLog;
use tower_mesh::audit::PatientKey;
use tower_mesh::mesh::AuditedRoute;
use tower_mesh::metrics::Format;
use tower_mesh::propagation::{FinishedSpan, Propagation, SpanSink};
use tower_mesh::source::Fixed;
use tower_mesh::testing::Issuer;
use tracing::Level;

use super::Audited;
use crate::access_log::Lines;
use crate::support::log::Log;
use crate::support::mesh::{ISSUER, authentication, policy, proven};

const CANARY: &str = "CANARY";

#[derive(Clone, Debug, Default)]
struct Spans(Arc<Mutex<Vec<FinishedSpan>>>);

impl SpanSink for Spans {
    fn export(&self, span: FinishedSpan) {
        self.0.lock().unwrap().push(span);
    }
}

/// Says what it must not say, and ends as it is told.
fn app() -> Router {
    Router::new().fallback(any(|request: Request<Body>| async move {
        let path = request.uri().path().to_owned();
        let body = axum::body::to_bytes(request.into_body(), 1000).await;
        if path.ends_with("/panics") {
            panic!("of {path}");
        }
        format!("{path} {body:?}")
    }))
}

#[tokio::test]
async fn a26_canaries_are_nowhere() {
    let issuer = Issuer::es256(ISSUER);
    let denied = "[{to: [{operation: {methods: [DELETE]}}]}]";
    let text = authentication(&issuer) + &policy("closed", "DENY", denied);
    let (lines, spans) = (Lines::default(), Spans::default());
    let key = PatientKey::new("2026", &[b'k'; 32]).unwrap();
    let access_log = AccessLog::text().to(lines.sink());
    let propagation = Propagation::new()
        .sample_percent(100.0)
        .export_to(spans.clone());
    let audited = Audited::new(
        app(),
        |audit| {
            let one = AuditedRoute::new("/patients/{id}").patient("id", key.clone());
            let all = AuditedRoute::new("/patients/{id}/{what}").patient("id", key);
            audit.route(one).route(all).all().purpose_claim("purpose")
        },
        |builder| {
            builder
                .config(Fixed::yaml("p.yaml", text))
                .telemetry(|telemetry| {
                    telemetry
                        .redact_path("/patients/{id}")
                        .redact_path("/rooms/{id}")
                        .access_log(access_log)
                        .propagation(propagation)
                })
        },
    )
    .await;
    let (log, _guard) = Log::listen(Level::DEBUG);
    let good = issuer
        .token()
        .subject("dr-7")
        .claim("diagnosis", "CANARY-claim")
        .sign();
    let bad = issuer.token().subject("CANARY-sub").tampered();
    let canary_method = Method::from_bytes(b"CANARYMETHOD").unwrap();
    for token in [None, Some(&good), Some(&bad)] {
        for method in [
            Method::GET,
            Method::PUT,
            Method::DELETE,
            canary_method.clone(),
        ] {
            for path in [
                "/patients/CANARY-7",
                "/patients/CANARY-7/panics",
                "/rooms/CANARY-8",
                "/patients/CANARY%2D9?q=CANARY-query&access_token=CANARY-token",
            ] {
                let mut request = Request::builder()
                    .method(method.clone())
                    .uri(path)
                    .header("host", "app")
                    .header("x-patient", "CANARY-header")
                    .header("x-request-id", "CANARY-id")
                    .header("cookie", "session=CANARY-cookie")
                    .extension(proven("desk"));
                if let Some(token) = token {
                    request = request.header("authorization", format!("Bearer {token}"));
                }
                audited
                    .send(request.body(Body::from("CANARY-body")).unwrap())
                    .await;
            }
        }
    }
    let records = audited.records.all(&audited.mesh).await;
    assert!(records.len() > 48, "{}", records.len());
    let metrics = audited.mesh.metrics().render(Format::Text);
    let logged = lines.take(48).await.join("\n");
    let spans = format!("{:?}", spans.0.lock().unwrap());
    let audit = audited.records.text();
    for (what, text) in [("audit", &audit), ("metrics", &metrics)] {
        assert!(!text.contains(CANARY), "{what}: {}", around(text));
        for token in [&good, &bad] {
            let signature = token.rsplit('.').next().unwrap();
            assert!(!text.contains(signature), "{what} has a token");
        }
    }
    // The request's own method and id are what events, spans and access logs are for.
    for (what, text) in [("log", &log.text()), ("spans", &spans), ("lines", &logged)] {
        let text = text.replace("CANARYMETHOD", "").replace("CANARY-id", "");
        assert!(!text.contains(CANARY), "{what}: {}", around(&text));
    }
}

fn around(text: &str) -> &str {
    let at = text.find(CANARY).unwrap_or(0);
    let start = (0..=at.saturating_sub(200))
        .rev()
        .find(|at| text.is_char_boundary(*at));
    let end = (at + 60..).find(|at| *at >= text.len() || text.is_char_boundary(*at));
    &text[start.unwrap_or(0)..end.unwrap_or(text.len()).min(text.len())]
}
