//! The cache of a provider's decisions.

mod counts;
mod decisions;
mod flights;
mod key;
mod options;
mod personal;
mod weight;

pub(crate) use counts::{CacheCounts, Counters};
pub(crate) use decisions::{Decisions, Known, LookUp, Settled, Ticket};
pub use options::DecisionCache;
