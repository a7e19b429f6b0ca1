//! `Cluster`s.

use serde_json::{Value, json};

use super::endpoints::load_assignment;
use super::json::{seconds, sparse};
use super::transport::{sockets, type_url};
use crate::istio::traffic::{FractionalPercent, HashAlgorithm, OutlierDetection, SimpleLb, Warmup};
use crate::routing::cluster::{
    Connections, Discovery, UpstreamCluster, UpstreamProtocol, UpstreamTls,
};
use crate::routing::endpoints::LocalitySetting;

/// A cluster, as Istio's CDS has it, without statistics and metadata.
#[must_use]
pub fn cluster(cluster: &UpstreamCluster) -> Value {
    let (socket, matches) = sockets(&cluster.tls);
    let connections = &cluster.connections;
    let keepalive = connections.tcp_keepalive.map(|keepalive| {
        let whole = |time: Option<std::time::Duration>| time.map(|time| time.as_secs());
        sparse(json!({
            "keepalive_probes": keepalive.probes,
            "keepalive_time": whole(keepalive.time),
            "keepalive_interval": whole(keepalive.interval),
        }))
    });
    let mut printed = json!({
        "name": cluster.name.to_string(),
        "connect_timeout": seconds(connections.connect_timeout),
        "transport_socket": socket,
        "transport_socket_matches": matches,
        "circuit_breakers": {"thresholds": [thresholds(cluster)]},
        "outlier_detection": cluster.policy.outlier_detection.as_ref().map(outlier_detection),
        "typed_extension_protocol_options":
            http_options(cluster).map(|options| json!({HTTP_OPTIONS: options})),
        "upstream_connection_options": keepalive.map(|it| json!({"tcp_keepalive": it})),
    });
    if let Some(fields) = printed.as_object_mut() {
        for part in [discovery(cluster), balancing(cluster)] {
            let Value::Object(part) = part else { continue };
            fields.extend(part);
        }
    }
    sparse(printed)
}

fn discovery(cluster: &UpstreamCluster) -> Value {
    let (kind, refresh) = match cluster.discovery {
        Discovery::Endpoints => ("EDS", None),
        Discovery::OriginalDestination => ("ORIGINAL_DST", None),
        Discovery::StrictDns { refresh } => ("STRICT_DNS", Some(refresh)),
        Discovery::LogicalDns { refresh } => ("LOGICAL_DNS", Some(refresh)),
        Discovery::DynamicDns => return dynamic_dns(cluster),
    };
    let is_dns = refresh.is_some();
    json!({
        "type": kind,
        "load_assignment": is_dns.then(|| load_assignment(cluster)),
        "dns_refresh_rate": refresh.map(seconds),
        "dns_jitter": is_dns.then_some("0.100s"),
        "respect_dns_ttl": is_dns.then_some(true),
        "dns_lookup_family": is_dns.then_some("V4_ONLY"),
    })
}

fn dynamic_dns(cluster: &UpstreamCluster) -> Value {
    json!({"cluster_type": {
        "name": "envoy.clusters.dynamic_forward_proxy",
        "typed_config": {
            "@type": type_url("clusters.dynamic_forward_proxy.v3.ClusterConfig"),
            "dns_cache_config": {
                "name": format!("{}_dfp_dns_cache", cluster.name.host),
                "dns_lookup_family": "V4_ONLY",
            },
        },
    }})
}

fn balancing(cluster: &UpstreamCluster) -> Value {
    let is_provided = matches!(
        cluster.discovery,
        Discovery::OriginalDestination | Discovery::DynamicDns
    );
    // A cluster of DYNAMIC_DNS has no panic of its own to write of.
    let has_panic =
        cluster.discovery != Discovery::DynamicDns || cluster.policy.outlier_detection.is_some();
    let panic = match cluster.panic_threshold() {
        0 => json!({}),
        threshold => json!({"value": threshold}),
    };
    let is_static = cluster.discovery != Discovery::DynamicDns;
    let zone_aware = match &cluster.locality {
        LocalitySetting::ZoneAware(setting) if is_static => Some(sparse(json!({
            "min_cluster_size": setting.min_cluster_size.map(|size| size.to_string()),
            "routing_enabled": (setting.enabled == Some(false)).then(|| json!({})),
        }))),
        _ => None,
    };
    let is_weighted = is_static && cluster.is_locality_weighted();
    let common = has_panic.then(|| {
        sparse(json!({
            "healthy_panic_threshold": panic,
            "locality_weighted_lb_config": is_weighted.then(|| json!({})),
            "zone_aware_lb_config": zone_aware,
        }))
    });
    if is_provided {
        return json!({"lb_policy": "CLUSTER_PROVIDED", "common_lb_config": common});
    }
    let balancer = cluster.policy.load_balancer.as_ref();
    let hash = balancer.and_then(|it| it.consistent_hash.as_ref());
    let hash = hash.map(|hash| hash.algorithm);
    let warmup = balancer.and_then(|it| it.warmup);
    let slow_start = warmup.map(|it| json!({"slow_start_config": slow_start(it)}));
    let simple = balancer.map_or(SimpleLb::LeastRequest, |it| it.simple);
    let (policy, field, config) = match (hash, simple) {
        (Some(HashAlgorithm::RingHash(size)), _) => (
            Some("RING_HASH"),
            "ring_hash_lb_config",
            Some(json!({"minimum_ring_size": size.to_string()})),
        ),
        (Some(HashAlgorithm::Maglev(size)), _) => (
            Some("MAGLEV"),
            "maglev_lb_config",
            Some(json!({"table_size": size.to_string()})),
        ),
        (None, SimpleLb::Random) => (Some("RANDOM"), "", None),
        // The first of the enumeration, which proto3 does not write.
        (None, SimpleLb::RoundRobin) => (None, "round_robin_lb_config", slow_start),
        (None, _) => (Some("LEAST_REQUEST"), "least_request_lb_config", slow_start),
    };
    let mut printed = json!({"lb_policy": policy, "common_lb_config": common});
    if let (Some(fields), Some(config)) = (printed.as_object_mut(), config) {
        fields.insert(field.to_owned(), config);
    }
    printed
}

