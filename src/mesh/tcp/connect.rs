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
use crate::access_log::{ConnectionEnd, ConnectionLine};
use crate::context::Peer;
use crate::mesh::ConnectError;
use crate::mesh::client::pool::cluster::Cluster;
use crate::mesh::client::pool::connect_error::Failure;
use crate::mesh::client::pool::connection::stream::MeshStream;
use crate::mesh::client::pool::unknown_host::UnknownHost;
use crate::mesh::client::{Bounds, Outbound};
use crate::message::{CallFailure, CallProgress, Direction, ResponseFlags};
use crate::metrics::{Connection, Reached};
use crate::tls::{HandshakeStats, Protocol, Stream};

impl Mesh {
    /// Opens a connection that carries no HTTP to a host that calls may go to: an
    /// [`upstream`](crate::MeshBuilder::upstream), over mutual TLS to one of its identities, or a
    /// host [`outside`](crate::MeshBuilder::outside) the mesh. Any other host is an error.
    ///
    /// The upstream's addresses take turns; of one that cannot be reached the next is tried, and it
    /// is passed over for a while. The connection is counted in Istio's TCP metrics
    /// (`reporter="source"`), and is one line of the access log, also if it could not be made, and
    /// with the flag `DC` if this future is dropped before it is made. It is cut when an identity on
    /// it is no longer good, and when it is idle
    /// ([`ClientOptions::tcp_idle`](crate::mesh::ClientOptions::tcp_idle)).
    ///
    /// # Errors
    /// When the host is unknown, no address can be reached, or none proves an identity of the
    /// upstream.
    ///
    /// # Differences from Envoy/Istio
    /// TLS offers `istio` and not `istio-peer-exchange`: no metadata of peers is exchanged, so that
    /// the labels of the other end come from its identity. For a client that leaves before its
    /// connection is made, Envoy sets no flag.
    pub async fn connect_tcp(&self, host: &str, port: u16) -> Result<TcpConnection, ConnectError> {
        let outbound = self.client().outbound();
        let mut opening = Opening::begin(outbound, host);
        let connected = match opening.find(port) {
            Ok(cluster) => opening.dial(&cluster).await,
            Err(failure) => Err(failure),
        };
        match connected.and_then(Made::new) {
            Ok(made) => Ok(opening.opened(made)),
            Err(failure) => {
                let error = ConnectError::new(&authority(host, port), failure);
                opening.failed(&error);
                Err(error)
            }
        }
    }
}

/// A connection that is being made. If this is dropped before its end is known, its caller has left.
struct Opening<'a> {
    outbound: &'a Outbound,
    host: &'a str,
    reached: Reached,
    line: Option<ConnectionLine>,
    began: Instant,
    is_told: bool,
}

impl<'a> Opening<'a> {
    fn begin(outbound: &'a Outbound, host: &'a str) -> Self {
        let logs = &outbound.reports.load().client.access_logs;
        Self {
            outbound,
            host,
            reached: Reached::Nowhere,
            line: logs.open_connection(SystemTime::now),
            began: Instant::now(),
            is_told: false,
        }
    }

    /// The upstream of the host and this port. Tells the line where the connection goes.
    fn find(&mut self, port: u16) -> Result<Arc<Cluster>, Failure> {
        let uri = Uri::builder()
            .scheme("http")
            .authority(authority(self.host, port))
            .path_and_query("/")
            .build();
        let uri = uri.map_err(|_| UnknownHost::not_plain(self.host))?;
        let upstreams = self.outbound.upstreams.load();
        let reach = upstreams
            .find(&uri)
            .ok_or_else(|| upstreams.unknown(&uri))?;
        self.reached = reach.counted();
        if let Some(line) = &mut self.line {
            line.calls(reach.logged(&uri));
        }
        Ok(reach.cluster(&uri))
    }

    async fn dial(&self, cluster: &Cluster) -> Result<MeshStream, Failure> {
        let dialer = &self.outbound.dialer;
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

    fn opened(mut self, made: Made) -> TcpConnection {
        self.is_told = true;
        let metrics = &self.outbound.metrics;
        let workload = made.workload.as_ref();
        let metrics =
            metrics.connection_to(self.host, self.reached, workload, ResponseFlags::none());
        made.open(
            self.outbound.tcp_bounds,
            metrics,
            self.line.take(),
            self.began,
        )
    }

    fn failed(mut self, error: &ConnectError) {
        let progress = CallProgress::default();
        progress.fails(CallFailure {
            details: Box::default(),
            transport: error.transport_failure().map(Into::into),
            address: error.address(),
        });
        self.tell(error.flags(), Some(&progress));
    }

    /// Counts the connection that could not be made, and writes its line.
    fn tell(&mut self, flags: ResponseFlags, progress: Option<&CallProgress>) {
        self.is_told = true;
        let metrics = &self.outbound.metrics;
        drop(metrics.connection_to(self.host, self.reached, None, flags));
        let Some(line) = self.line.take() else {
            return;
        };
        line.ended(&ConnectionEnd {
            exchange: None,
            peer: None,
            progress,
            flags,
            received: 0,
            sent: 0,
            duration: self.began.elapsed(),
            termination: None,
        });
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        if !self.is_told {
            self.tell(ResponseFlags::DOWNSTREAM_DISCONNECT, None);
        }
    }
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
        bounds: Bounds,
        metrics: Connection,
        line: Option<ConnectionLine>,
        began: Instant,
    ) -> TcpConnection {
        let record = Record::new(Direction::Outbound, self.peer, None, metrics, line);
        let record = Arc::new(record.since(began));
        let lifetime = self.stream.lifetime();
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

/// Host and port as a URI has them.
fn authority(host: &str, port: u16) -> String {
    match host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]:{port}"),
        Err(_) => format!("{host}:{port}"),
    }
}
