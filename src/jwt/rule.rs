//! One `jwtRules` entry, compiled: issuer, audiences, locations, keys.

use arc_swap::ArcSwapOption;
use http::header::HeaderName;
use http::{HeaderMap, Uri};
use serde_json::{Map, Value};
use smallvec::SmallVec;

use super::effect::ClaimHeader;
use super::encoding::Reading;
use super::keys::{Jwks, KeyOwner, KeySet, KeySource, Keyring};
use super::token::{Demands, Found, Header, Issuer, Location};
use crate::istio::{JwtRule, Position, Problem, Text};
use crate::policy::{fold_audience, rule_problems, split_words, trust_domain};

/// One `jwtRules` entry, ready to be applied.
#[derive(Debug)]
pub(crate) struct TokenRule {
    pub(crate) demands: Demands,
    pub(crate) jwks: Jwks,
    /// In Envoy's order: headers by name and prefix, parameters by name, cookies by name.
    locations: Vec<Location>,
    pub(crate) forwards: bool,
    pub(crate) payload_header: Option<HeaderName>,
    pub(crate) claim_headers: Vec<ClaimHeader>,
    /// Claims that policy sees as lists of words.
    pub(crate) space_delimited: Vec<Box<str>>,
    /// The header of the last good token, which the next one most likely has, too.
    pub(crate) last_header: ArcSwapOption<Header>,
}

impl TokenRule {
    /// Checks and prepares a rule. Adds what is wrong with it to `problems`.
    pub(crate) fn compile(
        rule: &JwtRule,
        keyring: &mut Keyring,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        let found = rule_problems(rule, keyring.http());
        if !found.is_empty() {
            problems.extend(found);
            return None;
        }
        let jwks = compile_keys(rule, keyring, problems);
        let locations = compile_locations(rule, problems);
        let payload_header = rule
            .output_payload_to_header
            .as_ref()
            .map(|name| header_name(name, "outputPayloadToHeader", problems));
        let claim_headers: Vec<_> = rule
            .output_claim_to_headers
            .iter()
            .map(|output| {
                Some(ClaimHeader {
                    header: header_name(&output.header, "outputClaimToHeaders", problems)?,
                    path: output.claim.split('.').map(Box::from).collect(),
                })
            })
            .collect();
        let mut space_delimited: Vec<Box<str>> = vec!["scope".into(), "permission".into()];
        space_delimited.extend(texts(&rule.space_delimited_claims));
        Some(Self {
            demands: Demands {
                issuer: match (trust_domain(rule), &rule.issuer) {
                    (Some(domain), _) => Issuer::TrustDomain(domain),
                    (None, Some(issuer)) => Issuer::Named(issuer.as_str().into()),
                    (None, None) => Issuer::Any,
                },
                audiences: texts(&rule.audiences)
                    .map(|audience| fold_audience(&audience).into())
                    .collect(),
            },
            jwks: jwks?,
            locations: locations?,
            forwards: rule.forward_original_token,
            payload_header: match payload_header {
                None => None,
                Some(name) => Some(name?),
            },
            claim_headers: claim_headers.into_iter().collect::<Option<_>>()?,
            space_delimited,
            last_header: ArcSwapOption::empty(),
        })
    }

    /// The tokens of a request, in the order of the rule's locations.
    pub(crate) fn find<'r, 'p>(
        &'p self,
        uri: &'r Uri,
        headers: &'r HeaderMap,
        reading: Reading,
    ) -> SmallVec<[Found<'r, 'p>; 1]> {
        let mut found = SmallVec::new();
        for location in &self.locations {
            location.find(uri, headers, reading, &mut found);
        }
        found
    }

    /// The claims as policy sees them: top-level text claims with certain names are lists of words,
    /// split at single spaces. A text of blanks alone stays.
    pub(crate) fn policy_claims(&self, mut claims: Map<String, Value>) -> Map<String, Value> {
        for name in &self.space_delimited {
            split_words(&mut claims, name);
        }
        claims
    }

    /// The headers that the rule sets, and that clients must not.
    pub(crate) fn output_headers(&self) -> impl Iterator<Item = &HeaderName> {
        let claims = self.claim_headers.iter().map(|output| &output.header);
        self.payload_header.iter().chain(claims)
    }

