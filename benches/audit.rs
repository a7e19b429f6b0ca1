//! What an audit trail costs: records a second for each durability, the call on the request path, how
//! long requests wait (the median and the 99th percentile, beside what an fsync of the disk takes), and
//! how fast a trail is verified.
//!
//! Records have about 850 bytes, as those of a request with user, trace and connection have. The trails
//! are in a temporary folder, so TMPDIR chooses the disk.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench may panic, and prints what it measured"
)]

use std::fmt;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tower_mesh::audit::{
    Actor, Audit, Call, Durability, Event, Outcome, PublicKeys, Resource, SigningKey, Tls, Trail,
    Verify,
};

/// What the request path has at hand: shared texts, and those of one request.
struct Decided {
    policy: Arc<str>,
    route: Arc<str>,
    id: Arc<str>,
    own: Arc<str>,
    hash: Arc<str>,
}

impl Decided {
    fn new() -> Self {
        Self {
            policy: "ns[default]-policy[patients]-rule[3]".into(),
            route: "/patients/{id}".into(),
            id: "spiffe://cluster.local/ns/default/sa/patient-check-in".into(),
            own: "spiffe://cluster.local/ns/default/sa/patients".into(),
            hash: "8d969eef6ecad3c29a3a629280e686cf0c3f5d5a86aff3ca12020c923adc6c92".into(),
        }
    }

    fn event(&self, event: Event) -> Event {
        event
            .actor(
                Actor::workload(Arc::clone(&self.id))
                    .principal("https://idp.clinic.example", "dr-7")
                    .azp("desk-app"),
            )
            .action("GET")
            .resource(Resource::route(Arc::clone(&self.route)).service("patients", "default"))
            .outcome(Outcome::Allow)
            .policy(Arc::clone(&self.policy))
            .configuration(12, Arc::clone(&self.hash))
            .trace("0af7651916cd43dd8448eb211c80319c")
            .request_id("b7ad6b71-6920-4331-a2fb-4a1d1a96d312")
            .source_ip(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 17)))
            .tls(Tls::new(
                "TLSv1_3",
                "TLS13_AES_256_GCM_SHA384",
                "X25519MLKEM768",
            ))
            .dest(Arc::clone(&self.own))
    }
}

const DURABILITIES: [(&str, Durability); 3] = [
    ("strict", Durability::Strict),
    ("grouped", Durability::Grouped(64, Duration::from_millis(2))),
    ("interval", Durability::Interval(Duration::from_secs(1))),
];

/// A trail whose queue takes all that a round submits.
fn start(folder: &Path, durability: Durability) -> Audit {
    let key = SigningKey::random("bench").unwrap();
    let trail = Trail::folder(folder)
        .signer(key)
        .durability(durability)
        .queue(MOST, u64::MAX);
    Audit::builder().trail(trail).start().unwrap()
}

/// Records that one thread submits, until all of them are durable.
fn group_commit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("audit/commit");
    group.throughput(Throughput::Elements(ROUND));
    let decided = Decided::new();
    for (name, durability) in DURABILITIES {
        let folder = tempfile::tempdir().unwrap();
        let audit = start(folder.path(), durability);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for _ in 0..ROUND {
                    audit.submit(decided.event(Event::access()));
                }
                assert!(audit.flush(PATIENCE));
            });
        });
        assert!(audit.shutdown(PATIENCE));
        let dropped: u64 = audit.counters().map(|counters| counters.dropped()).sum();
        assert_eq!(dropped, 0);
    }
    group.finish();
}

/// Requests that wait until their intent is durable, 64 of them at once.
fn durable(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("audit/durable");
    group.throughput(Throughput::Elements(WAITING));
    let decided = Decided::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    for (name, durability) in DURABILITIES {
        let folder = tempfile::tempdir().unwrap();
        let audit = start(folder.path(), durability);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let intent = |_| audit.submit_durable(decided.event(Event::intent(Call::next())));
                let waiting: Vec<_> = (0..WAITING).map(intent).collect();
                runtime.block_on(async {
                    for intent in waiting {
                        intent.await.unwrap();
                    }
                });
            });
        });
        assert!(audit.shutdown(PATIENCE));
    }
    group.finish();
}

