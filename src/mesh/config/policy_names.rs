//! The names of the policies that a compiled program holds.

use std::collections::BTreeSet;

use crate::policy::Program;
use crate::policy::ir::Rbac;

/// The policies that apply to the workload, on any port and with any action, dry runs included.
pub(in crate::mesh) fn applying(program: &Program) -> BTreeSet<&str> {
    let http = &program.http;
    let chains = http.by_port.values().chain([&http.default]);
    let sets = chains.flat_map(|chain| chain.sets());
    sets.flat_map(|(_, _, rules)| policies(Some(rules)))
        .collect()
}

/// The policies of a rule set: the names of its rules, without the rules' numbers.
pub(in crate::mesh) fn policies(rules: Option<&Rbac>) -> impl Iterator<Item = &str> {
    let names = rules
        .into_iter()
        .flat_map(|rules| rules.policies.keys().map(|name| name.as_str()));
    names.map(|name| {
        name.rsplit_once("-rule[")
            .map_or(name, |(policy, _)| policy)
    })
}
