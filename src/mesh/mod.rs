// Where does it go? `DESIGN.md` has the same table. Paths are below `src`.
//
// | question                                  | file                                             |
// |-------------------------------------------|--------------------------------------------------|
// | Where does a new guard of this crate go?  | mesh/server/steps.rs (`STEPS`)                   |
// | Where is a malformed request refused?     | gate/judge.rs                                    |
// | Where is a trusted proxy believed?        | mesh/server/trusted_proxies.rs                   |
// | Where are headers of callers judged?      | mesh/server/header_trust.rs, gate/trust/         |
// | How does an application add a guard?      | mesh/build/guard.rs; the trait: guard/verdict.rs |
// | Where is a provider of CUSTOM asked?      | mesh/server/custom.rs                            |
// | Where is its answer judged?               | external/provider.rs, external/mutations.rs      |
// | Where is a rule in CEL made fast?         | cel/lower.rs                                     |
// | Where do a limit's descriptors come from? | rate_limit/actions/                              |
// | Where is a limit's token taken?           | rate_limit/bucket.rs, rate_limit/table.rs        |
// | Where is a field of YAML read?            | istio/decode/, a file for each kind              |
// | Where does such a field get its meaning?  | policy/compile/                                  |
// | Where is a changed configuration refused? | mesh/config/reload/judge.rs                      |
// | Where is a metric's label made?           | metrics/store/labels.rs; a peer's: metrics/peer/ |
// | Where are Telemetry resources merged?     | telemetry/, a file for each list                 |
// | And where are they applied?               | mesh/telemetry/applied.rs                        |
// | Where do labels change that are shown?    | metrics/expose/projection.rs                     |
// | Where is a label of TLS metrics made?     | mesh/tls_metrics.rs                              |
// | Where is a call's host looked up?         | mesh/client/pool/compiled_outbound.rs            |
// | Where is a call's address picked?         | mesh/client/pool/picker.rs                       |
// | And one of a DNS name's addresses?        | mesh/client/pool/connection/dial.rs              |
// | Where is a call sent again?               | mesh/client/attempts.rs, mesh/client/attempts/   |
// | Where is a connection's age judged?       | tls/connection/lifetime.rs                       |
// | What does a server do at that age?        | mesh/server/connection/drain.rs                  |
// | Where does a client look at it?           | mesh/client/pool/connection/stream.rs            |
// | What does a client's pool do at that age? | mesh/client/pool/connection/retirement.rs        |
// | Where is a silent request body cut?       | mesh/server/connection/served_body.rs            |
// | And behind an application's own server?   | mesh/server/app_server_body.rs                   |
// | Where are trace headers written?          | propagation/format/inject.rs                     |
// | Where is TCP without HTTP served?         | mesh/tcp/accepted.rs                             |
// | Where does policy judge it?               | mesh/tcp/judge.rs                                |
// | Where does such a connection end?         | mesh/tcp/watch.rs, mesh/tcp/record.rs            |
// | Where is a refused request logged?        | refusal_log.rs                                   |
// | Where is an access-log line written?      | access_log/format/compiled.rs                    |
// | And where does it go?                     | access_log/sink/                                 |
// | Which requests are in the audit trail?    | mesh/audit/auditor.rs (`Scope`)                  |
// | What does its record say of one?          | mesh/audit/request.rs, audit/application/facts.rs |
// | Where does an audited request wait?       | mesh/server/steps.rs (`run`)                     |