    /// Query parameters that may hold a token.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = &str> {
        self.locations.iter().filter_map(|location| match location {
            Location::Parameter(name) => Some(name.as_ref()),
            _ => None,
        })
    }
}

fn compile_keys(
    rule: &JwtRule,
    keyring: &mut Keyring,
    problems: &mut Vec<Problem>,
) -> Option<Jwks> {
    // Inline keys win over a URI, as in Istio's default mode.
    if let Some(text) = &rule.jwks {
        let keys = match trust_domain(rule) {
            Some(_) => KeySet::parse_bundle(text),
            None => KeySet::parse(text),
        };
        return match keys {
            Ok(keys) => {
                if keys.private() > 0 {
                    tracing::error!(at = %text.at(), "a private key in `jwks`: it was left out");
                }
                Some(Jwks::inline(keys))
            }
            Err(error) => wrong(problems, text.at(), "jwks", error.to_string()),
        };
    }
    if let (None, Some(domain), Some(issuer)) = (&rule.jwks_uri, trust_domain(rule), &rule.issuer) {
        let keys = keyring.domain(domain);
        return keys.or_else(|| wrong(problems, issuer.at(), "issuer", NO_BUNDLES));
    }
    let (source, at, field) = match (&rule.jwks_uri, &rule.issuer) {
        (Some(uri), _) if trust_domain(rule).is_some() => {
            (KeySource::Bundle(uri.as_str().into()), uri.at(), "jwksUri")
        }
        (Some(uri), _) => (KeySource::Uri(uri.as_str().into()), uri.at(), "jwksUri"),
        (None, Some(issuer)) => (
            KeySource::Discovery(issuer.as_str().into()),
            issuer.at(),
            "issuer",
        ),
        (None, None) => {
            let message = "a rule needs `jwks`, `jwksUri`, or an `issuer` to discover them from";
            return wrong(problems, &rule.at, "jwksUri", message);
        }
    };
    match keyring.remote(source, rule.timeout, KeyOwner::from_rule(rule)) {
        Ok(jwks) => Some(jwks),
        Err(message) => wrong(problems, at, field, message),
    }
}

const NO_BUNDLES: &str = "the keys of a trust domain are in its bundle, and there is none here: give \
                          it as `jwks`, or its address as `jwksUri`; or let the identity come from \
                          the SPIFFE Workload API, or call TokenOptions::svid_keys";

fn compile_locations(rule: &JwtRule, problems: &mut Vec<Problem>) -> Option<Vec<Location>> {
    let mut headers = Vec::new();
    for location in &rule.from_headers {
        let name = header_name(&location.name, "fromHeaders", problems)?;
        headers.push((name, location.prefix.as_str()));
    }
    headers.sort_by_cached_key(|(name, prefix)| format!("{name}{prefix}"));
    headers.dedup();
    let sorted = |names: &[Text]| {
        let mut names: Vec<Box<str>> = texts(names).collect();
        names.sort();
        names.dedup();
        names
    };
    let mut locations: Vec<_> = headers
        .into_iter()
        .map(|(name, prefix)| Location::header(name, prefix))
        .collect();
    let parameters = sorted(&rule.from_params).into_iter();
    locations.extend(parameters.map(Location::Parameter));
    let cookies = sorted(&rule.from_cookies).into_iter();
    locations.extend(cookies.map(Location::Cookie));
    if locations.is_empty() {
        locations = Location::defaults();
    }
    Some(locations)
}

/// The name as a `HeaderName`. Which names a claim may fill has been checked before.
fn header_name(name: &Text, field: &str, problems: &mut Vec<Problem>) -> Option<HeaderName> {
    let header = HeaderName::from_bytes(name.as_bytes()).ok();
    header.or_else(|| wrong(problems, name.at(), field, "not a header name"))
}

/// Notes what is wrong with a field of a rule, so that the rule has no value for it.
fn wrong<T>(
    problems: &mut Vec<Problem>,
    at: &Position,
    field: &str,
    message: impl Into<String>,
) -> Option<T> {
    problems.push(Problem::new(at.clone(), field, message));
    None
}

fn texts(list: &[Text]) -> impl Iterator<Item = Box<str>> {
    list.iter().map(|text| text.as_str().into())
}
