//! Localities: where endpoints are, and which of them a caller prefers.

mod distribute;
mod failover;
mod label_chain;
mod place;
mod weight;
mod zone_aware;

pub use distribute::{Distribute, DistributeError};
pub use failover::{FailoverRule, LocalityPriorities, compact};
pub use label_chain::{LabelChain, Labels, TrafficDistribution};
pub use place::Locality;
pub(in crate::routing::balance) use weight::effective_weight;
pub use zone_aware::ZoneAware;
pub(in crate::routing::balance) use zone_aware::ZoneRouting;
