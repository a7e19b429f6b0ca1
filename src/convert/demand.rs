use std::collections::BTreeSet;

use super::rule::{Part, rules};
use super::writer::Writer;
use super::yaml::Yaml;
use crate::istio::{LegacyPolicy, PrincipalBinding, StringMatch, TriggerRule};

/// For which requests a Policy demands a token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Demand<'p> {
    Nothing,
    Always,
    /// For those that one of the rules applies to.
    When(Vec<&'p TriggerRule>),
}

impl<'p> Demand<'p> {
    pub(super) fn new(policy: &'p LegacyPolicy) -> Self {
        if policy.origin_is_optional {
            return Self::Nothing;
        }
        if policy.origins.is_empty() {
            // No token could ever be accepted.
            return match policy.principal_binding {
                PrincipalBinding::UseOrigin => Self::Always,
                PrincipalBinding::UsePeer => Self::Nothing,
            };
        }
        let triggers = policy.origins.iter().map(|origin| &origin.trigger_rules);
        if triggers.clone().any(Vec::is_empty) {
            return Self::Always;
        }
        Self::When(triggers.flatten().collect())
    }

    /// Rules that refuse who brings no token, but for the preflight requests of browsers, which
    /// passed. There is a token exactly when there is an issuer. Three rules, since each can leave
    /// out one thing: the method, and two headers.
    pub(super) fn rules(
        &self,
        writer: &mut Writer<'_>,
        policy: &LegacyPolicy,
        ports: &BTreeSet<u16>,
    ) -> Vec<Yaml> {
        let mut operations = match self {
            Self::Nothing => return Vec::new(),
            Self::Always => vec![Part::default()],
            Self::When(triggers) => triggers
                .iter()
                .map(|trigger| operation(writer, trigger))
                .collect(),
        };
        for message in [
            "a missing token was answered with 401, and is with 403 by the DENY policy; a bad one \
             still is with 401, but one for a wrong audience with 403",
            "the DENY policy refuses raw TCP connections to the same ports",
            "a preflight request passes with an empty Origin or Access-Control-Request-Method, too",
        ] {
            writer.note(&policy.meta.at, "spec.origins", message);
        }
        for operation in &mut operations {
            operation.field("ports", ports);
        }
        let mut nobody = Part::default();
        nobody.when_not("request.auth.claims[iss]", ["*"]);
        let mut other_methods = operations.clone();
        for operation in &mut other_methods {
            operation.field("notMethods", ["OPTIONS"]);
        }
        let mut all = rules(std::slice::from_ref(&nobody), &other_methods);
        for header in ["origin", "access-control-request-method"] {
            let mut without = nobody.clone();
            without.when_not(&format!("request.headers[{header}]"), ["*"]);
            all.extend(rules(&[without], &operations));
        }
        all
    }
}

fn operation(writer: &mut Writer<'_>, trigger: &TriggerRule) -> Part {
    let mut part = Part::default();
    for (field, matches) in [
        ("paths", &trigger.included_paths),
        ("notPaths", &trigger.excluded_paths),
    ] {
        let mut paths = Vec::new();
        for written in matches {
            match path(written) {
                Some(path) => paths.push(path),
                None => {
                    let (StringMatch::Exact(text)
                    | StringMatch::Prefix(text)
                    | StringMatch::Suffix(text)
                    | StringMatch::Regex(text)) = written;
                    let message = format!(
                        "{:?} is no path, start or end of one that today's paths can say; write \
                         exact, prefix or suffix, without * and braces",
                        text.as_str()
                    );
                    writer.refuse(text.at(), "spec.origins", message);
                }
            }
        }
        part.field(field, paths);
    }
    part
}

/// A match as today's paths write it.
fn path(written: &StringMatch) -> Option<String> {
    let path = match written {
        StringMatch::Exact(text) if text.contains('*') => return None,
        StringMatch::Prefix(text) if text.starts_with('*') => return None,
        StringMatch::Exact(text) => text.as_str().to_owned(),
        StringMatch::Prefix(text) => format!("{text}*"),
        StringMatch::Suffix(text) => format!("*{text}"),
        StringMatch::Regex(text) => return simple_regex(text),
    };
    (!path.contains(['{', '}'])).then_some(path)
}

/// Literals before or after `.*`.
fn simple_regex(regex: &str) -> Option<String> {
    let is_literal = |text: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "/_-".contains(c);
        text.chars().all(plain)
    };
    if let Some(start) = regex.strip_suffix(".*").filter(|start| is_literal(start)) {
        return Some(format!("{start}*"));
    }
    if let Some(end) = regex.strip_prefix(".*").filter(|end| is_literal(end)) {
        return Some(format!("*{end}"));
    }
    is_literal(regex).then(|| regex.to_owned())
}
