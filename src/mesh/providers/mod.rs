//! The providers that CUSTOM policies of the workload name, and the client that asks them.

mod compiled;
mod late_client;

pub(super) use compiled::{ProviderCompiler, Providers};
pub(super) use late_client::LateClient;
