//! Decodes Policy and MeshPolicy of 2018.

use super::meta::no_dry_run;
use super::value::{self, checked, is_label, jwks, required};
use crate::istio::yaml::cursor::Cursor;
use crate::istio::yaml::fields::Fields;
use crate::istio::{
    JwtHeader, JwtRule, LegacyJwt, LegacyMtls, LegacyPolicy, LegacyTarget, Meta, MtlsMode,
    PortSelector, PrincipalBinding, Problem, StringMatch, Text, TriggerRule, Within,
};

const SPEC: &[&str] = &[
    "targets",
    "peers",
    "peerIsOptional",
    "origins",
    "originIsOptional",
    "principalBinding",
];
const JWT: &[&str] = &[
    "issuer",
    "audiences",
    "jwksUri",
    "jwks",
    "jwtHeaders",
    "jwtParams",
    "triggerRules",
];

/// `Policy` or `MeshPolicy`, `spec`.
pub(in crate::istio) fn legacy_policy(
    meta: Meta,
    spec: &Cursor<'_, '_>,
    is_mesh_wide: bool,
) -> Option<LegacyPolicy> {
    no_dry_run(&meta, spec);
    let fields = spec.fields(SPEC)?;
    let targets = fields.each("targets", target);
    check_name(&meta, fields, is_mesh_wide);
    let peers = fields.each("peers", peer);
    let mut origins = fields.each("origins", origin);
    for origin in &mut origins {
        origin.rule.within = Within::new(&meta.kind, &meta.namespace, &meta.name);
    }
    for (index, origin) in origins.iter().enumerate() {
        let issuer = &origin.rule.issuer;
        let mut earlier = origins.iter().take(index);
        if let Some(issuer) = issuer
            && earlier.any(|other| other.rule.issuer.as_ref() == Some(issuer))
        {
            let message =
                format!("the issuer `{issuer}` is already in this list; write each issuer once");
            let problem = Problem::new(issuer.at().clone(), "spec.origins", message);
            spec.sink().report(problem);
        }
    }
    Some(LegacyPolicy {
        targets,
        mtls: peers.into_iter().next(),
        peer_is_optional: fields.boolean("peerIsOptional"),
        origins,
        origin_is_optional: fields.boolean("originIsOptional"),
        principal_binding: fields.word(
            "principalBinding",
            &[
                ("USE_PEER", PrincipalBinding::UsePeer),
                ("USE_ORIGIN", PrincipalBinding::UseOrigin),
            ],
        ),
        meta,
    })
}

/// The name `default` means "the whole namespace (or mesh)" and nothing else does.
fn check_name(meta: &Meta, fields: Fields<'_, '_>, is_mesh_wide: bool) {
    let is_default = meta.name == "default";
    match fields.listed("targets") {
        Some(targets) if is_mesh_wide => {
            targets.wrong("a MeshPolicy has no targets; write a Policy");
        }
        Some(targets) if is_default => {
            targets.wrong("a Policy named `default` has no targets; give it another name");
        }
        None if !is_default && is_mesh_wide => {
            fields
                .whole()
                .wrong("a MeshPolicy must be named `default`; rename it");
        }
        None if !is_default => fields.whole().missing(
            "targets",
            "is missing; a Policy without targets must be named `default`",
        ),
        _ => {}
    }
}

fn target(at: &Cursor<'_, '_>) -> Option<LegacyTarget> {
    let fields = at.fields(&["name", "ports"])?;
    Some(LegacyTarget {
        name: required(fields, "name", dns_label)?,
        ports: fields.each("ports", port_selector),
    })
}

fn dns_label(at: &Cursor<'_, '_>, text: &str) {
    if !is_label(text) {
        at.wrong(format!(
            "`{text}` is no service name; write the short name, without namespace and domain"
        ));
    }
}

fn port_selector(at: &Cursor<'_, '_>) -> Option<PortSelector> {
    let fields = at.fields(&["number", "name"])?;
    match (fields.get("number"), fields.get("name")) {
        (Some(number), None) => number.port().map(PortSelector::Number),
        (None, Some(name)) => name.filled().map(PortSelector::Name),
        _ => {
            at.wrong("write either number or name");
            None
        }
    }
}

