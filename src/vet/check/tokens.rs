//! Checks end-user tokens: which resource verifies them, which policy demands them, and by which
//! keys.

use crate::identity::Workload;
use crate::istio::{AuthorizationPolicy, JwtRule, Meta, Problem, RequestAuthentication, Text};
use crate::matcher::StringMatcher;
use crate::policy::{PlainHttp, has_secret_key, issuer_and_subject, rule_problems, trust_domain};
use crate::vet::Code;
use crate::vet::logic::excludes;
use crate::vet::report::notes::Notes;
use crate::vet::rules::lists::{self, Field};
use crate::vet::world::known::{Scope, Selects, World};

/// Adds notes about tokens.
pub(in crate::vet) fn check(world: World<'_>, notes: &mut Notes) {
    for policy in &world.resources.authorization_policies {
        unchecked(world, policy, notes);
        issuers(world, policy, notes);
    }
    for resource in &world.resources.request_authentications {
        for rule in &resource.jwt_rules {
            jwt_rule(&resource.meta, rule, notes);
        }
        not_required(world, resource, notes);
    }
    for policy in &world.resources.legacy_policies {
        for origin in &policy.origins {
            jwt_rule(&policy.meta, &origin.rule, notes);
        }
    }
}

/// The RequestAuthentications that may concern the workloads of a policy.
fn authentications<'r>(
    world: World<'r>,
    scope: Scope<'r>,
) -> impl Iterator<Item = &'r RequestAuthentication> {
    let resources = world.resources.request_authentications.iter();
    let resources = resources.filter(|resource| !resource.jwt_rules.is_empty());
    let resources = resources.filter(move |resource| world.may_meet(resource.scope(), scope));
    resources.map(|resource| &**resource)
}

/// Whether a Policy of 2018 may check tokens for the workloads of a policy.
fn has_origins(world: World<'_>, scope: Scope<'_>) -> bool {
    let mut policies = world.resources.legacy_policies.iter();
    policies
        .any(|policy| !policy.origins.is_empty() && world.reaches(&policy.meta.namespace, scope))
}

/// Rules that ask for a token's facts where no token is accepted.
fn unchecked(world: World<'_>, policy: &AuthorizationPolicy, notes: &mut Notes) {
    let scope = policy.scope();
    if scope.is_attached || has_origins(world, scope) {
        return;
    }
    let whom = if world.is_known(scope) {
        let checks = |workload: &Workload| {
            authentications(world, scope).any(|resource| world.selects(resource.scope(), workload))
        };
        let Some(workload) = world.selected(scope).find(|workload| !checks(workload)) else {
            return;
        };
        let (namespace, name) = (workload.namespace(), workload.workload_name());
        format!("workload {namespace}/{name}")
    } else if authentications(world, scope).next().is_some() {
        return;
    } else {
        "workloads of this policy".to_owned()
    };
    for rule in &policy.rules {
        let list = lists::rule(rule).find(|list| list.field.is_token());
        if let Some((list, value)) = list.and_then(|list| Some((list, list.first()?))) {
            let (code, meta) = (Code::TokenWithoutAuthentication, &policy.meta);
            let key = list.first_name();
            let message = format!(
                "`{key}` asks for a token, and no RequestAuthentication accepts tokens for the {whom}: no caller has one"
            );
            let help =
                "add a RequestAuthentication with the issuer and its keys for the same workloads";
            notes.add(code, meta, value.at(), message, help);
        }
    }
}

/// Request principals of issuers whose tokens are not accepted.
fn issuers(world: World<'_>, policy: &AuthorizationPolicy, notes: &mut Notes) {
    let scope = policy.scope();
    let rules = authentications(world, scope).flat_map(|resource| &resource.jwt_rules);
    let issuers: Option<Vec<&Text>> = rules.map(|rule| rule.issuer.as_ref()).collect();
    // A rule without an issuer accepts any.
    let Some(issuers) = issuers.filter(|issuers| !issuers.is_empty() && !has_origins(world, scope))
    else {
        return;
    };
    let lists = lists::policy(policy).filter(|list| list.field == Field::RequestPrincipal);
    for value in lists.flat_map(|list| list.all()) {
        let (issuer, _) = issuer_and_subject(value);
        if let Some(domain) = issuers.iter().find(|known| misses_svids(value, known)) {
            svid_principal(policy, value, domain, notes);
            continue;
        }
        let is_of_other = |known: &&Text| {
            // A JWT-SVID has the id of a workload as its principal.
            let of_workload = StringMatcher::prefix(format!("{known}/"));
            excludes(&issuer, &StringMatcher::exact(known.as_str()))
                && (!known.starts_with(SPIFFE) || excludes(&issuer, &of_workload))
        };
        if issuers.iter().all(is_of_other) {
            let (code, meta) = (Code::RequestPrincipalWithoutIssuer, &policy.meta);
            let known: Vec<String> = issuers.iter().map(|issuer| format!("`{issuer}`")).collect();
            let example = issuers.first().map_or("", |issuer| issuer.as_str());
            let message = format!(
                "`{value}` matches no caller: it is split at its last slash into issuer and subject, and tokens are accepted of {} only",
                known.join(", ")
            );
            let help = match example.starts_with(SPIFFE) {
                true => format!("write the id of a workload, `{example}/ns/NAMESPACE/sa/ACCOUNT`"),
                false => format!("write ISSUER/SUBJECT, for example `{example}/*`"),
            };
            notes.add(code, meta, value.at(), message, help);
        }
    }
}

