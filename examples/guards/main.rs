//! Guards that ask and guards that count: a rate limit, a daily quota, an authorizer whose outage
//! its cached decisions survive, and a rule in CEL.
//!
//! ```text
//! cargo run --example guards
//! ```
//!
//! `patients` reads `guards.yaml`. The authorizer `consent` and the rate limit service `quotas` are
//! workloads of the same mesh, so they are asked over mutual TLS. The program plays a table of
//! requests, stops both services in the middle, waits until the authorizer's decisions are too old to
//! count without it, and exits with 1 if an answer is not the expected one.

#![allow(
    clippy::print_stdout,
    unreachable_pub,
    reason = "a program speaks to its user; the messages are written as generated ones"
)]

mod quotas;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::routing::any;
use quotas::Quotas;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower_mesh::metrics::Format;
use tower_mesh::source::Fixed;
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, MeshBuilder, Workload};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What is done, and who asks for what with which header.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    Option<(&'static str, &'static str)>,
    u16,
);

const UP: &[Row] = &[
    (
        "searches: three a minute for each caller",
        "desk",
        "GET /search",
        None,
        200,
    ),
    ("", "desk", "GET /search", None, 200),
    ("", "desk", "GET /search", None, 200),
    (
        "the fourth is over the limit",
        "desk",
        "GET /search",
        None,
        429,
    ),
    (
        "another caller has a limit of its own",
        "lab",
        "GET /search",
        None,
        200,
    ),
    (
        "exports: two a day, counted by a service",
        "desk",
        "GET /export",
        None,
        200,
    ),
    ("", "desk", "GET /export", None, 200),
    (
        "the third is over the quota",
        "desk",
        "GET /export",
        None,
        429,
    ),
    (
        "a rule in CEL: who writes is on the ward",
        "desk",
        "POST /wards/3",
        Some(("x-ward", "3")),
        200,
    ),
    (
        "not on this ward",
        "desk",
        "POST /wards/4",
        Some(("x-ward", "3")),
        403,
    ),
    ("on no ward", "desk", "POST /wards/3", None, 403),
    ("all may read", "desk", "GET /wards/4", None, 200),
    (
        "charts: the authorizer knows of a consent",
        "desk",
        "GET /charts/7",
        None,
        200,
    ),
    ("and of none", "desk", "GET /charts/8", None, 403),
];

/// Both services are down. What the authorizer has decided is older than its `ttl`.
const DOWN: &[Row] = &[
    (
        "no authorizer: its older yes still counts",
        "desk",
        "GET /charts/7",
        None,
        200,
    ),
    ("and so does its no", "desk", "GET /charts/8", None, 403),
    (
        "a chart that nobody has asked for",
        "desk",
        "GET /charts/9",
        None,
        503,
    ),
    (
        "a caller that has not asked for it",
        "lab",
        "GET /charts/7",
        None,
        503,
    ),
    (
        "a quota that nobody can count",
        "lab",
        "GET /export",
        None,
        500,
    ),
    (
        "a local limit needs nobody",
        "lab",
        "GET /search",
        None,
        200,
    ),
];

/// The `ttl` of `guards.yaml`.
const TTL: Duration = Duration::from_millis(500);

