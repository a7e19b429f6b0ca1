//! How often a request that is allowed asks the allocator for memory, beyond what the application's router does by itself.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test may panic"
)]

#[path = "../benches/fixture/mod.rs"]
mod fixture;

use std::hint::black_box;

use allocation_counter::measure;
use fixture::{Fixture, Head, HyperBody};
use http::Request;
use tower_mesh::Workload;
use tower_mesh::policy::{self, Engine};

/// The exchange: one count of references for peer, trace, claims and decision, and its box in the request's extensions.
const EXCHANGE: u64 = 2;
/// The router leaves three facts in the extensions, whose table has room for three: with the exchange among them it grows once.
const ROOM: u64 = 1;
/// The text that the rewritten trace headers share.
const TRACE_HEADERS: u64 = 1;
/// One that came with the guards' last changes and whose place is still to be found.
const NOT_TRACED_YET: u64 = 1;
/// OpenTelemetry's own context, in builds with that feature, as all tests are.
const OPEN_TELEMETRY: u64 = 1;
/// A request id that did not come along.
const REQUEST_ID: u64 = 1;

/// What one request costs, once everything that is made once has been made.
fn allocations(mut once: impl FnMut(Request<HyperBody>) -> u16, head: &Head) -> u64 {
    for _ in 0..100 {
        assert_eq!(once(head.request()), 200);
    }
    let request = head.request();
    let counted = measure(|| {
        assert_eq!(once(request), 200);
    });
    counted.count_total
}

/// P-12
#[test]
fn an_allowed_request_allocates_its_exchange_and_its_trace() {
    let fixture = Fixture::new();
    let mesh = fixture.mesh(|builder| builder);
    let mut bare = fixture::router();
    let mut guarded = mesh.protect(fixture::router()).of(fixture.peer.clone());
    let no_ids = Head::of(&[
        ("host", "patients.default"),
        (
            "authorization",
            &format!("Bearer {}", fixture::token(&fixture.issuer, 0)),
        ),
    ]);
    for (head, expected) in [
        (
            &fixture.head,
            EXCHANGE + ROOM + TRACE_HEADERS + OPEN_TELEMETRY + NOT_TRACED_YET,
        ),
        (
            &no_ids,
            EXCHANGE + ROOM + TRACE_HEADERS + OPEN_TELEMETRY + NOT_TRACED_YET + REQUEST_ID,
        ),
    ] {
        let without = allocations(|request| fixture::send(&mut bare, request), head);
        let with = allocations(|request| fixture::send(&mut guarded, request), head);
        assert_eq!(
            with - without,
            expected,
            "{with} with the mesh, {without} without"
        );
    }
}

/// P-12
#[test]
fn a_decision_to_allow_allocates_nothing() {
    let engine = Engine::builder(&Workload::new("default", "patients"))
        .yaml(&fixture::policies(&Fixture::new().issuer))
        .build()
        .unwrap();
    let requests: Vec<_> = (0..1_000)
        .map(|number| {
            policy::Request::new()
                .get(format!("/api/{}/{number}", number % 9))
                .authority("patients.default")
                .from("cluster.local/ns/ops/sa/nurse")
        })
        .collect();
    let counted = measure(|| {
        for request in &requests {
            assert!(black_box(engine.decide(request)).allowed);
        }
    });
    assert_eq!(counted.count_total, 0);
}