/// Whether a request principal is meant for the JWT-SVIDs of a trust domain, and matches none whose
/// id is `spiffe://DOMAIN/ns/NAMESPACE/sa/ACCOUNT`: it is cut at its last slash.
fn misses_svids(principal: &str, domain: &str) -> bool {
    let path = principal.strip_prefix(domain);
    let path = path.and_then(|path| path.strip_prefix('/'));
    domain.starts_with(SPIFFE)
        && path.is_some_and(|path| {
            let segments: Vec<_> = path.split('/').collect();
            matches!(segments.as_slice(), ["*"] | ["ns", "*"] | ["ns", _, "*"])
        })
}

fn svid_principal(policy: &AuthorizationPolicy, value: &Text, domain: &str, notes: &mut Notes) {
    let message = format!(
        "`{value}` matches no JWT-SVID of an account: its principal is the id, `{domain}/ns/NAMESPACE/sa/ACCOUNT`, and `*` stands for what follows its last slash alone"
    );
    let help = format!("write one account, or `{domain}/ns/NAMESPACE/sa/*` for each namespace");
    notes.add(
        Code::JwtSvidPrincipal,
        &policy.meta,
        value.at(),
        message,
        help,
    );
}

/// A RequestAuthentication without a policy that demands a token: a request without one passes.
fn not_required(world: World<'_>, resource: &RequestAuthentication, notes: &mut Notes) {
    if resource.jwt_rules.is_empty() || !resource.target_refs.is_empty() {
        return;
    }
    let mut policies = world.resources.authorization_policies.iter();
    let asks = |policy: &AuthorizationPolicy| {
        world.may_meet(policy.scope(), resource.scope())
            && lists::policy(policy).any(|list| list.field.is_token())
    };
    if !policies.any(|policy| asks(policy)) {
        let meta = &resource.meta;
        let message = "a bad token is refused and a missing one is not: no AuthorizationPolicy for these workloads asks for one";
        let help = "write an AuthorizationPolicy that allows by requestPrincipals";
        notes.add(Code::TokenNotRequired, meta, &meta.at, message, help);
    }
}

fn jwt_rule(meta: &Meta, rule: &JwtRule, notes: &mut Notes) {
    if rule.audiences.is_empty() {
        let at = rule.issuer.as_ref().map_or(&rule.at, |issuer| issuer.at());
        let message = "a token that the issuer made for any other service is accepted here, too";
        let help = "list in `audiences` the names under which the issuer knows this service";
        notes.add(Code::JwtWithoutAudiences, meta, at, message, help);
    }
    if let (Some(domain), Some(issuer)) = (trust_domain(rule), &rule.issuer)
        && rule.jwks.is_none()
        && rule.jwks_uri.is_none()
    {
        let message = format!(
            "the keys are those of the mesh's own bundle of trust domain `{domain}`: a mesh that has none refuses this rule"
        );
        let help = "write `jwksUri`, the address of the bundle, unless the identity of each such workload comes from the SPIFFE Workload API";
        notes.add(Code::JwtSvidKeysFromMesh, meta, issuer.at(), message, help);
    }
    for problem in rule_problems(rule, PlainHttp::Refused) {
        refused(meta, rule, &problem, notes);
    }
    if let Some(jwks) = &rule.jwks
        && has_secret_key(jwks)
    {
        let message = "this key set holds a private or symmetric key: a reader of the configuration can forge tokens";
        let help = "list public keys only, and exchange this one";
        notes.add(Code::PrivateKeyInJwks, meta, jwks.at(), message, help);
    }
}

/// What a mesh refuses of a rule.
fn refused(meta: &Meta, rule: &JwtRule, problem: &Problem, notes: &mut Notes) {
    let Problem {
        at, field, message, ..
    } = problem;
    let source = match field.as_str() {
        "jwksUri" => rule.jwks_uri.as_ref(),
        "issuer" => rule.issuer.as_ref(),
        _ => None,
    };
    let over_http = source.and_then(|uri| {
        let (scheme, rest) = uri.split_once("://")?;
        scheme.eq_ignore_ascii_case("http").then(|| host(rest))
    });
    let (code, message, help) = match (field.as_str(), over_http) {
        (_, Some(host)) => (
            Code::JwksOverHttp,
            format!(
                "the keys of `{host}` come in plaintext: an attacker on the network path can replace them and forge tokens"
            ),
            "write the address with https://",
        ),
        ("jwks", _) => (
            Code::JwksUnusable,
            format!("this key set verifies no token: {message}"),
            "list a public key for signatures: RSA of 2048 bits or more, P-256, P-384 or Ed25519",
        ),
        ("outputPayloadToHeader" | "outputClaimToHeaders", _) => (
            Code::ClaimHeaderReserved,
            format!("`{field}`: {message}"),
            "write a header of your own, such as x-user",
        ),
        ("issuer", _) => (
            Code::MeshRefuses,
            format!(
                "without `jwks` and `jwksUri` the keys are looked for where the issuer says, and that is: {message}"
            ),
            "write `jwksUri`, or `jwks`",
        ),
        _ => {
            let message = format!("`{field}`: {message}");
            (Code::MeshRefuses, message, "correct it")
        }
    };
    notes.add(code, meta, at, message, help);
}

/// What the issuer of a rule for JWT-SVIDs begins with.
const SPIFFE: &str = "spiffe://";

/// The host of an address, without scheme and user.
fn host(rest: &str) -> &str {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit('@').next().unwrap_or_default();
    match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    }
}