/// How long requests wait until their intent is durable, 64 of them at once, each with its completion.
fn waits(_: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let decided = Arc::new(Decided::new());
    for (name, durability) in DURABILITIES {
        let folder = tempfile::tempdir().unwrap();
        let audit = start(folder.path(), durability);
        let request = || {
            let (audit, decided) = (audit.clone(), Arc::clone(&decided));
            async move {
                let mut waited = Vec::new();
                for _ in 0..EACH {
                    let (call, began) = (Call::next(), Instant::now());
                    let intent = decided.event(Event::intent(call));
                    audit.submit_durable(intent).await.unwrap();
                    waited.push(began.elapsed());
                    audit.submit(decided.event(Event::completion(call)));
                }
                waited
            }
        };
        let waited = runtime.block_on(async {
            let requests: Vec<_> = (0..WAITING).map(|_| tokio::spawn(request())).collect();
            let mut waited = Vec::new();
            for request in requests {
                waited.extend(request.await.unwrap());
            }
            waited
        });
        let (syncs, taken) = audit.counters().next().unwrap().syncs();
        let sync = taken / u32::try_from(syncs).unwrap();
        println!("audit/wait/{name:<23} {}, an fsync {sync:?}", Tail(waited));
        assert!(audit.shutdown(PATIENCE));
    }
    // Where nothing must be durable first, while the writer writes.
    let folder = tempfile::tempdir().unwrap();
    let audit = start(
        folder.path(),
        Durability::Grouped(64, Duration::from_millis(2)),
    );
    let mut waited = Vec::new();
    for _ in 0..EACH * WAITING {
        let event = decided.event(Event::access());
        let began = Instant::now();
        audit.submit(event);
        waited.push(began.elapsed());
        std::thread::yield_now();
    }
    println!("audit/wait/not durable first       {}", Tail(waited));
    assert!(audit.shutdown(PATIENCE));
}

/// What each of many requests has waited.
struct Tail(Vec<Duration>);

impl fmt::Display for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut waited = self.0.clone();
        waited.sort_unstable();
        let at = |share: usize| waited[(waited.len() - 1) * share / 100];
        write!(f, "median {:?}, p99 {:?}", at(50), at(99))
    }
}

/// What a request pays where nothing must be durable first: the record is made, and handed over.
fn request_path(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("audit/request");
    let decided = Decided::new();
    group.bench_function("event", |bencher| {
        bencher.iter(|| black_box(decided.event(Event::access())));
    });
    let folder = tempfile::tempdir().unwrap();
    let audit = start(folder.path(), Durability::Interval(Duration::from_secs(1)));
    // The writer's own work is not a part of it: it has caught up before the next batch.
    group.bench_function("submit", |bencher| {
        bencher.iter_custom(|rounds| {
            let mut taken = Duration::ZERO;
            let mut left = rounds;
            while left > 0 {
                let batch = left.min(BATCH);
                let events: Vec<_> = (0..batch).map(|_| decided.event(Event::access())).collect();
                let began = Instant::now();
                for event in events {
                    audit.submit(event);
                }
                taken += began.elapsed();
                assert!(audit.flush(PATIENCE));
                left -= batch;
            }
            taken
        });
    });
    group.finish();
    assert!(audit.shutdown(PATIENCE));
}

/// A trail of 20,000 records, with signatures.
fn verification(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("audit/verify");
    let folder = tempfile::tempdir().unwrap();
    let decided = Decided::new();
    let key = SigningKey::random("bench").unwrap();
    let keys = PublicKeys::from_iter([key.public()]);
    let trail = Trail::folder(folder.path())
        .signer(key)
        .durability(Durability::Interval(Duration::from_secs(1)))
        .queue(MOST, u64::MAX);
    let audit = Audit::builder().trail(trail).start().unwrap();
    for _ in 0..RECORDS {
        audit.submit(decided.event(Event::access()));
    }
    assert!(audit.shutdown(PATIENCE));
    group.throughput(Throughput::Elements(RECORDS));
    group.bench_function("with keys", |bencher| {
        bencher.iter_batched(
            || Verify::new(folder.path()).keys(keys.clone()),
            |verify| {
                let report = verify.run().unwrap();
                assert!(report.is_whole(), "{report}");
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

const ROUND: u64 = 10_000;
const WAITING: u64 = 64;
const EACH: u64 = 200;
const BATCH: u64 = 1000;
const RECORDS: u64 = 20_000;
const MOST: usize = 100_000;
const PATIENCE: Duration = Duration::from_secs(60);

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(4));
    targets = group_commit, durable, waits, request_path, verification
}
criterion_main!(benches);
