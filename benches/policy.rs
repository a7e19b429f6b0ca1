//! What a decision costs by the number of policies, beside the reference, and what it costs to make the policies ready.
//!
//! `cargo bench --bench policy`. Each set holds policies of up to six patterns; requests are drawn at random, so that big sets miss the
//! caches as they do in life. `fixed` asks the same request again and again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    missing_docs,
    reason = "a bench may panic, and criterion's macros make undocumented items"
)]

use std::fmt::Write;
use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tower_mesh::Workload;
use tower_mesh::istio::{MeshConfig, Resources, parse};
use tower_mesh::policy::{Engine, Program, Request, compile, eval};

const SIZES: [usize; 4] = [10, 100, 1_000, 10_000];

/// `size` policies: a path of their own, a shared path with a caller of their own, a host of their own, in turn.
fn mixed(size: usize) -> String {
    policies(size, |index, rule| match index % 3 {
        0 => write!(
            rule,
            "{{from: [{{source: {{namespaces: [apps, ops]}}}}], to: [{{operation: {{methods: [GET, POST], paths: [/api/{index}, \"/api/{index}/*\"]}}}}]}}"
        ),
        1 => write!(
            rule,
            "{{from: [{{source: {{principals: [cluster.local/ns/apps/sa/caller-{index}]}}}}], to: [{{operation: {{methods: [GET], paths: [\"/shared/*\"]}}}}]}}"
        ),
        _ => write!(
            rule,
            "{{to: [{{operation: {{hosts: [\"host-{index}.example.com\", \"host-{index}.example.com:*\"], methods: [GET]}}}}]}}"
        ),
    })
}

/// `size` policies with nothing to post them under but a suffix.
fn wildcards(size: usize) -> String {
    policies(size, |index, rule| {
        write!(
            rule,
            "{{to: [{{operation: {{paths: [\"*.ext{index}\"]}}}}]}}"
        )
    })
}

/// `size` policies on one header.
fn headers(size: usize) -> String {
    policies(size, |index, rule| {
        write!(
            rule,
            "{{when: [{{key: \"request.headers[x-tenant]\", values: [t{index}]}}]}}"
        )
    })
}

fn policies(size: usize, rule: impl Fn(usize, &mut String) -> std::fmt::Result) -> String {
    let mut yaml = String::new();
    for index in 0..size {
        write!(
            yaml,
            "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: p{index}, namespace: default}}\nspec: {{rules: ["
        )
        .unwrap();
        rule(index, &mut yaml).unwrap();
        yaml.push_str("]}\n");
    }
    yaml
}

fn resources(yaml: &str) -> Resources {
    parse("bench.yaml", yaml, "default").unwrap()
}

fn program(resources: &Resources) -> Program {
    let workload = Workload::new("default", "bench");
    compile(resources, &MeshConfig::default(), &workload).unwrap()
}

/// Which of a set's policies a request asks for, by a small generator.
fn draw(state: &mut u64, size: usize, remainder: usize) -> usize {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    let index = usize::try_from(*state >> 33).unwrap() % size.div_ceil(3);
    (index * 3 + remainder).min(size - 1)
}

fn requests(hit: &str, size: usize) -> Vec<Request> {
    let mut state = 1;
    let request = |_| {
        let request = Request::new().authority("patients.default.svc.cluster.local");
        match hit {
            "path" => request
                .get(format!("/api/{}/x?q=1", draw(&mut state, size, 0)))
                .from("cluster.local/ns/apps/sa/web"),
            "caller" => {
                let caller = draw(&mut state, size, 1);
                request
                    .get("/shared/7")
                    .from(&format!("cluster.local/ns/apps/sa/caller-{caller}"))
            }
            "host" => {
                let host = draw(&mut state, size, 2);
                request
                    .get("/else")
                    .authority(format!("host-{host}.example.com"))
                    .from("cluster.local/ns/apps/sa/web")
            }
            _ => request
                .get(format!("/none/{}", draw(&mut state, size, 0)))
                .from("cluster.local/ns/apps/sa/web"),
        }
    };
    (0..4096).map(request).collect()
}

fn decide(criterion: &mut Criterion) {
    for (set, yaml) in [
        ("mixed", mixed as fn(usize) -> String),
        ("wildcard", wildcards),
        ("header", headers),
    ] {
        let mut group = criterion.benchmark_group(format!("decide/{set}"));
        for size in SIZES {
            let engine = Engine::new(program(&resources(&yaml(size))));
            let hits: &[&str] = if set == "mixed" {
                &["path", "caller", "host", "miss"]
            } else {
                &["miss"]
            };
            for hit in hits {
                let requests = requests(hit, size);
                let mut next = requests.iter().cycle();
                group.bench_function(BenchmarkId::new(*hit, size), |bencher| {
                    bencher.iter(|| engine.decide(black_box(next.next().unwrap())));
                });
            }
            let fixed = &requests("path", 10)[0];
            group.bench_function(BenchmarkId::new("fixed", size), |bencher| {
                bencher.iter(|| engine.decide(black_box(fixed)));
            });
        }
    }
}

fn reference(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("eval/mixed");
    for size in [10, 1_000] {
        let program = program(&resources(&mixed(size)));
        let rules = program.http.get(80).allow.enforced.as_ref().unwrap();
        let requests = requests("path", size);
        let mut next = requests.iter().cycle();
        group.bench_function(BenchmarkId::new("path", size), |bencher| {
            bencher.iter(|| eval::first_match(rules, black_box(next.next().unwrap())));
        });
    }
}

fn make_ready(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("make ready");
    for size in SIZES {
        let resources = resources(&mixed(size));
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::new("compile and index", size), |bencher| {
            // What it replaces is dropped when nobody waits for it.
            bencher.iter_with_large_drop(|| Engine::new(program(black_box(&resources))));
        });
    }
    let yaml = mixed(1_000);
    group.throughput(Throughput::Elements(1_000));
    group.bench_function(BenchmarkId::new("parse", 1_000), |bencher| {
        bencher.iter(|| resources(black_box(&yaml)));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = decide, reference, make_ready
}
criterion_main!(benches);
