//! Clusters of destinations that nobody knows.

use std::time::Duration;

use serde_json::{Value, json};

use super::json::seconds;
use super::transport::type_url;
use crate::routing::Unknown;

/// The clusters that calls to unknown destinations may go to: `BlackHoleCluster`, which has no
/// endpoint, `PassthroughCluster`, the address that the caller has resolved, and where unknown hosts
/// are resolved, `AllowAnyDynamicDNSCluster`.
#[must_use]
pub fn unknown_clusters(unknown: &Unknown) -> Vec<Value> {
    let mut all = vec![
        json!({"name": "BlackHoleCluster", "type": "STATIC", "connect_timeout": CONNECT}),
        json!({
            "name": "PassthroughCluster",
            "type": "ORIGINAL_DST",
            "connect_timeout": CONNECT,
            "lb_policy": "CLUSTER_PROVIDED",
            "typed_extension_protocol_options": {HTTP_OPTIONS: options()},
        }),
    ];
    if *unknown == Unknown::AllowDynamicDns {
        all.push(json!({
            "name": "AllowAnyDynamicDNSCluster",
            "cluster_type": {
                "name": "envoy.clusters.dynamic_forward_proxy",
                "typed_config": {
                    "@type": type_url("clusters.dynamic_forward_proxy.v3.ClusterConfig"),
                    "dns_cache_config": {
                        "name": "allow_any_dfp_dns_cache",
                        "dns_lookup_family": "V4_ONLY",
                        "max_hosts": 1024,
                    },
                    "allow_insecure_cluster_options": true,
                },
            },
            "connect_timeout": CONNECT,
            "lb_policy": "CLUSTER_PROVIDED",
            "typed_extension_protocol_options": {HTTP_OPTIONS: options()},
        }));
    }
    all
}

/// Connections without calls are closed after 300 s, and speak what the call speaks.
fn options() -> Value {
    json!({
        "@type": type_url("upstreams.http.v3.HttpProtocolOptions"),
        "common_http_protocol_options": {"idle_timeout": seconds(Duration::from_secs(300))},
        "use_downstream_protocol_config": {
            "http_protocol_options": {},
            "http2_protocol_options": {},
        },
    })
}

const CONNECT: &str = "10s";
const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
