use std::sync::Arc;

use super::super::compiler::Compiler;
use super::super::mtls::set_or;
use super::super::selection::oldest;
use super::service::Service;
use crate::istio::{LegacyPolicy, LegacyTarget, MtlsMode, PortSelector, StringMatch};
use crate::matcher::SafeRegex;

/// The one Policy or MeshPolicy that counts for a service's port: the narrowest, nothing is merged.
pub(super) fn effective<'r>(
    compiler: &mut Compiler<'_>,
    policies: &'r [Arc<LegacyPolicy>],
    service: &Service<'_>,
) -> Option<&'r LegacyPolicy> {
    let covering = policies.iter().map(|policy| &**policy);
    let covering =
        covering.filter_map(|policy| Some((breadth(compiler, policy, service)?, policy)));
    let covering: Vec<_> = covering.collect();
    let (narrowest, _) = covering.iter().min_by_key(|(breadth, _)| *breadth)?;
    let candidates = covering.iter().filter(|(breadth, _)| breadth == narrowest);
    let candidates = candidates.map(|(_, policy)| *policy).collect();
    oldest(compiler, candidates, |policy| &policy.meta)
}

/// Records trigger rules that are no regexes of this engine's.
pub(super) fn check_triggers(compiler: &mut Compiler<'_>, policy: &LegacyPolicy) {
    for (index, origin) in policy.origins.iter().enumerate() {
        let rules = origin.trigger_rules.iter();
        for path in rules.flat_map(|rule| rule.excluded_paths.iter().chain(&rule.included_paths)) {
            if let StringMatch::Regex(text) = path
                && let Err(error) = SafeRegex::new(text)
            {
                let field = format!("spec.origins[{index}].jwt.triggerRules");
                compiler.refuse(text.at(), field, error);
            }
        }
    }
}

/// The mode of a Policy's peer method; `None` when it has none, and then the port has no mutual
/// TLS.
pub(super) fn peer_mode(policy: &LegacyPolicy) -> Option<MtlsMode> {
    Some(set_or(policy.mtls.as_ref()?.mode, MtlsMode::Strict))
}

/// How much a policy covers; the narrower one counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Breadth {
    Port,
    Service,
    Namespace,
    Mesh,
}

fn breadth(
    compiler: &Compiler<'_>,
    policy: &LegacyPolicy,
    service: &Service<'_>,
) -> Option<Breadth> {
    if policy.meta.kind == MESH_POLICY {
        return Some(Breadth::Mesh);
    }
    if policy.meta.namespace != compiler.workload.namespace() {
        return None;
    }
    if policy.targets.is_empty() {
        return Some(Breadth::Namespace);
    }
    let targets = policy.targets.iter();
    let named = targets.filter(|target| !service.name.is_empty() && *target.name == *service.name);
    named
        .filter_map(|target| target_breadth(target, service))
        .min()
}

fn target_breadth(target: &LegacyTarget, service: &Service<'_>) -> Option<Breadth> {
    if target.ports.is_empty() {
        return Some(Breadth::Service);
    }
    let is_ours = |port: &PortSelector| match port {
        PortSelector::Name(name) => service.port_name == Some(name.as_str()),
        PortSelector::Number(number) => service.port == Some(*number),
    };
    target.ports.iter().any(is_ours).then_some(Breadth::Port)
}

/// The kind that covers the whole mesh.
pub(super) const MESH_POLICY: &str = "MeshPolicy";
