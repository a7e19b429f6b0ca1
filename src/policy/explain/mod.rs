//! Why a request was allowed or refused: every rule that was asked, and the first clause of each
//! that did not hold.

mod clause;
mod explanation;
mod provider;
mod walk;

pub use clause::FailedClause;
#[cfg(feature = "coverage")]
pub(crate) use clause::node_clause;
pub(super) use explanation::explain;
pub use explanation::{Explanation, RuleReport};
pub use provider::ProviderReport;
