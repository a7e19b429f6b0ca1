use std::time::Duration;

use serde_json::{Value, json};

use super::chain::Protocol;
use super::rules::set;
use crate::istio::{ExtensionProvider, ProviderKind};

/// The ext_authz filter that asks a provider about the requests its shadow rules marked; `None` where the provider cannot be asked.
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
        (
            ProviderKind::ExtAuthzHttp {
                service,
                port,
                timeout,
                path_prefix,
                include_request_headers_in_check: headers,
                ..
            },
            Protocol::Http,
        ) => http_service(service, *port, *timeout, path_prefix, headers),
        _ => return None,
    };
    let (fail_open, status) = on_error(&provider.kind);
    if fail_open {
        set(&mut config, "failure_mode_allow", true.into());
    }
    if let (Some(status), Protocol::Http) = (status, protocol) {
        set(&mut config, "status_on_error", json!({"code": status}));
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

fn http_service(
    service: &str,
    port: u16,
    timeout: Option<Duration>,
    path_prefix: &str,
    headers: &[String],
) -> Value {
    let mut http = json!({
        "server_uri": {
            "uri": format!("http://{}", host(service)),
            "cluster": cluster(service, port),
            "timeout": seconds(timeout),
        },
    });
    if !path_prefix.is_empty() {
        set(&mut http, "path_prefix", path_prefix.into());
    }
    let mut config = json!({"http_service": http});
    if !headers.is_empty() {
        let patterns = headers
            .iter()
            .map(|name| json!({"exact": name, "ignore_case": true}));
        let patterns: Vec<_> = patterns.collect();
        set(
            &mut config,
            "allowed_headers",
            json!({"patterns": patterns}),
        );
    }
    config
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
