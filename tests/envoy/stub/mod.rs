//! The parties around an Envoy or a mesh that asks: the caller, the application, and the server that is asked.

mod app;
mod caller;
mod difference;
mod envoy;
#[path = "../../support/messages.rs"]
pub(crate) mod messages;
mod ours;
mod serve;

pub(crate) use app::{App, Seen, joined, text};
pub(crate) use caller::{Call, Connection, Reply};
pub(crate) use difference::difference;
pub(crate) use envoy::{Envoy, Filter, cluster};
pub(crate) use ours::Ours;
pub(crate) use serve::{Reaction, Whole, closed_port, decode, grpc, grpc_error, plain, serve};
