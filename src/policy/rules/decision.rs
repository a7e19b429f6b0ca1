use std::fmt;
use std::sync::Arc;

use crate::istio::Action;

/// The name of the rule that decided: `ns[foo]-policy[bar]-rule[0]`, or a legacy ServiceRole's
/// name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyId(Arc<str>);

impl PolicyId {
    /// Takes a rule's name unchanged.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for PolicyId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PolicyId({})", self.0)
    }
}

/// The engine's answer to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decision {
    /// Whether the request may pass.
    pub allowed: bool,
    /// Which stage decided: [`Action::Deny`] when a DENY rule matched, [`Action::Allow`] when an
    /// ALLOW rule matched or none of the selected ones did, [`Action::Custom`] when an unusable
    /// provider refused; `None` when no ALLOW policy was selected.
    pub action: Option<Action>,
    /// The rule that decided; `None` on an implicit deny and when no policy was selected.
    pub policy: Option<PolicyId>,
    /// What else was seen; `None` when there was nothing, so that a plain allow allocates nothing.
    pub marks: Option<Arc<Marks>>,
}

impl Decision {
    /// How much a decision has to say, where several forms of a request are judged and one decision
    /// counts: that it refuses, that a dry run would refuse, that rules for audit matched.
    #[cfg_attr(not(feature = "rbac"), allow(dead_code, reason = "for other hosts"))]
    pub(crate) fn weight(&self) -> u8 {
        let marks = self.marks.as_deref();
        let dry_runs = marks.map(|marks| [&marks.dry_run_allow, &marks.dry_run_deny]);
        let mut dry_runs = dry_runs.into_iter().flatten().flatten();
        let is_audited = marks.is_some_and(|marks| !marks.audit.is_empty());
        if !self.allowed {
            3
        } else if dry_runs.any(|run| !run.allowed) {
            2
        } else {
            u8::from(is_audited)
        }
    }

    /// A decision without marks.
    #[must_use]
    pub fn new(allowed: bool, action: Option<Action>, policy: Option<PolicyId>) -> Self {
        Self {
            allowed,
            action,
            policy,
            marks: None,
        }
    }

    /// Whether the request may pass.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.allowed
    }

    /// Envoy's response code details of a refusal: `rbac_access_denied_matched_policy[NAME]`,
    /// `[none]` on an implicit deny.
    #[must_use]
    pub fn details(&self) -> String {
        let name = self.policy.as_ref().map_or("none", PolicyId::as_str);
        format!("rbac_access_denied_matched_policy[{name}]")
    }
}

/// The outcome of rules that do not decide: audit matches and dry runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Marks {
    /// Names of every AUDIT rule that matched, in byte order.
    pub audit: Vec<PolicyId>,
    /// What the dry-run ALLOW policies alone would decide; `None` when there are none.
    pub dry_run_allow: Option<DryRun>,
    /// What the dry-run DENY policies alone would decide; `None` when there are none.
    pub dry_run_deny: Option<DryRun>,
}

impl Marks {
    /// Whether nothing was seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.audit.is_empty() && self.dry_run_allow.is_none() && self.dry_run_deny.is_none()
    }
}

/// What policies on trial would have decided.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DryRun {
    /// Whether they would let the request pass.
    pub allowed: bool,
    /// The rule that matched.
    pub policy: Option<PolicyId>,
}

impl DryRun {
    /// The outcome of a dry run.
    #[must_use]
    pub fn new(allowed: bool, policy: Option<PolicyId>) -> Self {
        Self { allowed, policy }
    }
}
