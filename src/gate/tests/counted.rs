//! The layer, its answers and its counts.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::Response;
use http_body_util::Empty;
use tower::ServiceExt;
use tower_layer::Layer;

use super::*;

fn request(head: Parts) -> Request<()> {
    Request::from_parts(head, ())
}

#[tokio::test]
async fn a_refused_request_is_answered_and_counted_by_reason() {
    let layer = GateLayer::new();
    let refusals = layer.refusals().clone();
    let app = layer.layer(tower::service_fn(|request: Request<()>| async move {
        assert_eq!(request.uri().path(), "/ok");
        Ok::<_, std::convert::Infallible>(Response::new(Empty::<Bytes>::new()))
    }));
    let mut large = get("/");
    (0..200).for_each(|_| add(&mut large, "x-a", "b"));
    for (head, status) in [
        (get("/ok"), 200),
        (get("/a%00"), 400),
        (get("/a%zz"), 400),
        (bare("/"), 400),
        (large, 431),
        (get(&format!("/{}", "a".repeat(9_000))), 414),
    ] {
        let response = app.clone().oneshot(request(head)).await.unwrap();
        assert_eq!(response.status(), status);
    }
    let counted: Vec<_> = refusals.each().filter(|(_, count)| *count > 0).collect();
    assert_eq!(
        counted,
        [
            (Refusal::NoHost, 1),
            (Refusal::Escape, 2),
            (Refusal::TooManyHeaders, 1),
            (Refusal::TargetTooLong, 1),
        ]
    );
}

#[tokio::test]
async fn in_front_of_routers_the_application_sees_what_was_judged() {
    let layer = GateLayer::with(Gate::istio()).in_front_of_router();
    let app = layer.layer(tower::service_fn(|request: Request<()>| async move {
        assert_eq!(request.uri(), "/admin?x");
        Ok::<_, std::convert::Infallible>(Response::new(Empty::<Bytes>::new()))
    }));
    let response = app.oneshot(request(get("/x/../%61dmin?x"))).await.unwrap();
    assert_eq!(response.status(), 200);
}

/// The count of a reason is found by its position in the list of all.
#[test]
fn every_reason_has_a_count_and_a_label_of_its_own() {
    let refusals = Refusals::new();
    for (at, reason) in Refusal::ALL.into_iter().enumerate() {
        assert_eq!(reason as usize, at);
        (0..=at).for_each(|_| refusals.add(reason));
    }
    for (at, (_, count)) in refusals.each().enumerate() {
        assert_eq!(count, at as u64 + 1);
    }
    let labels: BTreeSet<_> = Refusal::ALL.map(Refusal::label).into();
    assert_eq!(labels.len(), Refusal::ALL.len());
}
