//! What a mesh shows of its services: the access log, one request as a trace, and the golden signals.
//!
//! ```text
//! cargo run --example observability
//! ```
//!
//! Three services in one process, each with a mesh of its own: the frontend asks patients, which asks
//! records. A visitor's requests go well, are denied by a policy, take long, and fail once and are
//! tried again. Everything that is printed is what the meshes have logged, traced and counted. The
//! program fails if something of it is missing.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_types,
    reason = "a program that shows something, and stops when it cannot"
)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::get;
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tower_mesh::access_log::{AccessLog, LineSink, Side, Sink};
use tower_mesh::metrics::Format;
use tower_mesh::propagation::{FinishedSpan, Propagation, SpanKind, SpanSink};
use tower_mesh::source::Fixed;
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, MeshBuilder, Workload};

/// Nobody reads a sealed record.
const POLICY: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: sealed, namespace: clinic}
spec:
  action: DENY
  rules: [{to: [{operation: {paths: [/records/sealed]}}]}]
";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let started = Instant::now();
    let pki = Pki::new("cluster.local")?;
    let (lines, spans) = (Lines::default(), Spans::default());
    let telemetry = |builder: MeshBuilder| {
        let propagation = Propagation::new().sample_percent(100.0);
        let propagation = propagation.export_to(spans.clone());
        let log = AccessLog::text().side(Side::Server);
        let log = log.to(Sink::custom(lines.clone()));
        builder.telemetry(|telemetry| {
            let telemetry = telemetry.propagation(propagation).access_log(log);
            telemetry
                .redact_path("/patients/{id}")
                .redact_path("/records/{id}")
        })
    };
    let service = |name: &str| {
        let workload = Workload::new("clinic", name).label("app", name);
        let workload = workload.service(name, 80);
        let identity = pki.identity("clinic", name).unwrap();
        telemetry(Mesh::builder(workload, identity))
    };
    let id = |name: &str| [format!("spiffe://cluster.local/ns/clinic/sa/{name}")];

    let records = run(service("records").config(Fixed::yaml("policy.yaml", POLICY))).await?;
    let at_records = serve(&records, records_app()).await?;
    let patients = service("patients").upstream("records.clinic", [at_records], id("records"));
    let patients = run(patients).await?;
    let at_patients = serve(&patients, patients_app(patients.clone())).await?;
    let frontend = service("frontend").upstream("patients.clinic", [at_patients], id("patients"));
    let frontend = run(frontend).await?;
    let at_frontend = serve(&frontend, frontend_app(frontend.clone())).await?;
    let visitor = service("visitor").upstream("frontend.clinic", [at_frontend], id("frontend"));
    let visitor = run(visitor).await?;

    let mut answers = Vec::new();
    for path in ["7", "sealed", "slow", "flaky"] {
        let uri = format!("http://frontend.clinic/patients/{path}");
        let answer = visitor.client().get(uri).await?;
        answers.push(answer.status().as_u16());
        let _ = answer.into_body().collect().await?;
    }
    // A line is written, and a span ends, when the last byte of the answer has gone.
    let wanted = (LINES, SPANS);
    let deadline = Instant::now() + Duration::from_secs(10);
    while (lines.all().len(), spans.all().len()) != wanted && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    println!("The access log of all services:\n");
    for line in lines.all() {
        println!("{line}");
    }
    let trees = trees(&spans.all());
    println!(
        "\nThe request that failed once, as a trace:\n\n{}",
        trees.last().unwrap()
    );
    let meshes = [
        ("frontend", &frontend),
        ("patients", &patients),
        ("records", &records),
    ];
    let signals =
        meshes.map(|(name, mesh)| (name, Signals::of(&mesh.metrics().render(Format::Text))));
    println!("The golden signals, from the metrics:\n");
    println!(
        "{:<10} {:>8} {:>8} {:>8} {:>8} {:>9} {:>9} {:>9} {:>9}",
        "service",
        "requests",
        "rate/s",
        "denied",
        "errors",
        "p50 ms",
        "p99 ms",
        "bytes in",
        "bytes out"
    );
    let seconds = started.elapsed().as_secs_f64();
    for (name, signals) in &signals {
        println!(
            "{name:<10} {:>8} {:>8.1} {:>8} {:>8} {:>9.1} {:>9.1} {:>9} {:>9}",
            signals.requests,
            signals.requests as f64 / seconds,
            signals.denied,
            signals.errors,
            signals.quantile(0.5),
            signals.quantile(0.99),
            signals.bytes_in,
            signals.bytes_out,
        );
    }
    check(&answers, &lines.all(), &spans.all(), &trees, &signals);
    println!("\nAll of it is there.");
    for (_, mesh) in meshes {
        mesh.shutdown(Duration::ZERO);
    }
    Ok(())
}

