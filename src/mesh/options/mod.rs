//! The options of a mesh, in groups: listeners, the client, keys of tokens, telemetry, and the audit
//! trail. And the proxies that it trusts.

#[cfg(feature = "audit")]
mod audit;
mod client;
mod export;
mod listener;
mod tcp;
mod telemetry;
mod tokens;
mod trusted_proxy;

#[cfg(feature = "audit")]
pub use audit::{AuditOptions, AuditedRoute};
pub use client::ClientOptions;
pub use listener::ListenerOptions;
pub use tcp::TcpOptions;
pub use telemetry::TelemetryOptions;
pub use tokens::TokenOptions;
pub use trusted_proxy::TrustedProxy;
