//! The routing engine reads Istio's traffic resources and chooses as a sidecar would: which
//! cluster a call goes to, and with which timeout, retries and rewrites. It needs no HTTP library,
//! no runtime and no clock; random numbers and times are arguments.
//!
//! Needs the feature `routing`.

mod engine;
pub mod envoy;
mod gateway_api;
mod host;
mod hosts;
mod index;
pub mod route;
pub mod services;
mod virtual_service;

pub use engine::{Routing, RoutingOptions};
pub use host::{host_contains, hosts_overlap, resolve_host};
pub use hosts::{Choice, Drawn, L4Route, L4Routes, RouteTable, SniHosts, Unknown, VirtualHost};
pub use virtual_service::HashLookup;

#[cfg(test)]
mod tests;