/// Fails where something of what must be there is not.
fn check(
    answers: &[u16],
    lines: &[String],
    spans: &[FinishedSpan],
    trees: &[String],
    signals: &[(&str, Signals)],
) {
    assert_eq!(answers, [200, 403, 200, 200]);
    assert_eq!((lines.len(), spans.len()), (LINES, SPANS));
    assert_eq!(trees.len(), 4, "a trace for each request of the visitor");
    assert!(trees.iter().all(|tree| tree.lines().count() >= 6));
    let denied = "rbac_access_denied_matched_policy[ns[clinic]-policy[sealed]-rule[0]]";
    let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!((count(denied), count(" 503 ")), (1, 1));
    assert_eq!(
        count("sealed HTTP") + count("/7 "),
        0,
        "no patient is named"
    );
    let [_, _, (_, records)] = signals else {
        panic!("three services");
    };
    assert_eq!(
        (records.requests, records.denied, records.errors),
        (5, 1, 1)
    );
    assert!(records.quantile(0.99) >= 100.0, "one was slow");
    assert!(records.bytes_in > 0 && records.bytes_out > 0);
}

/// Three services answer each request once; records is asked once more. Each call has two spans.
const LINES: usize = 4 * 3 + 1;
const SPANS: usize = 2 * LINES;

/// Builds a mesh, and keeps it going.
async fn run(builder: MeshBuilder) -> Result<Mesh, Box<dyn std::error::Error>> {
    let (mesh, driver) = builder.build().await?;
    tokio::spawn(driver.run());
    Ok(mesh)
}

async fn serve(mesh: &Mesh, app: Router) -> std::io::Result<std::net::SocketAddr> {
    let socket = TcpListener::bind("127.0.0.1:0").await?;
    let address = socket.local_addr()?;
    tokio::spawn(mesh.serve_on(socket, app));
    Ok(address)
}

fn records_app() -> Router {
    let has_failed = Arc::new(AtomicBool::new(false));
    let record = async move |Path(id): Path<String>| match &*id {
        "slow" => {
            tokio::time::sleep(Duration::from_millis(150)).await;
            (StatusCode::OK, "found at last")
        }
        "flaky" if !has_failed.swap(true, Ordering::Relaxed) => {
            (StatusCode::SERVICE_UNAVAILABLE, "not now")
        }
        _ => (StatusCode::OK, "a record"),
    };
    Router::new().route("/records/{id}", get(record))
}

/// Asks records, and once more when they are not available.
fn patients_app(mesh: Mesh) -> Router {
    let patient = async move |Path(id): Path<String>| {
        let uri = format!("http://records.clinic/records/{id}");
        let mut answer = pass_on(&mesh, &uri).await;
        if answer.0 == StatusCode::SERVICE_UNAVAILABLE {
            answer = pass_on(&mesh, &uri).await;
        }
        answer
    };
    Router::new().route("/patients/{id}", get(patient))
}

fn frontend_app(mesh: Mesh) -> Router {
    let page = async move |Path(id): Path<String>| {
        pass_on(&mesh, &format!("http://patients.clinic/patients/{id}")).await
    };
    Router::new().route("/patients/{id}", get(page))
}

async fn pass_on(mesh: &Mesh, uri: &str) -> (StatusCode, Vec<u8>) {
    match mesh.client().get(uri).await {
        Ok(answer) => {
            let status = answer.status();
            let body = answer.into_body().collect().await;
            let body = body.map(|body| body.to_bytes().to_vec());
            (status, body.unwrap_or_default())
        }
        Err(error) => (error.status(), Vec::new()),
    }
}