#[tokio::main]
async fn main() -> Result<ExitCode, BoxError> {
    let pki = Pki::new("cluster.local")?;
    let asked = Arc::new(AtomicUsize::new(0));
    let consent = start(workload(&pki, "platform", "consent")?).await?;
    let (consent_at, consent_ends) = serve(&consent, authorizer(&asked)).await?;
    let quotas = start(workload(&pki, "platform", "quotas")?).await?;
    let (quotas_at, quotas_end) =
        serve(&quotas, Router::new().fallback_service(Quotas::default())).await?;

    let patients = workload(&pki, "clinic", "patients")?
        .config(Fixed::yaml("guards.yaml", include_str!("guards.yaml")))
        .upstream("consent.platform", [consent_at], [consent.spiffe_id()])
        .upstream("quotas.platform", [quotas_at], [quotas.spiffe_id()]);
    let patients = start(patients).await?;
    let app = Router::new().fallback(any(|| async { "a page" }));
    let (patients_at, _) = serve(&patients, app).await?;

    let mut callers = Vec::new();
    for name in ["desk", "lab"] {
        let caller = workload(&pki, "clinic", name)?.upstream(
            "patients.clinic",
            [patients_at],
            [patients.spiffe_id()],
        );
        callers.push((name, start(caller).await?));
    }

    let mut differences = play(&callers, UP).await?;
    let before = asked.load(Ordering::Relaxed);
    for (service, ended) in [(&consent, consent_ends), (&quotas, quotas_end)] {
        service.shutdown(Duration::ZERO);
        ended.await?;
    }
    // The last decision was made before this, so that all are too old then.
    tokio::time::sleep(TTL).await;
    differences += play(&callers, DOWN).await?;
    println!("the authorizer was asked {before} times");
    let metrics = patients.metrics().render(Format::Text);
    let is_stale = |line: &&str| {
        line.starts_with("mesh_decision_cache_total{") && line.contains("result=\"stale\"")
    };
    let stale = metrics.lines().find(is_stale).unwrap_or_default();
    println!("{stale}");
    // One for each decision of DOWN that was there.
    differences += usize::from(!stale.ends_with("} 2"));
    Ok(match differences {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// The external authorizer: patient 7 has consented. Istio's `envoyExtAuthzHttp` asks it with the
/// request's own method and path.
fn authorizer(asked: &Arc<AtomicUsize>) -> Router {
    let asked = Arc::clone(asked);
    Router::new().fallback(any(move |uri: Uri| async move {
        asked.fetch_add(1, Ordering::Relaxed);
        match uri.path() {
            "/charts/7" => (StatusCode::OK, HeaderMap::new(), ""),
            _ => (StatusCode::FORBIDDEN, HeaderMap::new(), "no consent"),
        }
    }))
}

/// Plays the rows, prints them, and counts the answers that are not the expected ones.
async fn play(callers: &[(&str, Mesh)], rows: &[Row]) -> Result<usize, BoxError> {
    let mut differences = 0;
    for (what, caller, request, header, expected) in rows {
        let (method, path) = request.split_once(' ').ok_or("a row has METHOD PATH")?;
        let (_, mesh) = callers
            .iter()
            .find(|(name, _)| name == caller)
            .ok_or("no such caller")?;
        let uri = format!("http://patients.clinic{path}");
        let mut call = match method {
            "GET" => mesh.client().get(uri),
            _ => mesh.client().post(uri),
        };
        if let Some((name, value)) = header {
            call = call.header(*name, *value);
        }
        let status = call.await?.status().as_u16();
        let mark = if status == *expected {
            ""
        } else {
            "  EXPECTED ANOTHER"
        };
        differences += usize::from(status != *expected);
        println!("{what:44} {caller:5} {request:14} {status}{mark}");
    }
    Ok(differences)
}

fn workload(pki: &Pki, namespace: &str, name: &str) -> Result<MeshBuilder, BoxError> {
    Ok(Mesh::builder(
        Workload::new(namespace, name),
        pki.identity(namespace, name)?,
    ))
}

async fn start(builder: MeshBuilder) -> Result<Mesh, BoxError> {
    let (mesh, driver) = builder.build().await?;
    tokio::spawn(driver.run());
    Ok(mesh)
}

/// Where it serves, and the task that ends with it.
async fn serve(mesh: &Mesh, app: Router) -> Result<(SocketAddr, JoinHandle<()>), BoxError> {
    let socket = TcpListener::bind("127.0.0.1:0").await?;
    let address = socket.local_addr()?;
    let mesh = mesh.clone();
    let serving = tokio::spawn(async move {
        if let Err(error) = mesh.serve_on(socket, app).await {
            println!("a server has ended: {error}");
        }
    });
    Ok((address, serving))
}
