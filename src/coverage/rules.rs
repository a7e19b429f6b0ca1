//! The rules of an engine, and which written clause each test in them belongs to.

use std::collections::HashMap;

use crate::istio::{Action, Position};
use crate::policy::ir::Policy;
use crate::policy::ir::view::{Node, Shape};
use crate::policy::{Chain, ClauseOrigin, Origins, PolicyId, Request, RuleOrigin, node_clause};

/// What names a rule among all of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct RuleKey {
    pub(super) action: Action,
    pub(super) dry_run: bool,
    pub(super) policy: PolicyId,
}

/// What was seen of a rule.
#[derive(Clone, Debug)]
pub(super) struct SeenRule {
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

impl SeenRule {
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

/// The rules seen, each once.
#[derive(Clone, Debug, Default)]
pub(super) struct SeenRules {
    pub(super) list: Vec<SeenRule>,
    numbers: HashMap<RuleKey, usize>,
}

impl SeenRules {
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
        self.list.push(SeenRule {
            key: key.clone(),
            at: at.clone(),
            matched: 0,
            unmatched: 0,
            clauses: Vec::new(),
        });
        number
    }
}

/// A rule as one chain asks it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) rule: usize,
    /// For each permission, then for each principal: the clauses that its tests come from.
    pub(super) sides: [Vec<Vec<usize>>; 2],
}

/// Lists the rules of a chain, in its order; `None` for the entry that replaces an empty rule list.
pub(super) fn list(
    rules: &mut SeenRules,
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
    rules: &mut SeenRules,
    key: &RuleKey,
    origin: &RuleOrigin,
    policy: &Policy,
    is_http: bool,
) -> Asked {
    let number = rules.number(key, &origin.at);
    let mut asked = Asked {
        rule: number,
        sides: [Vec::new(), Vec::new()],
    };
    let Some(rule) = rules.list.get_mut(number) else {
        return asked;
    };
    let [permissions, principals] = policy.sides();
    let nothing = Request::tcp();
    let places = |of_principal, entry| {
        let of_entry = move |clause: &&ClauseOrigin| {
            (clause.of_principal, clause.entry) == (of_principal, entry)
                && (is_http || !clause.http_only)
        };
        origin.clauses.iter().filter(of_entry).collect::<Vec<_>>()
    };
    asked.sides = [(false, permissions), (true, principals)].map(|(of_principal, side)| {
        let entries = side.iter().enumerate();
        entries
            .map(|(entry, node)| {
                let words = |test| node_clause(test, &nothing).wanted();
                let tests = tests(node).into_iter().map(words);
                clauses(rule, &origin.at, &places(of_principal, entry), tests)
            })
            .collect()
    });
    asked
}

/// The numbers of an entry's clauses: by the places where they were written, else (legacy roles) by
/// what they say.
fn clauses(
    rule: &mut SeenRule,
    rule_at: &Position,
    places: &[&ClauseOrigin],
    tests: impl ExactSizeIterator<Item = String>,
) -> Vec<usize> {
    if places.len() == tests.len() {
        let written = places
            .iter()
            .map(|place| rule.clause(&place.at, &place.field));
        return written.collect();
    }
    tests.map(|words| rule.clause(rule_at, &words)).collect()
}

/// The tests that must all pass for an entry to match; an entry that matches anything has none.
pub(super) fn tests(node: Node<'_>) -> Vec<Node<'_>> {
    let tests: Vec<_> = match node.shape() {
        Shape::And(all) => all.iter().collect(),
        _ => return vec![node],
    };
    match tests.as_slice() {
        [only] if only.is_any() => Vec::new(),
        _ => tests,
    }
}
