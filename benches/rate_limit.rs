//! What a local rate limit costs a request: by itself, and while another thread counts, too.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench may panic"
)]

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use http::Request;
use http::request::Parts;
use tower_mesh::Peer;
use tower_mesh::context::Exchange;
use tower_mesh::guard::{Guard, Verdict};
use tower_mesh::policy::limit::{Action, Limit, Local, TokenBucket};
use tower_mesh::rate_limit::{RateLimitGuard, RateLimitLayer};

/// A bucket that never runs empty.
fn wide() -> TokenBucket {
    TokenBucket::new(1_000_000_000, Duration::from_secs(1))
}

/// One that does at once.
fn narrow() -> TokenBucket {
    TokenBucket::new(1, Duration::from_secs(3_600))
}

fn guard(limit: Limit) -> RateLimitGuard {
    RateLimitLayer::new([limit]).guard()
}

fn one_bucket(bucket: TokenBucket) -> RateLimitGuard {
    guard(Limit::new("all").local(Local::new(bucket)))
}

/// A bucket for each value of a header.
fn by_tenant(bucket: TokenBucket) -> RateLimitGuard {
    let actions = [Action::header("x-tenant", "tenant")];
    let local = Local::default().descriptor([("tenant", "")], bucket);
    guard(Limit::new("tenants").descriptor(actions).local(local))
}

/// A bucket for each caller and method.
fn by_caller(bucket: TokenBucket) -> RateLimitGuard {
    let actions = [Action::Method, Action::principal_or("none")];
    let local = Local::default().descriptor([("method", ""), ("principal", "")], bucket);
    guard(Limit::new("callers").descriptor(actions).local(local))
}

fn request(account: &str) -> (Parts, Exchange) {
    let id = format!("spiffe://cluster.local/ns/shop/sa/{account}");
    let (remote, local) = ("10.0.0.1:4711", "10.0.0.2:8443");
    let peer = Peer::proven(
        remote.parse().unwrap(),
        local.parse().unwrap(),
        id.parse().unwrap(),
    );
    let request = Request::get("/patients/7?full=true").header("x-tenant", "north");
    let request = request.extension(peer).body(());
    let (mut head, ()) = request.unwrap().into_parts();
    let exchange = Exchange::from_request(&mut head);
    (head, exchange)
}

fn judge(guard: &RateLimitGuard, head: &mut Parts, exchange: &Exchange) {
    match guard.judge(black_box(head), exchange) {
        Verdict::Pass => {}
        verdict => panic!("{verdict:?}"),
    }
}

fn alone(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rate_limit");
    let (mut head, exchange) = request("web");
    for (name, limit) in [
        ("one bucket", one_bucket(wide())),
        ("a bucket by tenant", by_tenant(wide())),
        ("a bucket by method and caller", by_caller(wide())),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| judge(&limit, &mut head, &exchange));
        });
    }
    let refuses = by_caller(narrow());
    judge(&refuses, &mut head, &exchange);
    group.bench_function("a refusal", |bencher| {
        bencher.iter(|| black_box(refuses.judge(&mut head, &exchange)));
    });
    group.finish();
}

/// The time of one judgement while so many threads judge, each for a caller of its own or all for
/// one. Twice the throughput of one thread is the same time with two.
fn together(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rate_limit, two threads");
    let own: [&[&str]; 2] = [&["web"], &["web", "desk"]];
    let same: [&[&str]; 1] = [&["web", "web"]];
    for callers in own.into_iter().chain(same) {
        let limit = by_caller(wide());
        let name = match callers {
            [_] => "one thread",
            [one, other] if one == other => "the same key",
            _ => "distinct keys",
        };
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| time(&limit, callers, rounds));
        });
    }
    group.finish();
}

/// How long these threads take together for so many rounds each.
fn time(limit: &RateLimitGuard, callers: &[&str], rounds: u64) -> Duration {
    let barrier = Barrier::new(callers.len() + 1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = callers
            .iter()
            .map(|caller| {
                let barrier = &barrier;
                scope.spawn(move || {
                    let (mut head, exchange) = request(caller);
                    barrier.wait();
                    let begun = Instant::now();
                    (0..rounds).for_each(|_| judge(limit, &mut head, &exchange));
                    begun.elapsed()
                })
            })
            .collect();
        barrier.wait();
        let times = threads.into_iter().map(|thread| thread.join().unwrap());
        times.max().unwrap()
    })
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = alone, together
}
criterion_main!(benches);
