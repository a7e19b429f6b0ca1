use std::borrow::Cow;
use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, request};

use super::errors::Errors;
use super::finished::{SpanKind, TagValue};
use super::identity::Identity;
use super::notes::Tag;
use super::target::{authority, cut, hidden, url, without_tokens};
use crate::context::{Exchange, Hide, Peer};
use crate::message::conventions::known_method;
use crate::message::{Report, ResponseFlags};
use crate::propagation::format::headers::text;

/// A request that comes in or goes out, as its span shows it.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) request: &'a request::Parts,
    /// Its URI, as it may be shown.
    pub(super) target: &'a Uri,
    pub(super) kind: SpanKind,
    /// What of it must not show.
    pub(super) exchange: Option<&'a Exchange>,
    pub(super) is_grpc: bool,
    pub(super) shown: Shown<'a>,
    /// Whether the span shows Istio's facts of this process.
    pub(super) has_istio_tags: bool,
    /// Takes parameters out of its path.
    pub(super) hide: Option<&'a Hide>,
}

/// The tags of a span, in Istio's view: all values are texts.
#[derive(Clone, Debug)]
pub(in crate::propagation) struct Tags(Vec<(Cow<'static, str>, TagValue)>);

impl Tags {
    /// What is known when the request comes in or goes out.
    pub(super) fn begin(
        call: Call<'_>,
        identity: &Identity,
        peer: Option<&Peer>,
        request_id: Option<&HeaderValue>,
        room: usize,
    ) -> Self {
        let Call {
            request,
            target,
            exchange,
            is_grpc,
            shown,
            ..
        } = call;
        let mut tags = Self(Vec::with_capacity(room));
        let headers = &request.headers;
        tags.fixed("component", "proxy");
        for (name, value) in identity.process() {
            tags.shared(name, value);
        }
        if call.has_istio_tags {
            for (name, value) in &identity.constant {
                tags.shared(name, value);
            }
        }
        tags.header("guid:x-request-id", request_id);
        tags.header("guid:x-client-trace-id", shown.client_trace_id);
        let is_tls = peer.is_some_and(Peer::is_tls);
        let path = shown.original_path.and_then(text);
        let path = path.map_or_else(|| judged_path(&call), Cow::Borrowed);
        let path = hidden(call.hide, without_tokens(&path, exchange));
        tags.owned(HTTP_URL, url(request, shown.host, target, &path, is_tls));
        tags.method(&request.method);
        tags.fixed("http.protocol", protocol(request.version));
        tags.header_or_dash("user_agent", shown.user_agent);
        tags.header_or_dash("downstream_cluster", shown.downstream_cluster);
        if let Some(peer) = peer {
            tags.peer(peer);
        }
        if is_grpc {
            let path = hidden(call.hide, Cow::Borrowed(request.uri.path()));
            tags.owned("grpc.path", cut(&path).to_owned());
            if let Some(authority) = authority(request) {
                tags.owned("grpc.authority", authority.to_owned());
            }
            tags.header("grpc.content_type", shown.content_type);
            tags.header("grpc.timeout", headers.get(GRPC_TIMEOUT));
        }
        tags
    }

    /// What the view of the conventions keeps of Istio's tags.
    pub(super) fn with_request_id(request_id: Option<&HeaderValue>) -> Self {
        let mut tags = Self(Vec::with_capacity(20));
        tags.header("guid:x-request-id", request_id);
        tags
    }

    /// The sizes of the bodies, in the words of the conventions.
    pub(super) fn sizes(&mut self, report: &Report<'_>) {
        let number = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.number("http.request.body.size", number(report.request_bytes));
        self.number("http.response.body.size", number(report.end.bytes));
    }

    pub(in crate::propagation) fn peer(&mut self, peer: &Peer) {
        self.shared(PEER_ADDRESS, peer.remote_ip_text());
    }

    /// The server of a call, unless its answer has told it.
    pub(super) fn called(&mut self, report: &Report<'_>) {
        if self.0.iter().any(|(name, _)| name == PEER_ADDRESS) {
            return;
        }
        match (report.peer, report.server_address) {
            (Some(peer), _) => self.peer(peer),
            (None, Some(address)) => {
                let ip = address.ip().to_canonical();
                self.owned(PEER_ADDRESS, ip.to_string());
            }
            (None, None) => {}
        }
    }

    /// Removes the query parameters from the URL that guards further in have since named as ones
    /// that may hold a token.
    pub(in crate::propagation) fn hide(&mut self, exchange: &Exchange) {
        // What shows a token by itself went when the span began, before a long text was cut.
        let hides = exchange.hidden_parameters().next().is_some();
        for (name, value) in &mut self.0 {
            let TagValue::Owned(text) = value else {
                continue;
            };
            if !hides && text.len() < SHORTEST_CUT {
                continue;
            }
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
        let message = headers.get(GRPC_MESSAGE);
        if message.is_some() {
            self.0.retain(|(name, _)| name != "grpc.message");
            self.header("grpc.message", message);
        }
    }

    /// What is known when the response has ended.
    pub(super) fn outcome(&mut self, report: &Report<'_>, errors: Errors, is_grpc: bool) {
        self.status(report.counted_status);
        self.size("request_size", report.request_bytes);
        self.size("response_size", report.end.bytes);
        self.flags(report.flags);
        if let Some(status) = report.end.grpc_status.filter(|_| is_grpc) {
            self.owned("grpc.status_code", status.code().to_string());
        }
        if errors.tag {
            self.fixed("error", "true");
        }
    }

    /// Adds tags over those of the same names.
    pub(super) fn add(&mut self, tags: Vec<Tag>) {
        for (name, value) in tags {
            match self.0.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = value,
                None => self.0.push((name, value)),
            }
        }
    }

    /// What policies on trial would have decided about the request.
    pub(super) fn dry_run(&mut self, exchange: &Exchange) {
        let decision = exchange.decision();
        let Some(marks) = decision.and_then(|decision| decision.marks.as_ref()) else {
            return;
        };
        let runs = [
            (&marks.dry_run_allow, DRY_RUN_ALLOW),
            (&marks.dry_run_deny, DRY_RUN_DENY),
        ];
        for (run, [name, result]) in runs {
            let Some(run) = run else {
                continue;
            };
            if let Some(policy) = &run.policy {
                self.owned(name, policy.to_string());
            }
            self.fixed(result, if run.allowed { "allowed" } else { "denied" });
        }
    }

    /// What is known of a try that got no response.
    pub(super) fn without_response(&mut self, flags: ResponseFlags) {
        self.status(None);
        self.flags(flags);
        self.fixed("error", "true");
    }

    /// Those that every try of a call has.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(super) fn of_tries(&self) -> Self {
        let is_common = |name: &str| {
            let fixed = ["component", "node_id", "zone", "guid:x-request-id"];
            fixed.contains(&name)
                || name.starts_with("istio.")
                || name.starts_with("upstream_cluster")
        };
        let common = self.0.iter().filter(|(name, _)| is_common(name));
        Self(common.cloned().collect())
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

    fn flags(&mut self, flags: ResponseFlags) {
        if flags.is_empty() {
            self.fixed("response_flags", "-");
        } else {
            self.owned("response_flags", flags.to_string());
        }
    }

    fn method(&mut self, method: &Method) {
        match known_method(method) {
            Some(name) => self.fixed("http.method", name),
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

    pub(in crate::propagation) fn header(
        &mut self,
        name: &'static str,
        value: Option<&HeaderValue>,
    ) {
        self.0
            .extend(header(value).map(|value| (name.into(), value)));
    }

    fn header_or_dash(&mut self, name: &'static str, value: Option<&HeaderValue>) {
        let value = header(value).unwrap_or(TagValue::Static("-"));
        self.0.push((name.into(), value));
    }
}

/// The path and the query of a request; of one that came in, the path as policy has judged it.
fn judged_path<'a>(call: &Call<'a>) -> Cow<'a, str> {
    let sent = call.target.path_and_query();
    let own = call.exchange.filter(|_| call.kind == SpanKind::Server);
    match (
        own.and_then(Exchange::path),
        sent.and_then(PathAndQuery::query),
    ) {
        (Some(judged), Some(query)) if judged != call.target.path() => {
            Cow::Owned(format!("{judged}?{query}"))
        }
        (Some(judged), None) => Cow::Borrowed(judged),
        _ => Cow::Borrowed(sent.map_or("/", PathAndQuery::as_str)),
    }
}

/// A header's text; one that needs no cutting shares the header's.
fn header(value: Option<&HeaderValue>) -> Option<TagValue> {
    let value = value?;
    let text = text(value)?;
    Some(match cut(text) {
        short if short.len() < text.len() => TagValue::Owned(short.to_owned()),
        _ => TagValue::Header(value.clone()),
    })
}

/// Headers that most spans show, found in one pass over all.
#[derive(Clone, Copy, Default)]
pub(super) struct Shown<'a> {
    pub(super) host: Option<&'a HeaderValue>,
    pub(super) content_type: Option<&'a HeaderValue>,
    client_trace_id: Option<&'a HeaderValue>,
    pub(super) user_agent: Option<&'a HeaderValue>,
    downstream_cluster: Option<&'a HeaderValue>,
    original_path: Option<&'a HeaderValue>,
}

impl<'a> Shown<'a> {
    /// The first of several headers with one name counts.
    pub(super) fn find(headers: &'a HeaderMap) -> Self {
        let mut shown = Self::default();
        for (name, value) in headers {
            let slot = match name.as_str() {
                "host" => &mut shown.host,
                "content-type" => &mut shown.content_type,
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

pub(super) fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 | Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}

const DRY_RUN_ALLOW: [&str; 2] = [
    "istio.authorization.dry_run.allow_policy.name",
    "istio.authorization.dry_run.allow_policy.result",
];
const DRY_RUN_DENY: [&str; 2] = [
    "istio.authorization.dry_run.deny_policy.name",
    "istio.authorization.dry_run.deny_policy.result",
];
/// A text that was cut is at least so long.
const SHORTEST_CUT: usize = 253;
const PEER_ADDRESS: &str = "peer.address";
const HTTP_URL: &str = "http.url";
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
pub(super) const URL_FULL: &str = "url.full";
pub(super) const URL_QUERY: &str = "url.query";
