//! Two axum applications that call each other through the mesh.
//!
//! ```text
//! cargo run --example axum
//! ```
//!
//! `charts` answers `patients` and nobody else. The same application says so to a stranger, although it holds no word of it.

#![allow(clippy::print_stdout, reason = "a program speaks to its user")]

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Router, http::StatusCode};
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tower_mesh::identity::SpiffeId;
use tower_mesh::source::Fixed;
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, MeshBuilder, Peer, TraceContext, Workload};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

const POLICY: &str = r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: charts
  namespace: default
spec:
  selector:
    matchLabels:
      app: charts
  rules:
    - from:
        - source:
            principals: ["cluster.local/ns/default/sa/patients"]
"#;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // Certificates that live as long as this process; a workload of yours gets them from files or from the SPIFFE Workload API.
    let pki = Pki::new("cluster.local")?;

    let charts =
        start(workload(&pki, "charts")?.config(Fixed::yaml("policy.yaml", POLICY))).await?;
    let charts_at = serve(&charts, Router::new().route("/{id}", get(chart))).await?;
    let known = (charts_at, charts.spiffe_id());

    let patients = start(calling(workload(&pki, "patients")?, &known)).await?;
    let app = Router::new()
        .route("/patients/{id}", get(read_patient))
        .with_state(patients.clone());
    let patients_at = serve(&patients, app).await?;

    let desk = start(calling(workload(&pki, "desk")?, &known).upstream(
        "patients.default",
        [patients_at],
        [patients.spiffe_id()],
    ))
    .await?;
    for uri in [
        "http://patients.default/patients/7",
        "http://charts.default/7",
    ] {
        let response = desk.client().get(uri).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        println!(
            "desk: {uri} -> {status}: {}",
            String::from_utf8_lossy(&body)
        );
    }
    Ok(())
}

/// Neither trace nor certificate is mentioned here, and the call has both.
async fn read_patient(State(mesh): State<Mesh>, Path(id): Path<u64>) -> (StatusCode, String) {
    match mesh
        .client()
        .get(format!("http://charts.default/{id}"))
        .await
    {
        Ok(chart) => match chart.into_body().collect().await {
            Ok(chart) => (
                StatusCode::OK,
                String::from_utf8_lossy(&chart.to_bytes()).into(),
            ),
            Err(error) => no_chart(&error),
        },
        Err(error) => no_chart(&error),
    }
}

/// What went wrong is for us to know; the caller gets a status.
fn no_chart(error: &dyn std::error::Error) -> (StatusCode, String) {
    eprintln!("patients: no chart: {error}");
    (StatusCode::BAD_GATEWAY, String::new())
}

async fn chart(peer: Peer, trace: TraceContext, Path(id): Path<u64>) -> String {
    let caller = peer.principal().unwrap_or("nobody");
    format!("chart {id} for {caller}, in trace {}", trace.trace_id)
}

fn workload(pki: &Pki, name: &str) -> Result<MeshBuilder, BoxError> {
    let workload = Workload::new("default", name).label("app", name);
    Ok(Mesh::builder(workload, pki.identity("default", name)?))
}

fn calling(builder: MeshBuilder, charts: &(std::net::SocketAddr, SpiffeId)) -> MeshBuilder {
    builder.upstream("charts.default", [charts.0], [charts.1.clone()])
}

async fn start(builder: MeshBuilder) -> Result<Mesh, BoxError> {
    let (mesh, driver) = builder.build().await?;
    tokio::spawn(driver.run());
    Ok(mesh)
}

async fn serve(mesh: &Mesh, app: Router) -> Result<std::net::SocketAddr, BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let mesh = mesh.clone();
    tokio::spawn(async move { mesh.serve_on(listener, app).await });
    Ok(address)
}
