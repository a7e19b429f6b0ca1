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
/// OpenTelemetry's own context, in builds with that feature, as all tests are.
const OPEN_TELEMETRY: u64 = 1;

/// So many follow each other, so that nothing escapes that is allocated for several at once.
const REQUESTS: u64 = 100;

/// What they cost, once everything that is made once has been made.
fn allocations(mut once: impl FnMut(Request<HyperBody>) -> u16, head: &Head) -> u64 {
    let requests = || (0..REQUESTS).map(|_| head.request()).collect::<Vec<_>>();
    for request in requests() {
        assert_eq!(once(request), 200);
    }
    let requests = requests();
    let counted = measure(|| {
        for request in requests {
            assert_eq!(once(request), 200);
        }
    });
    counted.count_total
}

/// P-12
#[test]
fn an_allowed_request_allocates_its_exchange() {
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
    for head in [&fixture.head, &no_ids] {
        let without = allocations(|request| fixture::send(&mut bare, request), head);
        let with = allocations(|request| fixture::send(&mut guarded, request), head);
        assert_eq!(
            with - without,
            REQUESTS * (EXCHANGE + OPEN_TELEMETRY),
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
