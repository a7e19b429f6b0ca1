//! The rules of an engine, and which written clause each test in them belongs to.

use std::collections::HashMap;

use crate::istio::{Action, Position};
use crate::policy::ir::{Permission, Policy, Principal};
use crate::policy::{
    Chain, ClauseOrigin, Origins, PolicyId, Request, RuleOrigin, permission_clause,
    principal_clause,
};

/// What names a rule among all of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct RuleKey {
    pub(super) action: Action,
    pub(super) dry_run: bool,
    pub(super) policy: PolicyId,
}

/// What was seen of a rule.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) key: RuleKey,
    pub(super) at: Position,
    pub(super) matched: u64,
    pub(super) unmatched: u64,
    pub(super) clauses: Vec<Clause>,
}

/// What was seen of a clause.
#[derive(Clone, Debug)]
pub(super) struct Clause {
    pub(super) at: Position,
    pub(super) field: String,
    pub(super) decisive: bool,
}

impl Rule {
    /// The number of the clause that is written there.
    fn clause(&mut self, at: &Position, field: &str) -> usize {
        let is_it = |clause: &Clause| clause.at == *at && clause.field == field;
        if let Some(known) = self.clauses.iter().position(is_it) {
            return known;
        }
        self.clauses.push(Clause {
            at: at.clone(),
            field: field.to_owned(),
            decisive: false,
        });
        self.clauses.len() - 1
    }

    /// Adds what was seen elsewhere of the same rule.
    fn absorb(&mut self, other: Self) {
        self.matched += other.matched;
        self.unmatched += other.unmatched;
        for clause in other.clauses {
            let number = self.clause(&clause.at, &clause.field);
            if let Some(own) = self.clauses.get_mut(number) {
                own.decisive |= clause.decisive;
            }
        }
    }
}

/// Rules, each once.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    pub(super) list: Vec<Rule>,
    numbers: HashMap<RuleKey, usize>,
}

impl Rules {
    /// Adds what was seen of other rules, or of the same ones elsewhere.
    pub(super) fn absorb(&mut self, other: Self) {
        for rule in other.list {
            let number = self.number(&rule.key, &rule.at);
            if let Some(own) = self.list.get_mut(number) {
                own.absorb(rule);
            }
        }
    }

    fn number(&mut self, key: &RuleKey, at: &Position) -> usize {
        if let Some(known) = self.numbers.get(key) {
            return *known;
        }
        let number = self.list.len();
        self.numbers.insert(key.clone(), number);
        self.list.push(Rule {
            key: key.clone(),
            at: at.clone(),
            matched: 0,
            unmatched: 0,
            clauses: Vec::new(),
        });
        number
    }
}

/// A rule as one chain asks it: for each of its entries, the clauses whose tests it is the `and` of.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) rule: usize,
    pub(super) permissions: Vec<Vec<usize>>,
    pub(super) principals: Vec<Vec<usize>>,
}

/// Lists the rules of a chain, in its order; `None` for what nobody wrote: the entry of an empty rule list.
pub(super) fn list(
    rules: &mut Rules,
    origins: &Origins,
    chain: &Chain,
    is_http: bool,
) -> Vec<Option<Asked>> {
    let mut asked = Vec::new();
    for (action, dry_run, set) in chain.sets() {
        for (policy, written) in &set.policies {
            let key = RuleKey {
                action,
                dry_run,
                policy: policy.clone(),
            };
            let origin = origins.get(policy);
            asked.push(origin.map(|origin| one(rules, &key, origin, written, is_http)));
        }
    }
    asked
}

fn one(
    rules: &mut Rules,
    key: &RuleKey,
    origin: &RuleOrigin,
    policy: &Policy,
    is_http: bool,
) -> Asked {
    let number = rules.number(key, &origin.at);
    let mut asked = Asked {
        rule: number,
        permissions: Vec::new(),
        principals: Vec::new(),
    };
    let Some(rule) = rules.list.get_mut(number) else {
        return asked;
    };
    let nothing = Request::tcp();
    let places = |of_principal, entry| {
        let of_entry = move |clause: &&ClauseOrigin| {
            (clause.of_principal, clause.entry) == (of_principal, entry)
                && (is_http || !clause.http_only)
        };
        origin.clauses.iter().filter(of_entry).collect::<Vec<_>>()
    };
    for (entry, node) in policy.permissions.iter().enumerate() {
        let words = |test: &Permission| permission_clause(test, &nothing).wanted();
        let tests = permission_tests(node).iter().map(words);
        let numbers = clauses(rule, &origin.at, &places(false, entry), tests);
        asked.permissions.push(numbers);
    }
    for (entry, node) in policy.principals.iter().enumerate() {
        let words = |test: &Principal| principal_clause(test, &nothing).wanted();
        let tests = principal_tests(node).iter().map(words);
        let numbers = clauses(rule, &origin.at, &places(true, entry), tests);
        asked.principals.push(numbers);
    }
    asked
}

/// The numbers of an entry's clauses: by the places where they were written, else (legacy roles) by what they say.
fn clauses(
    rule: &mut Rule,
    rule_at: &Position,
    places: &[&ClauseOrigin],
    tests: impl ExactSizeIterator<Item = String>,
) -> Vec<usize> {
    if places.len() == tests.len() {
        let written = places.iter();
        return written
            .map(|place| rule.clause(&place.at, &place.field))
            .collect();
    }
    tests.map(|words| rule.clause(rule_at, &words)).collect()
}

/// The tests that an entry is the `and` of; an entry for anything has none.
pub(super) fn permission_tests(node: &Permission) -> &[Permission] {
    match node {
        Permission::And(all) if *all == [Permission::Any] => &[],
        Permission::And(all) => all,
        other => std::slice::from_ref(other),
    }
}

/// As [`permission_tests`].
pub(super) fn principal_tests(node: &Principal) -> &[Principal] {
    match node {
        Principal::And(all) if *all == [Principal::Any] => &[],
        Principal::And(all) => all,
        other => std::slice::from_ref(other),
    }
}
