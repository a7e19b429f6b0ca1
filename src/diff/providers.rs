//! Compares how external providers are asked.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use crate::istio::{AuthorizerCache, ExtensionProvider, ProviderKind, RequestBodyInCheck};
use crate::policy::{Engine, ProviderAnswer};

/// What differs in the settings of the providers that both sides ask, a sentence for each; that
/// rules ask another provider shows in answers.
pub(super) fn provider_changes(old: &Engine, new: &Engine) -> Vec<String> {
    let (old, new) = (asked(old), asked(new));
    let both = old.iter().filter_map(|(name, old)| {
        let new = new.get(name)?;
        Some((name, old, new))
    });
    both.flat_map(|(name, old, new)| {
        let mut changes = changes(old.0, new.0);
        changes.extend(cache_change(old.1, new.1));
        let changes = changes.into_iter();
        changes.map(move |change| format!("external provider `{name}`: {change}"))
    })
    .collect()
}

/// A provider, and the cache of its decisions.
type Asked<'e> = (&'e ExtensionProvider, Option<&'e AuthorizerCache>);

/// The providers that policies of the workload ask.
fn asked(engine: &Engine) -> BTreeMap<&str, Asked<'_>> {
    let program = engine.program();
    let chains = [&program.http, &program.tcp].into_iter();
    let chains =
        chains.flat_map(|chains| std::iter::once(&chains.default).chain(chains.by_port.values()));
    let filters = chains.flat_map(|chain| &chain.custom);
    let asked = filters.filter_map(|filter| {
        let asked = (filter.usable.as_ref()?, filter.cache.as_ref());
        Some((filter.provider.as_str(), asked))
    });
    asked.collect()
}

/// What differs in how decisions are kept.
fn cache_change(old: Option<&AuthorizerCache>, new: Option<&AuthorizerCache>) -> Option<String> {
    let said = |cache: Option<&AuthorizerCache>| {
        let Some(cache) = cache else {
            return "none".to_owned();
        };
        let keys = cache.keys.iter().map(ToString::to_string);
        let keys = keys.collect::<Vec<_>>().join(", ");
        let (ttl, stale, denials) = (cache.ttl, cache.stale_if_error, cache.denial_ttl);
        let denials = denials.unwrap_or(ttl);
        format!("by [{keys}] for {ttl:?}, denials for {denials:?}, after an error {stale:?} longer")
    };
    let (before, after) = (said(old), said(new));
    (before != after).then(|| otherwise("cached decisions", before, after))
}

fn changes(old: &ExtensionProvider, new: &ExtensionProvider) -> Vec<String> {
    let (Some(before), Some(after)) = (Settings::of(old), Settings::of(new)) else {
        return kind_changes(&old.kind, &new.kind);
    };
    let mut changes = Vec::new();
    match (ProviderAnswer::Error.refusal(old), ProviderAnswer::Error.refusal(new)) {
        (Some(_), None) => changes.push(
            "failOpen is switched on, so that requests pass while it cannot be asked: looser"
                .to_owned(),
        ),
        (None, Some(status)) => changes.push(format!(
            "failOpen is switched off, so that requests get {status} while it cannot be asked: stricter"
        )),
        (Some(before), Some(after)) if before != after => {
            changes.push(otherwise("statusOnError", before, after));
        }
        _ => {}
    }
    let protocols = [before.protocol, after.protocol];
    match protocols {
        ["gRPC", "HTTP"] => changes.push(
            "it is asked by HTTP, no longer by gRPC, and so no longer about raw TCP: looser"
                .to_owned(),
        ),
        ["HTTP", "gRPC"] => changes.push(
            "it is asked by gRPC, no longer by HTTP, and so about raw TCP, too: stricter"
                .to_owned(),
        ),
        _ => {}
    }
    let places =
        [&before, &after].map(|settings| format!("{}:{}", settings.service, settings.port));
    if let [before, after] = &places
        && before != after
    {
        changes.push(otherwise("another service answers", before, after));
    }
    if before.timeout != after.timeout {
        changes.push(otherwise(
            "timeout",
            time(before.timeout),
            time(after.timeout),
        ));
    }
    if before.body != after.body {
        let [before, after] = [before.body, after.body].map(body);
        changes.push(otherwise("includeRequestBodyInCheck", before, after));
    }
    if before.clear_route_cache != after.clear_route_cache {
        let (before, after) = (before.clear_route_cache, after.clear_route_cache);
        changes.push(otherwise("clearRouteCache", before, after));
    }
    if protocols[0] == protocols[1] {
        changes.extend(http_changes(&old.kind, &new.kind));
    }
    changes
}

