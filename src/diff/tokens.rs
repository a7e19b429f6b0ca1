//! Compares which tokens two configurations accept.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::istio::{JwtRule, LegacyJwt, Text, TriggerRule};
use crate::policy::{Authentication, LegacyAuthentication, fold_audience};

/// Which end-user tokens a port takes and what becomes of them, however the resources spell it.
///
/// Whether a token is demanded is not here: answers show it.
pub(super) struct Tokens(Vec<TokenRule>);

/// What one rule comes to.
struct TokenRule {
    issuer: Option<String>,
    audiences: BTreeSet<String>,
    keys: Keys,
    /// Bound on a fetch of keys.
    timeout: Option<Duration>,
    places: BTreeSet<(&'static str, String, String)>,
    forwards: bool,
    outputs: Vec<(String, String)>,
    /// Claims that are split on spaces; `None`: all of them, as the 2018 resources have it.
    split: Option<BTreeSet<String>>,
    /// Where a bad token passes as if there were none.
    bad_passes: BadPasses,
}

#[derive(PartialEq)]
enum Keys {
    Inline(KeySet),
    Uri(String),
    Discovered,
}

/// A JWK set; in which order it lists its keys does not count.
struct KeySet(Value);

#[derive(PartialEq)]
enum BadPasses {
    Nowhere,
    Everywhere,
    /// Outside of the paths that the origin is triggered by.
    Outside(Vec<TriggerRule>),
}

impl Tokens {
    /// The rules of a port, by issuer; a rule that is written twice counts once.
    pub(super) fn new(authentication: &Authentication) -> Self {
        let rules = authentication.rules.iter().map(TokenRule::new);
        let legacy = authentication.legacy.iter();
        let origins = legacy.flat_map(|policy| {
            let origins = policy.origins.iter();
            origins.map(|origin| TokenRule::of_origin(origin, policy))
        });
        let mut rules: Vec<_> = rules.chain(origins).collect();
        rules.sort_by(|a, b| a.issuer.cmp(&b.issuer));
        rules.dedup_by(|a, b| a.issuer == b.issuer && a.differences(b).is_empty());
        Self(rules)
    }

    /// What is otherwise on the new side; `None`: nothing.
    pub(super) fn change(&self, new: &Self) -> Option<String> {
        let (old, new) = (&self.0, &new.0);
        if issuers(old) != issuers(new) {
            let list = |rules: &[TokenRule]| match issuers(rules) {
                names if names.is_empty() => "none".to_owned(),
                names => names.join(", "),
            };
            return Some(format!("issuers {}, now {}", list(old), list(new)));
        }
        let changed = old.iter().zip(new).find_map(|(old, new)| {
            let aspects = old.differences(new);
            (!aspects.is_empty()).then_some((old, aspects))
        });
        changed.map(|(rule, aspects)| {
            let aspects = aspects.join(" and ");
            format!("of the issuer {} other {aspects}", name(rule))
        })
    }
}

impl TokenRule {
    fn new(rule: &JwtRule) -> Self {
        let mut places = BTreeSet::new();
        for header in &rule.from_headers {
            let name = header.name.to_ascii_lowercase();
            places.insert(("header", name, header.prefix.clone()));
        }
        for parameter in texts(&rule.from_params) {
            places.insert(("parameter", parameter, String::new()));
        }
        for cookie in texts(&rule.from_cookies) {
            places.insert(("cookie", cookie, String::new()));
        }
        if places.is_empty() {
            // Istio's defaults.
            places.insert(("header", "authorization".into(), "Bearer ".into()));
            places.insert(("parameter", "access_token".into(), String::new()));
        }
        let payload = rule.output_payload_to_header.iter();
        let payload = payload.map(|header| (header.to_ascii_lowercase(), String::new()));
        let claims = rule.output_claim_to_headers.iter();
        let claims = claims.map(|output| {
            let header = output.header.to_ascii_lowercase();
            (header, output.claim.as_str().to_owned())
        });
        let mut outputs: Vec<_> = payload.chain(claims).collect();
        // Stable: of two that fill one header, the order counts.
        outputs.sort_by(|(a, _), (b, _)| a.cmp(b));
        let audiences = rule.audiences.iter();
        let audiences = audiences.map(|name| fold_audience(name).to_owned());
        let mut split: BTreeSet<_> = texts(&rule.space_delimited_claims).collect();
        split.extend(["scope".to_owned(), "permission".to_owned()]);
        Self {
            issuer: rule.issuer.clone().map(String::from),
            audiences: audiences.collect(),
            keys: Keys::new(rule),
            timeout: rule.timeout,
            places,
            forwards: rule.forward_original_token,
            outputs,
            split: Some(split),
            bad_passes: BadPasses::Nowhere,
        }
    }

    fn of_origin(origin: &LegacyJwt, policy: &LegacyAuthentication) -> Self {
        let bad_passes = if policy.origin_is_optional {
            BadPasses::Everywhere
        } else if origin.trigger_rules.is_empty() {
            BadPasses::Nowhere
        } else {
            BadPasses::Outside(origin.trigger_rules.clone())
        };
        Self {
            forwards: true,
            split: None,
            bad_passes,
            ..Self::new(&origin.rule)
        }
    }

    /// In what two rules of one issuer differ.
    fn differences(&self, other: &Self) -> Vec<&'static str> {
        let same_split = match (&self.split, &other.split) {
            (Some(own), Some(others)) => own == others,
            // What all claims being split changes for the rules, answers show.
            _ => true,
        };
        let aspects = [
            (self.audiences == other.audiences, "audiences"),
            (self.keys == other.keys, "keys"),
            (self.timeout == other.timeout, "timeouts for keys"),
            (self.places == other.places, "places to find tokens in"),
            (self.forwards == other.forwards, "forwarding of tokens"),
            (self.outputs == other.outputs, "headers for claims"),
            (same_split, "claims that are split on spaces"),
            (self.bad_passes == other.bad_passes, "answers to bad tokens"),
        ];
        let differing = aspects.into_iter().filter(|(same, _)| !same);
        differing.map(|(_, aspect)| aspect).collect()
    }
}

impl Keys {
    /// Inline keys win over a URI.
    fn new(rule: &JwtRule) -> Self {
        match (&rule.jwks, &rule.jwks_uri) {
            (Some(text), _) => {
                let keys = serde_json::from_str(text);
                Self::Inline(KeySet(keys.unwrap_or_else(|_| Value::from(text.as_str()))))
            }
            (None, Some(uri)) => Self::Uri(uri.as_str().to_owned()),
            (None, None) => Self::Discovered,
        }
    }
}

impl KeySet {
    fn keys(&self) -> Option<&Vec<Value>> {
        self.0.get("keys")?.as_array()
    }
}

impl PartialEq for KeySet {
    fn eq(&self, other: &Self) -> bool {
        match (self.keys(), other.keys()) {
            (Some(own), Some(others)) => {
                own.len() == others.len()
                    && own.iter().all(|key| others.contains(key))
                    && others.iter().all(|key| own.contains(key))
            }
            _ => self.0 == other.0,
        }
    }
}

fn texts(list: &[Text]) -> impl Iterator<Item = String> {
    list.iter().map(|text| text.as_str().to_owned())
}

fn issuers(rules: &[TokenRule]) -> Vec<&str> {
    rules.iter().map(name).collect()
}

fn name(rule: &TokenRule) -> &str {
    rule.issuer.as_deref().unwrap_or("any")
}
