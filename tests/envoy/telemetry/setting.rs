//! The configuration of the Envoy, as istiod writes it for a sidecar's inbound port.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Map, Value, json};
use tower_mesh::testing::Pki;

use crate::stub::cluster;

/// The node, as the injector names it.
pub(crate) const NODE: &str = "sidecar~127.0.0.1~web-0.foo~foo.svc.cluster.local";

/// What of the configuration changes.
pub(crate) struct Setting<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) app: SocketAddr,
    pub(crate) collector: SocketAddr,
    pub(crate) is_zipkin: bool,
    pub(crate) filters: &'a Value,
    /// Where its logs are.
    pub(crate) directory: &'a Path,
}

/// The whole configuration.
pub(crate) fn configuration(setting: &Setting<'_>, pki: &Pki) -> Value {
    let Setting {
        address,
        app,
        collector,
        ..
    } = *setting;
    let mut tls = crate::server::tls(pki);
    tls["typed_config"]["common_tls_context"]["alpn_protocols"] = json!(["h2", "http/1.1"]);
    let at = json!({"address": "127.0.0.1", "port_value": address.port()});
    json!({
        "static_resources": {
            "listeners": [{
                "name": "inbound",
                "address": {"socket_address": at},
                "listener_filters": [{
                    "name": "envoy.filters.listener.tls_inspector",
                    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"},
                }],
                "filter_chains": [{"transport_socket": tls, "filters": [manager(setting)]}],
            }],
            "clusters": [
                cluster(&format!("inbound|{}||", address.port()), app, None),
                cluster("collector", collector, Some(false)),
            ],
        },
        "layered_runtime": {"layers": [{
            "name": "tracing",
            "static_layer": {
                "tracing.zipkin.min_flush_spans": 1,
                "tracing.opentelemetry.min_flush_spans": 1,
                "envoy.reloadable_features.http_reject_path_with_fragment": false,
            },
        }]},
        "node": {"id": NODE, "cluster": "web.foo"},
    })
}

fn manager(setting: &Setting<'_>) -> Value {
    let port = setting.address.port();
    let mut filters = setting.filters.as_array().unwrap().clone();
    filters.push(json!({
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
    }));
    json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "inbound",
            "server_name": "istio-envoy",
            "stream_idle_timeout": "0s",
            "delayed_close_timeout": "0.05s",
            "use_remote_address": false,
            "forward_client_cert_details": "APPEND_FORWARD",
            "set_current_client_cert_details": {"subject": true, "dns": true, "uri": true},
            "proxy_100_continue": true,
            "upgrade_configs": [{"upgrade_type": "websocket"}],
            "normalize_path": true,
            "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
            "request_id_extension": {"typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
                "use_request_id_for_trace_sampling": true,
            }},
            "http_protocol_options": {"accept_http_10": true},
            "http_filters": filters,
            "tracing": tracing(setting.collector, setting.is_zipkin, "web"),
            "access_log": access_logs(setting.directory, &MORE),
            "route_config": {
                "virtual_hosts": [{
                    "name": format!("inbound|http|{port}"),
                    "domains": ["*"],
                    "routes": [{
                        "name": "default",
                        "match": {"prefix": "/"},
                        "decorator": {"operation": format!("web.foo.svc.cluster.local:{port}/*")},
                        "route": {"cluster": format!("inbound|{port}||"), "timeout": "0s"},
                    }],
                }],
            },
        },
    })
}

/// `service`: what spans are of.
pub(crate) fn tracing(collector: SocketAddr, is_zipkin: bool, service: &str) -> Value {
    let tags = [
        ("istio.canonical_revision", "latest"),
        ("istio.canonical_service", service),
        ("istio.cluster_id", "Kubernetes"),
        ("istio.mesh_id", "unknown"),
        ("istio.namespace", "foo"),
    ];
    let tags = tags.map(|(tag, value)| json!({"tag": tag, "literal": {"value": value}}));
    let provider = match is_zipkin {
        true => json!({
            "name": "envoy.tracers.zipkin",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.config.trace.v3.ZipkinConfig",
                "collector_cluster": "collector",
                "collector_endpoint": "/api/v2/spans",
                "collector_endpoint_version": "HTTP_JSON",
                "shared_span_context": false,
                "trace_id_128bit": true,
            },
        }),
        false => json!({
            "name": "envoy.tracers.opentelemetry",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
                "service_name": format!("{service}.foo"),
                "http_service": {"http_uri": {
                    "uri": format!("http://{}/v1/traces", collector),
                    "cluster": "collector",
                    "timeout": "5s",
                }},
            },
        }),
    };
    json!({
        "client_sampling": {"value": 100},
        "random_sampling": {"value": 100},
        "overall_sampling": {"value": 100},
        "custom_tags": tags,
        "provider": provider,
    })
}

/// Istio's default text, its default JSON, and what else the comparison asks.
pub(crate) fn access_logs(directory: &Path, more: &[(&str, &str)]) -> Value {
    let log = |name: &str, format: Value| {
        json!({
            "name": "envoy.access_loggers.file",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                "path": directory.join(name),
                "log_format": format,
            },
        })
    };
    let text = |text: String| json!({"text_format_source": {"inline_string": text}});
    let labels = LABELS.map(|(key, value)| (key.to_owned(), value.into()));
    let more = more
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).into()));
    json!([
        log("text.log", text(format!("{TEXT}\n"))),
        log("json.log", json!({"json_format": Map::from_iter(labels)})),
        log("more.log", json!({"json_format": Map::from_iter(more)})),
    ])
}

/// Operators that Istio's formats do not have.
pub(crate) const MORE: [(&str, &str); 10] = [
    ("case", "%REQ(X-CASE)%"),
    ("trace", "%TRACE_ID%"),
    ("grpc", "%GRPC_STATUS%"),
    ("grpc_number", "%GRPC_STATUS_NUMBER%"),
    ("flags_long", "%RESPONSE_FLAGS_LONG%"),
    ("scheme", "%REQ(:SCHEME)%"),
    ("status", "%RESP(:STATUS)%"),
    ("san", "%DOWNSTREAM_PEER_URI_SAN%"),
    ("tls", "%DOWNSTREAM_TLS_VERSION%"),
    ("direct", "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"),
];

/// `EnvoyTextLogFormat` of Istio.
const TEXT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%";

/// `EnvoyJSONLogFormatIstio`.
const LABELS: [(&str, &str); 24] = [
    ("start_time", "%START_TIME%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    (
        "connection_termination_details",
        "%CONNECTION_TERMINATION_DETAILS%",
    ),
    (
        "upstream_transport_failure_reason",
        "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    ),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("duration", "%DURATION%"),
    (
        "upstream_service_time",
        "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    ),
    ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
    ("user_agent", "%REQ(USER-AGENT)%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("authority", "%REQ(:AUTHORITY)%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"),
    ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
    ("route_name", "%ROUTE_NAME%"),
];
