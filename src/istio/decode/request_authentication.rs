//! Decodes RequestAuthentication.

use std::time::Duration;

use super::meta::{no_dry_run, selector, target_refs};
use super::value::{self, checked, jwks, required};
use crate::istio::yaml::cursor::Cursor;
use crate::istio::yaml::fields::Fields;
use crate::istio::{ClaimToHeader, JwtHeader, JwtRule, Meta, RequestAuthentication, Within};

const SPEC: &[&str] = &[
    "selector",
    "targetRef",
    "targetRefs",
    "jwtRules",
    "presence",
];
const RULE: &[&str] = &[
    "issuer",
    "audiences",
    "jwksUri",
    "jwks",
    "fromHeaders",
    "fromParams",
    "fromCookies",
    "outputPayloadToHeader",
    "outputClaimToHeaders",
    "spaceDelimitedClaims",
    "forwardOriginalToken",
    "timeout",
    "presence",
];

/// `RequestAuthentication`, `spec`.
pub(in crate::istio) fn request_authentication(
    meta: Meta,
    spec: &Cursor<'_, '_>,
) -> Option<RequestAuthentication> {
    no_dry_run(&meta, spec);
    let fields = spec.fields(SPEC)?;
    refuse_presence(fields);
    let mut jwt_rules = fields.each("jwtRules", jwt_rule);
    for rule in &mut jwt_rules {
        rule.within = Within::new(&meta.kind, &meta.namespace, &meta.name);
    }
    Some(RequestAuthentication {
        selector: selector(fields),
        target_refs: target_refs(fields),
        jwt_rules,
        meta,
    })
}

/// `presence: REQUIRED` is in a newer schema and read by no control plane yet; taking it and not
/// keeping it would be worse than an error.
fn refuse_presence(fields: Fields<'_, '_>) {
    let Some(presence) = fields.get("presence") else {
        return;
    };
    if presence.word(&[("OPTIONAL", false), ("REQUIRED", true)]) == Some(true) {
        presence.wrong(
            "REQUIRED is not supported; demand a token with an AuthorizationPolicy (requestPrincipals: [\"*\"])",
        );
    }
}

fn jwt_rule(at: &Cursor<'_, '_>) -> Option<JwtRule> {
    let fields = at.fields(RULE)?;
    refuse_presence(fields);
    let rule = JwtRule {
        issuer: fields.filled("issuer"),
        audiences: fields.texts("audiences", value::anything),
        jwks_uri: checked(fields, "jwksUri", value::http_uri),
        jwks: jwks(fields),
        from_headers: fields.each("fromHeaders", from_header),
        from_params: fields.texts("fromParams", value::anything),
        from_cookies: fields.texts("fromCookies", value::anything),
        output_payload_to_header: checked(fields, "outputPayloadToHeader", value::header_name),
        output_claim_to_headers: fields.each("outputClaimToHeaders", claim_to_header),
        space_delimited_claims: fields.texts("spaceDelimitedClaims", value::anything),
        forward_original_token: fields.boolean("forwardOriginalToken"),
        timeout: fields.get("timeout").and_then(|at| timeout(&at)),
        at: at.at(),
        ..JwtRule::default()
    };
    if fields.get("issuer").is_none() && fields.get("jwksUri").is_none() {
        at.missing(
            "issuer",
            "is missing; only a rule with jwksUri can do without an issuer",
        );
    }
    if let Some(claims) = fields.get("spaceDelimitedClaims")
        && claims.items().len() > 64
    {
        claims.wrong("has more than 64 entries");
    }
    Some(rule)
}

fn from_header(at: &Cursor<'_, '_>) -> Option<JwtHeader> {
    let fields = at.fields(&["name", "prefix"])?;
    let name = required(fields, "name", value::header_name)?;
    let prefix = fields.string("prefix");
    Some(JwtHeader { name, prefix })
}

fn claim_to_header(at: &Cursor<'_, '_>) -> Option<ClaimToHeader> {
    let fields = at.fields(&["header", "claim"])?;
    let header = required(fields, "header", value::plain_header_name);
    let claim = required(fields, "claim", value::anything);
    Some(ClaimToHeader {
        header: header?,
        claim: claim?,
    })
}

fn timeout(at: &Cursor<'_, '_>) -> Option<Duration> {
    let timeout = at.duration()?;
    if timeout < Duration::from_millis(1) {
        at.wrong("must be at least 1ms");
    }
    Some(timeout)
}
