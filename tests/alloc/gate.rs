//! What the gate asks of the allocator.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use allocation_counter::measure;
use http::{Request, Response};
use tower::{Layer, Service, service_fn};
use tower_mesh::context::Exchange;
use tower_mesh::gate::{Gate, GateLayer};

/// A request whose exchange an outer layer has made.
fn plain(number: usize) -> Request<()> {
    let request = Request::get(format!("/patients/{number}?full"))
        .header("host", "patients.default")
        .header("accept", "*/*")
        .header("user-agent", "clinic/1.0")
        .header("x-request-id", "7d2c1f6e-7d2c-4f6e-8d2c-7d2c1f6e7d2c");
    let (mut head, ()) = request.body(()).unwrap().into_parts();
    Exchange::from_request(&mut head);
    Request::from_parts(head, ())
}

#[test]
fn a_plain_request_passes_the_gate_without_allocation() {
    let layers = [Gate::istio(), Gate::strict()].map(GateLayer::with);
    let layers = layers.map(|layer| [layer.clone(), layer.in_front_of_router()]);
    for layer in layers.into_iter().flatten() {
        let mut app = layer.layer(service_fn(|request: Request<()>| {
            ready(Ok::<_, Infallible>(Response::new(request)))
        }));
        let requests: Vec<_> = (0..1_000).map(plain).collect();
        let counted = measure(|| {
            for request in requests {
                let answered =
                    pin!(app.call(request)).poll(&mut Context::from_waker(Waker::noop()));
                let Poll::Ready(Ok(response)) = black_box(answered) else {
                    panic!("no answer")
                };
                assert_eq!(response.status(), 200);
            }
        });
        assert_eq!(counted.count_total, 0);
    }
}
