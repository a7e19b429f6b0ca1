//! Refusals that stay refusals, whatever else is wrong, also where the provider fails open.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body as AxumBody;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tower_mesh::source::Fixed;
use tower_mesh::testing::{Issuer, Pki};

use super::answers::{denied, ok, pair};
use super::support::{Kind, Reply, Stub, Ward, answered, custom, grpc, plain};
use crate::messages::Allowed;
use crate::support::mesh::{Fed, ISSUER, authentication, get2, http2, read};

/// A refusal of each kind of provider, and the status and body that the caller gets.
fn refusals() -> Vec<(&'static str, Kind, Reply, u16, &'static str)> {
    let large = "x".repeat(70_000);
    let part = "x".repeat(10_000);
    let headers: Vec<_> = (0..7).map(|_| ("x-a", &*part)).collect();
    let with = |body: AxumBody| Response::builder().status(401).body(body).unwrap();
    let (frames, never) = mpsc::unbounded_channel();
    // It lives as long as the process.
    std::mem::forget(frames);
    vec![
        ("a large body", Kind::Http, plain(403, &[], &large), 403, ""),
        (
            "large headers",
            Kind::Http,
            plain(401, &headers, "no"),
            401,
            "no",
        ),
        (
            "a body that hangs",
            Kind::Http,
            with(AxumBody::new(Fed(never))),
            401,
            "",
        ),
        (
            "no status",
            Kind::Grpc,
            grpc(&denied(999, &[], "no")),
            403,
            "no",
        ),
        (
            "a bad header",
            Kind::Grpc,
            grpc(&denied(401, &[("x-why", "a\nb")], "no")),
            401,
            "no",
        ),
        (
            "a bad name",
            Kind::Grpc,
            grpc(&denied(401, &[("x why", "a")], "no")),
            401,
            "no",
        ),
        (
            "a very large answer",
            Kind::Grpc,
            grpc(&denied(401, &[], &"x".repeat(300_000))),
            403,
            "",
        ),
    ]
}

#[tokio::test]
async fn a_no_stays_a_no_where_the_provider_fails_open() {
    for (name, kind, reply, expected, text) in refusals() {
        let mut stub = Stub::new().await;
        let ward = Ward::asking(&stub, kind, ", timeout: 2s, failOpen: true").await;
        let mut caller = ward.caller().await;
        let waiting = caller.get("/a");
        stub.next().await.answer(reply);
        let (status, headers, body) = answered(waiting).await;
        assert_eq!((status, &*body), (expected, text), "{name}");
        assert!(headers.get("x-why").is_none());
        assert!(ward.is_uncalled(), "{name}");
        assert_eq!(ward.counted("failed_open"), 0, "{name}");
    }
}

/// The rule sees the token, which the token guard takes off later.
#[tokio::test]
async fn a_rule_of_an_unusable_provider_judges_the_request_as_it_came() {
    let issuer = Issuer::es256(ISSUER);
    let rules = "[{when: [{key: 'request.headers[authorization]', values: ['*']}]}]";
    let config = authentication(&issuer) + &custom("ask", "mistyped", rules);
    let ward = Ward::with(Arc::new(Pki::new("cluster.local").unwrap()), |builder| {
        builder.config(Fixed::yaml("p.yaml", config))
    })
    .await;
    let mut caller = ward.caller().await;
    let token = issuer.token().subject("alice").sign();
    let request = get2("/a").header("authorization", format!("Bearer {token}"));
    assert_eq!(answered(caller.send(request, "")).await.0, 403);
    assert!(ward.is_uncalled());
    assert_eq!(answered(caller.get("/a")).await.0, 200);
}

/// What the provider allows is the request with its changes, and not the one that came.
#[tokio::test]
async fn a_request_whose_changes_cannot_be_made_is_refused() {
    let mut stub = Stub::new().await;
    let ward = Ward::asking(&stub, Kind::Grpc, ", timeout: 5s, failOpen: true").await;
    let mut caller = ward.caller().await;
    let waiting = caller.get("/a");
    // Escaped, it is longer than a target may be.
    let changes = Allowed {
        query_parameters_to_set: vec![pair("q", &"|".repeat(30_000))],
        headers_to_remove: vec!["x-user".to_owned()],
        ..Allowed::default()
    };
    stub.next().await.answer(grpc(&ok(changes)));
    assert_eq!(answered(waiting).await.0, 403);
    assert!(ward.is_uncalled());
}

#[tokio::test]
async fn a_callers_word_about_other_callers_is_in_no_question() {
    let mut stub = Stub::new().await;
    let ward = Ward::asking(&stub, Kind::Grpc, ", timeout: 5s").await;
    let mut caller = ward.caller().await;
    let told = "By=spiffe://a;URI=spiffe://admin";
    let request = get2("/a").header("x_forwarded_client_cert", told);
    let waiting = caller.send(request.header("x-forwarded-client-cert", told), "");
    let asked = stub.next().await;
    assert!(
        asked
            .http()
            .headers
            .values()
            .all(|value| !value.contains("admin"))
    );
    asked.answer(Kind::Grpc.yes());
    assert_eq!(answered(waiting).await.0, 200);
}

/// A body that a question needs and that does not come holds its request no longer than the caller
/// or the provider would wait.
#[tokio::test]
async fn a_body_that_does_not_come_ends_the_wait() {
    let bound = "includeRequestBodyInCheck: {maxRequestBytes: 9}, failOpen: true";
    for (more, deadline) in [("timeout: 100s", Some("50m")), ("timeout: 0.05s", None)] {
        let stub = Stub::new().await;
        let ward = Ward::asking(&stub, Kind::Grpc, &format!(", {more}, {bound}")).await;
        let mut caller = http2::<Fed>(&ward.pki, "desk", ward.served.address).await;
        let (frames, body) = mpsc::unbounded_channel();
        frames.send(Frame::data(Bytes::from_static(b"a"))).unwrap();
        let mut request = get2("/a")
            .method("POST")
            .header("content-type", "application/grpc");
        if let Some(deadline) = deadline {
            request = request.header("grpc-timeout", deadline);
        }
        let request: Request<Fed> = request.body(Fed(body)).unwrap();
        let answer = timeout(Duration::from_secs(20), caller.send_request(request)).await;
        let (status, headers, _) = read(answer.expect("no answer").unwrap()).await;
        assert_eq!(
            (status, headers["grpc-status"].as_bytes()),
            (200, &b"4"[..]),
            "{more}"
        );
        assert!(stub.is_idle() && ward.is_uncalled());
        drop(frames);
    }
}
