use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value, json};

use super::rules::set;
use crate::istio::{JwtRule, shown_uri};
use crate::policy::Authentication;

/// The JWT filter of one port; `None` when no resource speaks of tokens. `fetched` holds the key
/// sets of remote rules by their URI.
///
/// A legacy Policy prints with its tokens mandatory, as it means them.
///
/// # Errors
/// When the keys of a remote rule are not among `fetched`, and when a legacy Policy has trigger
/// rules, which this filter cannot express.
pub fn jwt_authn(
    authentication: &Authentication,
    fetched: &BTreeMap<String, String>,
) -> Result<Option<Value>, JwtAuthnError> {
    let legacy = authentication.legacy.as_ref();
    let origins = legacy
        .map(|policy| policy.origins.as_slice())
        .unwrap_or_default();
    if origins
        .iter()
        .any(|origin| !origin.trigger_rules.is_empty())
    {
        return Err(JwtAuthnError(Reason::TriggerRules));
    }
    let is_optional = legacy.is_none_or(|policy| policy.origin_is_optional);
    let rules = authentication
        .rules
        .iter()
        .chain(origins.iter().map(|origin| &origin.rule));
    let mut providers = Map::new();
    let mut names = Vec::new();
    for (index, rule) in rules.enumerate() {
        let name = format!("origins-{index}");
        providers.insert(name.clone(), provider(rule, fetched)?);
        names.push(name);
    }
    if names.is_empty() {
        return Ok(None);
    }
    Ok(Some(json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": providers,
            "rules": [{"match": {"prefix": "/"}, "requires": requirement(&names, is_optional)}],
            "bypass_cors_preflight": true,
        },
    })))
}

/// One of the providers; if none, each of them good or missing.
fn requirement(names: &[String], is_optional: bool) -> Value {
    let one = |name: &String| json!({"provider_name": name});
    let any = |requirements: Vec<Value>| json!({"requires_any": {"requirements": requirements}});
    let good_or_missing = |name: &String| any(vec![one(name), json!({"allow_missing": {}})]);
    match names {
        [only] if is_optional => good_or_missing(only),
        [only] => one(only),
        _ => {
            let mut requirements: Vec<_> = names.iter().map(one).collect();
            if is_optional {
                let all: Vec<_> = names.iter().map(good_or_missing).collect();
                requirements.push(json!({"requires_all": {"requirements": all}}));
            }
            any(requirements)
        }
    }
}

fn provider(rule: &JwtRule, fetched: &BTreeMap<String, String>) -> Result<Value, JwtAuthnError> {
    let keys = match (&rule.jwks, &rule.jwks_uri) {
        (Some(inline), _) => inline.as_str(),
        (None, Some(uri)) => fetched
            .get(uri.as_str())
            .ok_or_else(|| JwtAuthnError::missing(uri))?,
        (None, None) => {
            let issuer = rule
                .issuer
                .as_ref()
                .map(|issuer| issuer.as_str())
                .unwrap_or_default();
            let uri = format!(
                "{}/.well-known/openid-configuration",
                issuer.trim_end_matches('/')
            );
            fetched
                .get(&uri)
                .ok_or_else(|| JwtAuthnError::missing(&uri))?
        }
    };
    let extra = rule
        .space_delimited_claims
        .iter()
        .map(|claim| claim.as_str());
    let split: BTreeSet<&str> = ["permission", "scope"].into_iter().chain(extra).collect();
    let mut provider = json!({
        "local_jwks": {"inline_string": keys},
        "payload_in_metadata": "payload",
        "normalize_payload_in_metadata": {"space_delimited_claims": split},
        "forward": rule.forward_original_token,
    });
    let texts =
        |list: &[crate::istio::Text]| -> Value { list.iter().map(|text| text.as_str()).collect() };
    if let Some(issuer) = &rule.issuer {
        set(&mut provider, "issuer", issuer.as_str().into());
    }
    if let Some(header) = &rule.output_payload_to_header {
        set(
            &mut provider,
            "forward_payload_header",
            header.as_str().into(),
        );
    }
    for (field, list) in [
        ("audiences", texts(&rule.audiences)),
        ("from_params", texts(&rule.from_params)),
        ("from_cookies", texts(&rule.from_cookies)),
        (
            "from_headers",
            rule.from_headers
                .iter()
                .map(|header| json!({"name": header.name.as_str(), "value_prefix": header.prefix}))
                .collect(),
        ),
        (
            "claim_to_headers",
            rule.output_claim_to_headers
                .iter()
                .map(|output| json!({"header_name": output.header.as_str(), "claim_name": output.claim.as_str()}))
                .collect(),
        ),
    ] {
        if list.as_array().is_some_and(|list| !list.is_empty()) {
            set(&mut provider, field, list);
        }
    }
    Ok(provider)
}

/// Why token rules do not print as a JWT filter.
#[derive(Clone, PartialEq, Eq)]
pub struct JwtAuthnError(Reason);

#[derive(Clone, PartialEq, Eq)]
enum Reason {
    MissingKeys(String),
    TriggerRules,
}

impl JwtAuthnError {
    fn missing(uri: &str) -> Self {
        Self(Reason::MissingKeys(uri.to_owned()))
    }

    /// The URI whose keys are missing, when that is the reason: whole, to look it up. Shown, it has
    /// no userinfo and no query.
    #[must_use]
    pub fn missing_uri(&self) -> Option<&str> {
        match &self.0 {
            Reason::MissingKeys(uri) => Some(uri),
            Reason::TriggerRules => None,
        }
    }
}

impl fmt::Display for JwtAuthnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Reason::MissingKeys(uri) => {
                write!(f, "the keys of {} were not given", shown_uri(uri))
            }
            Reason::TriggerRules => f.write_str(
                "triggerRules of a legacy Policy have no counterpart in Envoy's JWT filter",
            ),
        }
    }
}

impl fmt::Debug for JwtAuthnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JwtAuthnError({self})")
    }
}

impl std::error::Error for JwtAuthnError {}
