//! Facts of a request that layers share: the caller ([`Peer`]), the end user ([`Claims`]) and the
//! trace ([`TraceContext`]).
//!
//! One [`Exchange`] per request carries them. The outermost layer puts it into the request's
//! extensions, and each layer adds the facts that it finds out. A fact that is set is never
//! replaced:
//!
//! ```text
//!  writer           sets                         readers
//!  TLS acceptor     Peer (address, identity)     policy, metrics, propagation, handlers
//!    │
//!  mesh             ForwardedPeer, if a trusted proxy calls   policy, log lines, handlers
//!    │
//!  PropagationLayer TraceContext, request id     log lines, the client, handlers
//!    │
//!  JwtLayer         Claims of the token          policy, handlers
//!    │
//!  RbacLayer        Decision (rule, reason)      metrics, spans, on_complete
//!    │
//!  application      nothing; it reads the facts by extractor, extension, or `current`
//! ```
//!
//! While the request's future or its body is polled, its exchange is also the *current* one of the
//! task ([`current`], [`current_trace`]). The client and log lines find it there without help from
//! the application. A task that the handler spawns is a separate task: `propagation::carry` takes the
//! request into it.
//!
//! An application can read the facts in these ways:
//!
//! | under | how |
//! |---|---|
//! | axum (feature `axum`) | handler arguments `Peer`, `Claims`, `TraceContext`, or `Option` of each |
//! | axum, behind a trusted proxy | handler argument `Option<ForwardedPeer>` |
//! | axum, claims in your own type | handler argument `ClaimsAs<T>`, or `Option` of it |
//! | tonic (feature `tonic`) | [`RequestFacts`], on a `tonic::Request` |
//! | any `http::Request` | [`Exchange::from_extensions`] with its extensions, see below |
//! | anywhere in the request's task | [`current`] |
//!
//! No fact is ever taken from a header that a caller may write. A [`ForwardedPeer`] is taken from a
//! header or a connection of a proxy that the operator has named. Requests without a [`Peer`] are
//! refused by guards: an unknown caller is not the same as a plaintext caller.
//!
//! # Example
//!
//! A test, or an acceptor of your own, states facts that a handler reads:
//!
//! ```
//! use http::Request;
//! use tower_mesh::Peer;
//! use tower_mesh::context::{Exchange, TlsFacts};
//! use tower_mesh::identity::PeerCertificate;
//!
//! let mut tls = TlsFacts::default();
//! let desk = "spiffe://cluster.local/ns/default/sa/desk".parse()?;
//! tls.certificate = Some(PeerCertificate::from_spiffe_id(desk));
//! let peer = Peer::tls("10.0.0.1:4711".parse()?, "10.0.0.2:8443".parse()?, tls);
//! let mut request = Request::get("/patients/7").extension(peer).body(())?;
//!
//! let exchange = Exchange::from_extensions(request.extensions_mut());
//! assert_eq!(exchange.peer().and_then(Peer::principal), Some("cluster.local/ns/default/sa/desk"));
//! assert!(exchange.claims().is_none(), "no guard has verified a token");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod activity;
mod claims;
#[cfg(feature = "axum")]
mod claims_as;
mod current;
mod exchange;
#[cfg(feature = "axum")]
mod extract;
mod forwarded_peer;
mod peer;
mod peer_layer;
mod routed_path;
#[cfg(feature = "tonic")]
mod tonic_request;
mod trace;
mod under_way;

pub use activity::Activity;
pub(crate) use activity::Ending;
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use activity::drop_slow_stream;
pub use claims::{Claims, ClaimsMismatch};
#[cfg(feature = "axum")]
pub use claims_as::ClaimsAs;
pub use current::{Lent, Scope, current, current_trace};
#[cfg(any(feature = "gate", feature = "jwt", feature = "propagation"))]
pub(crate) use exchange::Caller;
#[cfg(feature = "propagation")]
pub(crate) use exchange::Hide;
#[cfg(feature = "propagation")]
pub(crate) use exchange::OnceList;
#[cfg(any(feature = "access-log", feature = "gate", feature = "jwt"))]
pub(crate) use exchange::Refusal;
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use exchange::Telling;
pub use exchange::{Exchange, Placement};
#[cfg(feature = "axum")]
pub use extract::MissingFact;
#[cfg(feature = "tls")]
pub(crate) use forwarded_peer::ProxySocket;
pub use forwarded_peer::{ForwardedPeer, Via};
pub use peer::{Peer, TlsFacts};
pub use peer_layer::{PeerLayer, WithPeer};
#[cfg(feature = "tonic")]
pub use tonic_request::RequestFacts;
#[cfg(feature = "propagation")]
pub(crate) use trace::{Carried, Formats, Marks};
pub use trace::{SpanId, TraceContext, TraceId, TraceReason};
pub use under_way::{QuietPlace, UnderWay};
