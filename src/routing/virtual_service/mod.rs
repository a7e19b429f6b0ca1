//! From VirtualServices to routes: which count for a workload, in which order, with their delegates
//! merged, and what of them is left for one port.

mod actions;
mod conflict;
mod context;
mod delegate;
mod destination;
mod http;
mod matches;
mod policies;
mod resolved;

pub(super) use context::Context;
pub use context::HashLookup;
pub use delegate::delegate_agrees;
pub(super) use delegate::merge_delegates;
pub(super) use destination::{UNKNOWN, cluster};
pub(super) use http::{default_route, routes};
pub(super) use resolved::{MESH, Resolved, Semantics};