/// The lines of the access log.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl LineSink for Lines {
    fn take(&self, line: &[u8]) -> bool {
        let line = String::from_utf8_lossy(line).trim_end().to_owned();
        self.0.lock().unwrap().push(line);
        true
    }
}

/// The spans that have ended.
#[derive(Clone, Debug, Default)]
struct Spans(Arc<Mutex<Vec<FinishedSpan>>>);

impl Spans {
    fn all(&self) -> Vec<FinishedSpan> {
        self.0.lock().unwrap().clone()
    }
}

impl SpanSink for Spans {
    fn export(&self, span: FinishedSpan) {
        self.0.lock().unwrap().push(span);
    }
}

/// Each trace as a tree, in the order in which they began.
fn trees(spans: &[FinishedSpan]) -> Vec<String> {
    let mut spans: Vec<_> = spans.iter().collect();
    spans.sort_by_key(|span| span.start);
    let roots = spans
        .iter()
        .filter(|span| span.trace.parent_span_id.is_none());
    let tree = |root: &&FinishedSpan| {
        let mut text = String::new();
        add_span(&mut text, &spans, root, 0);
        text
    };
    roots.map(tree).collect()
}

fn add_span(text: &mut String, spans: &[&FinishedSpan], span: &FinishedSpan, depth: usize) {
    let tag = |wanted: &str| {
        let found = span.tags.iter().find(|(name, _)| name == wanted);
        found.map_or("-", |(_, value)| value.as_str())
    };
    let kind = match span.kind {
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        _ => "inside",
    };
    let took = span.end.duration_since(span.start).unwrap_or_default();
    *text += &format!(
        "{:indent$}{kind} of {}: {} {} {} {:.1} ms\n",
        "",
        tag("istio.canonical_service"),
        tag("http.method"),
        tag("http.url"),
        tag("http.status_code"),
        took.as_secs_f64() * 1000.0,
        indent = 2 * depth,
    );
    let id = Some(span.trace.span_id);
    let children = spans
        .iter()
        .filter(|child| child.trace.parent_span_id == id);
    for child in children {
        add_span(text, spans, child, depth + 1);
    }
}

/// What a service has counted of the requests that it got.
#[derive(Default)]
struct Signals {
    requests: u64,
    denied: u64,
    errors: u64,
    bytes_in: u64,
    bytes_out: u64,
    /// How many took at most so long.
    buckets: BTreeMap<Duration, u64>,
}

impl Signals {
    fn of(metrics: &str) -> Self {
        let mut signals = Self::default();
        for line in metrics.lines() {
            let Some((series, value)) = line.rsplit_once(' ') else {
                continue;
            };
            if !series.contains("reporter=\"destination\"") {
                continue;
            }
            let value = value.parse::<u64>().unwrap_or_default();
            let label = |name: &str| {
                let (_, rest) = series.split_once(&format!("{name}=\""))?;
                rest.split('"').next()
            };
            match series.split('{').next().unwrap_or_default() {
                "istio_requests_total" => {
                    signals.requests += value;
                    match label("response_code") {
                        Some("401" | "403") => signals.denied += value,
                        Some(code) if code.starts_with('5') || code == "0" => {
                            signals.errors += value
                        }
                        _ => {}
                    }
                }
                "istio_request_bytes_sum" => signals.bytes_in += value,
                "istio_response_bytes_sum" => signals.bytes_out += value,
                "istio_request_duration_milliseconds_bucket" => {
                    let bound = label("le").and_then(|bound| bound.parse::<f64>().ok());
                    let bound = bound.map(|bound| Duration::try_from_secs_f64(bound / 1000.0));
                    if let Some(Ok(bound)) = bound {
                        *signals.buckets.entry(bound).or_default() += value;
                    }
                }
                _ => {}
            }
        }
        signals
    }

    /// As Prometheus' `histogram_quantile` works it out, in milliseconds.
    fn quantile(&self, share: f64) -> f64 {
        let rank = share * self.requests as f64;
        let (mut lower, mut before) = (0.0, 0.0);
        for (bound, count) in &self.buckets {
            let (upper, count) = (bound.as_secs_f64() * 1000.0, *count as f64);
            if count >= rank && count > before {
                return lower + (upper - lower) * (rank - before) / (count - before);
            }
            (lower, before) = (upper, count);
        }
        lower
    }
}
