use std::time::Duration;

use crate::mesh::client::pool::names::Resolver;

/// How calls are made: [`MeshBuilder::client`](crate::MeshBuilder::client).
#[derive(Clone, Debug)]
#[must_use = "options do nothing until a builder has them"]
pub struct ClientOptions {
    pub(in crate::mesh) connect_timeout: Duration,
    pub(in crate::mesh) response_timeout: Option<Duration>,
    pub(in crate::mesh) resolver: Resolver,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect_timeout: CONNECT_TIMEOUT,
            response_timeout: Some(RESPONSE_TIMEOUT),
            resolver: Resolver::default(),
        }
    }
}

impl ClientOptions {
    /// Bounds each step of a connection that the client opens, TCP and handshake, at each address that it tries; 10 s by default.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a call may wait for the head of its response; 30 s by default. Connections and what
    /// is sent again count, reading the response's body does not.
    ///
    /// A call that is late ends with an error ([`ClientError::is_timeout`](crate::mesh::ClientError::is_timeout)),
    /// is counted with 504 and Envoy's flag `UT`, and the server sees it cancelled. While the body of
    /// a request still moves, the time begins anew, so that a long upload is not cut. Calls of gRPC
    /// may wait as long as their own `grpc-timeout` says (tonic's `Request::set_timeout`; its clients
    /// read `DEADLINE_EXCEEDED`, with the feature `tonic`), and without one for as long as it takes: a
    /// stream may send its head late.
    /// [`RequestBuilder::timeout`](crate::mesh::RequestBuilder::timeout) is for one call.
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = Some(timeout);
        self
    }

    /// Lets calls wait for their responses for as long as they take.
    pub fn no_response_timeout(mut self) -> Self {
        self.response_timeout = None;
        self
    }

    /// Asks this one for DNS names of upstreams.
    #[cfg(test)]
    pub(in crate::mesh) fn resolver(mut self, resolver: Resolver) -> Self {
        self.resolver = resolver;
        self
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
