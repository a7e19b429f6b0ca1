use super::key_set;
use super::key_uri::{PlainHttp, check_key_uri, discovery_uri};
use crate::istio::{JwtRule, Problem, Text};

/// Lists what keeps a rule from being applied: keys that verify nothing or that an attacker could
/// exchange, names that are no header's or that no claim may fill. Whoever applies the rule finds
/// nothing more to refuse.
pub(crate) fn rule_problems(rule: &JwtRule, http: PlainHttp) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(key_problem(rule, http));
    for location in &rule.from_headers {
        if !is_header_name(&location.name) {
            let at = location.name.at().clone();
            problems.push(Problem::new(at, "fromHeaders", "not a header name"));
        }
    }
    if let Some(name) = &rule.output_payload_to_header {
        problems.extend(output_problem(name, "outputPayloadToHeader"));
    }
    for output in &rule.output_claim_to_headers {
        problems.extend(output_problem(&output.header, "outputClaimToHeaders"));
    }
    problems
}

fn key_problem(rule: &JwtRule, http: PlainHttp) -> Option<Problem> {
    // Inline keys win over a URI, as in Istio's default mode.
    if let Some(text) = &rule.jwks {
        let fault = key_set::check(text).err()?;
        return Some(Problem::new(text.at().clone(), "jwks", fault.to_string()));
    }
    let (uri, at, field) = match (&rule.jwks_uri, &rule.issuer) {
        (Some(uri), _) => (uri.as_str().to_owned(), uri.at(), "jwksUri"),
        (None, Some(issuer)) => (discovery_uri(issuer), issuer.at(), "issuer"),
        (None, None) => {
            let message = "a rule needs `jwks`, `jwksUri`, or an `issuer` to discover them from";
            return Some(Problem::new(rule.at.clone(), "jwksUri", message));
        }
    };
    let message = check_key_uri(&uri, http).err()?;
    Some(Problem::new(at.clone(), field, message))
}

/// Rule J-27: a name that a claim may fill without changing what the request is.
fn output_problem(name: &Text, field: &str) -> Option<Problem> {
    let is_reserved = |reserved: &&str| name.eq_ignore_ascii_case(reserved);
    let message = if !is_header_name(name) {
        "not a header name"
    } else if RESERVED.iter().any(is_reserved) {
        "a claim may not be written to this header"
    } else {
        return None;
    };
    Some(Problem::new(name.at().clone(), field, message))
}

/// RFC 9110 §5.1, and not longer than any server takes.
fn is_header_name(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.len() <= 4096 && name.bytes().all(is_token)
}

const RESERVED: [&str; 5] = [
    "authorization",
    "connection",
    "content-length",
    "host",
    "transfer-encoding",
];
