//! The connections of a cluster: DestinationRule `connectionPool`, over the mesh's.

use std::time::Duration;

use crate::istio::traffic::{
    ConnectionPool, H2UpgradePolicy, Http2KeepAlive, HttpPool, MeshTraffic, Protocol, TcpKeepalive,
    TcpPool,
};
use crate::routing::balance::Thresholds;

/// What holds for the connections of a cluster. In resources a number of 0 is none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connections {
    /// How long connecting may take, with TLS.
    pub connect_timeout: Duration,
    /// How much may be under way at once.
    pub thresholds: Thresholds,
    /// When a connection without calls is closed: `http.idleTimeout`, else `tcp.idleTimeout`; zero:
    /// never. `None`: nothing is written, which is one hour.
    pub idle_timeout: Option<Duration>,
    /// When a connection is closed, its calls finished.
    pub max_connection_duration: Option<Duration>,
    /// How many calls a connection carries.
    pub max_requests_per_connection: Option<u32>,
    /// How many calls an HTTP/2 connection carries at once.
    pub max_concurrent_streams: Option<u32>,
    /// Pings of HTTP/2.
    pub http2_keep_alive: Option<Http2KeepAlive>,
    /// Probes of TCP; `None`: they are off.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// What is spoken.
    pub protocol: UpstreamProtocol,
}

/// The version of HTTP that a cluster is called with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamProtocol {
    /// HTTP/1.1; also of ports that are not HTTP.
    Http1,
    /// HTTP/2.
    Http2,
    /// That of the call: `useClientProtocol`, and ports that state no protocol.
    Same,
}

impl Connections {
    pub(super) fn new(
        pool: Option<&ConnectionPool>,
        protocol: Protocol,
        mesh: &MeshTraffic,
    ) -> Self {
        let tcp = pool.and_then(|pool| pool.tcp).unwrap_or_default();
        let http = pool.and_then(|pool| pool.http).unwrap_or_default();
        let limit = |written: Option<u32>| some(written).unwrap_or(u32::MAX);
        Self {
            connect_timeout: tcp
                .connect_timeout
                .or(mesh.connect_timeout)
                .unwrap_or(CONNECT),
            thresholds: Thresholds {
                connections: limit(tcp.max_connections),
                pending: limit(http.http1_max_pending_requests),
                requests: limit(http.http2_max_requests),
                retries: limit(http.max_retries),
            },
            idle_timeout: http.idle_timeout.or(tcp.idle_timeout),
            max_connection_duration: tcp.max_connection_duration,
            max_requests_per_connection: some(http.max_requests_per_connection),
            max_concurrent_streams: some(http.max_concurrent_streams),
            http2_keep_alive: http.http2_keep_alive,
            tcp_keepalive: keepalive(&tcp, mesh),
            protocol: upstream_protocol(&http, protocol, mesh),
        }
    }
}

fn some(written: Option<u32>) -> Option<u32> {
    written.filter(|number| *number > 0)
}

/// Each field of the rule's over the mesh's.
fn keepalive(tcp: &TcpPool, mesh: &MeshTraffic) -> Option<TcpKeepalive> {
    let (own, of_mesh) = (tcp.tcp_keepalive, mesh.tcp_keepalive);
    if own.is_none() && of_mesh.is_none() {
        return None;
    }
    let (own, of_mesh) = (own.unwrap_or_default(), of_mesh.unwrap_or_default());
    let mut merged = of_mesh;
    merged.probes = some(own.probes).or_else(|| some(of_mesh.probes));
    merged.time = own.time.or(of_mesh.time);
    merged.interval = own.interval.or(of_mesh.interval);
    Some(merged)
}

/// HTTP/2 by the port's protocol, or by upgrade: the rule's on any port, the mesh's on ports that
/// are declared HTTP.
fn upstream_protocol(http: &HttpPool, protocol: Protocol, mesh: &MeshTraffic) -> UpstreamProtocol {
    if http.use_client_protocol {
        return UpstreamProtocol::Same;
    }
    let is_upgraded = match http.h2_upgrade_policy {
        H2UpgradePolicy::Upgrade => true,
        H2UpgradePolicy::DoNotUpgrade => false,
        H2UpgradePolicy::Default => mesh.h2_upgrade && protocol.is_http(),
    };
    if protocol.is_http2() || is_upgraded {
        UpstreamProtocol::Http2
    } else if protocol == Protocol::Unspecified {
        UpstreamProtocol::Same
    } else {
        UpstreamProtocol::Http1
    }
}

/// MeshConfig's default.
const CONNECT: Duration = Duration::from_secs(10);
