//! `connectionPool` and `outlierDetection`.

use std::time::Duration;

use super::FractionalPercent;
use crate::istio::Position;

/// `connectionPool`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionPool {
    /// `tcp`.
    pub tcp: Option<TcpPool>,
    /// `http`.
    pub http: Option<HttpPool>,
    /// Where it was written.
    pub at: Position,
}

/// `connectionPool.tcp`. A number of 0 counts as not written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpPool {
    /// `maxConnections`.
    pub max_connections: Option<u32>,
    /// `connectTimeout`, at least 1 ms.
    pub connect_timeout: Option<Duration>,
    /// `tcpKeepalive`.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// `maxConnectionDuration`, at least 1 ms.
    pub max_connection_duration: Option<Duration>,
    /// `idleTimeout`; zero: none.
    pub idle_timeout: Option<Duration>,
}

/// `tcpKeepalive`, of a rule and of MeshConfig.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpKeepalive {
    /// `probes`.
    pub probes: Option<u32>,
    /// `time`, in whole seconds.
    pub time: Option<Duration>,
    /// `interval`, in whole seconds.
    pub interval: Option<Duration>,
}

/// `connectionPool.http`. A number of 0 counts as not written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpPool {
    /// `http1MaxPendingRequests`.
    pub http1_max_pending_requests: Option<u32>,
    /// `http2MaxRequests`.
    pub http2_max_requests: Option<u32>,
    /// `maxRequestsPerConnection`.
    pub max_requests_per_connection: Option<u32>,
    /// `maxRetries`.
    pub max_retries: Option<u32>,
    /// `idleTimeout`, at least 1 ms.
    pub idle_timeout: Option<Duration>,
    /// `h2UpgradePolicy`.
    pub h2_upgrade_policy: H2UpgradePolicy,
    /// `useClientProtocol`.
    pub use_client_protocol: bool,
    /// `maxConcurrentStreams`.
    pub max_concurrent_streams: Option<u32>,
    /// `http2KeepAlive`.
    pub http2_keep_alive: Option<Http2KeepAlive>,
}

/// `h2UpgradePolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum H2UpgradePolicy {
    /// `DEFAULT`: MeshConfig's, of ports declared HTTP.
    #[default]
    Default,
    /// `DO_NOT_UPGRADE`.
    DoNotUpgrade,
    /// `UPGRADE`.
    Upgrade,
}

/// `http2KeepAlive`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Http2KeepAlive {
    /// `interval` between pings, at least 1 ms.
    pub interval: Duration,
    /// `timeout` of a ping, at least 1 ms.
    pub timeout: Duration,
}

/// `outlierDetection`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutlierDetection {
    /// `splitExternalLocalOriginErrors`.
    pub split_external_local_origin_errors: bool,
    /// `consecutiveLocalOriginFailures`, only where errors are split.
    pub consecutive_local_origin_failures: Option<u32>,
    /// `consecutiveGatewayErrors`; `None` and 0: off.
    pub consecutive_gateway_errors: Option<u32>,
    /// `consecutive5xxErrors`; `None`: 5, and 0: off.
    pub consecutive_5xx_errors: Option<u32>,
    /// `interval`, at least 1 ms.
    pub interval: Option<Duration>,
    /// `baseEjectionTime`, at least 1 ms.
    pub base_ejection_time: Option<Duration>,
    /// `maxEjectionPercent`, whole percents; `None`: 10, also where 0 is written.
    pub max_ejection_percent: Option<FractionalPercent>,
    /// `minHealthPercent`, whole percents.
    pub min_health_percent: FractionalPercent,
    /// Where it was written.
    pub at: Position,
}
