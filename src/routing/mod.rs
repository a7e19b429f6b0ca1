//! The routing engine reads Istio's traffic resources and chooses as a sidecar would: which
//! cluster a call goes to, and with which timeout, retries and rewrites. It needs no HTTP library,
//! no runtime and no clock; random numbers and times are arguments.
//!
//! Needs the feature `routing`.

mod host;
pub mod route;
pub mod services;

pub use host::{host_contains, hosts_overlap, resolve_host};
