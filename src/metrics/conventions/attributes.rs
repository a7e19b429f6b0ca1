use http::{Method, request};

use super::active::ActiveRequest;
use super::families::{
    Conventions, HTTP_CLIENT, HTTP_CLIENT_REQUEST_SIZE, HTTP_CLIENT_RESPONSE_SIZE, HTTP_SERVER,
    HTTP_SERVER_REQUEST_SIZE, HTTP_SERVER_RESPONSE_SIZE, RPC_CLIENT, RPC_SERVER,
};
use crate::context::Exchange;
use crate::message::conventions::{OTHER, known_method, protocol_version};
use crate::message::{Direction, GrpcStatus, Report};
use crate::metrics::store::labels::write_label;

/// Where a call went, which its report does not have.
#[derive(Clone, Debug)]
pub(in crate::metrics) struct Called {
    is_tls: bool,
    address: Box<str>,
    port: Option<u16>,
    path: Box<str>,
}

impl Called {
    pub(in crate::metrics) const fn is_tls(&self) -> bool {
        self.is_tls
    }

    pub(in crate::metrics) fn of(request: &request::Parts, host: &str) -> Self {
        let uri = &request.uri;
        let is_tls = uri.scheme_str() == Some("https");
        let usual = uri.scheme().map(|_| if is_tls { 443 } else { 80 });
        Self {
            is_tls,
            address: host.into(),
            port: uri.port_u16().or(usual),
            path: uri.path().into(),
        }
    }
}

impl Conventions {
    /// A request has come in, or goes out to where it is called; `None` where that is not counted.
    pub(in crate::metrics) fn begun(
        &self,
        method: &Method,
        is_tls: bool,
        called: Option<&Called>,
    ) -> Option<ActiveRequest> {
        let active = self.active()?;
        let mut labels = String::with_capacity(128);
        head(&mut labels, method, is_tls);
        server(&mut labels, called);
        active.begin(usize::from(called.is_some()), &labels)
    }

    /// Counts an exchange that has ended. `called` is where a call went.
    pub(in crate::metrics) fn ended(
        &self,
        report: &Report<'_>,
        is_grpc: bool,
        called: Option<&Called>,
    ) {
        let mut labels = String::with_capacity(256);
        let is_inbound = report.direction == Direction::Inbound;
        let error = error(report, is_grpc);
        let family = if is_grpc {
            let target = report.exchange.and_then(Exchange::target);
            let path = match called {
                Some(called) => Some(&*called.path),
                None => target.filter(|_| is_inbound).map(http::Uri::path),
            };
            rpc(&mut labels, report, path, is_inbound);
            if is_inbound { RPC_SERVER } else { RPC_CLIENT }
        } else {
            http(&mut labels, report, called, is_inbound);
            if is_inbound { HTTP_SERVER } else { HTTP_CLIENT }
        };
        server(&mut labels, called);
        if let Some(error) = error {
            write_label(&mut labels, "error_type", &error);
        }
        self.add(family, &labels, report.duration);
        if is_grpc || self.active().is_none() {
            return;
        }
        let [request, response] = match is_inbound {
            true => [HTTP_SERVER_REQUEST_SIZE, HTTP_SERVER_RESPONSE_SIZE],
            false => [HTTP_CLIENT_REQUEST_SIZE, HTTP_CLIENT_RESPONSE_SIZE],
        };
        self.add_size(request, &labels, report.request_bytes);
        self.add_size(response, &labels, report.response_bytes());
    }
}

/// What is known of a request when it begins.
fn head(labels: &mut String, method: &Method, is_tls: bool) {
    let method = known_method(method).unwrap_or(OTHER);
    write_label(labels, "http_request_method", method);
    write_label(labels, "url_scheme", if is_tls { "https" } else { "http" });
}

fn server(labels: &mut String, called: Option<&Called>) {
    if let Some(called) = called {
        write_label(labels, "server_address", &called.address);
        if let Some(port) = called.port {
            write_label(labels, "server_port", &port.to_string());
        }
    }
}

fn http(labels: &mut String, report: &Report<'_>, called: Option<&Called>, is_inbound: bool) {
    let is_tls = match called {
        Some(called) => called.is_tls,
        None => report.peer.is_some_and(crate::context::Peer::is_tls),
    };
    head(labels, report.method, is_tls);
    let route = report
        .exchange
        .filter(|_| is_inbound)
        .and_then(Exchange::route);
    if let Some(route) = route {
        write_label(labels, "http_route", route);
    }
    if let Some(status) = report.status {
        write_label(labels, "http_response_status_code", status.as_str());
    }
    let version = protocol_version(report.version);
    write_label(labels, "network_protocol_version", version);
}

/// The name of a method comes from the caller: a server that does not have it, or refuses the call,
/// counts it as `_OTHER`.
fn rpc(labels: &mut String, report: &Report<'_>, path: Option<&str>, is_inbound: bool) {
    write_label(labels, "rpc_system_name", "grpc");
    let status = report.end.grpc_status;
    let has_method = match status.map(GrpcStatus::code) {
        Some(UNIMPLEMENTED | PERMISSION_DENIED | UNAUTHENTICATED) | None => !is_inbound,
        Some(_) => true,
    };
    let method = path.map(|path| path.trim_start_matches('/'));
    let method = method.filter(|method| has_method && method.contains('/'));
    write_label(labels, "rpc_method", method.unwrap_or(OTHER));
    if let Some(status) = status {
        write_label(labels, "rpc_response_status_code", grpc_name(status));
    }
}

/// What kind of error it is; `None` if it is none, as for the status of a span. What the status does
/// not show, such as a body that broke after a good status, is named by the flags.
fn error(report: &Report<'_>, is_grpc: bool) -> Option<String> {
    let is_inbound = report.direction == Direction::Inbound;
    if let (true, Some(status)) = (is_grpc, report.end.grpc_status) {
        let of_server = matches!(status.code(), 2 | 4 | 8 | 12..=15);
        let is_error = status.code() != 0 && (of_server || !is_inbound);
        return is_error.then(|| grpc_name(status).to_owned());
    }
    match report.status {
        Some(status) if status.is_server_error() || (status.is_client_error() && !is_inbound) => {
            Some(status.as_str().to_owned())
        }
        Some(_) if !report.is_broken() => None,
        _ if report.flags.is_empty() => Some(OTHER.to_owned()),
        _ => Some(report.flags.to_string()),
    }
}

/// The name of a gRPC status; one that gRPC does not define is `UNKNOWN`.
fn grpc_name(status: GrpcStatus) -> &'static str {
    status.name().unwrap_or("UNKNOWN")
}

const PERMISSION_DENIED: u32 = 7;
const UNIMPLEMENTED: u32 = 12;
const UNAUTHENTICATED: u32 = 16;

/// The label of an attribute in Prometheus, and the attribute.
#[cfg(all(feature = "otlp", feature = "server", feature = "client"))]
pub(in crate::metrics) const ATTRIBUTES: [(&str, &str); 12] = [
    ("error_type", "error.type"),
    ("http_request_method", "http.request.method"),
    ("http_response_status_code", "http.response.status_code"),
    ("http_route", "http.route"),
    ("network_protocol_version", "network.protocol.version"),
    ("otel_metric_overflow", "otel.metric.overflow"),
    ("rpc_method", "rpc.method"),
    ("rpc_response_status_code", "rpc.response.status_code"),
    ("rpc_system_name", "rpc.system.name"),
    ("server_address", "server.address"),
    ("server_port", "server.port"),
    ("url_scheme", "url.scheme"),
];
