use std::collections::BTreeMap;
use std::sync::Arc;

use super::decision::PolicyId;
use crate::istio::Position;

/// Where each rule of a [`Program`](crate::policy::Program) was written, by the name under which it
/// is reported.
///
/// A rule that no resource contains has no origin: the one that replaces an empty rule list.
pub type Origins = BTreeMap<PolicyId, RuleOrigin>;

/// Where one rule was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuleOrigin {
    /// Where the rule starts; of a legacy role where the role starts.
    pub at: Position,
    /// What it asks for, in the order of the rule's [`Policy`](crate::policy::ir::Policy):
    /// permissions first, then principals; each of their entries is an `And` of exactly these.
    /// Empty for a legacy role, whose clauses differ from port to port.
    pub clauses: Vec<ClauseOrigin>,
}

/// Where one list of a rule was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClauseOrigin {
    /// Where its first value was written.
    pub at: Position,
    /// The field's path (`spec.rules[0].to[0].operation.paths`). A condition in `when` occurs once
    /// for each entry that it narrows.
    pub field: Arc<str>,
    /// Raw TCP knows nothing of it.
    pub http_only: bool,
    /// Whether it says who, rather than what.
    pub of_principal: bool,
    /// Which entry of the permissions or principals it belongs to.
    pub entry: usize,
}
