//! What MeshConfig says about traffic.

use std::time::Duration;

use super::{
    ConnectionPool, HttpRetry, LocalityLbSetting, OutlierDetection, TcpKeepalive,
    ZoneAwareLbSetting,
};
use crate::istio::Text;

/// The fields of MeshConfig that decide how calls are routed and balanced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MeshTraffic {
    /// `outboundTrafficPolicy.mode`.
    pub outbound_mode: MeshOutboundMode,
    /// `defaultHttpRetryPolicy`, of routes without `retries`; `None`: the built-in one.
    pub default_http_retry_policy: Option<HttpRetry>,
    /// `defaultTrafficPolicy.connectionPool`.
    pub default_connection_pool: Option<ConnectionPool>,
    /// `defaultTrafficPolicy.outlierDetection`.
    pub default_outlier_detection: Option<OutlierDetection>,
    /// `localityLbSetting`; `None`: enabled.
    pub locality_lb_setting: Option<LocalityLbSetting>,
    /// `zoneAwareLbSetting`.
    pub zone_aware_lb_setting: Option<ZoneAwareLbSetting>,
    /// `defaultServiceExportTo[]`. Empty: everybody.
    pub default_service_export_to: Vec<Text>,
    /// `defaultVirtualServiceExportTo[]`. Empty: everybody.
    pub default_virtual_service_export_to: Vec<Text>,
    /// `defaultDestinationRuleExportTo[]`. Empty: everybody.
    pub default_destination_rule_export_to: Vec<Text>,
    /// `h2UpgradePolicy: UPGRADE`.
    pub h2_upgrade: bool,
    /// `connectTimeout`; `None`: 10 s.
    pub connect_timeout: Option<Duration>,
    /// `tcpKeepalive`.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// `dnsRefreshRate`; `None`: 60 s.
    pub dns_refresh_rate: Option<Duration>,
    /// `enableAutoMtls`; `None`: true.
    pub enable_auto_mtls: Option<bool>,
}

/// `outboundTrafficPolicy.mode` of MeshConfig.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MeshOutboundMode {
    /// `ALLOW_ANY`, the default of the mesh: an unknown host is called at its address.
    #[default]
    AllowAny,
    /// `REGISTRY_ONLY`: an unknown host is refused.
    RegistryOnly,
    /// `ALLOW_ANY_DYNAMIC_DNS`: an unknown host is resolved.
    AllowAnyDynamicDns,
}