fn slow_start(warmup: Warmup) -> Value {
    let aggression = warmup.aggression_thousandths.unwrap_or(1000);
    json!({
        "slow_start_window": seconds(warmup.duration),
        "aggression": {"default_value": number(u64::from(aggression), 1000), "runtime_key": "("},
        "min_weight_percent": {
            "value": warmup.minimum_percent.map_or_else(|| json!(10), percent),
        },
    })
}

fn thresholds(cluster: &UpstreamCluster) -> Value {
    let limits = cluster.connections.thresholds;
    let budget = cluster.policy.retry_budget.map(|budget| {
        sparse(json!({
            "budget_percent": {"value": budget.percent.map_or_else(|| json!(20), percent)},
            "budget_interval": budget.budget_interval.map(seconds),
            "min_retry_concurrency": budget.min_retry_concurrency.unwrap_or(3),
        }))
    });
    sparse(json!({
        "max_connections": limits.connections,
        "max_pending_requests": limits.pending,
        "max_requests": limits.requests,
        "max_retries": limits.retries,
        "retry_budget": budget,
    }))
}

fn outlier_detection(detection: &OutlierDetection) -> Value {
    let enforced = |errors: Option<u32>| errors.map(|errors| if errors > 0 { 100 } else { 0 });
    let is_split = detection.split_external_local_origin_errors;
    let local = detection.consecutive_local_origin_failures;
    let local = local.filter(|failures| is_split && *failures > 0);
    let gateway = detection.consecutive_gateway_errors;
    sparse(json!({
        "consecutive_5xx": detection.consecutive_5xx_errors,
        "enforcing_consecutive_5xx": enforced(detection.consecutive_5xx_errors),
        "interval": detection.interval.map(seconds),
        "base_ejection_time": detection.base_ejection_time.map(seconds),
        "max_ejection_percent": detection.max_ejection_percent.map(percent),
        "enforcing_success_rate": 0,
        "consecutive_gateway_failure": gateway,
        "enforcing_consecutive_gateway_failure": enforced(gateway),
        "split_external_local_origin_errors": is_split.then_some(true),
        "consecutive_local_origin_failure": local,
        "enforcing_consecutive_local_origin_failure": enforced(local),
        "enforcing_local_origin_success_rate": is_split.then_some(0),
    }))
}

/// `HttpProtocolOptions`; `None` where nothing of them is Istio's.
fn http_options(cluster: &UpstreamCluster) -> Option<Value> {
    let Connections {
        idle_timeout,
        max_connection_duration,
        max_requests_per_connection,
        max_concurrent_streams,
        http2_keep_alive,
        protocol,
        ..
    } = cluster.connections;
    let has_common = idle_timeout.is_some()
        || max_connection_duration.is_some()
        || max_requests_per_connection.is_some()
        || max_concurrent_streams.is_some()
        || http2_keep_alive.is_some();
    let common = sparse(json!({
        "idle_timeout": idle_timeout.map(seconds),
        "max_connection_duration": max_connection_duration.map(seconds),
        "max_requests_per_connection": max_requests_per_connection,
    }));
    let of_call = match &cluster.tls {
        UpstreamTls::Origination(tls) if tls.sni.is_none() => Some(sparse(json!({
            "auto_sni": true,
            "auto_san_validation": tls.checks_host.then_some(true),
        }))),
        _ => None,
    };
    let keep_alive = http2_keep_alive
        .map(|it| json!({"interval": seconds(it.interval), "timeout": seconds(it.timeout)}));
    let http2 = sparse(json!({
        "max_concurrent_streams": max_concurrent_streams,
        "connection_keepalive": keep_alive,
    }));
    let is_http1 = protocol == UpstreamProtocol::Http1;
    if is_http1 && !has_common && of_call.is_none() {
        return None;
    }
    let explicit = match protocol {
        UpstreamProtocol::Http1 => Some(json!({"http_protocol_options": {}})),
        UpstreamProtocol::Http2 => Some(json!({"http2_protocol_options": http2})),
        UpstreamProtocol::Same => None,
    };
    let same = json!({"http_protocol_options": {}, "http2_protocol_options": {}});
    Some(sparse(json!({
        "@type": type_url("upstreams.http.v3.HttpProtocolOptions"),
        "common_http_protocol_options": has_common.then_some(common),
        "upstream_http_protocol_options": of_call,
        "explicit_http_config": explicit,
        "use_downstream_protocol_config": (protocol == UpstreamProtocol::Same).then_some(same),
    })))
}

fn percent(share: FractionalPercent) -> Value {
    number(u64::from(share.millionths()), 10_000)
}

/// A number with as many places as it has.
fn number(dividend: u64, divisor: u32) -> Value {
    match dividend % u64::from(divisor) {
        0 => json!(dividend / u64::from(divisor)),
        _ => {
            let dividend = u32::try_from(dividend).unwrap_or(u32::MAX);
            json!(f64::from(dividend) / f64::from(divisor))
        }
    }
}

const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
