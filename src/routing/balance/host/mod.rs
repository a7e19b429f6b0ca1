//! Hosts: the endpoints of a cluster, with what is known of each.

mod health;
mod latency;
mod state;

pub use health::Health;
pub use latency::PeakEwma;
pub use state::{Host, InFlight};
