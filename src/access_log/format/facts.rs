//! What is known of an exchange when its line is written.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, Version, header, request};

use crate::context::{Exchange, ForwardedPeer, Peer, Refusal, TraceContext};
use crate::matcher::authority::shown;
use crate::matcher::path_redaction::PathRedaction;
#[cfg(all(feature = "server", feature = "client"))]
use crate::message::{CallFailure, CallProgress};
use crate::message::{Direction, GrpcStatus, Report, is_grpc};

/// What a line needs of the request, kept from its beginning, and of the response's head.
#[derive(Debug)]
pub(in crate::access_log) struct Kept {
    pub(in crate::access_log) began: SystemTime,
    version: Version,
    uri: Uri,
    host: Option<HeaderValue>,
    request_id: Option<HeaderValue>,
    pub(in crate::access_log) user_agent: Option<HeaderValue>,
    /// Whether the request is gRPC.
    is_grpc: bool,
    request: Vec<(HeaderName, HeaderValue)>,
    response: Vec<(HeaderName, HeaderValue)>,
    trailers: Vec<(HeaderName, HeaderValue)>,
    answered: Option<Instant>,
    pub(in crate::access_log) call: Call,
    /// Of a connection that carries no HTTP: why it ended, if there is more to say than that.
    pub(in crate::access_log) connection: Option<OnceLock<Box<str>>>,
    /// The place of a call in its trace.
    pub(in crate::access_log) trace: Option<Box<TraceContext>>,
    /// Nothing of the head could be read.
    pub(in crate::access_log) is_unreadable: bool,
    /// `None` unless something reads it.
    #[cfg(all(feature = "server", feature = "client", feature = "cel"))]
    pub(in crate::access_log) measured: Option<Box<Measured>>,
}

/// What metrics know of an exchange.
#[cfg(all(feature = "server", feature = "client", feature = "cel"))]
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    /// Bytes of the request's head.
    pub(crate) request_head: u64,
    /// Bytes of the response's head.
    pub(crate) response_head: u64,
    /// The labels as they are written; empty if there are none.
    pub(crate) labels: Box<str>,
}

/// What is known of a call only.
#[derive(Clone, Debug, Default)]
pub(crate) struct Call {
    /// Envoy's name of the cluster that the call goes to.
    pub(crate) cluster: Option<Box<str>>,
    /// Envoy's name of the route.
    pub(crate) route: Option<&'static str>,
}

impl Kept {
    pub(in crate::access_log) fn new(
        head: &request::Parts,
        began: SystemTime,
        names: &[HeaderName],
    ) -> Self {
        let uri = Exchange::sent_uri(head).clone();
        Self {
            began,
            version: head.version,
            host: match uri.authority() {
                Some(_) => None,
                None => head.headers.get(header::HOST).cloned(),
            },
            uri,
            request_id: head.headers.get("x-request-id").cloned(),
            user_agent: head.headers.get(header::USER_AGENT).cloned(),
            is_grpc: is_grpc(&head.headers),
            request: named(&head.headers, names),
            response: Vec::new(),
            trailers: Vec::new(),
            answered: None,
            call: Call::default(),
            connection: None,
            trace: None,
            is_unreadable: false,
            #[cfg(all(feature = "server", feature = "client", feature = "cel"))]
            measured: None,
        }
    }

