use super::jwk::KeyPurpose;
use super::key_set;
use super::key_uri::{PlainHttp, check_key_uri, discovery_uri};
use crate::identity::TrustDomain;
use crate::istio::{JwtRule, Problem, Text};

/// Lists what keeps a rule from being applied: keys that verify nothing or that an attacker could
/// exchange, names that are no header's or that no claim may fill. Whoever applies the rule finds
/// nothing more to refuse.
pub(crate) fn rule_problems(rule: &JwtRule, http: PlainHttp) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(svid_problem(rule));
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

/// The trust domain whose JWT-SVIDs a rule takes: that of the issuer `spiffe://DOMAIN`. `None` for
/// every other issuer.
pub(crate) fn trust_domain(rule: &JwtRule) -> Option<TrustDomain> {
    TrustDomain::new(rule.issuer.as_deref()?.strip_prefix(SPIFFE)?).ok()
}

/// Rule J-20: what a rule for JWT-SVIDs must say.
fn svid_problem(rule: &JwtRule) -> Option<Problem> {
    let issuer = rule.issuer.as_ref()?;
    if !issuer.starts_with(SPIFFE) {
        return None;
    }
    let at = issuer.at().clone();
    if trust_domain(rule).is_none() {
        let message = "the issuer of JWT-SVIDs is a trust domain: write spiffe://DOMAIN";
        return Some(Problem::new(at, "issuer", message));
    }
    if rule.audiences.is_empty() {
        let message = "a JWT-SVID is for an audience: list the names of this service";
        return Some(Problem::new(at, "audiences", message));
    }
    None
}

fn key_problem(rule: &JwtRule, http: PlainHttp) -> Option<Problem> {
    // Inline keys win over a URI, as in Istio's default mode.
    if let Some(text) = &rule.jwks {
        let purpose = match trust_domain(rule) {
            Some(_) => KeyPurpose::Svids,
            None => KeyPurpose::Tokens,
        };
        let fault = key_set::check(text, purpose).err()?;
        return Some(Problem::new(text.at().clone(), "jwks", fault.to_string()));
    }
    let (uri, at, field) = match (&rule.jwks_uri, &rule.issuer) {
        (Some(uri), _) => (uri.as_str().to_owned(), uri.at(), "jwksUri"),
        // The keys are those of the domain's bundle, if the mesh has one.
        (None, Some(issuer)) if issuer.starts_with(SPIFFE) => return None,
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

const SPIFFE: &str = "spiffe://";

const RESERVED: [&str; 5] = [
    "authorization",
    "connection",
    "content-length",
    "host",
    "transfer-encoding",
];
