//! External authorization: providers that CUSTOM policies ask whether a request is allowed.
//!
//! An `AuthorizationPolicy` with `action: CUSTOM` selects requests and names a provider. A provider
//! can be a service over the network, or an [`Authorizer`] of the application, in its process.
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
