//! Opens connections that carry no HTTP to upstreams.

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use http::Uri;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::record::{End, Record};
use super::stream::TcpConnection;
use super::watch::watch;
use crate::Mesh;
use crate::access_log::{CallFailure, ConnectionEnd, ConnectionLine};
use crate::context::Peer;
use crate::mesh::ConnectError;
use crate::mesh::client::Outbound;
use crate::mesh::client::pool::cluster::Cluster;
use crate::mesh::client::pool::connect_error::Failure;
use crate::mesh::client::pool::connection::stream::MeshStream;
use crate::mesh::client::pool::unknown_host::UnknownHost;
use crate::message::Direction;
use crate::tls::{HandshakeStats, Protocol, Stream};

impl Mesh {
    /// Opens a connection that carries no HTTP to a host that calls may go to: an
    /// [`upstream`](crate::MeshBuilder::upstream), over mutual TLS to one of its identities, or a
    /// host [`outside`](crate::MeshBuilder::outside) the mesh. Any other host is an error.
    ///
    /// The upstream's addresses take turns; of one that cannot be reached the next is tried, and it
    /// is passed over for a while. The connection is counted in Istio's TCP metrics
    /// (`reporter="source"`), and is one line of the access log, also if it could not be made. It is
    /// cut when an identity on it is no longer good, and when it is idle
    /// ([`ClientOptions::tcp_idle`](crate::mesh::ClientOptions::tcp_idle)).
    ///
    /// # Errors
    /// When the host is unknown, no address can be reached, or none proves an identity of the
    /// upstream.
    ///
    /// # Differences from Envoy/Istio
    /// TLS offers `istio` and not `istio-peer-exchange`: no metadata of peers is exchanged, so that
    /// the labels of the other end come from its identity.
    pub async fn connect_tcp(&self, host: &str, port: u16) -> Result<TcpConnection, ConnectError> {
        let outbound = self.client().outbound();
        let began = Instant::now();
        let logs = outbound.reports.load().client.access_logs.clone();
        let mut line = logs.open_connection(SystemTime::now);
        let connected = match find(outbound, host, port, line.as_mut()) {
            Ok(cluster) => dial(outbound, &cluster).await,
            Err(failure) => Err(failure),
        };
        let made = connected.and_then(Made::new);
        match made {
            Ok(made) => Ok(made.open(outbound, host, line, began)),
            Err(failure) => {
                let error = ConnectError::new(&authority(host, port), failure);
                let is_known = !error.is_unknown_host();
                outbound
                    .metrics
                    .failed_connection(host, is_known, error.flags());
                if let Some(line) = line {
                    failed(line, &error, began);
                }
                Err(error)
            }
        }
    }
}

/// The upstream of a host and port. Tells the line where the connection goes.
fn find(
    outbound: &Outbound,
    host: &str,
    port: u16,
    line: Option<&mut ConnectionLine>,
) -> Result<Arc<Cluster>, Failure> {
    let uri = Uri::builder()
        .scheme("http")
        .authority(authority(host, port))
        .path_and_query("/")
        .build();
    let uri = uri.map_err(|_| UnknownHost::not_plain(host))?;
    let upstreams = outbound.upstreams.load();
    let reach = upstreams
        .find(&uri)
        .ok_or_else(|| upstreams.unknown(&uri))?;
    if let Some(line) = line {
        line.calls(reach.logged(&uri));
    }
    Ok(reach.cluster(&uri))
}

async fn dial(outbound: &Outbound, cluster: &Cluster) -> Result<MeshStream, Failure> {
    let dialer = &outbound.dialer;
    let mut order = cluster.endpoint_order();
    let mut failure = None;
    while let Some(candidate) = order.next_for_tcp(dialer) {
        match candidate.endpoint.dial(dialer, Protocol::Tcp).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = Some(error),
        }
        order.pass_over(&candidate);
    }
    Err(failure.unwrap_or_else(|| Failure::unresolved(cluster.names())))
}

/// A connection that was made.
struct Made {
    stream: Stream<TcpStream>,
    /// The workload of the mesh that answers.
    workload: Option<Peer>,
    /// The other end in any case.
    peer: Peer,
    stats: Option<Arc<HandshakeStats>>,
}

impl Made {
    fn new(stream: MeshStream) -> Result<Self, Failure> {
        let (stream, workload, stats) = stream.into_parts();
        let peer = match &workload {
            Some(workload) => workload.clone(),
            None => {
                let transport = stream.transport();
                let (remote, local) = (transport.peer_addr()?, transport.local_addr()?);
                outside(&stream, remote, local)
            }
        };
        Ok(Self {
            stream,
            workload,
            peer,
            stats,
        })
    }

    fn open(
        self,
        outbound: &Outbound,
        host: &str,
        line: Option<ConnectionLine>,
        began: Instant,
    ) -> TcpConnection {
        let metrics = outbound.metrics.connection(host, self.workload.as_ref());
        let record = Record::new(Direction::Outbound, self.peer, None, metrics, line);
        let record = Arc::new(record.since(began));
        let lifetime = self.stream.lifetime();
        let bounds = outbound.tcp_bounds;
        let watched = watch(Arc::clone(&record), lifetime, bounds, self.stats, || None);
        let cut = {
            let record = Arc::clone(&record);
            async move {
                let cut = watched.await;
                record.end(&End::Cut(cut));
            }
        };
        TcpConnection::outbound(self.stream, record, cut)
    }
}

/// A host outside the mesh, which proves no identity.
fn outside(stream: &Stream<TcpStream>, remote: SocketAddr, local: SocketAddr) -> Peer {
    match stream.is_protected() {
        true => Peer::other_tls(remote, local),
        false => Peer::plaintext(remote, local),
    }
}

/// Writes the line of a connection that could not be made.
fn failed(mut line: ConnectionLine, error: &ConnectError, began: Instant) {
    line.fails(CallFailure {
        details: Box::default(),
        transport: error.transport_failure().map(Into::into),
        address: error.address(),
    });
    line.ended(&ConnectionEnd {
        exchange: None,
        peer: None,
        flags: error.flags(),
        received: 0,
        sent: 0,
        duration: began.elapsed(),
        termination: None,
    });
}

/// Host and port as a URI has them.
fn authority(host: &str, port: u16) -> String {
    match host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]:{port}"),
        Err(_) => format!("{host}:{port}"),
    }
}
