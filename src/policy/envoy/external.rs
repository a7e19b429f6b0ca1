use std::time::Duration;

use serde_json::{Value, json};

use super::protocol::Protocol;
use super::rules::{flag, set, sparse};
use crate::istio::{ExtensionProvider, ProviderKind, RequestBodyInCheck};

/// The ext_authz filter that asks a provider about the requests its shadow rules marked; `None`
/// where the provider cannot be asked.
pub(super) fn filter(
    protocol: Protocol,
    name: &str,
    provider: &ExtensionProvider,
) -> Option<Value> {
    let (ProviderKind::ExtAuthzGrpc {
        fail_open,
        status_on_error,
        include_request_body,
        clear_route_cache,
        ..
    }
    | ProviderKind::ExtAuthzHttp {
        fail_open,
        status_on_error,
        include_request_body,
        clear_route_cache,
        ..
    }) = &provider.kind
    else {
        return None;
    };
    let mut config = service(protocol, &provider.kind)?;
    flag(&mut config, "failure_mode_allow", *fail_open);
    // Only HTTP has a status, a body, and a route that can be chosen again.
    if protocol == Protocol::Http {
        if let Some(status) = status_on_error {
            set(&mut config, "status_on_error", json!({"code": status}));
        }
        flag(&mut config, "clear_route_cache", *clear_route_cache);
        if let Some(body) = include_request_body {
            set(&mut config, "with_request_body", request_body(*body));
        }
    }
    set(&mut config, "transport_api_version", "V3".into());
    let marked = json!({
        "filter": protocol.full_name("rbac"),
        "path": [{"key": "istio_ext_authz_shadow_effective_policy_id"}],
        "value": {"string_match": {"prefix": format!("istio-ext-authz-{name}")}},
    });
    set(&mut config, "filter_enabled_metadata", marked);
    Some(protocol.filter("ext_authz", "ExtAuthz", config))
}

/// How the provider is called; `None` where it cannot be.
fn service(protocol: Protocol, kind: &ProviderKind) -> Option<Value> {
    match kind {
        ProviderKind::ExtAuthzGrpc {
            service,
            port,
            timeout,
            ..
        } => Some(json!({
            "grpc_service": {
                "envoy_grpc": {"cluster_name": cluster(service, *port), "authority": host(service)},
                "timeout": seconds(*timeout),
            },
        })),
        ProviderKind::ExtAuthzHttp {
            service,
            port,
            timeout,
            path_prefix,
            include_request_headers_in_check,
            include_additional_headers_in_check,
            headers_to_upstream_on_allow,
            headers_to_downstream_on_allow,
            headers_to_downstream_on_deny,
            ..
        } if protocol == Protocol::Http => {
            let added = include_additional_headers_in_check.iter();
            let added = added.map(|(key, value)| json!({"key": key, "value": value}));
            let http_service = sparse(json!({
                "server_uri": {
                    "uri": format!("http://{}", host(service)),
                    "cluster": cluster(service, *port),
                    "timeout": seconds(*timeout),
                },
                "path_prefix": (!path_prefix.is_empty()).then_some(path_prefix),
                "authorization_request": sparse(json!({"headers_to_add": added.collect::<Value>()})),
                "authorization_response": sparse(json!({
                    "allowed_upstream_headers": patterns(headers_to_upstream_on_allow),
                    "allowed_client_headers": patterns(headers_to_downstream_on_deny),
                    "allowed_client_headers_on_success": patterns(headers_to_downstream_on_allow),
                })),
            }));
            Some(sparse(json!({
                "http_service": http_service,
                "allowed_headers": patterns(include_request_headers_in_check),
            })))
        }
        ProviderKind::ExtAuthzHttp { .. }
        | ProviderKind::Expression(_)
        | ProviderKind::Application
        | ProviderKind::Telemetry(_)
        | ProviderKind::Other => None,
    }
}

/// Header names, `x-*` and `*-id`, in any case; `None` without any.
fn patterns(headers: &[String]) -> Option<Value> {
    let pattern = |header: &String| match (header.strip_prefix('*'), header.strip_suffix('*')) {
        (Some(suffix), _) => json!({"suffix": suffix, "ignore_case": true}),
        (None, Some(prefix)) => json!({"prefix": prefix, "ignore_case": true}),
        (None, None) => json!({"exact": header, "ignore_case": true}),
    };
    let patterns: Value = headers.iter().map(pattern).collect();
    (!headers.is_empty()).then(|| json!({"patterns": patterns}))
}

/// How much of the body is sent along.
fn request_body(body: RequestBodyInCheck) -> Value {
    sparse(json!({
        "max_request_bytes": body.max_request_bytes,
        "allow_partial_message": body.allow_partial_message,
        "pack_as_bytes": body.pack_as_bytes,
    }))
}

/// Istio's name of the cluster that leads to a service.
fn cluster(service: &str, port: u16) -> String {
    format!("outbound|{port}||{}", host(service))
}

/// The host of `[namespace/]host`.
fn host(service: &str) -> &str {
    service.rsplit_once('/').map_or(service, |(_, host)| host)
}

/// A duration in proto3 JSON; ten minutes when none is given, as Istio sets it.
fn seconds(timeout: Option<Duration>) -> String {
    let timeout = timeout.unwrap_or(Duration::from_secs(600));
    match timeout.subsec_nanos() {
        0 => format!("{}s", timeout.as_secs()),
        nanos => format!("{}.{nanos:09}s", timeout.as_secs()),
    }
}
