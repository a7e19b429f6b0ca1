//! The options of a mesh, in four groups: listeners, the client, keys of tokens, and telemetry. And
//! the proxies that it trusts.

mod client;
mod export;
mod listener;
mod tcp;
mod telemetry;
mod tokens;
mod trusted_proxy;

pub use client::ClientOptions;
pub use listener::ListenerOptions;
pub use tcp::TcpOptions;
pub use telemetry::TelemetryOptions;
pub use tokens::TokenOptions;
pub use trusted_proxy::TrustedProxy;
