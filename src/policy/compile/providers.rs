//! Finds the provider that a name means.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::compiler::Compiler;
use crate::istio::{Authorizer, AuthorizerCache, CacheKey, ExtensionProvider, ProviderKind};

/// A provider, and how its decisions are cached.
#[derive(Clone, PartialEq)]
pub(super) struct Found {
    pub(super) provider: ExtensionProvider,
    pub(super) cache: Option<AuthorizerCache>,
}

impl Found {
    /// Whether it is a provider of this process.
    pub(super) fn is_in_process(&self) -> bool {
        match self.provider.kind {
            ProviderKind::Expression(_) | ProviderKind::Application => true,
            ProviderKind::ExtAuthzGrpc { .. }
            | ProviderKind::ExtAuthzHttp { .. }
            | ProviderKind::Telemetry(_)
            | ProviderKind::Other => false,
        }
    }
}

/// The provider of a name in the policies of these namespaces, or why it cannot be used.
///
/// A name has one meaning: one that two sources define is used by neither, since the wrong one
/// might allow more.
pub(super) fn find(
    compiler: &Compiler<'_>,
    name: &str,
    namespaces: &BTreeSet<String>,
) -> Result<Found, &'static str> {
    let mut meanings = namespaces
        .iter()
        .map(|namespace| in_namespace(compiler, name, namespace));
    let Some(first) = meanings.next() else {
        return Err("no policy names it");
    };
    let first = first?;
    for other in meanings {
        if other? != first {
            return Err("its policies are in two namespaces, where the name means two providers");
        }
    }
    Ok(first)
}

fn in_namespace(
    compiler: &Compiler<'_>,
    name: &str,
    namespace: &str,
) -> Result<Found, &'static str> {
    let root = &compiler.mesh.root_namespace;
    let is_visible = |authorizer: &&Arc<Authorizer>| {
        let meta = &authorizer.meta;
        meta.name == name && (meta.namespace == namespace || meta.namespace == *root)
    };
    let visible = || compiler.authorizers.iter().filter(is_visible);
    let expressions = visible().filter_map(|authorizer| {
        let text = authorizer.expression.clone()?;
        let kind = ProviderKind::Expression(text);
        Some(ExtensionProvider::new(name.into(), kind))
    });
    let providers = compiler.mesh.extension_providers.iter();
    let providers = providers.filter(|provider| *provider.name == *name);
    let mut defined = providers.cloned().chain(expressions);
    let provider = match (defined.next(), defined.next()) {
        (None, _) if visible().next().is_some() => {
            return Err(
                "its Authorizer has only a cache, and MeshConfig's extensionProviders have no provider of the name",
            );
        }
        (None, _) => {
            return Err("no such provider in MeshConfig's extensionProviders, and no Authorizer");
        }
        (Some(_), Some(_)) => return Err("the provider is defined twice"),
        (Some(provider), None) => provider,
    };
    if matches!(
        provider.kind,
        ProviderKind::Telemetry(_) | ProviderKind::Other
    ) {
        return Err("the provider cannot authorize");
    }
    let mut caches = visible().filter_map(|authorizer| authorizer.cache.clone());
    match (caches.next(), caches.next()) {
        (Some(_), Some(_)) => Err("the provider has two caches"),
        (cache, _) => Ok(Found { provider, cache }),
    }
}

/// Notes a cache that probably does not do what was meant.
pub(super) fn cache_notes(compiler: &mut Compiler<'_>, found: &Found) {
    let Some(cache) = &found.cache else { return };
    let message = match found.provider.kind {
        ProviderKind::ExtAuthzGrpc { .. } | ProviderKind::ExtAuthzHttp { .. } => {
            if cache.keys.iter().any(CacheKey::needs_token) {
                "the provider is asked before tokens are verified, so that request.auth is not known and nothing is cached; key by request.headers[authorization]"
            } else if !cache.keys.iter().any(tells_users_apart) {
                "requests with different tokens share a decision; if the provider looks at tokens, add request.headers[authorization]"
            } else {
                return;
            }
        }
        ProviderKind::Expression(_) => {
            "an expression is decided in less time than a cache needs to find its decision; leave the cache out"
        }
        ProviderKind::Application | ProviderKind::Telemetry(_) | ProviderKind::Other => return,
    };
    compiler.note(&cache.at, "spec.cache.keys", message);
}

fn tells_users_apart(key: &CacheKey) -> bool {
    match key {
        CacheKey::Header(name) => ["authorization", "cookie"].contains(&name.as_str()),
        other => other.needs_token(),
    }
}