fn peer(at: &Cursor<'_, '_>) -> Option<LegacyMtls> {
    let fields = at.fields(&["mtls", "jwt"])?;
    if let Some(jwt) = fields.raw("jwt") {
        jwt.wrong("peers are authenticated by mtls only; write the token under origins");
        return None;
    }
    // `mtls: null` and `mtls: {}` are both written for STRICT.
    let Some(mtls) = fields.raw("mtls") else {
        at.missing("mtls", "is missing; write `- mtls: {}`");
        return None;
    };
    let at = mtls.at();
    if mtls.node().is_null() {
        return Some(LegacyMtls::new(MtlsMode::Strict, at));
    }
    let fields = mtls.fields(&["mode", "allowTls"])?;
    if let Some(allow) = fields.get("allowTls")
        && allow.boolean() == Some(true)
    {
        allow.wrong(
            "meant different things in different versions; write mode: PERMISSIVE or STRICT",
        );
    }
    let modes = [
        ("STRICT", MtlsMode::Strict),
        ("PERMISSIVE", MtlsMode::Permissive),
    ];
    let mode = match fields.get("mode") {
        None => MtlsMode::Strict,
        Some(mode) => mode.word(&modes)?,
    };
    Some(LegacyMtls::new(mode, at))
}

fn origin(at: &Cursor<'_, '_>) -> Option<LegacyJwt> {
    let fields = at.fields(&["jwt"])?;
    let jwt = fields.demand("jwt", "is missing; write `- jwt:` and its issuer")?;
    let fields = jwt.fields(JWT)?;
    let headers = fields.texts("jwtHeaders", value::header_name);
    let rule = JwtRule {
        issuer: required(fields, "issuer", value::anything),
        audiences: fields.texts("audiences", value::anything),
        jwks_uri: checked(fields, "jwksUri", value::http_uri),
        jwks: jwks(fields),
        from_headers: headers.into_iter().map(header).collect(),
        from_params: fields.texts("jwtParams", value::anything),
        forward_original_token: true,
        at: jwt.at(),
        ..JwtRule::default()
    };
    Some(LegacyJwt {
        rule,
        trigger_rules: fields.each("triggerRules", trigger_rule),
    })
}

/// The token is the whole value, but for one header that Istio's ingress once set.
fn header(name: Text) -> JwtHeader {
    let prefix = match name.eq_ignore_ascii_case("ingress-authorization") {
        true => "istio".to_owned(),
        false => String::new(),
    };
    JwtHeader { name, prefix }
}

fn trigger_rule(at: &Cursor<'_, '_>) -> Option<TriggerRule> {
    let fields = at.fields(&["excludedPaths", "includedPaths"])?;
    Some(TriggerRule {
        excluded_paths: fields.each("excludedPaths", string_match),
        included_paths: fields.each("includedPaths", string_match),
    })
}

fn string_match(at: &Cursor<'_, '_>) -> Option<StringMatch> {
    const KINDS: &[&str] = &["exact", "prefix", "suffix", "regex"];
    let fields = at.fields(KINDS)?;
    let mut written = KINDS
        .iter()
        .filter_map(|kind| Some((*kind, fields.get(kind)?)));
    let (Some((kind, value)), None) = (written.next(), written.next()) else {
        at.wrong("write exactly one of exact, prefix, suffix and regex");
        return None;
    };
    let text = value.filled()?;
    Some(match kind {
        "exact" => StringMatch::Exact(text),
        "prefix" => StringMatch::Prefix(text),
        "suffix" => StringMatch::Suffix(text),
        _ => {
            if let Err(error) = regex::Regex::new(&text) {
                let reason = match error {
                    regex::Error::CompiledTooBig(_) => "is too large",
                    _ => "is no RE2 expression",
                };
                value.wrong(format!("`{text}` {reason}; simplify it"));
            }
            StringMatch::Regex(text)
        }
    })
}
