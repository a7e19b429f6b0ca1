//! The options of a mesh, in groups: what listeners take, how calls are made, where keys of tokens
//! come from, and what is seen.

mod client;
mod listener;
mod telemetry;
mod tokens;

pub use client::ClientOptions;
pub use listener::ListenerOptions;
pub use telemetry::TelemetryOptions;
pub use tokens::TokenOptions;
