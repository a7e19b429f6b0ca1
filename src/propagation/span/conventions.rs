//! OpenTelemetry's semantic conventions for HTTP and RPC spans, as of their version 1.45.

use std::sync::Arc;

use http::{Version, request};

use super::errors::Errors;
use super::finished::SpanKind;
use super::tags::{Call, Tags, URL_FULL, URL_QUERY};
use super::target::{authority, cut, hidden, url, without_tokens};
use crate::context::{Exchange, Peer};
use crate::message::conventions::{OTHER, known_method, protocol_version};
use crate::message::{GrpcStatus, Report, ResponseFlags};

/// What a span is named after, once it is known how the call ended.
#[derive(Debug)]
pub(super) struct Operation {
    method: &'static str,
    /// `package.Service/Method`, of gRPC.
    rpc: Option<Box<str>>,
    /// Whether the response's head was gRPC's, too.
    pub(super) is_answered: bool,
}

impl Operation {
    pub(super) fn new(call: Call<'_>) -> Self {
        let path = call.request.uri.path();
        let path = match call.is_grpc {
            // Any request can say that it is gRPC.
            true => hidden(call.hide, path.into()),
            false => path.into(),
        };
        let rpc = path.strip_prefix('/').filter(|_| call.is_grpc);
        Self {
            method: known_method(&call.request.method).unwrap_or(OTHER),
            rpc: rpc.map(|path| cut(path).into()),
            is_answered: false,
        }
    }

    /// The span's name: of gRPC its method, else the method and, where it is known, the route.
    pub(super) fn name(&self, route: Option<&str>, has_method: bool) -> Arc<str> {
        let method = match self.method {
            OTHER => "HTTP",
            method => method,
        };
        match (&self.rpc, route) {
            (Some(rpc), _) if has_method => (&**rpc).into(),
            (Some(_), None) => GRPC.into(),
            (_, Some(route)) => format!("{method} {}", cut(route)).into(),
            (None, None) => method.into(),
        }
    }

    /// Whether the path names a method that the service has. A caller may have made up what a
    /// server does not know, and what a guard or an application without gRPC answered: it names no
    /// span.
    pub(super) fn has_method(
        &self,
        exchange: Option<&Exchange>,
        report: &Report<'_>,
        kind: SpanKind,
    ) -> bool {
        let is_refused = exchange.is_some_and(|exchange| exchange.details().is_some());
        let is_unknown = report.end.grpc_status.map(GrpcStatus::code) == Some(UNIMPLEMENTED);
        kind == SpanKind::Client || (self.is_answered && !is_refused && !is_unknown)
    }
}

impl Tags {
    /// What is known when the request comes in or goes out.
    pub(super) fn begun(&mut self, call: Call<'_>) {
        let Call {
            request,
            target,
            kind,
            exchange,
            is_grpc,
            shown,
            hide,
            ..
        } = call;
        match known_method(&request.method) {
            Some(method) => self.fixed("http.request.method", method),
            None => {
                self.fixed("http.request.method", OTHER);
                let original = cut(request.method.as_str()).to_owned();
                self.owned("http.request.method_original", original);
            }
        }
        let peer = exchange.and_then(Exchange::peer);
        let peer = peer.filter(|_| kind == SpanKind::Server);
        let is_tls = peer.is_some_and(Peer::is_tls) || target.scheme_str() == Some("https");
        let scheme = if is_tls { "https" } else { "http" };
        self.fixed("url.scheme", scheme);
        let path = target.path_and_query().map_or("/", |path| path.as_str());
        let path = hidden(hide, without_tokens(path, exchange));
        match kind {
            SpanKind::Server => {
                let (path, query) = path.split_once('?').unwrap_or((&path, ""));
                self.owned("url.path", cut(path).to_owned());
                if !query.is_empty() {
                    self.owned(URL_QUERY, cut(query).to_owned());
                }
                self.protocol(request.version);
            }
            // One that a handler opens has no request.
            SpanKind::Internal => {}
            SpanKind::Client => {
                self.owned(URL_FULL, url(request, shown.host, target, &path, false))
            }
        }
        self.server(request, peer, is_tls);
        if let Some(peer) = peer {
            match exchange.and_then(Exchange::client_ip) {
                Some(client) => self.owned("client.address", client.to_string()),
                None => self.shared("client.address", peer.remote_ip_text()),
            }
            self.other_end(peer);
        }
        self.header("user_agent.original", shown.user_agent);
        if is_grpc {
            self.fixed("rpc.system.name", GRPC);
        }
    }

