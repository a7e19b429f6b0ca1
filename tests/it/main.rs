//! The crate from outside, through layers and over real sockets; a module per area.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_types,
    reason = "a test may panic"
)]

mod access_log;
mod audit;
mod authorizer;
mod client;
mod external;
mod jwt;
mod mesh;
#[path = "../support/messages.rs"]
mod messages;
mod metrics;
mod mistakes;
mod policy;
mod rate_limit;
mod request;
mod server;
mod support;
mod tcp;
mod telemetry;
mod tls;
mod tracing;
