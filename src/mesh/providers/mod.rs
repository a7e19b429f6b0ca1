//! The providers that CUSTOM policies of the workload name.

mod compiled;

pub(super) use compiled::{ProviderCompiler, Providers};
