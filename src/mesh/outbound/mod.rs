//! Outbound, in its one order: propagation, metrics, then a connection to the destination's identity.

mod again;
mod client;
mod error;
mod future;
mod head_timeout;
mod into_uri;
mod read;
mod record;
mod request;

pub use client::Client;
pub(super) use client::Outbound;
pub use error::ClientError;
pub use future::{ResponseBody, ResponseFuture};
pub use into_uri::IntoUri;
pub use read::BodyError;
pub use request::RequestBuilder;
