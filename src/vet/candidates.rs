use std::collections::HashMap;

use super::compiled::Compiled;
use super::logic::{Shape, Tree};
use crate::policy::ir::Policy;

/// Finds the rules that could include another one without looking at all of them: thousands of rules differ in whom or what they name.
///
/// INVARIANT: only a test of the same exact text implies one of an exact text. So a rule in which one of a few texts must hold includes
/// only rules that hold one of these texts.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    by_text: HashMap<String, Vec<usize>>,
    /// Rules in which no exact text must hold.
    others: Vec<usize>,
}

impl Candidates {
    pub(super) fn of(rules: &[Compiled<'_>]) -> Self {
        let mut frequency: HashMap<String, usize> = HashMap::new();
        for rule in rules {
            for text in texts(&rule.http) {
                *frequency.entry(text).or_default() += 1;
            }
        }
        let mut candidates = Self::default();
        for (index, rule) in rules.iter().enumerate() {
            let permissions = needed_of(&rule.http.permissions, &frequency);
            let principals = needed_of(&rule.http.principals, &frequency);
            match rarest([permissions, principals].into_iter().flatten(), &frequency) {
                None => candidates.others.push(index),
                Some(texts) => {
                    for text in texts {
                        candidates.by_text.entry(text).or_default().push(index);
                    }
                }
            }
        }
        candidates
    }

    /// The rules that could include this one, in order, each once.
    pub(super) fn for_rule(&self, rule: &Compiled<'_>) -> Vec<usize> {
        let texts = texts(&rule.http);
        let keyed = texts.iter().filter_map(|text| self.by_text.get(text));
        let mut found: Vec<usize> = keyed.flatten().chain(&self.others).copied().collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// Texts of which one must hold, whichever of the nodes does.
fn needed_of<N: Tree>(any: &[N], frequency: &HashMap<String, usize>) -> Option<Vec<String>> {
    let texts: Option<Vec<_>> = any.iter().map(|node| needed(node, frequency)).collect();
    texts.map(|texts| texts.concat())
}

/// Texts of which one must hold where the node does.
fn needed<N: Tree>(node: &N, frequency: &HashMap<String, usize>) -> Option<Vec<String>> {
    match node.shape() {
        Shape::Any | Shape::Not(_) => None,
        Shape::Is(attribute) => attribute.exact_text().map(|text| vec![text]),
        Shape::Or(any) => needed_of(any, frequency),
        Shape::And(all) => rarest(
            all.iter().filter_map(|node| needed(node, frequency)),
            frequency,
        ),
    }
}

fn rarest(
    options: impl Iterator<Item = Vec<String>>,
    frequency: &HashMap<String, usize>,
) -> Option<Vec<String>> {
    let rules = |texts: &Vec<String>| -> usize {
        texts.iter().filter_map(|text| frequency.get(text)).sum()
    };
    options.min_by_key(rules)
}

/// Every exact text of a rule.
fn texts(rule: &Policy) -> Vec<String> {
    let mut texts = Vec::new();
    rule.permissions
        .iter()
        .for_each(|node| collect(node, &mut texts));
    rule.principals
        .iter()
        .for_each(|node| collect(node, &mut texts));
    texts.sort_unstable();
    texts.dedup();
    texts
}

fn collect<N: Tree>(node: &N, texts: &mut Vec<String>) {
    match node.shape() {
        Shape::Any => {}
        Shape::Is(attribute) => texts.extend(attribute.exact_text()),
        Shape::Not(inner) => collect(inner, texts),
        Shape::And(nodes) | Shape::Or(nodes) => nodes.iter().for_each(|node| collect(node, texts)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::istio::{self, MeshConfig, PathNormalization};
    use crate::vet::compiled::compile_rules;
    use crate::vet::logic::Logic;

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
        let candidates = Candidates::of(&rules);
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
