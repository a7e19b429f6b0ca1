//! Starts the clinic: a certificate authority, a token issuer, and four workloads on loopback ports.

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use axum::Router;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::{
    InMemorySpanExporter, SdkTracerProvider, SimpleSpanProcessor, SpanData,
};
use tokio::net::TcpListener;
use tower_mesh::identity::SpiffeId;
use tower_mesh::message::Report;
use tower_mesh::metrics::{Registry, Scrape};
use tower_mesh::propagation::{OpenTelemetry, Propagation};
use tower_mesh::source::{Configuration, Directory};
use tower_mesh::testing::{Issuer, JwksServer, Pki};
use tower_mesh::tls::{Credentials, Identity, Settings};
use tower_mesh::{Mesh, Workload, metrics};
use tracing_subscriber::prelude::*;

use crate::export::Export;
use crate::services;

/// Everything that runs, and what a caller needs to reach it.
pub struct Clinic {
    pub pki: Pki,
    pub issuer: Issuer,
    /// Whether the policies are the resources of 2018, which demand a token before RBAC is asked.
    pub is_legacy: bool,
    pub patients: Running,
    pub check_in: Running,
    pub admin: Running,
    pub billing: Running,
    /// Where `/stats/prometheus` is served, in plaintext, for the scraper.
    pub metrics: SocketAddr,
    decisions: Decisions,
    _keys: JwksServer,
}

/// One workload.
pub struct Running {
    pub name: &'static str,
    pub address: SocketAddr,
    pub mesh: Mesh,
}

