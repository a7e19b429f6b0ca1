//! Decodes `connectionPool` and `outlierDetection`.

use std::time::Duration;

use super::value::{count, duration, duration_or_none, field, whole_percent};
use crate::istio::traffic::{
    ConnectionPool, H2UpgradePolicy, Http2KeepAlive, HttpPool, OutlierDetection, TcpKeepalive,
    TcpPool,
};
use crate::istio::yaml::cursor::Cursor;

const TCP: &[&str] = &[
    "maxConnections",
    "connectTimeout",
    "tcpKeepalive",
    "maxConnectionDuration",
    "idleTimeout",
];
const HTTP: &[&str] = &[
    "http1MaxPendingRequests",
    "http2MaxRequests",
    "maxRequestsPerConnection",
    "maxRetries",
    "idleTimeout",
    "h2UpgradePolicy",
    "useClientProtocol",
    "maxConcurrentStreams",
    "http2KeepAlive",
];
const OUTLIER: &[&str] = &[
    "consecutiveErrors",
    "splitExternalLocalOriginErrors",
    "consecutiveLocalOriginFailures",
    "consecutiveGatewayErrors",
    "consecutive5xxErrors",
    "interval",
    "baseEjectionTime",
    "maxEjectionPercent",
    "minHealthPercent",
    "outlierDetectionHttpErrorCodes",
    "failurePercentageThreshold",
];
const UPGRADES: &[(&str, H2UpgradePolicy)] = &[
    ("DEFAULT", H2UpgradePolicy::Default),
    ("DO_NOT_UPGRADE", H2UpgradePolicy::DoNotUpgrade),
    ("UPGRADE", H2UpgradePolicy::Upgrade),
];

/// `connectionPool`.
pub(in crate::istio::decode) fn connection_pool(at: &Cursor<'_, '_>) -> Option<ConnectionPool> {
    let fields = at.fields(&["tcp", "http"])?;
    if fields.get("tcp").is_none() && fields.get("http").is_none() {
        at.wrong("has no settings; write tcp or http, or leave it out");
    }
    Some(ConnectionPool {
        tcp: field(fields, "tcp", tcp),
        http: field(fields, "http", http),
        at: at.at(),
    })
}

fn tcp(at: &Cursor<'_, '_>) -> Option<TcpPool> {
    let fields = at.fields(TCP)?;
    Some(TcpPool {
        max_connections: count(fields, "maxConnections"),
        connect_timeout: field(fields, "connectTimeout", duration),
        tcp_keepalive: field(fields, "tcpKeepalive", tcp_keepalive),
        max_connection_duration: field(fields, "maxConnectionDuration", duration),
        idle_timeout: field(fields, "idleTimeout", duration_or_none),
    })
}

/// `tcpKeepalive`. Sockets count in whole seconds.
pub(in crate::istio::decode) fn tcp_keepalive(at: &Cursor<'_, '_>) -> Option<TcpKeepalive> {
    let fields = at.fields(&["probes", "time", "interval"])?;
    let seconds = |at: &Cursor<'_, '_>| {
        let written = duration(at)?;
        if written.subsec_nanos() > 0 {
            at.note("is cut to whole seconds");
        }
        Some(Duration::from_secs(written.as_secs()))
    };
    Some(TcpKeepalive {
        probes: count(fields, "probes"),
        time: field(fields, "time", seconds),
        interval: field(fields, "interval", seconds),
    })
}

fn http(at: &Cursor<'_, '_>) -> Option<HttpPool> {
    let fields = at.fields(HTTP)?;
    let pool = HttpPool {
        http1_max_pending_requests: count(fields, "http1MaxPendingRequests"),
        http2_max_requests: count(fields, "http2MaxRequests"),
        max_requests_per_connection: count(fields, "maxRequestsPerConnection"),
        max_retries: count(fields, "maxRetries"),
        idle_timeout: field(fields, "idleTimeout", duration),
        h2_upgrade_policy: fields.word("h2UpgradePolicy", UPGRADES),
        use_client_protocol: fields.boolean("useClientProtocol"),
        max_concurrent_streams: count(fields, "maxConcurrentStreams"),
        http2_keep_alive: field(fields, "http2KeepAlive", http2_keep_alive),
    };
    if pool.use_client_protocol && pool.h2_upgrade_policy == H2UpgradePolicy::Upgrade {
        at.wrong("useClientProtocol and h2UpgradePolicy: UPGRADE contradict each other; keep one");
    }
    Some(pool)
}

fn http2_keep_alive(at: &Cursor<'_, '_>) -> Option<Http2KeepAlive> {
    let fields = at.fields(&["interval", "timeout"])?;
    let interval = fields.demand("interval", "is missing; write for example 30s");
    let timeout = fields.demand("timeout", "is missing; write for example 5s");
    Some(Http2KeepAlive {
        interval: interval.and_then(|at| duration(&at))?,
        timeout: timeout.and_then(|at| duration(&at))?,
    })
}

/// `outlierDetection`.
pub(in crate::istio::decode) fn outlier_detection(at: &Cursor<'_, '_>) -> Option<OutlierDetection> {
    let fields = at.fields(OUTLIER)?;
    if let Some(older) = fields.get("consecutiveErrors") {
        older.note("has no effect in Istio any more; write consecutiveGatewayErrors or consecutive5xxErrors");
    }
    for name in [
        "outlierDetectionHttpErrorCodes",
        "failurePercentageThreshold",
    ] {
        if let Some(unserved) = fields.get(name) {
            unserved.wrong(
                "is in Istio's API and without effect there; leave it out, and write consecutive5xxErrors or consecutiveGatewayErrors",
            );
        }
    }
    let number = |name| fields.get(name).and_then(|at| at.number(0..=u32::MAX));
    let split = fields.boolean("splitExternalLocalOriginErrors");
    let local = number("consecutiveLocalOriginFailures");
    if !split
        && local.is_some_and(|failures| failures > 0)
        && let Some(local) = fields.get("consecutiveLocalOriginFailures")
    {
        local.wrong(
            "counts only with splitExternalLocalOriginErrors: true; write it, or leave this out",
        );
    }
    let percent = |name| field(fields, name, whole_percent).filter(|share| share.millionths() > 0);
    Some(OutlierDetection {
        split_external_local_origin_errors: split,
        consecutive_local_origin_failures: local,
        consecutive_gateway_errors: number("consecutiveGatewayErrors"),
        consecutive_5xx_errors: number("consecutive5xxErrors"),
        interval: field(fields, "interval", duration),
        base_ejection_time: field(fields, "baseEjectionTime", duration),
        max_ejection_percent: percent("maxEjectionPercent"),
        min_health_percent: percent("minHealthPercent").unwrap_or_default(),
        at: at.at(),
    })
}
