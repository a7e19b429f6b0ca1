//! Checks external providers, and the CUSTOM policies that name them.

use crate::istio::{AuthorizationPolicy, Authorizer, ExtensionProvider, Meta, ProviderKind};
use crate::vet::Code;
use crate::vet::report::notes::Notes;
use crate::vet::world::known::{Selects, World};

/// A body beyond this is kept in memory for each request that waits.
const LARGE_BODY: u32 = 1 << 20;

/// Adds notes about providers. What MeshConfig is not known to have, nothing is said about.
pub(in crate::vet) fn check(world: World<'_>, notes: &mut Notes) {
    for authorizer in &world.resources.authorizers {
        own(world, authorizer, notes);
    }
    if !world.mesh_is_known {
        return;
    }
    for policy in &world.resources.authorization_policies {
        unknown(world, policy, notes);
        several(world, policy, notes);
    }
    for provider in &world.mesh.extension_providers {
        settings(provider, notes);
        unused(world, provider, notes);
    }
}

/// A provider that MeshConfig does not have, or that cannot authorize.
fn unknown(world: World<'_>, policy: &AuthorizationPolicy, notes: &mut Notes) {
    let Some(name) = &policy.provider else { return };
    let mut authorizers = world.resources.authorizers.iter();
    if authorizers.any(|own| own.expression.is_some() && is_named(world, own, policy)) {
        return;
    }
    let what = match named(world, name).map(|provider| &provider.kind) {
        None => "neither MeshConfig nor an Authorizer defines a provider of this name",
        Some(ProviderKind::Telemetry(_) | ProviderKind::Other) => "this provider cannot authorize",
        Some(
            ProviderKind::ExtAuthzGrpc { .. }
            | ProviderKind::ExtAuthzHttp { .. }
            | ProviderKind::Expression(_)
            | ProviderKind::Application,
        ) => return,
    };
    let meta = &policy.meta;
    let message = format!("{what}, so every request that the rules match is refused");
    let help = "name one of MeshConfig's extensionProviders with envoyExtAuthzHttp or envoyExtAuthzGrpc, or an Authorizer of the namespace; state one that the application registers by --authorizer";
    notes.add(Code::UnknownProvider, meta, name.at(), message, help);
}

/// Whether an Authorizer is the one that a policy names.
fn is_named(world: World<'_>, authorizer: &Authorizer, policy: &AuthorizationPolicy) -> bool {
    let (own, policy_meta) = (&authorizer.meta, &policy.meta);
    let is_visible = own.namespace == policy_meta.namespace || world.is_root(&own.namespace);
    let name = policy.provider.as_ref();
    is_visible && name.is_some_and(|name| name.as_str() == own.name)
}

/// An Authorizer that another definition stands against, or that no policy names.
fn own(world: World<'_>, authorizer: &Authorizer, notes: &mut Notes) {
    let resources = world.resources;
    let meta = &authorizer.meta;
    if authorizer.expression.is_some() {
        let mut others = resources.authorizers.iter();
        let is_other = |other: &Authorizer| {
            let is_in_reach = world.is_root(&other.meta.namespace)
                || world.is_root(&meta.namespace)
                || other.meta.namespace == meta.namespace;
            is_in_reach
                && other.expression.is_some()
                && other.meta.name == meta.name
                && other.meta.namespace != meta.namespace
        };
        let other = if named(world, &meta.name).is_some() {
            Some("MeshConfig's extensionProviders, or the application,")
        } else if others.any(|other| is_other(other)) {
            Some("an Authorizer of the root namespace, or of one below it,")
        } else {
            None
        };
        if let Some(other) = other {
            let message = format!(
                "{other} defines a provider of this name, too, so that neither is asked and every request for it is refused"
            );
            let help = "rename one, or take it out";
            notes.add(Code::ProviderDefinedTwice, meta, &meta.at, message, help);
        }
    }
    let policies = &resources.authorization_policies;
    let mut policies_of_it = policies.iter();
    if !policies.is_empty() && !policies_of_it.any(|policy| is_named(world, authorizer, policy)) {
        let message =
            "no CUSTOM policy of its namespace names this Authorizer, so it decides nothing";
        let help = "name it in a CUSTOM policy, or take it out";
        notes.add(Code::ProviderUnused, meta, &meta.at, message, help);
    }
}

/// MeshConfig's provider of a name, or the application's.
pub(super) fn named<'r>(world: World<'r>, name: &str) -> Option<&'r ExtensionProvider> {
    let mut known = world.mesh.extension_providers.iter();
    known.find(|provider| *provider.name == *name)
}

/// Another policy that has another provider asked about the same workload.
fn several(world: World<'_>, policy: &AuthorizationPolicy, notes: &mut Notes) {
    let usable = |name: &str| {
        let provider = named(world, name);
        provider.is_some_and(|provider| {
            matches!(
                provider.kind,
                ProviderKind::ExtAuthzGrpc { .. } | ProviderKind::ExtAuthzHttp { .. }
            )
        })
    };
    let Some(name) = policy.provider.as_ref().filter(|name| usable(name)) else {
        return;
    };
    let scope = policy.scope();
    let policies = world.resources.authorization_policies.iter();
    let other = policies
        .filter_map(|other| Some((other.scope(), other.provider.as_ref()?)))
        .filter(|(_, other)| other.as_str() != name.as_str() && usable(other))
        .find(|(other, _)| {
            let mut selected = world.selected(scope);
            selected.any(|workload| world.selects(*other, workload))
                || !world.is_known(scope)
                    && (world.covers(scope, *other) || world.covers(*other, scope))
        });
    if let Some((_, other)) = other {
        let message = format!(
            "a workload can have one of MeshConfig's providers, and has `{name}` and `{other}`, so every request that the rules of either match is refused"
        );
        let help = "ask one provider, or narrow the selectors so that each workload has one";
        notes.add(
            Code::SeveralProviders,
            &policy.meta,
            name.at(),
            message,
            help,
        );
    }
}