    /// Adds what is known from the head of the response to a call of ours.
    pub(super) fn answered(&mut self, version: Version, peer: Option<&Peer>) {
        if let Some(peer) = peer {
            self.other_end(peer);
        }
        self.protocol(version);
    }

    /// What is known of a try when the response to its call has ended.
    pub(super) fn ended_try(&mut self, report: &Report<'_>, errors: Errors) {
        if let Some(status) = report.status {
            self.number("http.response.status_code", status.as_u16().into());
        }
        if errors.status {
            let status = report.status.map(|status| status.as_str().to_owned());
            let status = report.end.grpc_status.map(name).or(status);
            self.owned("error.type", status.unwrap_or_else(|| OTHER.to_owned()));
        }
    }

    /// What is known of a try that got no response.
    pub(super) fn failed_try(&mut self, flags: ResponseFlags) {
        match flags.is_empty() {
            true => self.fixed("error.type", OTHER),
            false => self.owned("error.type", flags.to_string()),
        }
    }

    /// What is known when the response has ended.
    pub(super) fn ended(
        &mut self,
        operation: &Operation,
        route: Option<&Arc<str>>,
        report: &Report<'_>,
        errors: Errors,
        has_method: bool,
    ) {
        if let Some(route) = route {
            self.shared("http.route", route);
        }
        if let Some(status) = report.status {
            self.number("http.response.status_code", status.as_u16().into());
        }
        let status = report.status.filter(|_| !report.is_broken());
        let mut error = status.map(|status| status.as_str().to_owned());
        if let Some(rpc) = &operation.rpc {
            if has_method {
                self.owned("rpc.method", rpc.to_string());
            } else {
                self.fixed("rpc.method", OTHER);
                self.owned("rpc.method_original", rpc.to_string());
            }
            if let Some(status) = report.end.grpc_status {
                self.owned("rpc.response.status_code", name(status));
                error = Some(name(status));
            }
        }
        if errors.status {
            let flags = Some(report.flags).filter(|flags| !flags.is_empty());
            let without_status = || flags.map_or_else(|| OTHER.to_owned(), |it| it.to_string());
            self.owned("error.type", error.unwrap_or_else(without_status));
        }
    }

    fn server(&mut self, request: &request::Parts, peer: Option<&Peer>, is_tls: bool) {
        let authority = authority(request).unwrap_or_default();
        let (host, port) = match authority.rsplit_once(':') {
            // In an IPv6 address a colon stands before no port, unless a bracket ends it.
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port),
            _ => (authority, ""),
        };
        let local = peer.map(|peer| peer.local_addr());
        let host = host.trim_start_matches('[').trim_end_matches(']');
        match (host, local) {
            ("", Some(local)) => self.owned("server.address", local.ip().to_string()),
            ("", None) => return,
            (host, _) => self.owned("server.address", host.to_owned()),
        }
        let usual = if is_tls { 443 } else { 80 };
        let called = || local.map(|local| local.port());
        let port = port.parse().ok().or_else(called);
        self.number("server.port", port.unwrap_or(usual).into());
    }

    fn other_end(&mut self, peer: &Peer) {
        self.shared("network.peer.address", peer.remote_ip_text());
        self.number("network.peer.port", peer.remote_addr().port().into());
    }

    fn protocol(&mut self, version: Version) {
        self.fixed("network.protocol.name", "http");
        self.fixed("network.protocol.version", protocol_version(version));
    }
}

/// The name of a gRPC status; its number where it has none.
fn name(status: GrpcStatus) -> String {
    let name = status.name();
    name.map_or_else(|| status.code().to_string(), ToOwned::to_owned)
}

const GRPC: &str = "grpc";
const UNIMPLEMENTED: u32 = 12;
