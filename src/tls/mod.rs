// endpoint/      accepts and opens connections: handshakes
//   connection/  a connection after its handshake; lifetime.rs judges its age
//   credentials/ the identity in use, and how it judges a peer's certificates
//   identity/    certificates, keys, roots
//   source/      where our identity comes from

//! Mutual TLS with SPIFFE identities: both ends of a connection prove who they are.
//!
//! [`Credentials`] hold our certificate and the roots that we trust, and can be replaced at any
//! time. [`Acceptor`] and [`Connector`] read them for each handshake. A [`Listener`] accepts
//! connections for a server (also for axum's and tonic's); each connection has the
//! [`Peer`](crate::context::Peer) that layers and handlers find. The peer's identity is the one
//! SPIFFE id in its certificate, judged by the roots of that id's own trust domain. A server must
//! prove an identity that the [`Destination`] expects. Every failure has a [`Reason`].
//!
//! An identity comes from a [`Source`]: [`Files`], the SPIFFE Workload API, [`Renewed`] for an
//! authority that must be asked, or your own. A [`Rotation`] starts to use each new one. A
//! connection's [`Lifetime`] ends soon after an identity on it is replaced, expires, is revoked or
//! is no longer among the [`AllowedIds`]. Needs outside these rules (a key in a hardware module, a
//! client with its own TLS) go through [`Credentials::danger`].
//!
//! # Differences from Envoy/Istio
//! - A port without a mode is STRICT.
//! - Sessions are never resumed, because a resumed session skips the verification of the
//!   certificate.
//! - A TLS client on a PERMISSIVE port must show a certificate even without Istio's ALPN names.
//! - A leaf must have a critical key usage, as SPIFFE demands, and an intermediate must have the
//!   right to sign. Envoy's SPIFFE validator checks less.
//! - A connection ends after about an hour, and before the first of its certificates expires.
//! - Policy sees only the SPIFFE id of a peer. Envoy falls back to DNS names and the subject, into
//!   which the authority of a federated trust domain may write an id of ours. A DNS name with a
//!   byte outside `[A-Za-z0-9.*_-]` is refused.
//! - A server must have one id of an exact list; a whole trust domain needs [`AllowedIds::danger`].
//! - As soon as a trust domain has revocation lists, every issuer needs one that has not expired.
//!   ztunnel lets an unknown status pass.
//! - A chain with more than 8 certificates, or with URI name constraints, is refused.
//!
//! # Example
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tower_mesh::testing::Pki;
//! use tower_mesh::tls::{Acceptor, Connector, Credentials, Destination, Listener, Protocol, Settings};
//!
//! let pki = Pki::new("cluster.local")?;
//! let server = Credentials::new(&pki.identity("default", "patients")?, Settings::default())?;
//! let client = Credentials::new(&pki.identity("default", "check-in")?, Settings::default())?;
//!
//! let mut listener = Listener::bind("127.0.0.1:0", Acceptor::new(server.clone())).await?;
//! let address = listener.local_addr();
//! let destination = Destination::new([server.spiffe_id()], "patients.default", Protocol::Http2)?;
//! let connector = Connector::new(client);
//! let (accepted, connected) =
//!     tokio::join!(listener.accept(), connector.connect(address, &destination));
//! assert_eq!(accepted.peer().principal(), Some("cluster.local/ns/default/sa/check-in"));
//! assert_eq!(connected?.1.principal(), Some("cluster.local/ns/default/sa/patients"));
//! # Ok(()) }
//! ```

mod clock;
mod closed_set;
mod connection;
mod counters;
mod credentials;
mod dates;
mod endpoint;
mod identity;
mod jitter;
mod mode;
mod protocol;
mod reason;
mod source;

pub use clock::Clock;
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use connection::alarm::TimeLimit;
pub use connection::close::{CloseNotice, CloseReason};
pub use connection::deadline::Deadline;
pub use connection::http_timeouts::HttpTimeouts;
pub use connection::inbound::Connection;
pub use connection::lifetime::{Lifetime, Lifetimes};
pub use connection::socket::Socket;
pub use connection::stats::HandshakeStats;
pub use connection::stream::Stream;
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use connection::when_woken::WhenWoken;
pub use credentials::danger::DangerousCredentials;
pub use credentials::in_use::Credentials;
pub use credentials::own_resolver::OwnResolvers;
pub use credentials::rotation::Rotation;
pub use credentials::rotation_stats::RotationStats;
pub use credentials::settings::{Provider, Settings};
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use dates::Rfc3339;
pub use endpoint::acceptor::Acceptor;
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use endpoint::acceptor::TrustedSocket;
pub use endpoint::admission::Limits;
pub use endpoint::connector::{Connector, Destination};
pub use endpoint::handshake::{HandshakeError, HandshakeTimeouts};
pub use endpoint::incoming::Incoming;
pub use endpoint::listener::Listener;
pub use endpoint::one_way::OneWayConnector;
pub use endpoint::proxy_protocol;
#[cfg(all(feature = "audit", feature = "server", feature = "client"))]
pub(crate) use endpoint::refusal_observer::RefusalObserver;
pub use identity::allowed::{AllowedIds, DangerousAllowedIds};
pub use identity::bundle::TrustBundles;
pub use identity::error::IdentityError;
pub use identity::svid::{Identity, X509Svid};
pub use mode::{Mode, Modes};
pub use protocol::{Protocol, outbound_sni};
pub use reason::{Reason, Refusal};
pub use source::contract::{
    Fixed, JwtBundleSource, JwtBundles, NextIdentity, NextJwtBundles, Source, SourceError,
};
pub use source::files::Files;
pub use source::renewed::Renewed;
#[cfg(feature = "workload-api")]
pub use source::workload_api::WorkloadApi;
#[cfg(feature = "workload-api")]
pub use source::workload_api_bundles::WorkloadApiBundles;