/// A provider for authorization that no policy names.
fn unused(world: World<'_>, provider: &ExtensionProvider, notes: &mut Notes) {
    let policies = &world.resources.authorization_policies;
    let mut names = policies
        .iter()
        .filter_map(|policy| policy.provider.as_ref());
    if matches!(
        provider.kind,
        ProviderKind::Telemetry(_) | ProviderKind::Other | ProviderKind::Application
    ) || policies.is_empty()
        || names.any(|name| **name == *provider.name)
    {
        return;
    }
    let message = "no CUSTOM policy names this provider, so it is never asked";
    let help = "name it in a CUSTOM policy, or take it out";
    add(
        Code::ProviderUnused,
        provider,
        message.to_owned(),
        help,
        notes,
    );
}

/// What a provider is told to do that surprises.
fn settings(provider: &ExtensionProvider, notes: &mut Notes) {
    let (timeout, fail_open, status, body, clear_route_cache, upstream) = match &provider.kind {
        ProviderKind::ExtAuthzGrpc {
            timeout,
            fail_open,
            status_on_error,
            include_request_body,
            clear_route_cache,
            ..
        } => {
            let none: &[String] = &[];
            (
                timeout,
                fail_open,
                status_on_error,
                include_request_body,
                clear_route_cache,
                none,
            )
        }
        ProviderKind::ExtAuthzHttp {
            timeout,
            fail_open,
            status_on_error,
            include_request_body,
            clear_route_cache,
            headers_to_upstream_on_allow: upstream,
            ..
        } => {
            let upstream = upstream.as_slice();
            (
                timeout,
                fail_open,
                status_on_error,
                include_request_body,
                clear_route_cache,
                upstream,
            )
        }
        ProviderKind::Expression(_)
        | ProviderKind::Application
        | ProviderKind::Telemetry(_)
        | ProviderKind::Other => return,
    };
    let mut tell = |code, message: String, help| add(code, provider, message, help, notes);
    if *fail_open {
        let message = "failOpen lets every request pass while the provider cannot be asked, so who can make it fail gets in";
        let help = "leave failOpen out; a decision cache (kind Authorizer) keeps known callers served while the provider is down";
        tell(Code::ProviderFailsOpen, message.to_owned(), help);
    }
    if timeout.is_none() {
        let message = "without a timeout a request waits up to 600 s for the provider";
        tell(
            Code::ProviderWithoutTimeout,
            message.to_owned(),
            "write one, as in timeout: 1s",
        );
    }
    if let Some(status) = status.filter(|status| *status < 400) {
        let message = format!(
            "a request that is refused with {status} because the provider cannot be asked looks as if it had succeeded"
        );
        tell(
            Code::ProviderErrorStatus,
            message,
            "write a status from 400 on, or none, which is 403",
        );
    }
    if let Some(body) = body.filter(|body| body.max_request_bytes > LARGE_BODY) {
        let bytes = body.max_request_bytes;
        let message = format!(
            "each request that waits for the provider may hold {bytes} bytes of its body in memory"
        );
        let help = "write at most 1048576 (1 MiB), with allowPartialMessage if bodies are longer";
        tell(Code::ProviderBodyLarge, message, help);
    }
    if *clear_route_cache {
        let message = "clearRouteCache has no effect: Istio does not pass it on, and a mesh chooses no route before the provider is asked";
        tell(Code::ProviderRouteCache, message.to_owned(), "take it out");
    }
    for pattern in upstream.iter().filter(|pattern| is_forbidden(pattern)) {
        let message = format!(
            "no provider may set {pattern:?}: an answer that does counts as an error of the provider"
        );
        let help = "take it out of headersToUpstreamOnAllow; let the provider use a header of its own, such as x-user";
        tell(Code::ProviderHeaderRefused, message, help);
    }
}

/// Whether every header that a pattern stands for is one that decides who the caller is, how the
/// request is framed or where it goes.
fn is_forbidden(pattern: &str) -> bool {
    let pattern = pattern.to_ascii_lowercase();
    let of_family = |name: &str| FAMILIES.iter().any(|family| name.starts_with(family));
    match pattern.strip_suffix('*') {
        Some(prefix) => of_family(prefix),
        None => of_family(&pattern) || FORBIDDEN.contains(&pattern.as_str()),
    }
}

/// Families of headers that no provider may set.
const FAMILIES: &[&str] = &[":", "proxy-", "x-envoy-", "x-forwarded-client-"];

/// Single ones.
const FORBIDDEN: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A note about a provider of MeshConfig.
fn add(code: Code, provider: &ExtensionProvider, message: String, help: &str, notes: &mut Notes) {
    let meta = Meta {
        kind: "extensionProvider".to_owned(),
        name: provider.name.as_str().to_owned(),
        at: provider.name.at().clone(),
        ..Meta::default()
    };
    notes.add(code, &meta, provider.name.at(), message, help);
}
