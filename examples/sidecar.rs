//! A sidecar: the whole inbound stack in front of an application that is not in Rust.
//!
//! ```text
//! cargo run --example sidecar -- --listen 127.0.0.1:15006 --upstream 127.0.0.1:8080 \
//!     --config policies/ --workload default/patients \
//!     [--cert cert.pem --key key.pem --ca ca.pem] [--mode strict|permissive|disable]
//! ```
//!
//! It prints `listening ADDRESS` when it is ready; SIGTERM drains it. Without `--cert` it speaks plaintext only; with it, PeerAuthentication
//! decides, else PERMISSIVE. Nothing of policy is written here: layers and engine are the library's.
//!
//! The mesh takes off what concerns one hop before its guards look at a request, so that nothing behind them takes off what they have
//! judged or set; the application gets the host that they judged, and trailers without whatever says who asks.

#![allow(clippy::print_stderr, reason = "a program speaks to its user")]

use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tower::service_fn;
use tower_mesh::Mesh;
use tower_mesh::gate::Gate;
use tower_mesh::identity::TrustDomain;
use tower_mesh::source::Directory;
use tower_mesh::testing::Pki;
use tower_mesh::tls::{Files, Mode};

#[path = "sidecar/guarded.rs"]
mod guarded;
#[path = "../src/bin/tower-mesh/input/options.rs"]
#[allow(dead_code, reason = "the command line uses the rest")]
mod options;
#[path = "sidecar/trailers.rs"]
mod trailers;
#[path = "sidecar/upstream.rs"]
mod upstream;

use options::Options;
use upstream::Upstream;

/// Guards an application by Istio's policies, in front of it
#[derive(Debug, Parser)]
struct Sidecar {
    /// Where callers come in; port 0 takes any
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,
    /// Where the application listens
    #[arg(long, value_name = "ADDR")]
    upstream: SocketAddr,
    /// The application speaks HTTP/2 without TLS; otherwise only gRPC is sent as that
    #[arg(long)]
    upstream_h2: bool,
    /// Our certificate and those up to the root
    #[arg(long, value_name = "FILE", requires_all = ["key", "ca"])]
    cert: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// The roots of our trust domain
    #[arg(long, value_name = "FILE", requires = "cert")]
    ca: Option<PathBuf>,
    /// Which connections are taken, whatever PeerAuthentication says
    #[arg(long, value_enum)]
    mode: Option<ModeName>,
    #[command(flatten)]
    options: Options,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ModeName {
    Strict,
    Permissive,
    Disable,
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into()),
        )
        .init();
    match Sidecar::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

impl Sidecar {
    async fn run(self) -> Result<(), Box<dyn std::error::Error>> {
        let socket = TcpListener::bind(self.listen).await?;
        let address = socket.local_addr()?;
        let mesh = self.mesh(address.port()).await?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;

        let upstream = Upstream::new(
            self.upstream,
            self.upstream_h2,
            mesh.clone(),
            address.port(),
        );
        let proxy = service_fn(move |request| {
            let upstream = upstream.clone();
            async move { Ok::<_, Infallible>(upstream.forward(request).await) }
        });
        let mut out = std::io::stdout();
        writeln!(out, "listening {address}")?;
        out.flush()?;
        let draining = mesh.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            draining.shutdown(GRACE);
        });
        mesh.serve_on(socket, proxy).await?;
        Ok(())
    }

    async fn mesh(&self, port: u16) -> Result<Mesh, Box<dyn std::error::Error>> {
        let guarded = &self.options.guarded;
        let workload = guarded.workload(&guarded.services, port);
        let mut paths = self.options.config.iter();
        let first = paths.next().ok_or("--config is missing")?;
        let mut directory = paths.fold(Directory::new(first), Directory::and);
        if let Some(file) = &guarded.mesh_config {
            directory = directory.mesh_config(file);
        }
        let namespace = workload.namespace().to_owned();
        let configuration = directory
            .read(&namespace)
            .map_err(|problems| problems.to_string())?;
        let own = workload.own_trust_domain().map(TrustDomain::as_str);
        let trust_domain = configuration.mesh_config.trust_domain_or(own).to_owned();
        let account = workload.service_account().to_owned();
        let builder = match (&self.cert, &self.key, &self.ca) {
            (Some(cert), Some(key), Some(ca)) => {
                Mesh::builder(workload, Files::named(cert, key, ca))
                    .mode_otherwise(Mode::Permissive)
            }
            // Nobody sees this identity: plaintext is all that is spoken.
            _ if matches!(self.mode, None | Some(ModeName::Disable)) => {
                TrustDomain::new(&trust_domain)?;
                let identity = Pki::new(&trust_domain)?.identity(&namespace, &account)?;
                Mesh::builder(workload, identity)
                    .danger()
                    .mode(Mode::Disable)
            }
            _ => return Err("--mode strict and permissive need --cert, --key and --ca".into()),
        };
        // As Istio's sidecars, which answer HTTP/1.0 with 426.
        let gate = Gate::istio().accept_http_10(false);
        let builder = builder.gate(gate).config(configuration);
        let builder = match self.mode {
            None => builder,
            Some(ModeName::Strict) => builder.mode(Mode::Strict),
            Some(ModeName::Permissive) => builder.mode(Mode::Permissive),
            Some(ModeName::Disable) => builder.danger().mode(Mode::Disable),
        };
        let built = builder.build().await;
        let (mesh, driver) = built.map_err(|error| match error.problems() {
            Some(problems) => problems.to_string(),
            None => error.to_string(),
        })?;
        tokio::spawn(driver.run());
        Ok(mesh)
    }
}

const GRACE: Duration = Duration::from_secs(30);
