//! Inbound: propagation and metrics begin, then the request is judged in the one order of [`steps`], then the
//! application is called. One future and one body for all of them.

mod app_guards;
pub(super) mod connection;
mod future;
mod inbound;
mod one_hop;
mod own_body;
mod record;
mod service;
mod steps;

pub use future::{ResponseBody, ResponseFuture};
pub use service::{ConnectionServer, Server, ServerLayer};

pub(super) use app_guards::AppGuards;
pub(super) use inbound::Inbound;
