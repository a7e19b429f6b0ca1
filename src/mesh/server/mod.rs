//! Inbound, in its one order: gate, propagation, metrics, JWT, RBAC, then the application. One future and one body for all of them.

pub(super) mod connection;
mod future;
#[cfg(feature = "axum")]
pub(super) mod make;
pub(super) mod on_complete;
mod one_hop;
mod own_body;
mod record;
mod service;

pub use future::{ResponseBody, ResponseFuture};
pub use record::Completed;
pub use service::{ConnectionServer, Server, ServerLayer};

pub(super) use record::Observer;
pub(super) use service::Inbound;
