//! What counting one request costs, beside its parts: one thread, and two on the same series.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench may panic"
)]

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, Response};
use tower_mesh::Workload;
use tower_mesh::context::{Peer, TlsFacts};
use tower_mesh::identity::{PeerCertificate, SpiffeId};
use tower_mesh::message::{ByteCount, End, EosBody, OnEnd, Watch as _};
use tower_mesh::metrics::{Format, Registry, ServerMetrics, ServerRecord};

fn server() -> ServerMetrics {
    Registry::new().server(&Workload::new("default", "patients").service("patients", 8443))
}

fn peer() -> Peer {
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let id = SpiffeId::new("spiffe://cluster.local/ns/shop/sa/web").unwrap();
    let mut facts = TlsFacts::default();
    facts.certificate = Some(PeerCertificate::from_spiffe_id(id));
    Peer::tls(at(50_000), at(8443), facts)
}

fn request() -> Parts {
    let mut request = Request::get("/patients/7?full=true");
    for (name, value) in [
        ("host", "patients.default"),
        ("user-agent", "bench/1.0"),
        ("accept", "*/*"),
        ("x-request-id", "6f0c9f32-6b11-4a53-9b3c-0d9ad1b6a1f0"),
    ] {
        request = request.header(name, value);
    }
    request.body(()).unwrap().into_parts().0
}

/// One request from its head to the end of its body, the clock not read.
fn count(metrics: &ServerMetrics, peer: &Peer, request: &mut Parts, now: Instant) {
    let mut record = metrics.begin(request, Some(peer), ByteCount::default(), now);
    record.answered(&mut Response::new(()).into_parts().0);
    record.finish(End::cancelled(), now);
}

fn families(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("metrics");
    let (metrics, peer, now) = (server(), peer(), Instant::now());
    let mut seen = request();

    let begin = |request: &mut Parts| -> ServerRecord {
        metrics.begin(request, Some(&peer), ByteCount::default(), now)
    };
    count(&metrics, &peer, &mut seen, now);
    group.bench_function("families of one request, series known", |bencher| {
        bencher.iter_batched(
            || begin(&mut request()),
            |record| record.finish(End::cancelled(), now),
            criterion::BatchSize::LargeInput,
        );
    });
    group.bench_function("whole step, caller without metadata", |bencher| {
        bencher.iter(|| count(&metrics, &peer, black_box(&mut seen), now));
    });

    let said = Request::get("http://patients.default/").body(());
    let (mut said, ()) = said.unwrap().into_parts();
    let client = Registry::new().client(&Workload::new("shop", "web"));
    let sent = client.begin(&mut said, ByteCount::default(), now);
    sent.finish(End::cancelled(), now);
    let said: [(HeaderName, HeaderValue); 2] =
        ["x-envoy-peer-metadata", "x-envoy-peer-metadata-id"]
            .map(|name| (HeaderName::from_static(name), said.headers[name].clone()));
    group.bench_function("whole step, caller with metadata", |bencher| {
        bencher.iter(|| {
            for (name, value) in &said {
                seen.headers.insert(name, value.clone());
            }
            count(&metrics, &peer, &mut seen, now);
        });
    });
    group.finish();
}

/// The same, while another thread counts on the same series all the time. A ratio to the one above of 1 is what striping is for.
fn contended(criterion: &mut Criterion) {
    let (metrics, peer, now) = (server(), peer(), Instant::now());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut seen = request();
            while !stop.load(Ordering::Relaxed) {
                count(&metrics, &peer, &mut seen, now);
            }
        });
        let mut seen = request();
        criterion.bench_function("metrics/whole step, two threads on one series", |bencher| {
            bencher.iter(|| count(&metrics, &peer, black_box(&mut seen), now));
        });
        stop.store(true, Ordering::Relaxed);
    });
}

/// The wrapper alone, for comparison with a body that nobody watches.
fn body(criterion: &mut Criterion) {
    struct Nobody;
    impl OnEnd for Nobody {
        fn on_end(&mut self, end: End) {
            black_box(end);
        }
    }
    criterion.bench_function("metrics/an empty body's end", |bencher| {
        bencher.iter(|| {
            let response = Response::new(String::new());
            EosBody::wrap(response, &http::Method::GET, Nobody)
        });
    });
}

/// A scrape of 10,000 sample lines, which needs 154 sets of labels.
fn scrape(criterion: &mut Criterion) {
    let registry = Registry::new();
    let client = registry.client(&Workload::new("shop", "web"));
    let now = Instant::now();
    for host in 0..154 {
        let head = Request::get(format!("http://h{host}.example.com/"));
        let (mut head, ()) = head.body(()).unwrap().into_parts();
        let record = client.begin(&mut head, ByteCount::default(), now);
        record.finish(End::cancelled(), now);
    }
    for format in [Format::Text, Format::OpenMetrics] {
        let lines = registry.render(format).lines().count();
        assert!((10_000..11_000).contains(&lines), "{lines}");
        let name = format!("metrics/a scrape of 10,000 lines, {format:?}");
        criterion.bench_function(&name, |bencher| bencher.iter(|| registry.render(format)));
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = families, contended, body, scrape
}
criterion_main!(benches);