//! The composed mesh: every layer in its one right order, from one builder.
//!
//! [`Mesh::builder`] takes the workload, its identity and the source of its policies. `build` loads
//! everything once, and fails if anything is wrong. It returns a [`Mesh`], a cheap handle that
//! serves and calls, and a [`Driver`], the one future that keeps configuration, keys and identity
//! up to date.
//!
//! - Inbound: [`Mesh::serve`], or [`Mesh::protect`] and [`Mesh::listen`] under your own server. TLS
//!   leaves a [`Peer`](crate::context::Peer); propagation and metrics begin; tokens are verified;
//!   policies decide; then the application runs. When one of these refuses a request, the layers
//!   outside it still count and trace the refusal.
//! - Protocols that are not HTTP: [`Mesh::serve_tcp`] and [`Mesh::connect_tcp`].
//! - Outbound: [`Mesh::client`], or [`Mesh::connector`] under a client of your own.
//!   [`ExternalHost`] describes a host outside the mesh.
//! - Watched configuration: a change replaces the configuration in use if it is valid and does not
//!   open the workload by accident; see [`OnOpening`](crate::source::OnOpening), [`RefusedReload`]
//!   and [`MeshBuilder::require_policy`].
//! - Without a mesh: [`Guards`] keep token rules and policies up to date for layers that you
//!   compose yourself.
//! - Logs and observers: one line for each port at its start, each change of configuration and each
//!   drain (targets `tower_mesh::mesh` and `tower_mesh::config`), one event for each refusal
//!   (`tower_mesh::access`), [`TelemetryOptions::on_complete`] for every request, and
//!   [`TelemetryOptions::on_call_complete`] for every call.
//! - Operation: [`Mesh::readiness`], [`Mesh::probe`] for [`Mesh::serve_plaintext`],
//!   [`Mesh::metrics`] and [`Mesh::shutdown`].
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, routing::get};
//! use tower_mesh::source::Fixed;
//! use tower_mesh::testing::Pki;
//! use tower_mesh::{Mesh, Workload};
//!
//! let policies = "
//! apiVersion: security.istio.io/v1
//! kind: AuthorizationPolicy
//! metadata: {name: desk-reads}
//! spec:
//!   rules:
//!   - from: [{source: {principals: [cluster.local/ns/default/sa/desk]}}]
//!     to: [{operation: {methods: [GET]}}]
//! ";
//! let pki = Pki::new("cluster.local")?;
//! let workload = Workload::new("default", "patients").service("patients", 8443);
//! let (mesh, driver) = Mesh::builder(workload, pki.identity("default", "patients")?)
//!     .config(Fixed::yaml("policies.yaml", policies))
//!     .build()
//!     .await?;
//! tokio::spawn(driver.run());
//!
//! let app: Router = Router::new().route("/patients", get(|| async { "none" }));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let address = listener.local_addr()?;
//! tokio::spawn({
//!     let mesh = mesh.clone();
//!     async move { mesh.serve_on(listener, app).await }
//! });
//!
//! // Another workload, that may read.
//! let workload = Workload::new("default", "desk");
//! let (desk, driver) = Mesh::builder(workload, pki.identity("default", "desk")?)
//!     .upstream("patients.default", [address], [mesh.spiffe_id()])
//!     .build()
//!     .await?;
//! tokio::spawn(driver.run());
//! let answer = desk.client().get("http://patients.default/patients").await?;
//! assert_eq!(answer.status(), 200);
//! # Ok(()) }
//! ```

#[cfg(feature = "audit")]
mod audit;
#[cfg(feature = "axum")]
mod axum_server;
mod build;
mod client;
mod config;
mod dangers;
mod drain_log;
mod error;
mod export;
mod gate_metrics;
mod handle;
mod options;
mod own_identity;
mod plaintext;
mod policy_layers;
#[cfg(feature = "external")]
mod providers;
#[cfg(feature = "otlp")]
mod push;
mod readiness;
mod serve;
mod server;
mod shutdown;
mod tcp;
mod telemetry;
mod tls_metrics;
mod trust_domain;
mod watches;

#[cfg(feature = "audit")]
pub use audit::AuditState;
#[cfg(feature = "axum")]
pub use axum_server::{AxumFuture, AxumServer, MakeServer};
pub use build::{DangerousMesh, DangerousMeshBuilder, MeshBuilder};
pub use client::body::outgoing::ClientBody;
pub use client::pool::address::{UpstreamAddress, UpstreamId};
pub use client::pool::connect_error::ConnectError;
pub use client::pool::connection::stream::MeshStream;
pub use client::pool::connector::MeshConnector;
pub use client::pool::external_host::ExternalHost;
pub use client::{
    BodyError as ClientBodyError, Client, ClientError, IntoUri, RequestBuilder,
    ResponseBody as ClientResponseBody, ResponseFuture as ClientResponseFuture, Upstreams,
};
pub use config::driver::Driver;
pub use config::identity_source::IdentitySource;
pub use config::reload::{RefusalReason, RefusedReload};
pub use error::BuildError;
pub use handle::Mesh;
#[cfg(feature = "audit")]
pub use options::{AuditOptions, AuditedRoute};
pub use options::{
    ClientOptions, ListenerOptions, TcpOptions, TelemetryOptions, TokenOptions, TrustedProxy,
};
pub use policy_layers::{Guards, GuardsBuilder};
pub use readiness::{IdentityState, Probe, Readiness};
pub use serve::{Drained, RequestBody};
pub use server::connection::limits::HttpLimits;
pub use server::connection::served_body::ServedBody;
pub use server::{ConnectionServer, ResponseBody, ResponseFuture, Server, ServerLayer};
pub use tcp::TcpConnection;
