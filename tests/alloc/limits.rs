//! What limits ask of the allocator: nothing for a request within them, and little for each value
//! that has a bucket.

use std::time::Duration;

use allocation_counter::measure;
use http::Request;
use http::request::Parts;
use tower_mesh::Peer;
use tower_mesh::context::Exchange;
use tower_mesh::guard::{Guard, Verdict};
use tower_mesh::policy::limit::{Action, Limit, Local, TokenBucket};
use tower_mesh::rate_limit::RateLimitLayer;

/// So many tokens for an hour.
fn hourly(tokens: u32) -> TokenBucket {
    TokenBucket::new(tokens, Duration::from_secs(3_600))
}

fn by_tenant(bucket: TokenBucket, max_keys: usize) -> Limit {
    let local = Local::new(hourly(u32::MAX)).max_keys(max_keys);
    let actions = [
        Action::Method,
        Action::principal_or("none"),
        Action::header("x-tenant", "tenant"),
    ];
    Limit::new("tenants")
        .descriptor(actions)
        .local(local.descriptor(
            [("method", "GET"), ("principal", ""), ("tenant", "")],
            bucket,
        ))
}

fn request(tenant: &str) -> (Parts, Exchange) {
    let id = "spiffe://cluster.local/ns/shop/sa/web".parse().unwrap();
    let address = "10.0.0.1:4711".parse().unwrap();
    let request = Request::get("/patients/7?full").header("x-tenant", tenant);
    let request = request
        .extension(Peer::proven(address, address, id))
        .body(());
    let (mut head, ()) = request.unwrap().into_parts();
    let exchange = Exchange::from_request(&mut head);
    (head, exchange)
}

#[test]
fn a_request_within_its_limits_allocates_nothing() {
    let limits = RateLimitLayer::new([
        by_tenant(hourly(10_000), 100),
        Limit::new("all").local(Local::new(hourly(10_000)).per_connection()),
    ]);
    let guard = limits.guard();
    let pass = |(head, exchange): &mut (Parts, Exchange)| {
        assert!(matches!(guard.judge(head, exchange), Verdict::Pass));
    };
    let mut request = request("north");
    pass(&mut request);
    let counted = measure(|| (0..1_000).for_each(|_| pass(&mut request)));
    assert_eq!(counted.count_total, 0);
}

/// A million values: the table is bounded, and those without a place share one bucket.
#[test]
fn a_value_takes_less_than_150_bytes() {
    const KEYS: usize = 20_000;
    const VALUES: usize = 1_000_000;
    let mut passed = 0;
    let mut limits = None;
    let (mut head, exchange) = request("north");
    let counted = measure(|| {
        let layer = RateLimitLayer::new([by_tenant(hourly(3), KEYS)]);
        let guard = layer.guard();
        for number in 0..VALUES {
            let value = head.headers.get_mut("x-tenant").unwrap();
            *value = (number as u64).into();
            passed += usize::from(matches!(guard.judge(&mut head, &exchange), Verdict::Pass));
        }
        limits = Some(layer);
    });
    let kept = usize::try_from(counted.bytes_current).unwrap();
    assert!(kept <= 150 * KEYS, "{} bytes a key", kept / KEYS);
    let stats = &limits.unwrap().stats()[0];
    assert_eq!(stats.keys(), KEYS);
    assert_eq!(
        passed,
        KEYS + 3,
        "each has a token of its own, the rest three together"
    );
    assert_eq!(stats.overflowed(), (VALUES - KEYS) as u64);
}
