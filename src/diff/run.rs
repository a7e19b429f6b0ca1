//! Runs a search: asks both sides the questions that the rules suggest, within a budget.

use std::collections::HashSet;

use serde_json::Value;

use super::fact::{Dimension, Fact, simpler};
use super::minimal_findings::minimal_findings;
use super::pool::Pool;
use super::rules::{Rule, Side, Stage, chain, changed, issuers, ports, rules};
use super::search::{Found, Search};
use super::unanswerable_changes::same_origins;
use super::witness::Witness;
use crate::policy::ir::Policy;
use crate::policy::ir::view::{Leaf, Node, Shape};
use crate::policy::{Judgement, Triggers, eval};

/// Alternatives of a rule that are each met.
const ALTERNATIVES: usize = 4;
/// ALLOW rules that a refused request is led to.
const HELPERS: usize = 12;
/// Steps past what hides a rule.
const STEPS: usize = 6;
/// Unchanged rules whose literals are known from the start.
const NEIGHBOURS: usize = 64;
/// With more changed rules each is looked at apart.
const CROWD: usize = 64;
/// Questions that each changed rule may ask.
const LEAST: usize = 4;

/// A search under way.
struct Run<'a> {
    search: &'a Search<'a>,
    pool: Pool,
    /// Issuers whose tokens reach the rules; empty: all issuers.
    issuers: Vec<String>,
    /// Requests that meet changed rules.
    bases: Vec<Witness>,
    /// With both answers.
    found: Vec<(Witness, (Judgement, Judgement))>,
    seen: HashSet<String>,
    asked: usize,
    tried: usize,
    /// Nothing is asked beyond this number for now.
    pause: usize,
    was_cut: bool,
}

impl Search<'_> {
    /// Runs the search.
    #[must_use]
    pub fn run(&self) -> Found {
        let mut run = Run::new(self);
        let ports = ports(self.old, self.new, self.port);
        let count = ports.len().max(1);
        for (index, port) in ports.into_iter().enumerate() {
            // What one port leaves over, the next may use.
            run.port(port, self.limit / count * (index + 1));
        }
        let mut witnesses = minimal_findings(&run.pool, &run.found);
        witnesses.sort_by_cached_key(|witness| witness.to_string().len());
        Found {
            witnesses,
            asked: run.asked,
            is_cut: run.was_cut,
            is_full: run.found.len() >= self.at_most,
        }
    }
}

/// Something that must stay as it is.
#[derive(Clone, Copy)]
struct Held<'a> {
    side: Side,
    node: Node<'a>,
    want: bool,
}

/// The alternatives of a rule that are each met: a permission and a principal.
fn ways(side: Side, policy: &Policy) -> impl Iterator<Item = [Held<'_>; 2]> {
    let held = move |node| Held {
        side,
        node,
        want: true,
    };
    let permissions = policy.permissions.iter().take(ALTERNATIVES);
    permissions.flat_map(move |permission| {
        let principals = policy.principals.iter().take(ALTERNATIVES);
        principals.map(move |principal| {
            [Node::Permission(permission), Node::Principal(principal)].map(held)
        })
    })
}

impl<'a> Run<'a> {
    fn new(search: &'a Search<'a>) -> Self {
        let mut pool = Pool::default();
        pool.respell = search.old.path_normalization() != search.new.path_normalization();
        Self {
            search,
            pool,
            issuers: Vec::new(),
            bases: Vec::new(),
            found: Vec::new(),
            seen: HashSet::new(),
            asked: 0,
            tried: 0,
            pause: 0,
            was_cut: false,
        }
    }

