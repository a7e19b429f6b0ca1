use std::time::Duration;

use serde_json::{Value, json};

use super::protocol::Protocol;
use super::rules::set;
use crate::istio::{ExtensionProvider, ProviderKind};

/// The ext_authz filter that asks a provider about the requests its shadow rules marked; `None`
/// where the provider cannot be asked.
pub(super) fn filter(
    protocol: Protocol,
    name: &str,
    provider: &ExtensionProvider,
) -> Option<Value> {
    let mut config = match (&provider.kind, protocol) {
        (
            ProviderKind::ExtAuthzGrpc {
                service,
                port,
                timeout,
                ..
            },
            _,
        ) => json!({
            "grpc_service": {
                "envoy_grpc": {"cluster_name": cluster(service, *port), "authority": host(service)},
                "timeout": seconds(*timeout),
            },
        }),
        (ProviderKind::ExtAuthzHttp { .. }, Protocol::Http) => http_service(&provider.kind)?,
        _ => return None,
    };
    let (fail_open, status) = on_error(&provider.kind);
    if fail_open {
        set(&mut config, "failure_mode_allow", true.into());
    }
    if let (Some(status), Protocol::Http) = (status, protocol) {
        set(&mut config, "status_on_error", json!({"code": status}));
    }
    if protocol == Protocol::Http {
        set_extras(&mut config, &provider.kind);
    }
    set(&mut config, "transport_api_version", "V3".into());
    let (filter, kind, rbac) = match protocol {
        Protocol::Http => (
            "envoy.filters.http.ext_authz",
            "http",
            "envoy.filters.http.rbac",
        ),
        Protocol::Tcp => {
            set(&mut config, "stat_prefix", "tcp.".into());
            (
                "envoy.filters.network.ext_authz",
                "network",
                "envoy.filters.network.rbac",
            )
        }
    };
    let marked = json!({
        "filter": rbac,
        "path": [{"key": "istio_ext_authz_shadow_effective_policy_id"}],
        "value": {"string_match": {"prefix": format!("istio-ext-authz-{name}")}},
    });
    set(&mut config, "filter_enabled_metadata", marked);
    let kind = format!("type.googleapis.com/envoy.extensions.filters.{kind}.ext_authz.v3.ExtAuthz");
    set(&mut config, "@type", kind.into());
    Some(json!({"name": filter, "typed_config": config}))
}

fn http_service(kind: &ProviderKind) -> Option<Value> {
    let ProviderKind::ExtAuthzHttp {
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
    } = kind
    else {
        return None;
    };
    let mut http = json!({
        "server_uri": {
            "uri": format!("http://{}", host(service)),
            "cluster": cluster(service, *port),
            "timeout": seconds(*timeout),
        },
    });
    if !path_prefix.is_empty() {
        set(&mut http, "path_prefix", path_prefix.as_str().into());
    }
    let added = include_additional_headers_in_check.iter();
    let added: Vec<_> = added
        .map(|(key, value)| json!({"key": key, "value": value}))
        .collect();
    if !added.is_empty() {
        set(
            &mut http,
            "authorization_request",
            json!({"headers_to_add": added}),
        );
    }
    let mut response = json!({});
    for (field, list) in [
        ("allowed_upstream_headers", headers_to_upstream_on_allow),
        ("allowed_client_headers", headers_to_downstream_on_deny),
        (
            "allowed_client_headers_on_success",
            headers_to_downstream_on_allow,
        ),
    ] {
        if !list.is_empty() {
            set(&mut response, field, patterns(list));
        }
    }
    if response != json!({}) {
        set(&mut http, "authorization_response", response);
    }
    let mut config = json!({"http_service": http});
    if !include_request_headers_in_check.is_empty() {
        set(
            &mut config,
            "allowed_headers",
            patterns(include_request_headers_in_check),
        );
    }
    Some(config)
}

/// Header names, `x-*` and `*-id`, in any case.
fn patterns(headers: &[String]) -> Value {
    let pattern = |header: &String| match (header.strip_prefix('*'), header.strip_suffix('*')) {
        (Some(suffix), _) => json!({"suffix": suffix, "ignore_case": true}),
        (None, Some(prefix)) => json!({"prefix": prefix, "ignore_case": true}),
        (None, None) => json!({"exact": header, "ignore_case": true}),
    };
    json!({"patterns": headers.iter().map(pattern).collect::<Vec<_>>()})
}

/// How much of the body is sent along, and whether the route is chosen again; both in HTTP only.
fn set_extras(config: &mut Value, kind: &ProviderKind) {
    let (ProviderKind::ExtAuthzGrpc {
        include_request_body,
        clear_route_cache,
        ..
    }
    | ProviderKind::ExtAuthzHttp {
        include_request_body,
        clear_route_cache,
        ..
    }) = kind
    else {
        return;
    };
    if *clear_route_cache {
        set(config, "clear_route_cache", true.into());
    }
    let Some(body) = include_request_body else {
        return;
    };
    let mut settings = json!({"max_request_bytes": body.max_request_bytes});
    for (field, value) in [
        ("allow_partial_message", body.allow_partial_message),
        ("pack_as_bytes", body.pack_as_bytes),
    ] {
        if value {
            set(&mut settings, field, true.into());
        }
    }
    set(config, "with_request_body", settings);
}

fn on_error(kind: &ProviderKind) -> (bool, Option<u16>) {
    match kind {
        ProviderKind::ExtAuthzGrpc {
            fail_open,
            status_on_error,
            ..
        }
        | ProviderKind::ExtAuthzHttp {
            fail_open,
            status_on_error,
            ..
        } => (*fail_open, *status_on_error),
        ProviderKind::Other => (false, None),
    }
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
