use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value, json};

use super::protocol::Protocol;
use super::rules::{set, sparse};
use crate::istio::{JwtRule, Text, shown_uri};
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
    let origins = legacy.into_iter().flat_map(|policy| &policy.origins);
    if origins
        .clone()
        .any(|origin| !origin.trigger_rules.is_empty())
    {
        return Err(JwtAuthnError(Reason::TriggerRules));
    }
    let is_optional = legacy.is_none_or(|policy| policy.origin_is_optional);
    let rules = authentication.rules.iter();
    let rules = rules.chain(origins.map(|origin| &origin.rule));
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
    let config = json!({
        "providers": providers,
        "rules": [{"match": {"prefix": "/"}, "requires": requirement(&names, is_optional)}],
        "bypass_cors_preflight": true,
    });
    let filter = Protocol::Http.filter("jwt_authn", "JwtAuthentication", config);
    Ok(Some(filter))
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
    let find = |uri: &str| {
        let keys = fetched.get(uri).map(String::as_str);
        keys.ok_or_else(|| JwtAuthnError(Reason::MissingKeys(uri.to_owned())))
    };
    let keys = match (&rule.jwks, &rule.jwks_uri) {
        (Some(inline), _) => inline.as_str(),
        (None, Some(uri)) => find(uri)?,
        (None, None) => {
            let issuer = rule.issuer.as_deref().unwrap_or_default();
            let issuer = issuer.trim_end_matches('/');
            find(&format!("{issuer}/.well-known/openid-configuration"))?
        }
    };
    let extra = rule.space_delimited_claims.iter();
    let extra = extra.map(Text::as_str);
    let split: BTreeSet<&str> = ["permission", "scope"].into_iter().chain(extra).collect();
    let texts = |list: &[Text]| -> Value { list.iter().map(Text::as_str).collect() };
    let headers = rule.from_headers.iter();
    let headers =
        headers.map(|header| json!({"name": header.name.as_str(), "value_prefix": header.prefix}));
    let outputs = rule.output_claim_to_headers.iter().map(|output| {
        json!({"header_name": output.header.as_str(), "claim_name": output.claim.as_str()})
    });
    let mut provider = sparse(json!({
        "issuer": rule.issuer.as_deref(),
        "audiences": texts(&rule.audiences),
        "local_jwks": {"inline_string": keys},
        "from_headers": headers.collect::<Value>(),
        "from_params": texts(&rule.from_params),
        "from_cookies": texts(&rule.from_cookies),
        "payload_in_metadata": "payload",
        "normalize_payload_in_metadata": {"space_delimited_claims": split},
        "forward_payload_header": rule.output_payload_to_header.as_deref(),
        "claim_to_headers": outputs.collect::<Value>(),
    }));
    // Written also where it is false.
    set(&mut provider, "forward", rule.forward_original_token.into());
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