    /// Looks at the requests to one port, up to a number of questions.
    fn port(&mut self, port: u16, share: usize) {
        let search = self.search;
        let chains = [search.old, search.new].map(|engine| chain(engine, port, search.is_tcp));
        let [old, new] = chains;
        let changed = changed(old, new, !search.access_only);
        let same_sets = old.allow.enforced.is_some() == new.allow.enforced.is_some();
        let demands = [search.old, search.new].map(|engine| &engine.authentication(port).legacy);
        let [before, after] = demands;
        let same_tokens = search.is_tcp || same_origins(before.as_ref(), after.as_ref());
        if changed.is_empty() && same_sets && same_tokens && !self.pool.respell {
            return;
        }
        self.issuers = issuers(search.old, search.new, port);
        self.pool.learn_issuers(&self.issuers);
        for rule in &changed {
            self.pool.learn(rule.policy);
        }
        if !search.is_tcp {
            for policy in demands.into_iter().flatten() {
                for origin in &policy.origins {
                    self.pool.learn_triggers(&Triggers::new(origin));
                }
            }
        }
        for (side, chain) in [(Side::Old, old), (Side::New, new)] {
            for rule in rules(side, chain).into_iter().take(NEIGHBOURS) {
                self.pool.learn(rule.policy);
            }
        }
        let plain = search.plain(port);
        let left = share.saturating_sub(self.asked);
        self.pause = self.asked + left / 8;
        // What changes for every request shows here, though no rule has a literal to say otherwise.
        self.ask(&plain);
        self.vary(&plain);
        let share_of_one = ((left / 2) / changed.len().max(1)).max(LEAST);
        let is_crowd = changed.len() > CROWD;
        for (index, rule) in changed.iter().enumerate() {
            if index > 0 && self.is_done() {
                self.was_cut = true;
                break;
            }
            self.pause = self.asked + share_of_one;
            if is_crowd {
                // Among thousands of literals its own would be lost.
                let kin = changed.iter().filter(|other| other.name == rule.name);
                let own = self.pool.of_few(&self.issuers, kin.map(|rule| rule.policy));
                let all = std::mem::replace(&mut self.pool, own);
                self.rule(*rule, &plain);
                self.pool = all;
            } else {
                self.rule(*rule, &plain);
            }
        }
        self.pause = share;
        self.mix(&plain);
    }

    fn is_done(&self) -> bool {
        self.asked >= self.search.limit
            || self.found.len() >= self.search.at_most
            || self.tried >= self.search.limit.saturating_mul(8)
    }

    fn is_paused(&self) -> bool {
        self.asked >= self.pause || self.is_done()
    }

    /// Whether both sides answer differently; if so, keeps the request.
    fn ask(&mut self, witness: &Witness) -> bool {
        if self.is_done() || !self.can_come_in(witness) {
            return false;
        }
        self.asked += 1;
        let answers = self.search.judge(&witness.request());
        if !self.search.differ(&answers.0, &answers.1) {
            return false;
        }
        let plain = self.search.plain(self.search.port);
        let witness = self.strip(witness.clone(), &plain, &answers);
        if self.seen.insert(witness.to_string()) {
            self.found.push((witness, answers));
        }
        true
    }

    /// Whether a request reaches the rules: it has no token, or one of an accepted issuer.
    fn can_come_in(&self, witness: &Witness) -> bool {
        let Some(claims) = &witness.claims else {
            return true;
        };
        let issuer = claims.get("iss").and_then(Value::as_str);
        let mut known = self.issuers.iter();
        self.issuers.is_empty() || known.any(|known| Some(known.as_str()) == issuer)
    }

    /// The request with a fact; a token that it brings gets an issuer.
    fn say(&self, fact: &Fact, witness: &Witness) -> Witness {
        let mut changed = fact.in_place(witness);
        if let (Some(claims), Some(issuer)) = (&mut changed.claims, self.issuers.first()) {
            let place = claims.entry("iss");
            place.or_insert_with(|| Value::from(issuer.as_str()));
        }
        changed
    }

    /// Removes every fact that changes neither answer.
    fn strip(
        &self,
        mut witness: Witness,
        plain: &Witness,
        answers: &(Judgement, Judgement),
    ) -> Witness {
        for fact in simpler(&witness, plain) {
            let less = fact.in_place(&witness);
            if less != witness
                && self.can_come_in(&less)
                && self.search.judge(&less.request()) == *answers
            {
                witness = less;
            }
        }
        witness
    }

    /// Says otherwise one thing at a time.
    fn vary(&mut self, base: &Witness) {
        let dimensions: Vec<_> = self.pool.dimensions().cloned().collect();
        for dimension in dimensions {
            for fact in self.pool.get(&dimension).to_vec() {
                if self.is_paused() {
                    self.was_cut = true;
                    return;
                }
                self.ask(&self.say(&fact, base));
            }
        }
    }

