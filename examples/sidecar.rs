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

#![allow(clippy::print_stderr, reason = "a program speaks to its user")]

use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use http::header::{self, HeaderName};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tower::service_fn;
use tower_mesh::Mesh;
use tower_mesh::identity::TrustDomain;
use tower_mesh::message::{GuardBody, LocalReply, ResponseFlags, is_grpc};
use tower_mesh::source::Directory;
use tower_mesh::testing::Pki;
use tower_mesh::tls::{Files, Mode};

#[path = "../src/bin/tower-mesh/options.rs"]
#[allow(dead_code, reason = "the command line uses the rest")]
mod options;

use options::Options;

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

        let upstream = Upstream::new(self.upstream, self.upstream_h2);
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
        let guarded = self.options.guarded();
        let workload = guarded.workload(guarded.services(), port);
        let mut paths = self.options.config().iter();
        let first = paths.next().ok_or("--config is missing")?;
        let mut directory = paths.fold(Directory::new(first), Directory::and);
        if let Some(file) = guarded.mesh_config() {
            directory = directory.mesh_config(file);
        }
        let namespace = workload.namespace().to_owned();
        let configuration = directory
            .read(&namespace)
            .map_err(|problems| problems.to_string())?;
        let trust_domain = configuration.mesh_config.trust_domain.clone();
        let account = workload.service_account().to_owned();
        let builder = Mesh::builder(workload).config(configuration);
        let builder = match (&self.cert, &self.key, &self.ca) {
            (Some(cert), Some(key), Some(ca)) => builder
                .identity(Files::named(cert, key, ca))
                .mode_otherwise(Mode::Permissive),
            // Nobody sees this identity: plaintext is all that is spoken.
            _ if matches!(self.mode, None | Some(ModeName::Disable)) => {
                TrustDomain::new(&trust_domain)?;
                builder
                    .identity(Pki::new(&trust_domain)?.identity(&namespace, &account)?)
                    .mode(Mode::Disable)
            }
            _ => return Err("--mode strict and permissive need --cert, --key and --ca".into()),
        };
        let builder = match self.mode {
            None => builder,
            Some(ModeName::Strict) => builder.mode(Mode::Strict),
            Some(ModeName::Permissive) => builder.mode(Mode::Permissive),
            Some(ModeName::Disable) => builder.mode(Mode::Disable),
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

type Body = tower_mesh::mesh::RequestBody;

/// The application behind us.
#[derive(Clone)]
struct Upstream {
    authority: Authority,
    always_h2: bool,
    h1: Client<HttpConnector, Body>,
    h2: Client<HttpConnector, Body>,
}

impl Upstream {
    fn new(address: SocketAddr, always_h2: bool) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let client = |h2: bool| {
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .http2_only(h2)
                .build(connector.clone())
        };
        Self {
            // INVARIANT: a socket address reads as an authority.
            authority: address
                .to_string()
                .parse()
                .unwrap_or_else(|_| Authority::from_static("localhost")),
            always_h2,
            h1: client(false),
            h2: client(true),
        }
    }

    async fn forward(&self, request: Request<Body>) -> Response<GuardBody<Incoming>> {
        let (method, is_grpc) = (request.method().clone(), is_grpc(request.headers()));
        let h2 = self.always_h2 || is_grpc;
        let client = if h2 { &self.h2 } else { &self.h1 };
        match client.request(self.to_upstream(request, h2)).await {
            Ok(mut response) => {
                strip(response.headers_mut());
                *response.version_mut() = Version::default();
                response.map(GuardBody::inner)
            }
            Err(error) => unreachable(&error).into_response_as(is_grpc, &method),
        }
    }

    /// The request as the application gets it: to its address, for the host the caller named.
    fn to_upstream(&self, mut request: Request<Body>, h2: bool) -> Request<Body> {
        let uri = request.uri().clone();
        if let Some(named) = uri.authority()
            && let Ok(host) = HeaderValue::from_str(named.as_str())
        {
            request.headers_mut().insert(header::HOST, host);
        }
        let target = uri
            .path_and_query()
            .cloned()
            .unwrap_or_else(|| PathAndQuery::from_static("/"));
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(target);
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or(uri);
        *request.version_mut() = if h2 {
            Version::HTTP_2
        } else {
            Version::HTTP_11
        };
        let wants_trailers = request
            .headers()
            .get_all(header::TE)
            .iter()
            .any(|value| value.as_bytes().eq_ignore_ascii_case(b"trailers"));
        strip(request.headers_mut());
        if wants_trailers {
            let trailers = HeaderValue::from_static("trailers");
            request.headers_mut().insert(header::TE, trailers);
        }
        request
    }
}

/// Envoy's answer when the application cannot be had.
fn unreachable(error: &legacy::Error) -> LocalReply {
    let (reason, flag) = match error.is_connect() {
        true => (
            "remote connection failure",
            ResponseFlags::UPSTREAM_CONNECTION_FAILURE,
        ),
        false => (
            "connection termination",
            ResponseFlags::UPSTREAM_CONNECTION_TERMINATION,
        ),
    };
    let text = format!(
        "upstream connect error or disconnect/reset before headers. reset reason: {reason}"
    );
    let details = format!(
        "upstream_reset_before_response_started{{{}}}",
        reason.replace(' ', "_")
    );
    LocalReply::new(StatusCode::SERVICE_UNAVAILABLE, text, details).flags(flag)
}

/// Takes off what concerns one connection only (RFC 9110 §7.6.1).
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const GRACE: Duration = Duration::from_secs(30);
