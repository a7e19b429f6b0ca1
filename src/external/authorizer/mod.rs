//! What every provider is, whatever it asks: its question, its answer and its options.

mod authorization;
mod contract;
mod options;
mod request;

pub use authorization::{Authorization, Changes, Denial, HeaderChange, QueryChange};
pub use contract::{Authorizer, AuthorizerError, BodyBound, Stage};
pub(crate) use contract::{BoxedAnswer, DynAuthorizer};
pub use options::{AuthorizerOptions, DangerousAuthorizerOptions};
pub use request::AuthorizationRequest;