    /// Says otherwise two to four things at once, as long as questions are left.
    fn mix(&mut self, plain: &Witness) {
        // A fixed seed: the same choices every time.
        let mut random = fastrand::Rng::with_seed(0x70_77_65_72);
        let dimensions: Vec<_> = self.pool.dimensions().cloned().collect();
        if dimensions.is_empty() {
            return;
        }
        self.bases.push(plain.clone());
        let bases = std::mem::take(&mut self.bases);
        while !self.is_paused()
            && let Some(base) = random.choice(&bases)
        {
            let mut witness = base.clone();
            let count = random.choice(&[2, 2, 3, 4]).copied().unwrap_or(2);
            for _ in 0..count {
                let fact = random
                    .choice(&dimensions)
                    .and_then(|dimension| random.choice(self.pool.get(dimension)));
                if let Some(fact) = fact {
                    witness = self.say(fact, &witness);
                }
            }
            self.ask(&witness);
        }
    }

    /// Meets a changed rule in each of its ways, and leads the request to where the rule matters.
    fn rule(&mut self, rule: Rule<'a>, plain: &Witness) {
        for held in ways(rule.side, rule.policy) {
            if self.is_paused() {
                return;
            }
            let Some(met) = self.meet(plain.clone(), &held, &[]) else {
                continue;
            };
            self.bases.push(met.clone());
            for led in self.lead(met, &held, rule) {
                self.vary(&led);
                self.bases.push(led);
            }
        }
    }