/// What differs where one of the two is in the process.
fn kind_changes(old: &ProviderKind, new: &ProviderKind) -> Vec<String> {
    let change = match (old, new) {
        (ProviderKind::Expression(before), ProviderKind::Expression(after)) => {
            if before.as_str() == after.as_str() {
                return Vec::new();
            }
            otherwise(
                "its expression is another one",
                quoted(before),
                quoted(after),
            )
        }
        _ if kind(old) == kind(new) => return Vec::new(),
        _ => otherwise("another thing answers", kind(old), kind(new)),
    };
    vec![change]
}

/// On one line, whatever it holds.
fn quoted(text: &str) -> String {
    format!("{text:?}")
}

fn kind(kind: &ProviderKind) -> &'static str {
    match kind {
        ProviderKind::ExtAuthzGrpc { .. } => "a gRPC service",
        ProviderKind::ExtAuthzHttp { .. } => "an HTTP service",
        ProviderKind::Expression(_) => "an expression",
        ProviderKind::Application => "the application",
        ProviderKind::Telemetry(_) | ProviderKind::Other => "nothing that can authorize",
    }
}

/// What differs in the fields that only an HTTP provider has. Values of headers may be secrets, so
/// they are not shown.
fn http_changes(old: &ProviderKind, new: &ProviderKind) -> Vec<String> {
    let (
        ProviderKind::ExtAuthzHttp {
            path_prefix: old_prefix,
            include_request_headers_in_check: old_sent,
            include_additional_headers_in_check: old_added,
            headers_to_upstream_on_allow: old_upstream,
            headers_to_downstream_on_allow: old_allow,
            headers_to_downstream_on_deny: old_deny,
            ..
        },
        ProviderKind::ExtAuthzHttp {
            path_prefix,
            include_request_headers_in_check,
            include_additional_headers_in_check,
            headers_to_upstream_on_allow,
            headers_to_downstream_on_allow,
            headers_to_downstream_on_deny,
            ..
        },
    ) = (old, new)
    else {
        return Vec::new();
    };
    let mut changes = Vec::new();
    if old_prefix != path_prefix {
        let [before, after] = [old_prefix, path_prefix].map(|prefix| format!("{prefix:?}"));
        changes.push(otherwise("pathPrefix", before, after));
    }
    for (field, before, after) in [
        (
            "includeRequestHeadersInCheck",
            old_sent,
            include_request_headers_in_check,
        ),
        (
            "headersToUpstreamOnAllow",
            old_upstream,
            headers_to_upstream_on_allow,
        ),
        (
            "headersToDownstreamOnAllow",
            old_allow,
            headers_to_downstream_on_allow,
        ),
        (
            "headersToDownstreamOnDeny",
            old_deny,
            headers_to_downstream_on_deny,
        ),
    ] {
        if before != after {
            let [before, after] = [before, after].map(|list| format!("[{}]", list.join(", ")));
            changes.push(otherwise(field, before, after));
        }
    }
    if old_added != include_additional_headers_in_check {
        changes.push("includeAdditionalHeadersInCheck is another one".to_owned());
    }
    changes
}

fn otherwise(field: &str, before: impl Display, after: impl Display) -> String {
    format!("{field}: {before}, now {after}")
}

/// What both protocols have.
struct Settings<'p> {
    protocol: &'static str,
    service: &'p str,
    port: u16,
    timeout: Option<Duration>,
    body: Option<RequestBodyInCheck>,
    clear_route_cache: bool,
}

impl<'p> Settings<'p> {
    /// `None` where it is no provider for authorization.
    fn of(provider: &'p ExtensionProvider) -> Option<Self> {
        let (ProviderKind::ExtAuthzGrpc {
            service,
            port,
            timeout,
            include_request_body,
            clear_route_cache,
            ..
        }
        | ProviderKind::ExtAuthzHttp {
            service,
            port,
            timeout,
            include_request_body,
            clear_route_cache,
            ..
        }) = &provider.kind
        else {
            return None;
        };
        Some(Self {
            protocol: match provider.kind {
                ProviderKind::ExtAuthzGrpc { .. } => "gRPC",
                _ => "HTTP",
            },
            service,
            port: *port,
            timeout: *timeout,
            body: *include_request_body,
            clear_route_cache: *clear_route_cache,
        })
    }
}

fn time(timeout: Option<Duration>) -> String {
    match timeout {
        Some(timeout) => format!("{timeout:?}"),
        None => "600s (it is absent)".to_owned(),
    }
}

fn body(body: Option<RequestBodyInCheck>) -> String {
    let Some(body) = body else {
        return "no body".to_owned();
    };
    let longer = match body.allow_partial_message {
        true => "what is longer is cut",
        false => "what is longer is refused",
    };
    let bytes = body.max_request_bytes;
    let packed = if body.pack_as_bytes { ", as bytes" } else { "" };
    format!("{bytes} bytes{packed} ({longer})")
}
