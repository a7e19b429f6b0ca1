//! Rate limits: a mesh and a real Envoy with the same limits get the same requests in the same order.

mod scenario;
mod service;
mod table_global;
mod table_local;

pub(crate) use scenario::{Scenario, Step};
pub(crate) use service::{Answer, Service};

/// All of them.
pub(crate) fn scenarios() -> Vec<Scenario> {
    let mut all = table_local::scenarios();
    all.extend(table_global::scenarios());
    all
}
