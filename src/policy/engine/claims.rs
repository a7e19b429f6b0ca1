use serde_json::{Map, Value};

use crate::policy::Authentication;
use crate::policy::rules::metadata::words;

/// Claims as policy sees them: `scope`, `permission` and what the issuer's rule adds are lists of
/// words.
pub(super) fn prepared(
    mut claims: Map<String, Value>,
    authentication: &Authentication,
) -> Map<String, Value> {
    let issuer = claims.get("iss").and_then(Value::as_str);
    let issuer = issuer.unwrap_or_default().to_owned();
    let rules = authentication.rules.iter();
    let rules = rules.filter(|rule| {
        let known = rule.issuer.as_deref();
        known.is_none_or(|known| *known == issuer || is_of_domain(&issuer, known))
    });
    let names = rules.flat_map(|rule| &rule.space_delimited_claims);
    let always = ["scope", "permission"].into_iter();
    for name in always.chain(names.map(|name| &**name)) {
        split_words(&mut claims, name);
    }
    claims
}

/// Whether the principal of a JWT-SVID begins with this trust domain, `spiffe://DOMAIN`.
fn is_of_domain(issuer: &str, domain: &str) -> bool {
    let path = issuer.strip_prefix(domain);
    domain.starts_with("spiffe://") && path.is_some_and(|path| path.starts_with('/'))
}

/// Makes a top-level text a list of its words, split on single spaces; a text of blanks stays as it
/// is (Envoy's `space_delimited_claims`).
pub fn split_words(claims: &mut Map<String, Value>, name: &str) {
    if let Some(value) = claims.get_mut(name)
        && let Some(text) = value.as_str()
    {
        let words: Vec<_> = words(text).map(Value::from).collect();
        if !words.is_empty() {
            *value = Value::Array(words);
        }
    }
}

#[cfg(any(feature = "jwt", feature = "diff"))]
/// The audience or issuer without one leading scheme and one trailing slash, as Envoy compares
/// audiences.
pub(crate) fn fold_audience(audience: &str) -> &str {
    let rest = audience
        .strip_prefix("https://")
        .or_else(|| audience.strip_prefix("http://"))
        .unwrap_or(audience);
    rest.strip_suffix('/').unwrap_or(rest)
}