    /// Of a connection that carries no HTTP.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(in crate::access_log) fn of_connection(began: SystemTime) -> Self {
        let (head, ()) = http::Request::new(()).into_parts();
        Self {
            connection: Some(OnceLock::new()),
            ..Self::new(&head, began, &[])
        }
    }

    /// Keeps of each header what `shown` leaves of it.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(in crate::access_log) fn showing(
        &mut self,
        shown: fn(&HeaderValue) -> Option<HeaderValue>,
    ) {
        for headers in [&mut self.request, &mut self.response, &mut self.trailers] {
            headers.retain_mut(|(_, value)| match shown(value) {
                Some(shown) => {
                    *value = shown;
                    true
                }
                None => false,
            });
        }
    }

    /// Keeps what the head of the response has.
    pub(in crate::access_log) fn answered(
        &mut self,
        headers: &HeaderMap,
        names: &[HeaderName],
        now: Instant,
    ) {
        self.answered = Some(now);
        if !names.is_empty() {
            self.response = named(headers, names);
        }
    }

    /// Keeps what the trailers of the response have.
    pub(in crate::access_log) fn trailed(&mut self, trailers: &HeaderMap, names: &[HeaderName]) {
        if !names.is_empty() {
            self.trailers = named(trailers, names);
        }
    }
}

/// The headers with these names. Of several lines with one name the first counts, as in Envoy, but
/// those of `x-forwarded-for` are one list.
fn named(headers: &HeaderMap, names: &[HeaderName]) -> Vec<(HeaderName, HeaderValue)> {
    let value = |name: &HeaderName| {
        let mut lines = headers.get_all(name).iter();
        let first = lines.next()?;
        let is_list = name.as_str() == "x-forwarded-for";
        let mut rest = lines.filter(|_| is_list).peekable();
        if rest.peek().is_none() {
            return Some(first.clone());
        }
        let mut joined = first.as_bytes().to_vec();
        for line in rest {
            joined.push(b',');
            joined.extend_from_slice(line.as_bytes());
        }
        HeaderValue::from_bytes(&joined).ok()
    };
    let found = |name: &HeaderName| Some((name.clone(), value(name)?));
    names.iter().filter_map(found).collect()
}

/// All facts of one line.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(in crate::access_log) report: &'a Report<'a>,
    pub(in crate::access_log) kept: &'a Kept,
    pub(in crate::access_log) redaction: &'a PathRedaction,
    /// The SPIFFE id of this workload's own certificate.
    pub(in crate::access_log) own: Option<&'a str>,
}

#[cfg(all(feature = "server", feature = "client", feature = "cel"))]
impl<'a> Facts<'a> {
    pub(crate) fn report(self) -> &'a Report<'a> {
        self.report
    }

    pub(crate) fn began(self) -> SystemTime {
        self.kept.began
    }

    pub(crate) fn call(self) -> &'a Call {
        &self.kept.call
    }

    pub(crate) fn measured(self) -> Option<&'a Measured> {
        self.kept.measured.as_deref()
    }
}

#[cfg_attr(
    not(all(feature = "server", feature = "client")),
    allow(clippy::unused_self, reason = "only a mesh tells how its calls fail")
)]
impl<'a> Facts<'a> {
    pub(crate) fn is_inbound(self) -> bool {
        self.report.direction == Direction::Inbound
    }

