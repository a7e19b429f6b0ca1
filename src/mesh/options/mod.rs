//! The options of a mesh, in four groups: listeners, the client, keys of tokens, and telemetry.

mod client;
mod listener;
mod telemetry;
mod tokens;

pub use client::ClientOptions;
pub use listener::ListenerOptions;
pub use telemetry::TelemetryOptions;
pub use tokens::TokenOptions;
