//! An index of compiled rules, for the search of broader ones.

use std::collections::{BTreeSet, HashMap};

use super::compiled::Compiled;
use crate::policy::ir::Policy;
use crate::policy::ir::view::{Node, Nodes, Shape};
use crate::vet::logic::Key;

/// An index of rules by what they name. It finds the few rules that could include a given one, so
/// that a check of thousands of rules need not compare each pair.
///
/// INVARIANT: a test of an exact text is implied only by one of the same exact text, and a test of
/// a start only by one of a text, a start or a template that starts so. So a rule in which one of a
/// few keys must hold includes only rules that hold one of these, or a longer one.
#[derive(Debug, Default)]
pub(in crate::vet) struct Candidates {
    by_key: HashMap<Key, Vec<usize>>,
    /// How long the starts among the keys are.
    lengths: BTreeSet<usize>,
    /// Rules in which no key must hold.
    others: Vec<usize>,
}

impl Candidates {
    pub(in crate::vet) fn new(rules: &[Compiled<'_>]) -> Self {
        let mut frequency: HashMap<Key, usize> = HashMap::new();
        for rule in rules {
            for key in keys(&rule.http) {
                *frequency.entry(key).or_default() += 1;
            }
        }
        let mut candidates = Self::default();
        for (index, rule) in rules.iter().enumerate() {
            let sides = rule.http.sides().into_iter();
            let needed = sides.filter_map(|side| needed_of(side, &frequency));
            match rarest(needed, &frequency) {
                None => candidates.others.push(index),
                Some(keys) => {
                    for key in keys {
                        if let Key::Start(start) = &key {
                            candidates.lengths.insert(start.len());
                        }
                        candidates.by_key.entry(key).or_default().push(index);
                    }
                }
            }
        }
        candidates
    }

    /// The rules that could include this one, in order, each once.
    pub(in crate::vet) fn for_rule(&self, rule: &Compiled<'_>) -> Vec<usize> {
        let mut found = self.others.clone();
        for key in keys(&rule.http) {
            let (Key::Whole(text) | Key::Start(text)) = &key;
            let starts = self.lengths.iter().filter_map(|length| text.get(..*length));
            let starts = starts.map(|start| Key::Start(start.to_owned()));
            found.extend(starts.filter_map(|start| self.by_key.get(&start)).flatten());
            if matches!(key, Key::Whole(_)) {
                found.extend(self.by_key.get(&key).into_iter().flatten());
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// Keys, at least one of which holds when any of the nodes holds.
fn needed_of(any: Nodes<'_>, frequency: &HashMap<Key, usize>) -> Option<Vec<Key>> {
    let keys: Option<Vec<_>> = any.iter().map(|node| needed(node, frequency)).collect();
    keys.map(|keys| keys.concat())
}

/// Keys, at least one of which holds when the node holds.
fn needed(node: Node<'_>, frequency: &HashMap<Key, usize>) -> Option<Vec<Key>> {
    match node.shape() {
        Shape::Any | Shape::Not(_) => None,
        Shape::Leaf(attribute) => attribute.key().map(|key| vec![key]),
        Shape::Or(any) => needed_of(any, frequency),
        Shape::And(all) => rarest(
            all.iter().filter_map(|node| needed(node, frequency)),
            frequency,
        ),
    }
}

fn rarest(
    options: impl Iterator<Item = Vec<Key>>,
    frequency: &HashMap<Key, usize>,
) -> Option<Vec<Key>> {
    let rules =
        |keys: &Vec<Key>| -> usize { keys.iter().filter_map(|key| frequency.get(key)).sum() };
    options.min_by_key(rules)
}

/// Every key of a rule.
fn keys(rule: &Policy) -> Vec<Key> {
    let mut keys = Vec::new();
    for node in rule.sides().into_iter().flat_map(Nodes::iter) {
        node.each_leaf(&mut |leaf| keys.extend(leaf.key()));
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::istio::{self, MeshConfig, PathNormalization};
    use crate::vet::logic::Logic;
    use crate::vet::rules::compiled::compile_rules;

    #[test]
    fn no_rule_that_includes_another_is_missed() {
        let from = [
            "",
            "from: [{source: {principals: [td/ns/foo/sa/a]}}], ",
            "from: [{source: {principals: [td/ns/foo/sa/a, td/ns/foo/sa/b]}}], ",
            "from: [{source: {principals: ['td/ns/foo/*']}}], ",
            "from: [{source: {principals: ['*']}}, {source: {namespaces: [foo]}}], ",
            "from: [{source: {notPrincipals: [td/ns/foo/sa/a]}}], ",
            "from: [{source: {requestPrincipals: [idp/u]}}], ",
        ];
        let to = [
            "",
            "to: [{operation: {methods: [GET]}}]",
            "to: [{operation: {methods: [GET, POST], hosts: [A.example]}}]",
            "to: [{operation: {hosts: [a.EXAMPLE]}}]",
            "to: [{operation: {paths: [/a/b]}}, {operation: {paths: [/c]}}]",
            "to: [{operation: {paths: ['/a/{*}']}}]",
            "to: [{operation: {paths: ['/a/b/{*}', '/a/{*}']}}]",
            "to: [{operation: {paths: ['/a/*']}}]",
            "to: [{operation: {paths: ['/a/b*', '/c*']}}]",
            "to: [{operation: {paths: ['/a*'], notPaths: [/a/b]}}]",
            "to: [{operation: {ports: ['80']}}], when: [{key: 'request.headers[x-a]', values: ['1']}]",
            "when: [{key: 'request.headers[x-a]', values: ['1', '*2']}]",
        ];
        let rules: Vec<String> = from
            .iter()
            .flat_map(|from| to.iter().map(move |to| format!("  - {{{from}{to}}}\n")))
            .collect();
        let text = format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: all}}\nspec:\n  rules:\n{}",
            rules.concat()
        );
        let resources = istio::parse("all.yaml", &text, "foo").unwrap();
        let policies = resources.authorization_policies.iter();
        let rules = compile_rules(policies.map(|policy| &**policy), &MeshConfig::default());
        let rules = rules.unwrap();
        let candidates = Candidates::new(&rules);
        let logic = Logic {
            paths: PathNormalization::Base,
        };
        let mut included = 0;
        for narrow in &rules {
            let found = candidates.for_rule(narrow);
            for (index, wide) in rules.iter().enumerate() {
                if logic.rule_implies(&narrow.http, &wide.http) {
                    included += 1;
                    assert!(found.contains(&index), "{narrow:?}\n{wide:?}");
                }
            }
        }
        assert!(included > 2 * rules.len(), "{included}");
        assert!(candidates.others.len() < rules.len() / 2);
    }
}