    /// The facts of the request that came in. During a call, the report has the exchange of another
    /// request.
    pub(crate) fn exchange(self) -> Option<&'a Exchange> {
        self.report.exchange.filter(|_| self.is_inbound())
    }

    /// Its place in its trace; of a call, that of the call.
    pub(in crate::access_log) fn trace(self) -> Option<&'a TraceContext> {
        match self.is_inbound() {
            true => self.report.exchange.and_then(Exchange::trace),
            false => self.kept.trace.as_deref(),
        }
    }

    /// What a guard has said of its refusal, for the event of the line.
    pub(in crate::access_log) fn refusal(self) -> Option<&'a Refusal> {
        self.exchange().and_then(Exchange::refusal)
    }

    /// The caller.
    pub(crate) fn downstream(self) -> Option<&'a Peer> {
        self.report.peer.filter(|_| self.is_inbound())
    }

    /// The server of a call.
    pub(crate) fn upstream(self) -> Option<&'a Peer> {
        self.report.peer.filter(|_| !self.is_inbound())
    }

    /// Whether it is an exchange of HTTP, and not a connection that carries none.
    #[cfg_attr(
        not(any(
            feature = "otlp",
            all(feature = "server", feature = "client", feature = "cel")
        )),
        allow(
            dead_code,
            reason = "formats write nothing of HTTP for one that is none"
        )
    )]
    pub(crate) fn is_http(self) -> bool {
        self.kept.connection.is_none()
    }

    /// Why a connection that carries no HTTP has ended.
    pub(crate) fn termination(self) -> Option<&'a str> {
        self.kept.connection.as_ref()?.get().map(|text| &**text)
    }

    pub(crate) fn upstream_address(self) -> Option<SocketAddr> {
        let of_peer = self.upstream().map(Peer::remote_addr);
        let known = of_peer.or(self.report.server_address);
        #[cfg(all(feature = "server", feature = "client"))]
        let known = known.or_else(|| self.failure()?.address);
        known
    }

    /// Our end of the connection to the server of a call.
    pub(crate) fn upstream_local_address(self) -> Option<SocketAddr> {
        let of_peer = self.upstream().map(Peer::local_addr);
        of_peer.or_else(|| self.called().0)
    }

    /// How the body of the response to a call broke.
    pub(in crate::access_log) fn broken(self) -> Option<&'static str> {
        #[cfg(all(feature = "server", feature = "client"))]
        if let Some((_, details)) = self.report.progress.and_then(CallProgress::broken) {
            return Some(details);
        }
        None
    }

    /// Why a call got no response.
    #[cfg(all(feature = "server", feature = "client"))]
    fn failure(self) -> Option<&'a CallFailure> {
        self.report.progress.and_then(CallProgress::failure)
    }

    /// Envoy's details of a call that got no response.
    pub(in crate::access_log) fn failure_details(self) -> Option<&'a str> {
        #[cfg(all(feature = "server", feature = "client"))]
        if let Some(failure) = self.failure() {
            return Some(&failure.details);
        }
        None
    }

    /// Why a call has no connection.
    pub(crate) fn transport_failure(self) -> Option<&'a str> {
        #[cfg(all(feature = "server", feature = "client"))]
        if let Some(failure) = self.failure() {
            return failure.transport.as_deref();
        }
        None
    }

    /// The connection of the last attempt of a call: our end, and what was spoken on it.
    fn called(self) -> (Option<SocketAddr>, Option<Version>) {
        #[cfg(all(feature = "server", feature = "client"))]
        if let Some(server) = self.report.progress.and_then(CallProgress::server) {
            return (server.local, server.version);
        }
        (None, None)
    }

    /// The client: for whom a trusted proxy speaks, or whose connection it is. An address that a
    /// proxy has told without a port has port 0, as in Envoy.
    pub(crate) fn client_address(self) -> Option<SocketAddr> {
        let exchange = self.exchange();
        let told = exchange
            .and_then(Exchange::forwarded_peer)
            .and_then(ForwardedPeer::address);
        let behind_edge = || Some(SocketAddr::new(*exchange?.client_ip()?, 0));
        told.or_else(behind_edge)
            .or_else(|| self.downstream().map(Peer::remote_addr))
    }

    /// The path without a query.
    pub(crate) fn path(self) -> &'a str {
        let judged = self.exchange().and_then(Exchange::path);
        judged.unwrap_or_else(|| self.kept.uri.path())
    }

    /// The query without tokens that a guard has found in it.
    pub(crate) fn query(self) -> Option<&'a str> {
        match self.exchange().and_then(Exchange::target) {
            Some(target) => target.query(),
            None => self.kept.uri.query(),
        }
    }

    pub(crate) fn has_query(self) -> bool {
        self.kept.uri.query().is_some() || self.query().is_some()
    }

    /// The host, without a user.
    pub(crate) fn authority(self) -> Option<&'a [u8]> {
        if let Some(authority) = self.kept.uri.authority().map(Authority::as_str) {
            return Some(shown(authority).as_bytes());
        }
        let host = self.kept.host.as_ref()?;
        match host.to_str() {
            Ok(host) => Some(shown(host).as_bytes()),
            Err(_) => Some(host.as_bytes()),
        }
    }

    pub(crate) fn scheme(self) -> &'a str {
        let is_tls = self.downstream().is_some_and(Peer::is_tls);
        let of_connection = if is_tls { "https" } else { "http" };
        self.kept.uri.scheme_str().unwrap_or(of_connection)
    }

    pub(crate) fn request_id(self) -> Option<&'a HeaderValue> {
        let traced = self.trace().and_then(|trace| trace.request_id());
        traced.or(self.kept.request_id.as_ref())
    }

    pub(crate) fn request_header(self, name: &HeaderName) -> Option<&'a HeaderValue> {
        find(&self.kept.request, name)
    }

    pub(crate) fn response_header(self, name: &HeaderName) -> Option<&'a HeaderValue> {
        find(&self.kept.response, name)
    }

    pub(in crate::access_log) fn trailer(self, name: &HeaderName) -> Option<&'a HeaderValue> {
        find(&self.kept.trailers, name)
    }

    pub(crate) fn protocol(self) -> &'static str {
        protocol(self.kept.version)
    }

    /// That of the connection to the server of a call.
    pub(in crate::access_log) fn upstream_protocol(self) -> Option<&'static str> {
        let answered = self.report.status.filter(|_| !self.is_inbound());
        let answered = answered.map(|_| self.report.version);
        self.called().1.or(answered).map(protocol)
    }

    /// The status of an exchange of gRPC. Where nothing says one, the HTTP status stands for it, as
    /// in Envoy.
    pub(crate) fn grpc_status(self) -> Option<GrpcStatus> {
        let of_http = || {
            let status = StatusCode::from_u16(self.status()).ok()?;
            self.kept.is_grpc.then(|| GrpcStatus::from_http(status))
        };
        self.report.end.grpc_status.or_else(of_http)
    }

    /// How often the request was sent to a server; to the application, once, unless a guard has
    /// answered.
    pub(crate) fn attempts(self) -> u32 {
        #[cfg(all(feature = "server", feature = "client"))]
        let called = self.report.progress.map_or(0, CallProgress::attempts);
        #[cfg(not(all(feature = "server", feature = "client")))]
        let called = 0;
        let is_answered_here = self.is_local() || self.kept.is_unreadable;
        match self.is_inbound() {
            true => (!is_answered_here).into(),
            false => called,
        }
    }

    /// From the head of the request to the end of its body; `None` if that was not read.
    pub(in crate::access_log) fn until_received(self) -> Option<Duration> {
        self.report.request_took
    }

    /// When the exchange has ended.
    pub(in crate::access_log) fn ended(self) -> SystemTime {
        let began = self.kept.began;
        began.checked_add(self.report.duration).unwrap_or(began)
    }

    /// 0 if there was no response. A call that failed counts as Envoy would have answered it.
    pub(crate) fn status(self) -> u16 {
        let status = match self.is_inbound() {
            true => self.report.status,
            false => self.report.counted_status,
        };
        status.map_or(0, |status| status.as_u16())
    }

    /// From the head of the request to that of the response.
    pub(crate) fn until_answered(self) -> Option<Duration> {
        let ago = self
            .report
            .ended
            .saturating_duration_since(self.kept.answered?);
        Some(self.report.duration.saturating_sub(ago))
    }

    /// From the head of the response to its end.
    pub(crate) fn since_answered(self) -> Option<Duration> {
        let answered = self.kept.answered?;
        Some(self.report.ended.saturating_duration_since(answered))
    }

    /// Whether a guard has answered in the place of the service.
    pub(crate) fn is_local(self) -> bool {
        self.exchange().and_then(Exchange::details).is_some()
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}

fn find<'a>(kept: &'a [(HeaderName, HeaderValue)], name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut kept = kept.iter();
    kept.find_map(|(known, value)| (known == name).then_some(value))
}
