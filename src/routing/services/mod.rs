//! The services of the mesh: those of Kubernetes and those of ServiceEntry, alike, and which of
//! them a workload sees.

mod export;
mod from_entry;
mod from_kubernetes;
mod registry;
mod scope;
mod service;

pub use export::{Exports, Reach};
pub use registry::Registry;
pub use scope::{EgressScope, SidecarScope};
pub use service::{Service, ServicePort, ServiceSource};

#[cfg(test)]
mod tests;
