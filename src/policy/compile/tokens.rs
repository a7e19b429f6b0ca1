use std::sync::Arc;

use super::compiler::Compiler;
use super::selection::{age, select};
use crate::istio::{JwtRule, RequestAuthentication};

/// The rules of every RequestAuthentication that selects the workload: its namespace's first, older
/// first, then sorted by issuer. `None` when there is none.
pub(super) fn rules(
    compiler: &mut Compiler<'_>,
    resources: &[Arc<RequestAuthentication>],
) -> Option<Vec<JwtRule>> {
    let mut selected = select(compiler, resources);
    if selected.is_empty() {
        return None;
    }
    let own = compiler.workload.namespace();
    selected.sort_by_key(|resource| (resource.meta.namespace != own, age(&resource.meta)));
    let rules = selected
        .into_iter()
        .flat_map(|resource| &resource.jwt_rules);
    let mut rules: Vec<_> = rules.cloned().collect();
    rules.sort_by(|a, b| issuer(a).cmp(issuer(b)));
    Some(rules)
}

fn issuer(rule: &JwtRule) -> &str {
    rule.issuer.as_deref().unwrap_or_default()
}
