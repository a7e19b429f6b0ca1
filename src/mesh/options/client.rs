//! The options of the client.

use std::time::Duration;

use crate::mesh::client::Bounds;
use crate::mesh::client::pool::names::Resolver;

/// How the client makes calls: [`MeshBuilder::client`](crate::MeshBuilder::client).
#[derive(Clone, Debug)]
#[must_use = "options do nothing until a builder has them"]
pub struct ClientOptions {
    pub(in crate::mesh) connect_timeout: Duration,
    pub(in crate::mesh) response_timeout: Option<Duration>,
    pub(in crate::mesh) inherits_deadlines: bool,
    pub(in crate::mesh) resolver: Resolver,
    pub(in crate::mesh) tcp_bounds: Bounds,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect_timeout: CONNECT_TIMEOUT,
            response_timeout: Some(RESPONSE_TIMEOUT),
            inherits_deadlines: true,
            resolver: Resolver::default(),
            tcp_bounds: Bounds::default(),
        }
    }
}

impl ClientOptions {
    /// Sets how long TCP and the TLS handshake may each take (10 s by default), at each address
    /// that a call tries.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets how long a call may wait for the head of its response; 30 s by default. The time
    /// includes connecting and retries, and excludes the response's body.
    ///
    /// A call that takes longer ends with an error
    /// ([`ClientError::is_timeout`](crate::mesh::ClientError::is_timeout)), is counted with status
    /// 504 and Envoy's flag `UT`, and is cancelled at the server. The time starts anew whenever the
    /// body of the request moves, so that a long upload is not cut.
    ///
    /// A gRPC call has the time of its own `grpc-timeout` (tonic's `Request::set_timeout`; tonic's
    /// clients get `DEADLINE_EXCEEDED`, with the feature `tonic`), and without one no bound, as a
    /// stream may send its head late.
    /// [`RequestBuilder::timeout`](crate::mesh::RequestBuilder::timeout) sets the time of one call.
    ///
    /// A call that is made for a request also ends 5 ms before the
    /// [deadline](crate::context::Exchange::deadline) of the request, whatever its own time, and is
    /// not made when nothing is left; the error is the same. The server is told what is left: a gRPC
    /// server by `grpc-timeout`, another server of the mesh by `x-envoy-expected-rq-timeout-ms`. So
    /// a chain of calls stops where its first caller has given up. See
    /// [`no_deadlines`](Self::no_deadlines).
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = Some(timeout);
        self
    }

    /// Lets calls wait for their responses without a bound.
    pub fn no_response_timeout(mut self) -> Self {
        self.response_timeout = None;
        self
    }

    /// Lets calls go on after the deadline of the request for which they are made, and tells servers
    /// nothing of it.
    pub fn no_deadlines(mut self) -> Self {
        self.inherits_deadlines = false;
        self
    }

    /// Sets how long a connection of [`Mesh::connect_tcp`](crate::Mesh::connect_tcp) may carry
    /// nothing in either direction; 1 hour by default, as in Istio.
    pub fn tcp_idle(mut self, idle: Duration) -> Self {
        self.tcp_bounds.idle = idle;
        self
    }

    /// Sets how long such a connection may last; without a bound by default.
    pub fn tcp_max_duration(mut self, longest: Duration) -> Self {
        self.tcp_bounds.max_duration = Some(longest);
        self
    }

    /// Looks up DNS names of upstreams with this resolver.
    #[cfg(test)]
    pub(in crate::mesh) fn resolver(mut self, resolver: Resolver) -> Self {
        self.resolver = resolver;
        self
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
