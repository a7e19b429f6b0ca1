//! Mutual TLS with SPIFFE identities: who is calling, proven, in both directions.
//!
//! [`Credentials`] hold who we are and whom we trust, and can be replaced at any time; [`Acceptor`] and [`Connector`] read them for each
//! handshake. A [`Listener`] accepts connections for a server (also axum's and tonic's own), each with the [`Peer`](crate::context::Peer) that
//! layers and handlers find. A peer is whoever its certificate's one SPIFFE id says, judged by the roots of that id's own trust domain; a server
//! must prove the very identity that its [`Destination`] expects. Whatever goes wrong has a [`Reason`].
//!
//! An identity comes from a [`Source`]: [`Files`], the SPIFFE Workload API, [`Renewed`] for those that must be asked for, or one of your own; a
//! [`Rotation`] puts each new one to use. A connection's [`Lifetime`] ends soon after an identity on it was replaced, ended, was revoked or is no
//! longer [`Accepted`]. What cannot be had within these rules (a key that no memory holds, a client with a TLS of its own) goes through
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
//! - An exact list of ids is expected of a server; what a prefix would be is [`Accepted::danger`]'s.
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

mod accepted;
mod acceptor;
mod admission;
#[cfg(feature = "axum")]
mod axum;
mod bundle;
mod clock;
mod connection;
mod connector;
mod credentials;
mod danger;
mod dates;
mod deadline;
mod files;
mod frames;
mod generation;
mod handshake;
mod head;
mod identity;
mod identity_error;
mod incoming;
mod jitter;
mod leaf;
mod lifetime;
mod listener;
mod mode;
mod one_way;
mod own_resolver;
mod pace;
mod pem;
mod place;
mod protocol;
mod reason;
mod renewed;
mod rotation;
mod settings;
mod silence;
mod source;
mod stream;
mod tally;
#[cfg(feature = "tonic")]
mod tonic;
mod unsigned;
mod verifier;
#[cfg(feature = "workload-api")]
mod workload_api;

pub use accepted::{Accepted, DangerousAccepted};
pub use acceptor::Acceptor;
pub use admission::Limits;
pub use bundle::TrustBundles;
pub use clock::Clock;
pub use connection::Connection;
pub use connector::{Connector, Destination};
pub use credentials::Credentials;
pub use danger::{DangerousCredentials, OwnResolvers};
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use dates::Rfc3339;
pub use deadline::Deadline;
pub use files::Files;
pub use handshake::{HandshakeError, HandshakeTimeouts};
pub use identity::{Identity, X509Svid};
pub use identity_error::IdentityError;
pub use incoming::Incoming;
pub use lifetime::{End, Ended, Lifetime, Lifetimes};
pub use listener::Listener;
pub use mode::{Mode, Modes};
pub use one_way::OneWayConnector;
pub use pace::HttpTimes;
pub use protocol::{Protocol, outbound_sni};
pub use reason::{Reason, Refusal};
pub use renewed::Renewed;
pub use rotation::{Rotation, RotationTally};
pub use settings::{Provider, Settings};
pub use source::{Fixed, NextIdentity, Source, SourceError};
pub use stream::Stream;
pub use tally::Tally;
#[cfg(feature = "workload-api")]
pub use workload_api::WorkloadApi;
