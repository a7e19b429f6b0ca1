//! What Kiali asks for its graph, its lists and its pages, and what must hold so that it drops no series.

use super::queries::{DATABASE, Query, REVIEWS, query};
use super::traffic::{ALL, FAILED, FINE, GRPC, RECEIVED, REFUSED, SENT};

pub(super) fn all() -> Vec<Query> {
    let mut all = graph();
    all.extend(pages());
    all.extend(kept());
    all
}

const ENDS: &str = "source_cluster, source_workload_namespace, source_workload, source_canonical_service, source_canonical_revision, destination_cluster, destination_service_namespace, destination_service, destination_service_name, destination_workload_namespace, destination_workload, destination_canonical_service, destination_canonical_revision, request_protocol, response_flags";
const SOURCE: &str = r#"source_cluster="Kubernetes", source_workload_namespace="bookinfo", source_workload="web-v1", source_canonical_service="web", source_canonical_revision="v1""#;

fn graph() -> Vec<Query> {
    // A label that is empty is none.
    let http = |code: &str, protocol: &str, grpc: &str| {
        format!(
            r#"{{{SOURCE}, destination_cluster="Kubernetes", destination_service_namespace="bookinfo", destination_service="{REVIEWS}", destination_service_name="reviews", destination_workload_namespace="bookinfo", destination_workload="reviews-v2", destination_canonical_service="reviews", destination_canonical_revision="v2", request_protocol="{protocol}", response_code="{code}", response_flags="-"{grpc}}}"#
        )
    };
    let tcp = format!(
        r#"{{{SOURCE}, destination_cluster="unknown", destination_service_namespace="bookinfo", destination_service="{DATABASE}", destination_service_name="database", destination_workload_namespace="bookinfo", destination_workload="unknown", destination_canonical_service="unknown", destination_canonical_revision="latest", request_protocol="tcp", response_flags="-"}}"#
    );
    let mut all = vec![query(
        format!(
            r#"sum(increase(istio_requests_total{{reporter="source", destination_workload="reviews-v2"}}[10m])) by ({ENDS}, response_code, grpc_response_status)"#
        ),
        &[
            (&http("200", "http", ""), FINE),
            (&http("500", "http", ""), FAILED),
            (&http("403", "http", ""), REFUSED),
            (&http("200", "grpc", r#", grpc_response_status="0""#), GRPC),
            (&http("200", "grpc", r#", grpc_response_status="7""#), 1),
        ],
    )];
    for (family, bytes) in [
        ("istio_tcp_sent_bytes_total", SENT),
        ("istio_tcp_received_bytes_total", RECEIVED),
    ] {
        all.push(query(
            format!(
                r#"sum(increase({family}{{app!="ztunnel", reporter="source", source_workload_namespace="bookinfo"}}[10m])) by (app, {ENDS})"#
            ),
            &[(&tcp, bytes)],
        ));
    }
    all
}

fn pages() -> Vec<Query> {
    let badge = r#"{source_principal="spiffe://cluster.local/ns/bookinfo/sa/web", destination_principal="spiffe://cluster.local/ns/bookinfo/sa/reviews", connection_security_policy="mutual_tls"}"#;
    let pair = r#"{source_workload="web-v1", destination_workload="reviews-v2"}"#;
    let both = "by (source_workload, destination_workload)";
    let between = r#"reporter="source", destination_workload="reviews-v2""#;
    let health = |name: &str, cluster: &str| {
        format!(
            r#"{{destination_service_name="{name}", destination_service_namespace="bookinfo", destination_cluster="{cluster}"}}"#
        )
    };
    let mut all = vec![
        // Incoming, and failures that never arrived.
        query(
            r#"sum(increase(istio_requests_total{reporter="destination", destination_workload_namespace="bookinfo"}[10m]))"#,
            &[("{}", ALL)],
        ),
        query(
            r#"sum(increase(istio_requests_total{reporter="source", destination_workload_namespace="unknown", destination_workload="unknown", destination_service=~"^.+\\.bookinfo\\..+$"}[10m])) by (destination_service_name, response_code, response_flags)"#,
            &[(
                r#"{destination_service_name="gone", response_code="503", response_flags="UF"}"#,
                1,
            )],
        ),
        query(
            r#"sum(increase(istio_requests_total{reporter="source", destination_service_name="BlackHoleCluster"}[10m])) by (destination_service)"#,
            &[(r#"{destination_service="api.example.com"}"#, 1)],
        ),
        // Health.
        query(
            r#"sum(increase(istio_requests_total{reporter="source", destination_service_namespace="bookinfo", destination_cluster=~"Kubernetes|unknown"}[10m])) by (destination_service_name, destination_service_namespace, destination_cluster)"#,
            &[
                (&health("reviews", "Kubernetes"), ALL),
                (&health("gone", "unknown"), 1),
            ],
        ),
        // The badge of mutual TLS, with and without HTTP.
        query(
            r#"sum(increase(istio_requests_total{reporter="destination", destination_service_namespace="bookinfo"}[10m])) by (source_principal, destination_principal, connection_security_policy)"#,
            &[(badge, ALL)],
        ),
        query(
            r#"sum(increase(istio_tcp_received_bytes_total{reporter="destination", destination_service_namespace="bookinfo"}[10m])) by (source_principal, destination_principal, connection_security_policy)"#,
            &[(badge, RECEIVED)],
        ),
        // Response time.
        query(
            format!(
                "histogram_quantile(0.95, sum(increase(istio_request_duration_milliseconds_bucket{{{between}}}[10m])) by (le, source_workload, destination_workload)) < bool 60000"
            ),
            &[(pair, 1)],
        ),
        query(
            format!(
                "sum(increase(istio_request_duration_milliseconds_sum{{{between}}}[10m])) {both} / sum(increase(istio_request_duration_milliseconds_count{{{between}}}[10m])) {both} < bool 60000"
            ),
            &[(pair, 1)],
        ),
    ];
    for family in ["istio_request_bytes_sum", "istio_response_bytes_sum"] {
        all.push(query(
            format!("sum(increase({family}{{{between}}}[10m])) {both} > bool 0"),
            &[(pair, 1)],
        ));
    }
    for family in [
        "istio_request_messages_total",
        "istio_response_messages_total",
    ] {
        all.push(query(
            format!("sum(increase({family}{{{between}}}[10m])) {both}"),
            &[(pair, GRPC)],
        ));
    }
    all
}

/// Kiali silently drops these.
fn kept() -> Vec<Query> {
    let dropped = [
        r#"source_workload_namespace!="unknown", source_workload="unknown", source_canonical_service="unknown""#,
        r#"source_workload_namespace!="unknown", source_cluster="unknown""#,
        r#"destination_service_namespace!="unknown", source_cluster="unknown", destination_cluster="unknown""#,
        r#"destination_workload="unknown", destination_service=~"[0-9.]+(:[0-9]+)?""#,
    ];
    let none = |labels: &str| {
        query(
            format!("count(istio_requests_total{{{labels}}}) or vector(0)"),
            &[("{}", 0)],
        )
    };
    let mut all: Vec<_> = dropped.into_iter().map(none).collect();
    // Of connections without HTTP, the caller's side is never dropped.
    all.extend(dropped.map(|labels| {
        query(
            format!(
                r#"count(istio_tcp_sent_bytes_total{{reporter="source", {labels}}}) or vector(0)"#
            ),
            &[("{}", 0)],
        )
    }));
    all
}