    /// Leads past what hides a rule, as far as possible; the best results come last.
    fn lead(&mut self, met: Witness, held: &[Held<'a>], rule: Rule<'a>) -> Vec<Witness> {
        let mut open = vec![(met, held.to_vec(), 0)];
        let mut ends = Vec::new();
        while let Some((witness, held, steps)) = open.pop() {
            if self.ask(&witness) || steps >= STEPS || self.is_paused() || ends.len() >= HELPERS {
                ends.push(witness);
                continue;
            }
            let next = self.step(&witness, &held, rule);
            if next.is_empty() {
                ends.push(witness);
            }
            open.extend(next.into_iter().map(|(next, held)| (next, held, steps + 1)));
        }
        ends
    }

    /// Requests that are a step nearer to showing what a rule does.
    fn step(
        &mut self,
        witness: &Witness,
        held: &[Held<'a>],
        rule: Rule<'a>,
    ) -> Vec<(Witness, Vec<Held<'a>>)> {
        let (old, new) = self.search.judge(&witness.request());
        let (own, their) = match rule.side {
            Side::Old => (old, new),
            Side::New => (new, old),
        };
        let other = rule.side.other();
        let (side, answer) = match rule.stage {
            // To matter it must be what lets the request pass.
            Stage::Allow if own.decision.allowed => (other, their),
            Stage::Allow | Stage::AllowDry => (rule.side, own),
            // To matter it must be what refuses: the other side lets the request pass.
            Stage::Deny | Stage::Custom => (other, their),
            Stage::Audit | Stage::DenyDry => return Vec::new(),
        };
        let wants_pass = !(rule.stage == Stage::Allow && side == other);
        if answer.decision.allowed == wants_pass {
            return Vec::new();
        }
        let is_tcp = self.search.is_tcp;
        let chain = chain(self.search.engine(side), witness.port(), is_tcp);
        if let Some(name) = &answer.decision.policy {
            // The rule that is in the way.
            let is_asked = |rule: &Rule<'_>| matches!(rule.stage, Stage::Deny | Stage::Allow);
            let mut known = rules(side, chain).into_iter().filter(is_asked);
            let Some(Rule { policy, .. }) = known.find(|rule| rule.name == name) else {
                return Vec::new();
            };
            self.pool.learn(policy);
            let past = self.miss(witness, side, policy, held);
            return past.map(|past| (past, held.to_vec())).into_iter().collect();
        }
        if !wants_pass {
            return Vec::new();
        }
        if answer.status == Some(401) {
            let tokens = self.pool.get(&Dimension::Token).to_vec();
            let with = tokens.iter().map(|fact| self.say(fact, witness));
            let with = with.filter(|with| with.claims.is_some());
            return with.map(|with| (with, held.to_vec())).take(1).collect();
        }
        // Nothing lets it pass yet.
        let helpers = rules(side, chain).into_iter();
        let helpers = helpers.filter(|rule| rule.stage == Stage::Allow);
        let helpers: Vec<_> = helpers.take(HELPERS).collect();
        let mut next = Vec::new();
        for helper in helpers {
            self.pool.learn(helper.policy);
            next.extend(ways(side, helper.policy).find_map(|more| {
                let helped = self.meet(witness.clone(), &more, held)?;
                Some((helped, [held, &more].concat()))
            }));
        }
        next
    }

    /// A request that meets all of these, and what is held.
    fn meet(
        &mut self,
        mut witness: Witness,
        wanted: &[Held<'a>],
        held: &[Held<'a>],
    ) -> Option<Witness> {
        let mut held = held.to_vec();
        for one in wanted {
            witness = self.make(witness, *one, &held)?;
            held.push(*one);
        }
        Some(witness)
    }

    /// A request that a rule does not match, with everything held.
    fn miss(
        &mut self,
        witness: &Witness,
        side: Side,
        policy: &'a Policy,
        held: &[Held<'a>],
    ) -> Option<Witness> {
        let unwanted = |node| Held {
            side,
            node,
            want: false,
        };
        policy.sides().into_iter().find_map(|side| {
            let unwanted: Vec<_> = side.iter().map(unwanted).collect();
            self.meet(witness.clone(), &unwanted, held)
        })
    }

    /// Changes a request until a node says what is wanted, with everything held.
    fn make(&mut self, witness: Witness, one: Held<'a>, held: &[Held<'a>]) -> Option<Witness> {
        if self.holds(&witness, &[one]) {
            return Some(witness);
        }
        let part = |node| Held { node, ..one };
        match (one.node.shape(), one.want) {
            (Shape::Any, _) => None,
            (Shape::Not(inner), want) => {
                let inner = Held {
                    node: inner,
                    want: !want,
                    ..one
                };
                self.make(witness, inner, held)
            }
            (Shape::And(nodes), true) | (Shape::Or(nodes), false) => {
                let parts: Vec<_> = nodes.iter().map(part).collect();
                self.meet(witness, &parts, held)
            }
            (Shape::Or(nodes), true) | (Shape::And(nodes), false) => nodes
                .iter()
                .find_map(|node| self.make(witness.clone(), part(node), held)),
            (Shape::Leaf(leaf), _) => self.turn(&witness, leaf, one, held),
        }
    }

    /// Changes what one test asks about.
    fn turn(
        &mut self,
        witness: &Witness,
        leaf: Leaf<'_>,
        one: Held<'a>,
        held: &[Held<'a>],
    ) -> Option<Witness> {
        let dimensions = leaf.dimensions();
        for dimension in &dimensions {
            for fact in self.pool.get(dimension).to_vec() {
                let changed = self.say(&fact, witness);
                self.tried += 1;
                if self.holds(&changed, &[one]) && self.holds(&changed, held) {
                    return Some(changed);
                }
            }
        }
        // An issuer and a subject make a principal together.
        let [first, second, ..] = dimensions.as_slice() else {
            return None;
        };
        for fact in self.pool.get(first).to_vec() {
            let half = self.say(&fact, witness);
            for fact in self.pool.get(second).to_vec() {
                if self.is_done() {
                    return None;
                }
                let changed = self.say(&fact, &half);
                self.tried += 1;
                if self.holds(&changed, &[one]) && self.holds(&changed, held) {
                    return Some(changed);
                }
            }
        }
        None
    }

    /// Whether everything is as it is wanted.
    fn holds(&self, witness: &Witness, all: &[Held<'a>]) -> bool {
        let request = witness.request();
        let mut prepared = [None, None];
        all.iter().all(|one| {
            let [old, new] = &mut prepared;
            let place = match one.side {
                Side::Old => old,
                Side::New => new,
            };
            let seen =
                place.get_or_insert_with(|| self.search.engine(one.side).prepare(&request).ok());
            seen.as_ref()
                .is_some_and(|seen| eval::node_matches(one.node, seen) == one.want)
        })
    }
}
