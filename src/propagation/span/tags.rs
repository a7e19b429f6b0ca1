use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header, request};

use crate::propagation::config::text;
use super::conventions::{URL_FULL, URL_QUERY};
use super::recording::{Errors, Outcome, TagValue};
use crate::context::{Exchange, Peer};
use crate::identity::Workload;
use crate::matcher::query;

/// What spans say of this process.
#[derive(Clone, Debug, Default)]
pub(in crate::propagation) struct Identity {
    pub(in crate::propagation) node_id: Option<Arc<str>>,
    /// Tags that all spans have, worked out once.
    constant: Vec<(&'static str, Arc<str>)>,
    /// The operation that stands behind each port of ours.
    operations: Vec<(u16, Operation)>,
}

/// What we call the requests to one of our services.
#[derive(Clone, Debug)]
pub(in crate::propagation) struct Operation {
    pub(in crate::propagation) name: Arc<str>,
    /// The same for a header; `None` when it cannot stand in one.
    pub(in crate::propagation) value: Option<HeaderValue>,
    /// Envoy's name for the port.
    cluster: Arc<str>,
}

impl Operation {
    fn new(service: &str, namespace: &str, port: u16) -> Self {
        let name = format!("{service}.{namespace}.svc.cluster.local:{port}/*");
        Self {
            value: HeaderValue::from_str(&name).ok(),
            name: name.into(),
            cluster: inbound_cluster(port),
        }
    }
}

impl Identity {
    pub(in crate::propagation) fn be(&mut self, workload: &Workload) {
        let namespace = workload.namespace();
        self.constant = vec![
            (
                "istio.canonical_service",
                workload.canonical_service().into(),
            ),
            (
                "istio.canonical_revision",
                workload.canonical_revision().into(),
            ),
            ("istio.mesh_id", "unknown".into()),
            ("istio.cluster_id", workload.cluster_id().into()),
            ("istio.namespace", namespace.into()),
        ];
        let operation = |name: &str, port| Operation::new(name, namespace, port);
        self.operations = workload
            .services()
            .iter()
            .map(|service| (service.port, operation(&service.name, service.port)))
            .collect();
    }

    /// The operation of a request that came in on this port; the only service's when the port is not known.
    pub(in crate::propagation) fn operation(&self, port: Option<u16>) -> Option<&Operation> {
        match (self.at(port), self.operations.as_slice()) {
            (Some(operation), _) | (None, [(_, operation)]) => Some(operation),
            _ => None,
        }
    }

    /// Envoy's name for a port of ours.
    pub(in crate::propagation) fn cluster(&self, port: u16) -> Arc<str> {
        match self.at(Some(port)) {
            Some(operation) => Arc::clone(&operation.cluster),
            None => inbound_cluster(port),
        }
    }

