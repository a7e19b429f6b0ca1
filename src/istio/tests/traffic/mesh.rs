//! What MeshConfig says about traffic.

use std::time::Duration;

use super::*;
use crate::istio::traffic::{HttpRetry, MeshOutboundMode, TcpKeepalive};

#[test]
fn the_fields_of_traffic_are_read() {
    let config = parse_mesh_config(
        "mesh.yaml",
        "
outboundTrafficPolicy: {mode: REGISTRY_ONLY}
defaultHttpRetryPolicy: {attempts: 5, retryOn: 5xx}
defaultTrafficPolicy: {connectionPool: {tcp: {maxConnections: 3}}, outlierDetection: {consecutive5xxErrors: 0}}
localityLbSetting: {enabled: true, failover: [{from: us, to: ap}]}
defaultServiceExportTo: ['~']
defaultVirtualServiceExportTo: [.]
defaultDestinationRuleExportTo: [a, b]
h2UpgradePolicy: UPGRADE
connectTimeout: 3s
tcpKeepalive: {probes: 9, time: 60s, interval: 5s}
dnsRefreshRate: 7s
enableAutoMtls: false
pathNormalization: {normalization: NONE}
",
    )
    .unwrap();
    assert!(config.unused.is_empty(), "{:?}", config.unused);
    let traffic = config.traffic;
    assert_eq!(traffic.outbound_mode, MeshOutboundMode::RegistryOnly);
    let retry = traffic.default_http_retry_policy.unwrap();
    assert_eq!((retry.attempts, &*retry.retry_on[0]), (5, "5xx"));
    let pool = traffic.default_connection_pool.unwrap();
    assert_eq!(pool.tcp.unwrap().max_connections, Some(3));
    let outliers = traffic.default_outlier_detection.unwrap();
    assert_eq!(
        outliers.consecutive_5xx_errors,
        Some(0),
        "0 switches it off"
    );
    let locality = traffic.locality_lb_setting.unwrap();
    assert_eq!(&*locality.failover[0].to, "ap");
    assert_eq!(&*traffic.default_service_export_to[0], "~");
    assert_eq!(&*traffic.default_virtual_service_export_to[0], ".");
    assert_eq!(traffic.default_destination_rule_export_to.len(), 2);
    assert!(traffic.h2_upgrade);
    assert_eq!(traffic.connect_timeout, Some(Duration::from_secs(3)));
    let keepalive = TcpKeepalive {
        probes: Some(9),
        time: Some(Duration::from_secs(60)),
        interval: Some(Duration::from_secs(5)),
    };
    assert_eq!(traffic.tcp_keepalive, Some(keepalive));
    assert_eq!(traffic.dns_refresh_rate, Some(Duration::from_secs(7)));
    assert_eq!(traffic.enable_auto_mtls, Some(false));
}

#[test]
fn a_mesh_that_says_nothing_has_istios_defaults() {
    let traffic = parse_mesh_config("f", "{}").unwrap().traffic;
    assert_eq!(traffic.outbound_mode, MeshOutboundMode::AllowAny);
    assert_eq!(traffic.default_http_retry_policy, None);
    // The first of the words is the default of a block.
    let traffic = parse_mesh_config("f", "outboundTrafficPolicy: {}")
        .unwrap()
        .traffic;
    assert_eq!(traffic.outbound_mode, MeshOutboundMode::RegistryOnly);
    let traffic = parse_mesh_config("f", "defaultHttpRetryPolicy: {attempts: 0}")
        .unwrap()
        .traffic;
    let retry = traffic.default_http_retry_policy.unwrap();
    assert_eq!(
        (retry.attempts, retry.retry_on),
        (0, HttpRetry::default().retry_on)
    );
}

#[test]
fn what_istio_refuses_of_it_is_refused() {
    for (text, said) in [
        (
            "outboundTrafficPolicy: {mode: ALLOW}",
            "1:31: outboundTrafficPolicy.mode: `ALLOW` is not one of",
        ),
        (
            "connectTimeout: 31s",
            "1:17: connectTimeout: is longer than 30s",
        ),
        (
            "defaultHttpRetryPolicy: {retryOn: 5xx}",
            "1:35: defaultHttpRetryPolicy.retryOn: says how to retry",
        ),
        (
            "defaultVirtualServiceExportTo: ['*', a]",
            "1:33: defaultVirtualServiceExportTo[0]: `*` stands alone",
        ),
        (
            "h2UpgradePolicy: DEFAULT",
            "1:18: h2UpgradePolicy: `DEFAULT` is not one of",
        ),
        (
            "dnsRefreshRate: 0s",
            "1:17: dnsRefreshRate: is less than a millisecond",
        ),
    ] {
        let problems = parse_mesh_config("f", text).unwrap_err().to_string();
        assert!(
            problems.starts_with(&format!("f:{said}")),
            "{text}: {problems}"
        );
    }
}
