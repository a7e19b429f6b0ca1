//! What a line of the access log costs its request: kept from the head, made at the end, and given to the writer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench may panic"
)]

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::{Request, Response};
use http_body_util::Empty;
use tower_mesh::access_log::{AccessLog, AccessLogs, LineSink, Sink};
use tower_mesh::context::Peer;
use tower_mesh::message::{Begin, End, EndKind};

/// Takes every line and forgets it.
struct Nothing;

impl LineSink for Nothing {
    fn take(&self, line: &[u8]) -> bool {
        black_box(line.len()) > 0
    }
}

fn request() -> Request<Empty<Bytes>> {
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut request = Request::get("/patients/7?full=true");
    for (name, value) in [
        ("host", "patients.default"),
        ("user-agent", "bench/1.0"),
        ("accept", "*/*"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-request-id", "6f0c9f32-6b11-4a53-9b3c-0d9ad1b6a1f0"),
    ] {
        request = request.header(name, value);
    }
    let peer = Peer::plaintext(at(50_000), at(8443));
    request.extension(peer).body(Empty::new()).unwrap()
}

/// One request from its head to the end of its body.
fn line(logs: &AccessLogs, request: Request<Empty<Bytes>>) {
    let (_request, mut record) = Begin::begin(logs, request);
    record.answered(&mut Response::new(()).into_parts().0);
    let mut end = End::failed();
    end.kind = EndKind::Complete;
    record.end(end);
}

fn access_log(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("access_log");
    let file = || Sink::file("/dev/null").unwrap();
    let nothing = || Sink::custom(Nothing);
    let redacting = AccessLog::text().redact_path("/patients/{id}").unwrap();
    for (name, logs) in [
        ("off", vec![]),
        ("text", vec![AccessLog::text().to(nothing())]),
        ("json", vec![AccessLog::json().to(nothing())]),
        ("text without patients", vec![redacting.to(nothing())]),
        ("text to a file", vec![AccessLog::text().to(file())]),
    ] {
        let logs = AccessLogs::server(logs);
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                request,
                |request| line(&logs, request),
                BatchSize::SmallInput,
            );
        });
    }
    group.bench_function("clock of the system", |bencher| {
        bencher.iter(SystemTime::now)
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = access_log
}
criterion_main!(benches);