    fn at(&self, port: Option<u16>) -> Option<&Operation> {
        let mut served = self.operations.iter();
        served
            .find(|(served, _)| Some(*served) == port)
            .map(|(_, operation)| operation)
    }
}

/// The tags of a span, in Istio's view: all values are texts.
#[derive(Debug)]
pub(in crate::propagation) struct Tags(Vec<(Cow<'static, str>, TagValue)>);

impl Tags {
    /// What is known when the request comes in or goes out. `target` is its URI, `exchange` says what of it must not show.
    pub(in crate::propagation) fn of(
        request: &request::Parts,
        target: &Uri,
        identity: &Identity,
        peer: Option<&Peer>,
        exchange: Option<&Exchange>,
        request_id: Option<&HeaderValue>,
        is_grpc: bool,
    ) -> Self {
        let mut tags = Self(Vec::with_capacity(32));
        let headers = &request.headers;
        tags.fixed("component", "proxy");
        if let Some(node_id) = &identity.node_id {
            tags.shared("node_id", node_id);
        }
        for (name, value) in &identity.constant {
            tags.shared(name, value);
        }
        tags.header("guid:x-request-id", request_id);
        let shown = Shown::of(headers);
        tags.header("guid:x-client-trace-id", shown.client_trace_id);
        let is_tls = peer.is_some_and(Peer::is_tls);
        let path = shown.original_path.and_then(text);
        let path = path.or_else(|| target.path_and_query().map(|path| path.as_str()));
        let path = without_tokens(path.unwrap_or("/"), exchange);
        tags.owned(HTTP_URL, url(request, target, &path, is_tls));
        tags.method(&request.method);
        tags.fixed("http.protocol", protocol(request.version));
        tags.header_or_dash("user_agent", shown.user_agent);
        tags.header_or_dash("downstream_cluster", shown.downstream_cluster);
        if let Some(peer) = peer {
            tags.peer(peer);
        }
        if is_grpc {
            tags.owned("grpc.path", cut(request.uri.path()).to_owned());
            if let Some(authority) = authority(request) {
                tags.owned("grpc.authority", authority.to_owned());
            }
            tags.header("grpc.content_type", headers.get(header::CONTENT_TYPE));
            tags.header("grpc.timeout", headers.get(GRPC_TIMEOUT));
        }
        tags
    }

    pub(in crate::propagation) fn peer(&mut self, peer: &Peer) {
        self.shared("peer.address", peer.remote_ip_text());
    }

    /// Takes out of the URL what guards further in have said since: which parameters may hold a token.
    pub(in crate::propagation) fn hide(&mut self, exchange: &Exchange) {
        for (name, value) in &mut self.0 {
            let TagValue::Owned(text) = value else {
                continue;
            };
            match &**name {
                HTTP_URL | URL_FULL => {
                    if let Cow::Owned(shown) = without_tokens(text, Some(exchange)) {
                        *text = shown;
                    }
                }
                URL_QUERY => {
                    let query = format!("?{text}");
                    if let Cow::Owned(shown) = without_tokens(&query, Some(exchange)) {
                        *text = shown.trim_start_matches('?').to_owned();
                    }
                }
                _ => {}
            }
        }
    }

    pub(in crate::propagation) fn upstream_cluster(&mut self, cluster: &Arc<str>) {
        self.shared("upstream_cluster", cluster);
        self.shared("upstream_cluster.name", cluster);
    }

    pub(in crate::propagation) fn grpc_message(&mut self, headers: &HeaderMap) {
        self.header("grpc.message", headers.get(GRPC_MESSAGE));
    }

    /// What is known when the response has ended.
    pub(in crate::propagation) fn outcome(&mut self, outcome: &Outcome, errors: Errors, is_grpc: bool) {
        self.status(outcome.status);
        self.size("request_size", outcome.request_bytes);
        self.size("response_size", outcome.response_bytes);
        if outcome.flags.is_empty() {
            self.fixed("response_flags", "-");
        } else {
            self.owned("response_flags", outcome.flags.to_string());
        }
        if let Some(status) = outcome.grpc_status.filter(|_| is_grpc) {
            self.owned("grpc.status_code", status.code().to_string());
        }
        if errors.tag {
            self.fixed("error", "true");
        }
    }

    pub(in crate::propagation) fn into_inner(self) -> Vec<(Cow<'static, str>, TagValue)> {
        self.0
    }

    pub(in crate::propagation) fn fixed(&mut self, name: &'static str, value: &'static str) {
        self.0.push((name.into(), TagValue::Static(value)));
    }

    pub(in crate::propagation) fn shared(&mut self, name: &'static str, value: &Arc<str>) {
        let value = TagValue::Shared(Arc::clone(value));
        self.0.push((name.into(), value));
    }

    pub(in crate::propagation) fn owned(&mut self, name: &'static str, value: String) {
        self.0.push((name.into(), TagValue::Owned(value)));
    }

    pub(in crate::propagation) fn number(&mut self, name: &'static str, value: i64) {
        let value = TagValue::Number(value, value.to_string());
        self.0.push((name.into(), value));
    }

    fn method(&mut self, method: &Method) {
        const COMMON: [Method; 6] = [
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::DELETE,
            Method::PATCH,
            Method::HEAD,
        ];
        const NAMES: [&str; 6] = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"];
        match COMMON
            .iter()
            .zip(NAMES)
            .find(|(common, _)| *common == method)
        {
            Some((_, name)) => self.fixed("http.method", name),
            None => self.owned("http.method", cut(method.as_str()).to_owned()),
        }
    }

    fn status(&mut self, status: Option<StatusCode>) {
        let common = match status.map_or(0, |status| status.as_u16()) {
            0 => "0",
            200 => "200",
            201 => "201",
            204 => "204",
            304 => "304",
            401 => "401",
            403 => "403",
            404 => "404",
            500 => "500",
            503 => "503",
            other => return self.owned("http.status_code", other.to_string()),
        };
        self.fixed("http.status_code", common);
    }

    fn size(&mut self, name: &'static str, bytes: u64) {
        match bytes {
            0 => self.fixed(name, "0"),
            _ => self.owned(name, bytes.to_string()),
        }
    }

    /// Texts that need no cutting share the header's.
    pub(in crate::propagation) fn header(&mut self, name: &'static str, value: Option<&HeaderValue>) {
        match value.and_then(|value| Some((value, text(value)?))) {
            Some((value, text)) if cut(text).len() == text.len() => {
                self.0.push((name.into(), TagValue::Header(value.clone())));
            }
            Some((_, text)) => self.owned(name, cut(text).to_owned()),
            None => {}
        }
    }

    fn header_or_dash(&mut self, name: &'static str, value: Option<&HeaderValue>) {
        match value.filter(|value| text(value).is_some()) {
            None => self.fixed(name, "-"),
            value => self.header(name, value),
        }
    }
}

/// Headers that most spans tell of, found in one pass over all.
#[derive(Default)]
struct Shown<'a> {
    client_trace_id: Option<&'a HeaderValue>,
    user_agent: Option<&'a HeaderValue>,
    downstream_cluster: Option<&'a HeaderValue>,
    original_path: Option<&'a HeaderValue>,
}

impl<'a> Shown<'a> {
    /// The first of several headers with one name counts.
    fn of(headers: &'a HeaderMap) -> Self {
        let mut shown = Self::default();
        for (name, value) in headers {
            let slot = match name.as_str() {
                "x-client-trace-id" => &mut shown.client_trace_id,
                "user-agent" => &mut shown.user_agent,
                "x-envoy-downstream-service-cluster" => &mut shown.downstream_cluster,
                "x-envoy-original-path" => &mut shown.original_path,
                _ => continue,
            };
            slot.get_or_insert(value);
        }
        shown
    }
}

fn inbound_cluster(port: u16) -> Arc<str> {
    format!("inbound|{port}||").into()
}

/// The authority of a request, of its target, else its `host`: as much as a span should show of it, and nobody's password.
pub(in crate::propagation) fn authority(request: &request::Parts) -> Option<&str> {
    let whole = match request.uri.authority() {
        Some(authority) => authority.as_str(),
        None => request.headers.get(header::HOST).and_then(text)?,
    };
    Some(cut(whole.rsplit_once('@').map_or(whole, |(_, host)| host)))
}

pub(in crate::propagation) fn url(request: &request::Parts, target: &Uri, path: &str, is_tls: bool) -> String {
    let scheme = match (is_tls, target.scheme_str()) {
        (true, _) | (false, Some("https")) => "https",
        (false, _) => "http",
    };
    let authority = authority(request).unwrap_or_default();
    let path = cut(path);
    let mut url = String::with_capacity(scheme.len() + 3 + authority.len() + path.len());
    for part in [scheme, "://", authority, path] {
        url.push_str(part);
    }
    url
}

/// The path without the query parameters that may hold a bearer token (rule J-25): whoever reads spans must not be able to use it. Neither
/// does it show what signs a URL, by OpenTelemetry's list.
///
/// Guards say which ones; where none has come to look, the parameter's name and the form of its value do.
pub(in crate::propagation) fn without_tokens<'p>(path: &'p str, exchange: Option<&Exchange>) -> Cow<'p, str> {
    let is_dropped = |key: &[u8], value: &[u8]| {
        let mut hidden = exchange.into_iter().flat_map(Exchange::hidden_parameters);
        query::is_token(key, value)
            || SIGNING.iter().any(|name| query::is_name(key, name))
            || hidden.any(|name| query::is_name(key, name))
    };
    query::without(path, is_dropped).map_or(Cow::Borrowed(path), Cow::Owned)
}

/// The parameters that the conventions for URLs call sensitive.
const SIGNING: [&str; 7] = [
    "AWSAccessKeyId",
    "Signature",
    "sig",
    "X-Goog-Signature",
    "X-Amz-Signature",
    "X-Amz-Credential",
    "X-Amz-Security-Token",
];

/// At most 256 bytes of it, as Envoy cuts paths; whole characters.
pub(in crate::propagation) fn cut(text: &str) -> &str {
    if text.len() <= 256 {
        return text;
    }
    let end = (0..=256).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default()).unwrap_or_default()
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 | Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}

const HTTP_URL: &str = "http.url";
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
