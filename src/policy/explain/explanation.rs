use std::fmt;

use serde::Serialize;

use super::clause::FailedClause;
use super::provider::ProviderReport;
use super::walk;
use crate::istio::Action;
use crate::policy::ir::Rbac;
use crate::policy::{Attributes, Chain, Decision, Origins, PolicyId, eval};

/// Why the engine decides as it does: prints for people, serializes for programs.
///
/// It repeats parts of the request (paths, headers, claims): show it to operators, not to callers.
///
/// # Example
/// ```
/// use tower_mesh::Workload;
/// use tower_mesh::policy::{Engine, Request};
///
/// let engine = Engine::builder(&Workload::new("default", "patients")).yaml("
/// apiVersion: security.istio.io/v1
/// kind: AuthorizationPolicy
/// metadata: {name: readers}
/// spec: {rules: [{to: [{operation: {methods: [GET]}}]}]}
/// ").build()?;
///
/// let why = engine.explain(&Request::new().delete("/patients/7"));
/// assert_eq!(why.to_string(), "\
/// refused: no ALLOW rule matches
///   ALLOW ns[default]-policy[readers]-rule[0]: no match
///     to.operation.methods is none of [GET]: saw \"DELETE\"
/// ");
/// # Ok::<(), tower_mesh::istio::Problems>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// Whether the request may pass.
    pub allowed: bool,
    /// The stage that decided, as [`Decision::action`]; `None` when no ALLOW policy was selected.
    pub action: Option<&'static str>,
    /// The rule that decided.
    pub policy: Option<String>,
    /// The external providers that are asked before all else, and what each answers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<ProviderReport>,
    /// Every rule of the workload, in the order they are asked.
    pub rules: Vec<RuleReport>,
}

/// The answer of one rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RuleReport {
    /// `CUSTOM`, `AUDIT`, `DENY` or `ALLOW`.
    pub action: &'static str,
    /// Evaluated and reported, never enforced.
    pub dry_run: bool,
    /// The rule's name.
    pub policy: String,
    /// Whether it matches.
    pub matched: bool,
    /// Of each alternative that could have made it match, the first clause that did not hold; empty
    /// when it matches.
    pub failed: Vec<FailedClause>,
}

/// Explains what a chain says to a request.
pub(in crate::policy) fn explain(
    chain: &Chain,
    origins: &Origins,
    decision: &Decision,
    providers: Vec<ProviderReport>,
    request: &dyn Attributes,
) -> Explanation {
    Explanation {
        allowed: decision.allowed,
        action: decision.action.map(Action::as_str),
        policy: decision.policy.as_ref().map(PolicyId::to_string),
        providers,
        rules: chain
            .sets()
            .flat_map(|(action, dry_run, rules)| reports(action, dry_run, rules, origins, request))
            .collect(),
    }
}

fn reports(
    action: Action,
    dry_run: bool,
    rules: &Rbac,
    origins: &Origins,
    request: &dyn Attributes,
) -> impl Iterator<Item = RuleReport> {
    rules.policies.iter().map(move |(name, policy)| {
        let matched = eval::policy_matches(policy, request);
        RuleReport {
            action: action.as_str(),
            dry_run,
            policy: name.to_string(),
            matched,
            failed: if matched {
                Vec::new()
            } else {
                walk::failed(policy, origins.get(name), request)
            },
        }
    })
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.allowed { "allowed" } else { "refused" };
        match (self.action, &self.policy) {
            (Some(action), Some(policy)) => {
                writeln!(f, "{verdict}: {action} rule {policy} matches")?
            }
            (Some(action), None) => writeln!(f, "{verdict}: no {action} rule matches")?,
            (None, _) if self.allowed => writeln!(f, "allowed: no ALLOW policy applies")?,
            (None, _) => writeln!(f, "refused before any rule was asked")?,
        }
        let mut providers = self.providers.iter();
        providers.try_for_each(|asked| writeln!(f, "  {asked}"))?;
        self.rules.iter().try_for_each(|rule| rule.fmt(f))
    }
}

impl fmt::Display for RuleReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dry_run = if self.dry_run { " (dry run)" } else { "" };
        let verdict = if self.matched { "match" } else { "no match" };
        writeln!(f, "  {}{dry_run} {}: {verdict}", self.action, self.policy)?;
        self.failed
            .iter()
            .try_for_each(|clause| writeln!(f, "    {clause}"))
    }
}
