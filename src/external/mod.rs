//! External authorization: providers that CUSTOM policies ask whether a request is allowed.
//!
//! An `AuthorizationPolicy` with `action: CUSTOM` selects requests and names a provider. A provider
//! can be a service over the network, or an [`Authorizer`] of the application, in its process.
//!
//! # Over the network
//!
//! MeshConfig's `extensionProviders` define these providers: `envoyExtAuthzGrpc`
//! ([`GrpcAuthorizer`]) and `envoyExtAuthzHttp` ([`HttpAuthorizer`]). The mesh asks them through
//! its own client, over one HTTP/2 connection or a pool of HTTP/1.1 connections. A host of
//! [`MeshBuilder::upstream`](crate::MeshBuilder::upstream) is asked over mutual TLS, and one of
//! [`MeshBuilder::outside`](crate::MeshBuilder::outside) as that says. A provider whose host the
//! client does not know refuses the requests that it should judge, also if it fails open.
//!
//! | What happens | What the caller gets |
//! |---|---|
//! | The provider allows the request. | The answer of the rules and the application; DENY and ALLOW policies still apply. |
//! | It denies the request. | Its status, headers and body, with the flag `UAEX`. |
//! | It fails, lies, hangs until its `timeout`, or is not there. | 403 or `statusOnError`, with an empty body and the flag `UAEX`. With `failOpen` the request goes on. |
//! | The body is longer than `maxRequestBytes`, and it may not be shown in part. | 413, also with `failOpen`. |
//! | The caller disconnects. | The question is cancelled. |
//!
//! `mesh_external_authorization_total` counts the outcomes `allowed`, `denied`, `error` and
//! `failed_open` of each provider. Without a `timeout` a provider has ten minutes, as in Istio, and
//! a line in the log says so; a gRPC caller's `grpc-timeout` ends the question in any case.
//!
//! # Differences from Envoy/Istio
//!
//! An answer of a provider counts as an error if it tries to change the host, the method or a
//! pseudo header, a header that names the caller (`x-forwarded-client-cert`, `x-forwarded-for`), a
//! header of one message or connection (`content-length`, `connection`, `te`), a header that a
//! RequestAuthentication sets, or an `x-envoy-*` header. Envoy obeys, so that the service chooses
//! what the policies behind it see. Answers are bounded: 256 KiB over gRPC; over HTTP 64 KiB of
//! headers and of body.
//!
//! # Example
//!
//! An authorizer that lets clinicians write only during their shift:
//!
//! ```
//! use http::{Method, Request};
//! use tower_mesh::Peer;
//! use tower_mesh::external::{
//!     Authorization, AuthorizationRequest, Authorizer, AuthorizerError, Denial,
//! };
//!
//! struct Shifts;
//!
//! /// Stands for a call to another system.
//! async fn is_on_shift(clinician: &str) -> Result<bool, std::io::Error> {
//!     Ok(clinician == "alice")
//! }
//!
//! impl Authorizer for Shifts {
//!     async fn authorize(
//!         &self,
//!         request: AuthorizationRequest,
//!     ) -> Result<Authorization, AuthorizerError> {
//!         if request.method() == Method::GET {
//!             return Ok(Authorization::allow());
//!         }
//!         let Some(clinician) = request.headers().get("x-clinician") else {
//!             return Ok(Authorization::deny());
//!         };
//!         let name = clinician.to_str().map_err(AuthorizerError::new)?;
//!         Ok(match is_on_shift(name).await.map_err(AuthorizerError::new)? {
//!             true => Authorization::allow(),
//!             false => Denial::forbidden().body("not on shift").into(),
//!         })
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let peer = Peer::plaintext("10.0.0.1:4711".parse()?, "10.0.0.2:8080".parse()?);
//! for (clinician, allowed) in [("alice", true), ("bob", false)] {
//!     let request = Request::post("/patients/7").header("x-clinician", clinician).body(())?;
//!     let answer = Shifts.authorize(AuthorizationRequest::new(&peer, request)).await?;
//!     assert_eq!(answer.is_allowed(), allowed);
//! }
//! # Ok(()) }
//! ```

mod authorizer;
mod cache;
mod check_headers;
mod from_mesh_config;
mod grpc;
mod http;
mod mutations;
mod provider;
mod transport;

#[cfg(all(feature = "server", feature = "client"))]
pub(crate) use self::{
    authorizer::DynAuthorizer,
    cache::{CacheCounts, Counters as CacheCounters, Decisions, Ticket},
    from_mesh_config::Definition,
    mutations::apply,
    provider::{Beforehand, Counts, Kind, Outcome, Provider},
    transport::UnknownProvider,
};
pub use crate::istio::CacheKey;
pub use authorizer::{
    Authorization, AuthorizationRequest, Authorizer, AuthorizerError, AuthorizerOptions, BodyBound,
    Changes, DangerousAuthorizerOptions, Denial, HeaderChange, QueryChange, Stage,
};
pub use cache::DecisionCache;
pub use grpc::GrpcAuthorizer;
pub use http::{HeaderPatterns, HttpAuthorizer};
