//! The inbound stack: propagation and metrics begin, then the [`steps`] judge the request in their
//! one order, then the application is called. All of them share one future and one body.

mod app_guards;
mod app_server_body;
pub(super) mod connection;
#[cfg(feature = "external")]
mod custom;
mod future;
mod header_trust;
mod inbound;
pub(super) mod limit_metrics;
mod record;
mod service;
mod steps;
mod trusted_proxies;
mod waiting;

pub use future::{ResponseBody, ResponseFuture};
pub use service::{ConnectionServer, Server, ServerLayer};

pub(super) use app_guards::AppGuards;
pub(super) use header_trust::HeaderTrust;
pub(super) use inbound::Inbound;
pub(super) use trusted_proxies::{Trusted, TrustedProxies};
