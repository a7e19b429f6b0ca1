//! What the conventions call their metrics.

/// A family: its name in Prometheus, in OpenTelemetry, and its help.
pub(in crate::metrics) struct Named {
    pub(in crate::metrics) prometheus: &'static str,
    #[cfg_attr(
        not(all(feature = "otlp", feature = "server", feature = "client")),
        allow(dead_code, reason = "only OTLP has names with dots")
    )]
    pub(in crate::metrics) open_telemetry: &'static str,
    pub(in crate::metrics) help: &'static str,
}

pub(in crate::metrics) const FAMILIES: [Named; 8] = [
    Named {
        prometheus: "http_server_request_duration_seconds",
        open_telemetry: "http.server.request.duration",
        help: "Duration of HTTP server requests.",
    },
    Named {
        prometheus: "http_client_request_duration_seconds",
        open_telemetry: "http.client.request.duration",
        help: "Duration of HTTP client requests.",
    },
    Named {
        prometheus: "rpc_server_call_duration_seconds",
        open_telemetry: "rpc.server.call.duration",
        help: "Duration of inbound remote procedure calls.",
    },
    Named {
        prometheus: "rpc_client_call_duration_seconds",
        open_telemetry: "rpc.client.call.duration",
        help: "Duration of outbound remote procedure calls.",
    },
    Named {
        prometheus: "http_server_request_body_size_bytes",
        open_telemetry: "http.server.request.body.size",
        help: "Size of HTTP server request bodies.",
    },
    Named {
        prometheus: "http_server_response_body_size_bytes",
        open_telemetry: "http.server.response.body.size",
        help: "Size of HTTP server response bodies.",
    },
    Named {
        prometheus: "http_client_request_body_size_bytes",
        open_telemetry: "http.client.request.body.size",
        help: "Size of HTTP client request bodies.",
    },
    Named {
        prometheus: "http_client_response_body_size_bytes",
        open_telemetry: "http.client.response.body.size",
        help: "Size of HTTP client response bodies.",
    },
];

/// What is active: of requests that come in, and of calls that go out.
pub(in crate::metrics) const ACTIVE: [Named; 2] = [
    Named {
        prometheus: "http_server_active_requests",
        open_telemetry: "http.server.active_requests",
        help: "Number of active HTTP server requests.",
    },
    Named {
        prometheus: "http_client_active_requests",
        open_telemetry: "http.client.active_requests",
        help: "Number of active HTTP requests.",
    },
];

/// The label of what had no place of its own.
pub(super) const OVERFLOW: &str = "otel_metric_overflow=\"true\"";
