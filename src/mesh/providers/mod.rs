//! The providers that CUSTOM policies of the workload name, and the client that asks them.

mod cache_metrics;
mod compiled;
mod late_client;
mod registered;

pub(super) use compiled::{ProviderCompiler, Providers};
pub(super) use late_client::LateClient;
pub(super) use registered::Registered;
