//! Budgets: retries as a part of all calls, so that they do not multiply a load that is the cause.

mod concurrency;
mod throttle;
mod tps;

pub use concurrency::RetryBudget;
pub use throttle::RetryThrottle;
pub use tps::TpsBudget;
