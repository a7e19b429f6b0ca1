//! Picks: one host of many for a call.

mod attempts;
mod call;
mod host_set;
mod policy;
mod pool;
mod schedule;
mod table;
mod tier;
mod warm_up;

pub use attempts::Attempts;
pub use call::{Call, Pick};
pub use host_set::{BalanceSettings, Endpoint, HostSet, LocalityBalancing, LocalityEndpoints};
pub use policy::Policy;
pub use warm_up::WarmUp;
