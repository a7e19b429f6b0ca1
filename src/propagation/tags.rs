use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version, header, request};

use super::config::text;
use super::headers::X_CLIENT_TRACE_ID;
use super::span::{Errors, Outcome, TagValue};
use crate::context::Peer;
use crate::identity::Workload;

/// What spans say of this process.
#[derive(Clone, Debug, Default)]
pub(super) struct Identity {
    pub(super) node_id: Option<Arc<str>>,
    /// Tags that all spans have, worked out once.
    constant: Vec<(&'static str, Arc<str>)>,
    /// The operation that stands behind each port of ours.
    operations: Vec<(u16, Operation)>,
}

/// What we call the requests to one of our services.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) name: Arc<str>,
    /// The same for a header; `None` when it cannot stand in one.
    pub(super) value: Option<HeaderValue>,
}

impl Operation {
    fn new(service: &str, namespace: &str, port: u16) -> Self {
        let name = format!("{service}.{namespace}.svc.cluster.local:{port}/*");
        Self {
            value: HeaderValue::from_str(&name).ok(),
            name: name.into(),
        }
    }
}

impl Identity {
    pub(super) fn be(&mut self, workload: &Workload) {
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
    pub(super) fn operation(&self, port: Option<u16>) -> Option<&Operation> {
        let by_port = self
            .operations
            .iter()
            .find(|(served, _)| Some(*served) == port);
        match (by_port, self.operations.as_slice()) {
            (Some((_, operation)), _) | (None, [(_, operation)]) => Some(operation),
            _ => None,
        }
    }
}

/// The tags of a span, in Istio's view: all values are texts.
#[derive(Debug)]
pub(super) struct Tags(Vec<(Cow<'static, str>, TagValue)>);

impl Tags {
    /// What is known when the request comes in or goes out. `target` is its URI as spans may show it.
    pub(super) fn of(
        request: &request::Parts,
        target: &Uri,
        identity: &Identity,
        peer: Option<&Peer>,
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
        tags.header("guid:x-client-trace-id", headers.get(X_CLIENT_TRACE_ID));
        tags.owned(
            "http.url",
            url(request, target, peer.is_some_and(Peer::is_tls)),
        );
        tags.owned("http.method", request.method.as_str().to_owned());
        tags.fixed("http.protocol", protocol(request.version));
        tags.header_or_dash("user_agent", headers.get(header::USER_AGENT));
        tags.header_or_dash("downstream_cluster", headers.get(DOWNSTREAM_CLUSTER));
        if let Some(peer) = peer {
            tags.peer(peer);
        }
        if is_grpc {
            tags.owned("grpc.path", cut(request.uri.path()).to_owned());
            if let Some(authority) = authority(request) {
                tags.owned("grpc.authority", cut(authority).to_owned());
            }
            tags.header("grpc.content_type", headers.get(header::CONTENT_TYPE));
            tags.header("grpc.timeout", headers.get(GRPC_TIMEOUT));
        }
        tags
    }

    pub(super) fn peer(&mut self, peer: &Peer) {
        self.owned("peer.address", peer.remote_addr().ip().to_string());
    }

    pub(super) fn upstream_cluster(&mut self, port: u16) {
        let cluster: Arc<str> = format!("inbound|{port}||").into();
        self.shared("upstream_cluster", &cluster);
        self.shared("upstream_cluster.name", &cluster);
    }

    pub(super) fn grpc_message(&mut self, headers: &HeaderMap) {
        self.header("grpc.message", headers.get(GRPC_MESSAGE));
    }

    /// What is known when the response has ended.
    pub(super) fn outcome(&mut self, outcome: &Outcome, errors: Errors, is_grpc: bool) {
        match outcome.status {
            Some(status) => self.owned("http.status_code", status.as_str().to_owned()),
            None => self.fixed("http.status_code", "0"),
        }
        self.owned("request_size", outcome.request_bytes.to_string());
        self.owned("response_size", outcome.response_bytes.to_string());
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

    pub(super) fn into_inner(self) -> Vec<(Cow<'static, str>, TagValue)> {
        self.0
    }

    fn fixed(&mut self, name: &'static str, value: &'static str) {
        self.0.push((name.into(), TagValue::Static(value)));
    }

    fn shared(&mut self, name: &'static str, value: &Arc<str>) {
        let value = TagValue::Shared(Arc::clone(value));
        self.0.push((name.into(), value));
    }

    fn owned(&mut self, name: &'static str, value: String) {
        self.0.push((name.into(), TagValue::Owned(value)));
    }

    fn header(&mut self, name: &'static str, value: Option<&HeaderValue>) {
        if let Some(value) = value.and_then(text) {
            self.owned(name, cut(value).to_owned());
        }
    }

    fn header_or_dash(&mut self, name: &'static str, value: Option<&HeaderValue>) {
        match value.and_then(text) {
            Some(value) => self.owned(name, cut(value).to_owned()),
            None => self.fixed(name, "-"),
        }
    }
}

/// The authority of a request: of its target, else its `host`.
pub(super) fn authority(request: &request::Parts) -> Option<&str> {
    match request.uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => request.headers.get(header::HOST).and_then(text),
    }
}

fn url(request: &request::Parts, target: &Uri, is_tls: bool) -> String {
    let scheme = match (is_tls, target.scheme_str()) {
        (true, _) | (false, Some("https")) => "https",
        (false, _) => "http",
    };
    let original = request.headers.get(ORIGINAL_PATH).and_then(text);
    let path = original.or_else(|| target.path_and_query().map(|path| path.as_str()));
    let authority = cut(authority(request).unwrap_or_default());
    let path = without_access_token(path.unwrap_or("/"));
    let path = cut(&path);
    let mut url = String::with_capacity(scheme.len() + 3 + authority.len() + path.len());
    for part in [scheme, "://", authority, path] {
        url.push_str(part);
    }
    url
}

/// The path without the query parameter that may hold a bearer token (RFC 6750 §2.3): whoever reads spans must not be able to use it.
fn without_access_token(path: &str) -> Cow<'_, str> {
    let is_token = |pair: &&str| pair.split('=').next() == Some("access_token");
    let Some((bare, query)) = path.split_once('?') else {
        return Cow::Borrowed(path);
    };
    if !query.split('&').any(|pair| is_token(&pair)) {
        return Cow::Borrowed(path);
    }
    let kept: Vec<_> = query.split('&').filter(|pair| !is_token(pair)).collect();
    match kept.join("&") {
        rest if rest.is_empty() => Cow::Borrowed(bare),
        rest => Cow::Owned(format!("{bare}?{rest}")),
    }
}

/// At most 256 bytes of it, as Envoy cuts paths; whole characters.
fn cut(text: &str) -> &str {
    let end = (0..=256).rev().find(|end| text.is_char_boundary(*end));
    match text.len() {
        0..=256 => text,
        _ => text.get(..end.unwrap_or_default()).unwrap_or_default(),
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 | Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}

const ORIGINAL_PATH: HeaderName = HeaderName::from_static("x-envoy-original-path");
const DOWNSTREAM_CLUSTER: HeaderName =
    HeaderName::from_static("x-envoy-downstream-service-cluster");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
