//! What a rule in CEL costs, lowered and interpreted, and what it costs to compile one.
//!
//! `cargo bench --bench cel`.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a bench may panic, and criterion's macros make undocumented items"
)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use tower_mesh::cel::Expression;
use tower_mesh::policy::Request;

const LOWERED: &str = "request.method in ['GET', 'HEAD'] && request.url_path.startsWith('/charts/') \
    && request.headers['x-ward'].matches('^[0-9]+$') && source.namespace == 'web' \
    && 'doctor' in auth.claims.roles";

const INTERPRETED: &str = "request.method in ['GET', 'HEAD'] && request.url_path.startsWith('/charts/') \
    && int(request.headers['x-ward']) < 10 && source.namespace == 'web' \
    && auth.claims.roles.exists(role, role == 'doctor')";

/// Both operands of the conditional need the interpreter.
const WHOLE: &str =
    "(request.method + source.namespace == 'GETweb') ? size(request.url_path + '/') > 3 : false";

fn request() -> Request {
    Request::new()
        .get("/charts/7?x=1")
        .authority("charts.default")
        .from("cluster.local/ns/web/sa/portal")
        .header("x-ward", "3")
        .user("clinic", "ada")
        .claim("roles", vec!["nurse", "doctor"])
}

fn evaluate(criterion: &mut Criterion) {
    let request = request();
    let mut group = criterion.benchmark_group("cel/evaluate");
    for (name, text, is_interpreted) in [
        ("lowered, five terms", LOWERED, false),
        ("two of five terms interpreted", INTERPRETED, true),
        ("interpreted", WHOLE, true),
    ] {
        let rule = Expression::compile(text).unwrap();
        assert_eq!(rule.is_interpreted(), is_interpreted);
        assert_eq!(rule.evaluate(&request), Ok(true));
        group.bench_function(name, |bencher| {
            bencher.iter(|| rule.evaluate(black_box(&request)));
        });
    }
}

fn compile(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cel/compile");
    group.bench_function("five terms", |bencher| {
        bencher.iter(|| Expression::compile(black_box(LOWERED)));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = evaluate, compile
}
criterion_main!(benches);
