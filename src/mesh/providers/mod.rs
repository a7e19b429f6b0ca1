//! The providers that CUSTOM policies of the workload name.

mod cache_metrics;
mod compiled;
mod registered;

pub(super) use compiled::{ProviderCompiler, Providers};
pub(super) use registered::Registered;
