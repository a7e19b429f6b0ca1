//! Why a call is routed as it is: its virtual host, every route that was tried, what of each did
//! not match, and what the one that takes it does.

mod explanation;
mod failed;
mod host;
mod outcome;
mod sources;
#[cfg(test)]
mod tests;
mod tried;

pub use explanation::Explanation;
pub(in crate::routing) use explanation::explain;
pub use failed::FailedMatch;
pub use host::{DomainMatch, HostReport};
pub use outcome::{ClusterReport, Outcome, RetryReport};
pub(in crate::routing) use sources::Sources;
pub use sources::WrittenIn;
pub use tried::RouteReport;
