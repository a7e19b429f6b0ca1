//! The options of listeners.

use std::sync::Arc;

use rustls::ServerConfig;

use super::tcp::TcpOptions;
use crate::gate::{Edge, ForwardClientCert};
use crate::matcher::Cidr;
use crate::mesh::server::HeaderTrust;
use crate::mesh::server::connection::limits::HttpLimits;
use crate::mesh::server::connection::quiet_streams::QuietStreams;
use crate::tls::{HandshakeTimeouts, Limits};

/// How a listener accepts connections, and the bounds on them.
///
/// [`MeshBuilder::listener`](crate::MeshBuilder::listener) sets it for every listener of a mesh,
/// and [`Mesh::with_listener`](crate::Mesh::with_listener) for some of them.
#[derive(Clone, Debug, Default)]
#[must_use = "options do nothing until a builder has them"]
pub struct ListenerOptions {
    pub(in crate::mesh) limits: Limits,
    pub(in crate::mesh) timeouts: HandshakeTimeouts,
    pub(in crate::mesh) http: HttpLimits,
    pub(in crate::mesh) tcp: TcpOptions,
    pub(in crate::mesh) own_tls: Option<Arc<ServerConfig>>,
    pub(in crate::mesh) load_balancers: Vec<Cidr>,
    pub(in crate::mesh) quiet: QuietStreams,
    pub(in crate::mesh) trust: HeaderTrust,
    /// Mistakes found so far; each begins with the name of its method.
    pub(in crate::mesh) mistakes: Vec<String>,
}

impl ListenerOptions {
    /// Bounds the connections and handshakes that a listener has at once.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Bounds how long a client may take for its handshake.
    pub fn handshake_timeouts(mut self, timeouts: HandshakeTimeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Bounds what a client may make the server hold over HTTP, and for how long.
    pub fn http(mut self, limits: HttpLimits) -> Self {
        self.http = limits;
        self
    }

    /// How connections of [`Mesh::serve_tcp`](crate::Mesh::serve_tcp) are judged and bounded.
    pub fn tcp(mut self, options: TcpOptions) -> Self {
        self.tcp = options;
        self
    }

    /// Names the load balancers and gateways, by addresses or ranges (`10.0.0.0/8`).
    /// [`Limits::silent_per_source`] does not apply to them, as they open connections before they
    /// need them.
    pub fn load_balancers<R: AsRef<str>>(mut self, ranges: impl IntoIterator<Item = R>) -> Self {
        for range in ranges {
            let range = range.as_ref();
            match Cidr::parse(range) {
                Ok(mapped) if mapped.address().to_canonical() != mapped.address() => {
                    self.mistakes
                        .push(format!("load_balancers: {range:?}: write it as IPv4"));
                }
                Ok(range) => self.load_balancers.push(range),
                Err(error) => self
                    .mistakes
                    .push(format!("load_balancers: {range:?} is {error}")),
            }
        }
        self
    }

    /// Sets the only gRPC methods whose streams a client may leave silent for longer than
    /// [`HttpLimits::body_idle`]: `/package.Service/Method`, or `/package.Service/` for all methods
    /// of a service. By default every method is one of them.
    ///
    /// In either case a stream must be gRPC (HTTP/2, POST, `te: trailers`, content type
    /// `application/grpc` or `application/grpc+…`), and at most a hundred of a connection may be
    /// silent at once; the bound applies to all others.
    pub fn quiet_grpc<P: AsRef<str>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        match QuietStreams::only(paths) {
            Ok(quiet) => self.quiet = quiet,
            Err(mistakes) => self.mistakes.extend(mistakes),
        }
        self
    }

    /// Sets what the application sees of `x-forwarded-client-cert`; nothing by default. An Istio
    /// sidecar has [`ForwardClientCert::AppendForward`].
    ///
    /// Policy judges what the application sees. With the default it judges what a sidecar would
    /// show: what the caller sends, and a placeholder behind it.
    ///
    /// [`ForwardClientCert::AlwaysForwardOnly`] is a mistake here, because any caller may then speak
    /// for others. [`MeshBuilder::danger`](crate::MeshBuilder::danger) has it.
    pub fn forward_client_cert(mut self, mode: ForwardClientCert) -> Self {
        if mode == ForwardClientCert::AlwaysForwardOnly {
            self.mistakes.push(
                "forward_client_cert: AlwaysForwardOnly lets every caller speak for others: if it \
                 is meant, write danger().always_forward_client_cert()"
                    .to_owned(),
            );
        }
        self.trust.client_cert = mode;
        self
    }

    /// Makes the listener an edge of the mesh, whose callers may come from outside: see [`Edge`].
    ///
    /// Callers without an identity lose the headers that only the mesh may send, their traces begin
    /// anew ([`Propagation::edge_trace`](crate::propagation::Propagation::edge_trace)), and
    /// `remoteIpBlocks` of policies test [`Exchange::client_ip`](crate::context::Exchange::client_ip).
    ///
    /// The service decides, not the socket: with a server of your own, take both from the handle
    /// that [`Mesh::with_listener`](crate::Mesh::with_listener) returns.
    pub fn edge(mut self, edge: Edge) -> Self {
        self.trust.edge = Some(edge);
        self
    }

    /// Serves clients that are not in the mesh yet with the application's own TLS, on PERMISSIVE
    /// ports: see [`Acceptor::own_tls`](crate::tls::Acceptor::own_tls). Its protocol names
    /// (`alpn_protocols`) decide whether it speaks HTTP/2.
    pub fn own_tls(mut self, config: Arc<ServerConfig>) -> Self {
        self.own_tls = Some(config);
        self
    }
}
