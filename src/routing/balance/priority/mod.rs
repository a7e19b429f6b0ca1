//! Priorities: how calls spread over them, and when all hosts of one are used, ill or not.

mod load;
mod retry;

pub use load::{Availability, Priorities, PriorityHosts, PriorityLoad};
pub use retry::AttemptedPriorities;
