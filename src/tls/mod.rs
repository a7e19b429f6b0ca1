//! Mutual TLS with SPIFFE identities: who is calling, proven, in both directions.
//!
//! [`Credentials`] hold who we are and whom we trust, and can be replaced at any time; [`Acceptor`] and [`Connector`] read them for each
//! handshake. A [`Listener`] accepts connections for a server (also axum's and tonic's own), each with the [`Peer`](crate::context::Peer) that
//! layers and handlers find. A peer is whoever its certificate's one SPIFFE id says, judged by the roots of that id's own trust domain; a server
//! must prove the very identity that its [`Destination`] expects. Whatever goes wrong has a [`Reason`].
//!
//! An identity comes from a [`Source`]: [`Files`], the SPIFFE Workload API, [`Renewed`] for those that must be asked for, or one of your own; a
//! [`Rotation`] puts each new one to use. A connection's [`Lifetime`] ends soon after an identity on it was replaced, ended, was revoked or is no
//! longer [`AllowedIds`]. What cannot be had within these rules (a key that no memory holds, a client with a TLS of its own) goes through
//! [`Credentials::danger`].
//!
//! # Differences from Envoy/Istio
//! - A port whose mode nobody set is STRICT.
//! - Sessions are never resumed. A resumed session skips the verification of the certificate.
//! - TLS on a PERMISSIVE port demands a client certificate even without Istio's ALPN names.
//! - A leaf must hold a critical key usage as SPIFFE demands, and an intermediate the right to sign; Envoy's SPIFFE validator checks less.
//! - A connection ends after about an hour, and before the first certificate on it does.
//! - Of a peer's names, policy sees its SPIFFE id alone. Envoy goes on to DNS names and the subject, into which the authority of a federated
//!   trust domain may write an id of ours; a DNS name with a byte outside `[A-Za-z0-9.*_-]` is refused.
//! - An exact list of ids is expected of a server; what a prefix would be is [`AllowedIds::danger`]'s.
//! - A revocation list must be there and in time for every issuer once there are any; ztunnel lets pass what it does not know.
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
pub use connection::close::{CloseNotice, CloseReason};
pub use connection::deadline::Deadline;
pub use connection::inbound::Connection;
pub use connection::lifetime::{Lifetime, Lifetimes};
pub use connection::pace::HttpTimes;
pub use connection::stats::HandshakeStats;
pub use connection::stream::Stream;
pub use credentials::danger::{DangerousCredentials, OwnResolvers};
pub use credentials::in_use::Credentials;
pub use credentials::rotation::Rotation;
pub use credentials::rotation_stats::RotationStats;
pub use credentials::settings::{Provider, Settings};
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use dates::Rfc3339;
pub use endpoint::acceptor::Acceptor;
pub use endpoint::admission::Limits;
pub use endpoint::connector::{Connector, Destination};
pub use endpoint::handshake::{HandshakeError, HandshakeTimeouts};
pub use endpoint::incoming::Incoming;
pub use endpoint::listener::Listener;
pub use endpoint::one_way::OneWayConnector;
pub use identity::allowed::{AllowedIds, DangerousAllowedIds};
pub use identity::bundle::TrustBundles;
pub use identity::error::IdentityError;
pub use identity::svid::{Identity, X509Svid};
pub use mode::{Mode, Modes};
pub use protocol::{Protocol, outbound_sni};
pub use reason::{Reason, Refusal};
pub use source::contract::{Fixed, NextIdentity, Source, SourceError};
pub use source::files::Files;
pub use source::renewed::Renewed;
#[cfg(feature = "workload-api")]
pub use source::workload_api::WorkloadApi;
