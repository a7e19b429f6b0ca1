//! The rules of both sides, and which of them differ.

use std::collections::{BTreeSet, HashSet};

use crate::policy::ir::Policy;
use crate::policy::{Chain, Engine, PolicyId};

/// One of the two configurations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Old,
    New,
}

impl Side {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Old => Self::New,
            Self::New => Self::Old,
        }
    }
}

/// What a rule's match means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    Custom,
    Audit,
    Deny,
    DenyDry,
    Allow,
    AllowDry,
}

/// A rule of one side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule<'a> {
    pub(super) side: Side,
    pub(super) stage: Stage,
    pub(super) name: &'a PolicyId,
    pub(super) policy: &'a Policy,
    /// Of CUSTOM, the provider, and whether it can be asked.
    pub(super) provider: Option<(&'a str, bool)>,
}

/// The chain of a port.
pub(super) fn chain(engine: &Engine, port: u16, is_tcp: bool) -> &Chain {
    let program = engine.program();
    let chains = if is_tcp { &program.tcp } else { &program.http };
    chains.get(port)
}

/// A port, and those that either side names.
pub(super) fn ports(old: &Engine, new: &Engine, port: u16) -> BTreeSet<u16> {
    let mut ports = BTreeSet::from([port]);
    for engine in [old, new] {
        let program = engine.program();
        ports.extend(program.http.by_port.keys());
        ports.extend(program.authentication.by_port.keys());
    }
    ports
}

/// The issuers whose tokens come as far as the rules, on either side; empty: any token could.
pub(super) fn issuers(old: &Engine, new: &Engine, port: u16) -> Vec<String> {
    let mut names = Vec::new();
    for engine in [old, new] {
        let authentication = engine.authentication(port);
        let origins = authentication.legacy.iter();
        let origins = origins.flat_map(|policy| &policy.origins);
        let rules = authentication.rules.iter();
        let mut rules = rules.chain(origins.map(|origin| &origin.rule)).peekable();
        if rules.peek().is_none() {
            return Vec::new();
        }
        for rule in rules {
            let Some(issuer) = &rule.issuer else {
                return Vec::new();
            };
            names.push(issuer.as_str().to_owned());
        }
    }
    names
}

/// The rules of either side that the other does not have: by what they say and the provider that
/// they ask, and where names count by their names, too.
pub(super) fn changed<'a>(old: &'a Chain, new: &'a Chain, by_name: bool) -> Vec<Rule<'a>> {
    let (old, new) = (rules(Side::Old, old), rules(Side::New, new));
    let key = |rule: &Rule<'_>| {
        let name = by_name.then(|| rule.name.clone());
        (
            rule.stage,
            rule.provider
                .map(|(name, is_usable)| (name.to_owned(), is_usable)),
            name,
            format!("{:?}", rule.policy),
        )
    };
    let known = |rules: &[Rule<'a>]| rules.iter().map(key).collect::<HashSet<_>>();
    let (of_old, of_new) = (known(&old), known(&new));
    let gone = old.into_iter().filter(|rule| !of_new.contains(&key(rule)));
    let come = new.into_iter().filter(|rule| !of_old.contains(&key(rule)));
    gone.chain(come).collect()
}

/// Every rule of a chain.
pub(super) fn rules(side: Side, chain: &Chain) -> Vec<Rule<'_>> {
    let custom = chain.custom.iter();
    let custom = custom.map(|filter| {
        let provider = (filter.provider.as_str(), filter.usable.is_some());
        (Stage::Custom, Some(provider), Some(&filter.rules))
    });
    let others = [
        (Stage::Audit, chain.audit.as_ref()),
        (Stage::Deny, chain.deny.enforced.as_ref()),
        (Stage::DenyDry, chain.deny.shadow.as_ref()),
        (Stage::Allow, chain.allow.enforced.as_ref()),
        (Stage::AllowDry, chain.allow.shadow.as_ref()),
    ];
    let others = others.into_iter();
    let sets = custom.chain(others.map(|(stage, rules)| (stage, None, rules)));
    let rules = sets.flat_map(|(stage, provider, rules)| {
        let policies = rules.into_iter().flat_map(|rules| &rules.policies);
        policies.map(move |(name, policy)| Rule {
            side,
            stage,
            name,
            policy,
            provider,
        })
    });
    rules.collect()
}
