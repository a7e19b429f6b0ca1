//! Opens TCP connections, and TLS on them, to endpoints.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::super::connect_error::{Failure, Kind};
use super::super::picker::in_turn;
use super::stream::MeshStream;
use crate::tls::{
    AllowedIds, Connector, Credentials, Destination, OneWayConnector, Protocol, Stream,
};

/// Opens connections to endpoints.
#[derive(Debug)]
pub(in crate::mesh) struct Dialer {
    connector: Connector,
    /// `None` when the mesh runs in plaintext.
    credentials: Option<Credentials>,
    timeout: Duration,
    /// Takes turns among the addresses that DNS returns for a host outside the mesh.
    turn: AtomicUsize,
}

/// The identity that must answer at an endpoint, and how it is proven.
#[derive(Clone, Debug)]
pub(in crate::mesh) enum Target {
    /// A workload of the mesh.
    Mesh {
        accepted: AllowedIds,
        /// The server name that TLS sends; none is sent for an IP address.
        server_name: Box<str>,
    },
    /// A host outside the mesh; without TLS when it is called in plaintext.
    External {
        host: Box<str>,
        tls: Option<ExternalTls>,
    },
}

impl Target {
    /// The same host outside the mesh, verified by this TLS. A workload of the mesh stays as it is.
    pub(in crate::mesh) fn with_tls(&self, new: Option<ExternalTls>) -> Self {
        let mut target = self.clone();
        if let Self::External { tls, .. } = &mut target {
            *tls = new;
        }
        target
    }
}

/// The TLS connectors for a host outside the mesh: for HTTP/1.1, for HTTP/2, and for no HTTP.
#[derive(Clone, Debug)]
pub(in crate::mesh) struct ExternalTls(Arc<[OneWayConnector; 3]>);

impl ExternalTls {
    pub(in crate::mesh) fn new(tls: OneWayConnector) -> Self {
        let http2 = tls.clone().protocol(Protocol::Http2);
        let tcp = tls.clone().protocol(Protocol::Tcp);
        Self(Arc::new([tls.protocol(Protocol::Http1), http2, tcp]))
    }

    fn connector(&self, protocol: Protocol) -> &OneWayConnector {
        let [http1, http2, tcp] = &*self.0;
        match protocol {
            Protocol::Http2 => http2,
            Protocol::Tcp => tcp,
            Protocol::Either | Protocol::Http1 => http1,
        }
    }
}

/// Where an endpoint listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::mesh) enum Address {
    Socket(SocketAddr),
    /// A host outside the mesh. DNS is queried for every new connection. The host counts as one
    /// endpoint, whatever DNS returns. (Envoy calls such a cluster `LOGICAL_DNS`.)
    Dns {
        host: Box<str>,
        port: u16,
    },
}

impl Dialer {
    pub(in crate::mesh) fn new(
        connector: Connector,
        credentials: Option<Credentials>,
        timeout: Duration,
    ) -> Self {
        Self {
            connector,
            credentials,
            timeout,
            turn: AtomicUsize::new(0),
        }
    }

    /// The generation of the identity that a connection to this target would present; constant for
    /// a target that gets no identity.
    pub(in crate::mesh) fn generation(&self, target: &Target) -> u64 {
        match (target, &self.credentials) {
            (Target::Mesh { .. }, Some(credentials)) => credentials.generation(),
            _ => 0,
        }
    }

    /// Opens a connection.
    pub(in crate::mesh) async fn dial(
        &self,
        address: &Address,
        target: &Target,
        protocol: Protocol,
    ) -> Result<MeshStream, Failure> {
        let (host, port) = match address {
            Address::Socket(address) => return self.at(*address, target, protocol).await,
            Address::Dns { host, port } => (&**host, *port),
        };
        let found = timeout(self.timeout, lookup_host((host, port))).await;
        let found = found.unwrap_or_else(|_| Err(timed_out()));
        let found: Vec<_> = found
            .map_err(|error| Failure::lookup(host, error))?
            .collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut failure = None;
        for index in in_turn(found.len(), turn) {
            let Some(address) = found.get(index) else {
                continue;
            };
            match self.at(*address, target, protocol).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| Failure::unresolved(host.to_owned())))
    }

    async fn at(
        &self,
        address: SocketAddr,
        target: &Target,
        protocol: Protocol,
    ) -> Result<MeshStream, Failure> {
        let external = |stream| MeshStream::external(stream, self.connector.external_lifetime());
        let connected = match target {
            Target::Mesh {
                accepted,
                server_name,
            } => {
                let destination = Destination::accepting(accepted.clone(), server_name, protocol)?;
                let connected = self.connector.connect(address, &destination).await;
                let stats = || self.connector.stats();
                connected
                    .map(|(stream, peer)| MeshStream::inside(stream, peer, stats()))
                    .map_err(Kind::from)
            }
            Target::External {
                host,
                tls: Some(tls),
            } => {
                let connector = tls.connector(protocol).clone().timeout(self.timeout);
                let connected = connector.connect(address, host).await;
                connected.map(external).map_err(Kind::from)
            }
            Target::External { tls: None, .. } => {
                let connected = in_plaintext(address, self.timeout).await;
                connected.map(external).map_err(Kind::from)
            }
        };
        connected.map_err(|error| Failure::at(address, error))
    }
}

/// Opens a connection without TLS.
pub(in crate::mesh) async fn in_plaintext(
    address: SocketAddr,
    limit: Duration,
) -> io::Result<Stream<TcpStream>> {
    let connecting = timeout(limit, TcpStream::connect(address));
    let stream = connecting.await.unwrap_or_else(|_| Err(timed_out()))?;
    stream.set_nodelay(true)?;
    Ok(Stream::unprotected(stream))
}

fn timed_out() -> io::Error {
    io::ErrorKind::TimedOut.into()
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Dns { host, port } => write!(f, "{host}:{port}"),
        }
    }
}
