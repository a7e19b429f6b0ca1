//! Outbound, in its one order: propagation, metrics, then a connection to the destination's identity.

mod again;
mod client;
mod error;
mod future;
mod record;

pub use client::Client;
pub(super) use client::Outbound;
pub use error::ClientError;
pub use future::{ResponseBody, ResponseFuture};
