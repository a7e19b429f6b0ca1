//! Checks what follows from the meaning of rules: rules that never match, refuse every request, or
//! repeat other rules.

use std::collections::HashMap;

use crate::istio::{Action, AuthorizationPolicy, Position, Problems, Rule, Text};
use crate::vet::Code;
use crate::vet::logic::{Logic, pattern_matches};
use crate::vet::report::note::resource_name;
use crate::vet::report::notes::Notes;
use crate::vet::rules::candidates::Candidates;
use crate::vet::rules::compiled::{Compiled, compile_rules};
use crate::vet::rules::lists;
use crate::vet::rules::lists::Field;
use crate::vet::world::known::{Selects, World};

/// Adds notes about the meaning of AuthorizationPolicies.
///
/// # Errors
/// What keeps a rule from having a meaning.
pub(in crate::vet) fn check(world: World<'_>, notes: &mut Notes) -> Result<(), Problems> {
    let policies = || world.resources.authorization_policies.iter();
    let rules = compile_rules(policies().map(|policy| &**policy), world.mesh)?;
    let logic = Logic {
        paths: world.mesh.path_normalization,
    };
    let all = Rules {
        world,
        logic,
        rules: &rules,
        candidates: Candidates::new(&rules),
    };
    for rule in &rules {
        if all.never_matches(rule, notes) {
            continue;
        }
        all.denies_everything(rule, notes);
        all.says_what_another_says(rule, notes);
    }
    all.heads(notes)
}

struct Rules<'r> {
    world: World<'r>,
    logic: Logic,
    rules: &'r [Compiled<'r>],
    candidates: Candidates,
}

impl<'r> Rules<'r> {
    /// Notes a rule that never matches, or its parts that do not; whether it is the rule.
    fn never_matches(&self, compiled: &Compiled<'_>, notes: &mut Notes) -> bool {
        let Compiled {
            policy, rule, http, ..
        } = compiled;
        let sides = http.sides().map(|side| -> Vec<_> {
            let reasons = side.iter().map(|node| self.logic.never(node));
            reasons.collect()
        });
        let mut say = |at: &Position, what: &str, why: String| {
            let effect = match (policy.action, what) {
                (Action::Allow, "rule") => "it allows nothing",
                (Action::Deny, "rule") => "it refuses no request",
                _ => "it has no effect",
            };
            let message = format!("this {what} can match no request, so {effect}: {why}");
            let help = "correct the values, or take it out";
            notes.add(Code::RuleNeverMatches, &policy.meta, at, message, help);
        };
        let dead = sides.iter().find(|side| side.iter().all(Option::is_some));
        if let Some(reasons) = dead {
            let why = reasons.first().copied().flatten();
            let why = why.map(|why| why.to_string());
            say(&rule.at, "rule", why.unwrap_or_default());
            return true;
        }
        let [permissions, principals] = &sides;
        // INVARIANT: each `from` makes one principal and each `to` one permission, in order.
        for (source, why) in rule.from.iter().zip(principals) {
            if let Some(why) = why {
                say(&source.at, "source", why.to_string());
            }
        }
        for (operation, why) in rule.to.iter().zip(permissions) {
            if let Some(why) = why {
                say(&operation.at, "operation", why.to_string());
            }
        }
        false
    }

    fn denies_everything(&self, compiled: &Compiled<'_>, notes: &mut Notes) {
        let policy = compiled.policy;
        if policy.action != Action::Deny || policy.dry_run {
            return;
        }
        if self.logic.rule_always(&compiled.http) {
            let (meta, at) = (&policy.meta, &compiled.rule.at);
            let message = "this DENY rule matches every request, so that nothing else that is written for these workloads counts";
            let help = "name in the rule what is to be refused; to refuse what no rule allows, write an ALLOW policy without rules";
            notes.add(Code::DeniesEverything, meta, at, message, help);
        }
    }

    /// Notes a rule that a broader rule makes superfluous, or whose requests a DENY rule refuses.
    fn says_what_another_says(&self, rule: &Compiled<'_>, notes: &mut Notes) {
        let policy = rule.policy;
        if policy.dry_run || !matches!(policy.action, Action::Allow | Action::Deny) {
            return;
        }
        let mut broader: Option<(&Compiled<'_>, bool)> = None;
        let mut denied: Option<&Compiled<'_>> = None;
        let candidates = self.candidates.for_rule(rule);
        for other in candidates.iter().filter_map(|index| self.rules.get(*index)) {
            if std::ptr::eq(other.rule, rule.rule) || !self.includes(rule, other) {
                continue;
            }
            if other.policy.action != policy.action {
                denied = denied.or(Some(other));
                continue;
            }
            let same = self.includes(other, rule);
            // Of two that say the same, the earlier one stays.
            let is_earlier = other.rule.at < rule.rule.at;
            if (!same || is_earlier) && broader.is_none_or(|(_, known_same)| known_same && !same) {
                broader = Some((other, same));
            }
        }
        let place = |other: &Compiled<'_>| {
            let whose = match std::ptr::eq(other.policy, policy) {
                true => "the same policy".to_owned(),
                false => resource_name(&other.policy.meta),
            };
            format!("{} in {whose}", other.rule.at)
        };
        let narrow = "take this rule out, or narrow the other one";
        let (code, what, other, help) = match (broader, denied) {
            (Some((other, true)), _) => (
                Code::DuplicateRule,
                "says the same as the rule",
                other,
                narrow,
            ),
            (Some((other, false)), _) => {
                let what = "makes no difference: all its requests are matched by the broader rule";
                (Code::ShadowedRule, what, other, narrow)
            }
            (None, Some(other)) => {
                let what = "allows nothing: all its requests are refused by the DENY rule";
                let help = "narrow the DENY rule, or take this rule out";
                (Code::AllowAlwaysDenied, what, other, help)
            }
            (None, None) => return,
        };
        let message = format!("this rule {what} at {}", place(other));
        notes.add(code, &policy.meta, &rule.rule.at, message, help);
    }