/// Who decided what, by workload and request id.
type Decisions = Arc<Mutex<HashMap<(&'static str, String), Decided>>>;

/// Who decided a request at one workload.
#[derive(Clone)]
pub struct Decided {
    /// The policy and rule, else what refused it before policy was asked.
    pub by: String,
    /// Whether it never got to the application.
    pub is_refused: bool,
}

type BoxError = Box<dyn Error + Send + Sync>;

impl Clinic {
    /// Starts it on the policies of a directory.
    pub async fn start(policies: &Path, export: &Export) -> Result<Self, BoxError> {
        let pki = Pki::new("cluster.local")?;
        let issuer = Issuer::es256(ISSUER);
        let keys = JwksServer::start(&pki, ISSUER_HOST, &issuer).await?;
        let configuration = Directory::load(policies, "default")?;
        let registry = Registry::new();
        let mut opening = Opening {
            pki: &pki,
            keys: keys.address(),
            configuration: &configuration,
            registry: &registry,
            export,
            decisions: Decisions::default(),
            upstreams: Vec::new(),
        };
        let patients = opening
            .workload("patients", |_| services::patients())
            .await?;
        let check_in = opening
            .workload("patient-check-in", services::check_in)
            .await?;
        let admin = opening.workload("admin", |_| services::caller()).await?;
        let billing = opening.workload("billing", |_| services::caller()).await?;
        Ok(Self {
            is_legacy: configuration.resources.authorization_policies.is_empty(),
            metrics: serve_metrics(registry.clone()).await?,
            decisions: opening.decisions,
            patients,
            check_in,
            admin,
            billing,
            _keys: keys,
            pki,
            issuer,
        })
    }

    /// A mesh that only calls, of any identity at all.
    pub async fn caller(&self, identity: Identity) -> Result<Mesh, BoxError> {
        let id = identity.svid().spiffe_id();
        let namespace = id.namespace().unwrap_or("default").to_owned();
        let account = id.service_account().unwrap_or("caller").to_owned();
        let (mesh, driver) = Mesh::builder(Workload::new(namespace, account), identity)
            .upstream(
                "patients.default",
                [self.patients.address],
                [self.patients.mesh.spiffe_id()],
            )
            .build()
            .await?;
        tokio::spawn(driver.run());
        Ok(mesh)
    }

    /// An identity of the mesh that is no workload of it: whatever a receptionist holds.
    pub fn receptionist(&self) -> Result<Credentials, BoxError> {
        Ok(Credentials::new(
            &self.pki.identity("default", "front-desk")?,
            Settings::default(),
        )?)
    }

    /// Who decided a request at a workload that it has reached.
    ///
    /// A workload notes it when the response has ended there, which may be a moment after the caller has read it.
    pub async fn decision(&self, workload: &Running, request_id: &str) -> Decided {
        let key = (workload.name, request_id.to_owned());
        let noted = async {
            loop {
                let found = self.decisions.lock().unwrap().get(&key).cloned();
                match found {
                    Some(decision) => return decision,
                    None => tokio::task::yield_now().await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, noted)
            .await
            .unwrap_or_else(|_| Decided {
                by: "nothing was noted".to_owned(),
                is_refused: true,
            })
    }
}

/// What one workload after the other is started with.
struct Opening<'a> {
    pki: &'a Pki,
    keys: SocketAddr,
    configuration: &'a Configuration,
    registry: &'a Registry,
    export: &'a Export,
    decisions: Decisions,
    /// The workloads that were started before and may be called.
    upstreams: Vec<(&'static str, SocketAddr, SpiffeId)>,
}

impl Opening<'_> {
    async fn workload(
        &mut self,
        name: &'static str,
        app: impl FnOnce(Mesh) -> Router,
    ) -> Result<Running, BoxError> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let workload = Workload::new("default", name)
            .service(name, address.port())
            .label("app", name);
        let spans = OpenTelemetry::new(
            SimpleSpanProcessor::new(spans().clone()),
            &OpenTelemetry::resource(&workload),
        );
        let spans = self.export.sink(spans)?;
        let decisions = Arc::clone(&self.decisions);
        let mut builder = Mesh::builder(workload, self.pki.identity("default", name)?)
            .config(self.configuration.clone())
            .tokens(|tokens| {
                tokens
                    .jwks_roots(self.pki.root_pem())
                    .resolve(&format!("{ISSUER_HOST}:443"), self.keys)
            })
            .telemetry(|telemetry| {
                {
                    telemetry
                        .propagation(Propagation::new().sample_percent(100.0).export_to(spans))
                        .metrics(self.registry.clone())
                }
                .record_allows()
                .on_complete(move |request| keep(&decisions, name, request))
            });
        for (host, address, id) in &self.upstreams {
            builder = builder.upstream(&format!("{host}.default"), [*address], [id.clone()]);
        }
        let (mesh, driver) = builder.build().await?;
        tokio::spawn(driver.run());
        let app = app(mesh.clone());
        let server = mesh.clone();
        tokio::spawn(async move { server.serve_on(listener, app).await });
        self.upstreams.push((name, address, mesh.spiffe_id()));
        Ok(Running {
            name,
            address,
            mesh,
        })
    }
}

/// Notes who decided, for the table.
fn keep(decisions: &Decisions, name: &'static str, report: &Report<'_>) {
    let Some(exchange) = report.exchange else {
        return;
    };
    let Some(id) = exchange
        .trace()
        .and_then(|trace| trace.request_id()?.to_str().ok())
    else {
        return;
    };
    let policy = exchange
        .decision()
        .and_then(|decision| decision.policy.as_ref());
    let by = match (policy, exchange.details()) {
        (Some(policy), _) => policy.to_string(),
        (None, Some(details)) => details.to_string(),
        (None, None) => "no policy applies".to_owned(),
    };
    let decided = Decided {
        by,
        is_refused: exchange.details().is_some(),
    };
    let mut decisions = decisions.lock().unwrap();
    decisions.insert((name, id.to_owned()), decided);
}

async fn serve_metrics(registry: Registry) -> Result<SocketAddr, BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let app: Router = Router::new().route_service(metrics::PATH, Scrape::new(registry));
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

/// The spans of this process: those of every mesh, and the applications' own.
pub fn spans() -> &'static InMemorySpanExporter {
    static SPANS: OnceLock<InMemorySpanExporter> = OnceLock::new();
    SPANS.get_or_init(InMemorySpanExporter::default)
}

/// Every span that has ended.
pub fn finished_spans() -> Vec<SpanData> {
    spans().get_finished_spans().unwrap_or_default()
}

/// What any application with OpenTelemetry does at its start, once: its `tracing` spans go where the mesh's go.
pub fn install_tracing(export: &Export) {
    static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();
    PROVIDER.get_or_init(|| {
        let provider = SdkTracerProvider::builder()
            .with_span_processor(SimpleSpanProcessor::new(spans().clone()));
        let provider = export.add_to(provider).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("clinic"));
        let only_ours = tracing_subscriber::filter::Targets::new()
            .with_target("patients", tracing::Level::INFO);
        tracing_subscriber::registry()
            .with(layer.with_filter(only_ours))
            .init();
        provider
    });
}

/// The directory of a set of policies: one of those that lie beside this example, or any other.
pub fn policies(set: &str) -> PathBuf {
    match set {
        "v1" | "v1alpha1" => Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("examples/patients/policies")
            .join(set),
        other => other.into(),
    }
}

/// For what follows an answer.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Who signs the end users' tokens.
pub const ISSUER: &str = "https://idp.clinic.example";
const ISSUER_HOST: &str = "idp.clinic.example";
