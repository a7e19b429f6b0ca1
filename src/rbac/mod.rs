//! Guard that asks the policy engine: Istio's AuthorizationPolicy, and the legacy ServiceRole.

mod guard;
mod layer;
mod request;
mod target;

pub use guard::Guard;
pub use layer::{Rbac, RbacLayer, ResponseFuture};
pub use request::RequestAttributes;
