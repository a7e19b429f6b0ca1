//! Load balancing: which endpoint a call goes to, and what its outcome means for the next.
//!
//! A [`HostSet`] holds the hosts of a cluster, ready to be picked from: [priorities](Priorities),
//! [localities](LocalityBalancing), and one of several [policies](Policy). Around it are what
//! changes it, [outlier detection](OutlierDetector), and what limits and repeats calls: a
//! [circuit breaker](CircuitBreaker), [retries](RetryPolicy) with [budgets](RetryBudget), and
//! [timeouts](Timeouts).
//!
//! All of this is arithmetic: times and random numbers are arguments, nothing does I/O, and nothing
//! that runs for each call locks or allocates. Times are those of one monotonic clock since any
//! beginning that all calls share. The rules are Envoy's, with Istio's defaults; where one differs,
//! its item says so.

mod circuit_breaker;
mod hash;
mod host;
mod locality;
mod outcome;
mod outlier;
mod pick;
mod priority;
mod random;
mod retry;
mod timeout;

pub use circuit_breaker::{Admitted, CircuitBreaker, Overflow, Place, Thresholds};
pub use hash::HashKey;
pub use host::{Health, Host, InFlight, PeakEwma};
pub use locality::{
    Distribute, DistributeError, FailoverRule, LabelChain, Labels, Locality, LocalityPriorities,
    TrafficDistribution, ZoneAware, compact,
};
pub use outcome::{Head, Pushback, TryOutcome};
pub use outlier::{
    Ejection, HostAdmission, HostBreaker, HostErrors, OutlierDetection, OutlierDetector, Sweep,
};
pub use pick::{
    Attempts, BalanceSettings, Call, Endpoint, HostSet, LocalityBalancing, LocalityEndpoints, Pick,
    Policy, WarmUp,
};
pub use priority::{AttemptedPriorities, Availability, Priorities, PriorityHosts, PriorityLoad};
pub use retry::{
    Backoff, Condition, RetryBudget, RetryDecision, RetryOn, RetryOnError, RetryPolicy, RetryState,
    RetryThrottle, TpsBudget,
};
pub use timeout::{CallTimeouts, RouteTimeouts, Timeouts};
