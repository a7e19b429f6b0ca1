//! Outbound, in its one order: propagation, metrics, then a connection to the destination's identity.

pub(super) mod body;
mod error;
mod future;
mod head_timeout;
mod into_uri;
pub(super) mod pool;
mod read;
mod record;
mod request;
mod resend;
mod service;

pub use error::ClientError;
pub use future::{ResponseBody, ResponseFuture};
pub use into_uri::IntoUri;
pub use read::BodyError;
pub use request::RequestBuilder;
pub use service::Client;
pub(super) use service::Outbound;
