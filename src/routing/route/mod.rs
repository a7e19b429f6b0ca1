//! One route: what it matches, and what becomes of a call that it takes. Shaped like Envoy's
//! `config.route.v3`, so that it prints as such.
//!
//! [`RouteMatch`] is plain data; [`eval`] walks it and is the reference for everything faster.

mod action;
mod call;
mod cluster;
pub mod eval;
mod headers;
mod matches;
mod policies;
mod redirect;
mod retry;
mod rewrite;
#[cfg(test)]
mod tests;
mod timeout;

pub use action::{Action, Forward, Respond, Route};
pub use call::{Call, CallHead};
pub use cluster::{Cluster, ClusterName, Split, WeightedCluster};
pub use headers::{HeaderAdd, HeaderChanges, HeaderEdit};
pub use matches::{
    ClaimMatch, HeaderMatch, HeaderTest, PathMatch, PathSummary, QueryMatch, RouteMatch, Subject,
    Summary,
};
pub use policies::{Abort, Cors, Fault, Mirror, holds};
pub use redirect::{Redirect, RedirectPath};
pub use retry::{Condition, Conditions, RetryPolicy};
pub use rewrite::{PathRewrite, RegexSubstitution, RewriteError};
pub use timeout::overall_timeout;
