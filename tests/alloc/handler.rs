//! What a handler's notes ask of the allocator where nobody records them.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::pin::pin;
use std::task::{Context, Waker};

use allocation_counter::measure;
use http::{Request, Response};
use tower::{Layer, Service, service_fn};
use tower_mesh::propagation::carry::in_request;
use tower_mesh::propagation::{self, Propagation};

/// What a handler adds to its span, in all ways.
fn add() {
    propagation::tag("patient.count", 3);
    propagation::tag("ward", "west");
    propagation::event("cache miss");
    propagation::span("read chart")
        .with_tag("chart.id", 7)
        .in_scope(|| propagation::tag("pages", 2));
    let mut cx = Context::from_waker(Waker::noop());
    let within = pin!(propagation::span("read chart").within(async {
        propagation::event("cache miss");
    }));
    assert!(within.poll(&mut cx).is_ready());
    assert!(propagation::current_span().is_none());
}

#[test]
fn notes_that_nobody_records_allocate_nothing() {
    assert_eq!(measure(add).count_total, 0, "outside of any request");
    let mut service = Propagation::new()
        .sample_percent(0.0)
        .server_layer()
        .layer(service_fn(|_: Request<String>| {
            let carried = || {
                add();
                in_request(add).scope(|add| add());
                in_request(add).into_fn()();
            };
            carried();
            assert_eq!(measure(carried).count_total, 0, "in a request");
            ready(Ok::<_, Infallible>(Response::new(String::new())))
        }));
    let mut cx = Context::from_waker(Waker::noop());
    let answer = pin!(service.call(Request::new(String::new())));
    assert!(answer.poll(&mut cx).is_ready());
}
