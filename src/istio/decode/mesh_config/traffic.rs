//! Decodes what MeshConfig says about traffic.

use std::time::Duration;

use crate::istio::decode::traffic::{
    Exports, choice, connection_pool, duration, export_to, field, locality_lb_setting,
    outlier_detection, retries, tcp_keepalive, zone_aware_lb_setting,
};
use crate::istio::traffic::{MeshOutboundMode, MeshTraffic};
use crate::istio::yaml::cursor::Cursor;
use crate::istio::yaml::fields::Fields;

/// The fields that this file reads whole.
pub(super) const FIELDS: [&str; 13] = [
    "connectTimeout",
    "defaultDestinationRuleExportTo",
    "defaultHttpRetryPolicy",
    "defaultServiceExportTo",
    "defaultTrafficPolicy",
    "defaultVirtualServiceExportTo",
    "dnsRefreshRate",
    "enableAutoMtls",
    "h2UpgradePolicy",
    "localityLbSetting",
    "outboundTrafficPolicy",
    "tcpKeepalive",
    "zoneAwareLbSetting",
];

const MODES: &[(&str, MeshOutboundMode)] = &[
    ("ALLOW_ANY", MeshOutboundMode::AllowAny),
    ("REGISTRY_ONLY", MeshOutboundMode::RegistryOnly),
    (
        "ALLOW_ANY_DYNAMIC_DNS",
        MeshOutboundMode::AllowAnyDynamicDns,
    ),
];

/// The settings of the mesh.
pub(super) fn mesh_traffic(fields: Fields<'_, '_>) -> MeshTraffic {
    let defaults = fields.get("defaultTrafficPolicy");
    let defaults = defaults
        .as_ref()
        .and_then(|at| at.fields(&["connectionPool", "outlierDetection"]));
    let exports = |name, to| export_to(fields, name, "", to);
    MeshTraffic {
        outbound_mode: field(fields, "outboundTrafficPolicy", outbound_mode).unwrap_or_default(),
        default_http_retry_policy: field(fields, "defaultHttpRetryPolicy", retries),
        default_connection_pool: defaults
            .and_then(|defaults| field(defaults, "connectionPool", connection_pool)),
        default_outlier_detection: defaults
            .and_then(|defaults| field(defaults, "outlierDetection", outlier_detection)),
        // Which rules have outlier detection is not known here.
        locality_lb_setting: field(fields, "localityLbSetting", |at| {
            locality_lb_setting(at, true)
        }),
        zone_aware_lb_setting: field(fields, "zoneAwareLbSetting", |at| {
            zone_aware_lb_setting(at, true)
        }),
        default_service_export_to: exports("defaultServiceExportTo", Exports::Service),
        default_virtual_service_export_to: exports(
            "defaultVirtualServiceExportTo",
            Exports::Config,
        ),
        default_destination_rule_export_to: exports(
            "defaultDestinationRuleExportTo",
            Exports::Config,
        ),
        h2_upgrade: fields.get("h2UpgradePolicy").is_some_and(|at| {
            at.word(&[("DO_NOT_UPGRADE", false), ("UPGRADE", true)]) == Some(true)
        }),
        connect_timeout: field(fields, "connectTimeout", connect_timeout),
        tcp_keepalive: field(fields, "tcpKeepalive", tcp_keepalive),
        dns_refresh_rate: field(fields, "dnsRefreshRate", duration),
        enable_auto_mtls: choice(fields, "enableAutoMtls"),
    }
}

/// A block without a mode says REGISTRY_ONLY, the first of the words.
fn outbound_mode(at: &Cursor<'_, '_>) -> Option<MeshOutboundMode> {
    let fields = at.fields(&["mode", "tls"])?;
    if let Some(tls) = fields.get("tls") {
        tls.note(
            "is not applied to unknown hosts; write a ServiceEntry and a DestinationRule with tls",
        );
    }
    match fields.get("mode") {
        Some(at) => at.word(MODES),
        None => Some(MeshOutboundMode::RegistryOnly),
    }
}

/// Istio's bounds.
fn connect_timeout(at: &Cursor<'_, '_>) -> Option<Duration> {
    let timeout = duration(at)?;
    if timeout > Duration::from_secs(30) {
        at.wrong("is longer than 30s, the longest that Istio takes; write for example 10s");
    }
    Some(timeout)
}
