//! Retries: which outcomes are tried again, how often, and after how long.

mod backoff;
mod budget;
mod condition;
mod policy;
mod status_name;

pub use backoff::Backoff;
pub use budget::{RetryBudget, RetryThrottle, TpsBudget};
pub use condition::{Condition, RetryOn, RetryOnError};
pub use policy::{RetryDecision, RetryPolicy, RetryState};
