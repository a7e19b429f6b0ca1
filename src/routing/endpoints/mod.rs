//! The endpoints of services: where they come from, and which of them a caller prefers.

mod discover;
mod endpoint;
mod groups;
mod inventory;
mod of_entry;
mod of_kubernetes;
mod of_pod;
mod of_workload;
mod setting;

pub use endpoint::{AccountSource, Endpoint, EndpointAddress, EndpointHealth};
pub use groups::{Caller, LocalityGroup};
pub use inventory::Inventory;
pub use setting::LocalitySetting;

#[cfg(test)]
mod tests;