    /// Whether `wide` acts in place of `narrow` wherever that one does: an enforced rule of the
    /// same action, or a DENY over an ALLOW.
    fn includes(&self, narrow: &Compiled<'_>, wide: &Compiled<'_>) -> bool {
        let (action, other) = (narrow.policy.action, wide.policy.action);
        let acts = other == action || (action, other) == (Action::Allow, Action::Deny);
        let covers = || {
            self.world
                .covers(wide.policy.scope(), narrow.policy.scope())
        };
        let on_tcp = || match (&narrow.tcp, &wide.tcp) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(narrow), Some(wide)) => self.logic.rule_implies(narrow, wide),
        };
        acts && !wide.policy.dry_run
            && covers()
            && self.logic.rule_implies(&narrow.http, &wide.http)
            && on_tcp()
    }

    /// Notes a GET that is denied where HEAD, which runs the same handler, is not.
    fn heads(&self, notes: &mut Notes) -> Result<(), Problems> {
        let policies = self.world.resources.authorization_policies.iter();
        let gets: Vec<Get<'_>> = policies.flat_map(|policy| Get::all_in(policy)).collect();
        let heads: Vec<AuthorizationPolicy> = gets.iter().map(Get::as_head).collect();
        let compiled = compile_rules(&heads, self.world.mesh)?;
        // INVARIANT: each of these has the one rule that was made of its GET.
        let of_head: HashMap<*const AuthorizationPolicy, &Get<'_>> =
            heads.iter().map(std::ptr::from_ref).zip(&gets).collect();
        for head in &compiled {
            let Some(get) = of_head.get(&std::ptr::from_ref(head.policy)) else {
                continue;
            };
            if self.is_refused(head) {
                continue;
            }
            let (meta, at) = (&get.policy.meta, get.at.at());
            let message = "GET is denied here and HEAD is not, though HEAD runs the handler of GET: every caller can learn whether a thing exists, and its headers";
            let help = "add HEAD to the methods";
            notes.add(Code::GetWithoutHead, meta, at, message, help);
        }
        Ok(())
    }

    /// Whether requests like these are refused anyway: by a DENY, or because nothing allows them.
    fn is_refused(&self, head: &Compiled<'_>) -> bool {
        let scope = head.policy.scope();
        let candidates = self.candidates.for_rule(head);
        let mut wider = candidates.iter().filter_map(|index| self.rules.get(*index));
        let denied = wider.any(|rule| {
            rule.policy.action == Action::Deny
                && !rule.policy.dry_run
                && self.world.covers(rule.policy.scope(), scope)
                && self.logic.rule_implies(&head.http, &rule.http)
        });
        let allows =
            |policy: &AuthorizationPolicy| policy.action == Action::Allow && !policy.dry_run;
        let mut policies = self.world.resources.authorization_policies.iter();
        let must_be_allowed =
            policies.any(|policy| allows(policy) && self.world.covers(policy.scope(), scope));
        let mut allowing = self.rules.iter().filter(|rule| allows(rule.policy));
        denied
            || must_be_allowed
                && allowing.all(|rule| {
                    !self.world.may_meet(rule.policy.scope(), scope)
                        || self.logic.rules_exclude(&head.http, &rule.http)
                })
    }
}

/// An operation of a DENY rule that names GET, and not HEAD.
struct Get<'r> {
    policy: &'r AuthorizationPolicy,
    rule: usize,
    operation: usize,
    at: &'r Text,
}

impl<'r> Get<'r> {
    fn all_in(policy: &'r AuthorizationPolicy) -> Vec<Self> {
        if policy.action != Action::Deny || policy.dry_run {
            return Vec::new();
        }
        let mut found = Vec::new();
        for (rule, written) in policy.rules.iter().enumerate() {
            for (operation, to) in written.to.iter().enumerate() {
                let methods = lists::operation(to);
                let methods = methods.iter().find(|list| list.field == Field::Method);
                let Some(methods) = methods.filter(|list| list.not_values.is_empty()) else {
                    continue;
                };
                let matching = |method| {
                    let mut values = methods.values.iter();
                    values.find(|value| pattern_matches(value, method))
                };
                if let (Some(at), None) = (matching("GET"), matching("HEAD")) {
                    found.push(Self {
                        policy,
                        rule,
                        operation,
                        at,
                    });
                }
            }
        }
        found
    }

    /// The same refusal, of HEAD.
    fn as_head(&self) -> AuthorizationPolicy {
        let rule = self.policy.rules.get(self.rule).map(|written| {
            let operation = written.to.get(self.operation).cloned();
            let mut to: Vec<_> = operation.into_iter().collect();
            for operation in &mut to {
                operation.methods = vec![Text::from("HEAD")];
            }
            Rule {
                from: written.from.clone(),
                to,
                when: written.when.clone(),
                at: written.at.clone(),
            }
        });
        AuthorizationPolicy {
            meta: self.policy.meta.clone(),
            selector: self.policy.selector.clone(),
            target_refs: self.policy.target_refs.clone(),
            action: self.policy.action,
            rules: rule.into_iter().collect(),
            ..AuthorizationPolicy::default()
        }
    }
}
