//! The expressions of Istio's Mesh, Performance, Service and Workload dashboards: each panel's metric, with the filters and the grouping of that
//! dashboard.

use super::queries::{DATABASE, Query, REVIEWS, WEB, query};
use super::traffic::{ALL, FAILED, FINE, GRPC, RECEIVED, REFUSED, SENT};

pub(super) fn all() -> Vec<Query> {
    let mut all = mesh();
    all.extend(performance());
    all.extend(service());
    all.extend(workload());
    all
}

const REVIEWS_V2: &str = r#"{destination_workload="reviews-v2"}"#;
/// A caller that describes itself in no header, because there are none.
const SOMEBODY: &str = r#"{source_workload="unknown", source_workload_namespace="bookinfo"}"#;

/// Sees the callers' side alone.
fn mesh() -> Vec<Query> {
    let by = "by (destination_workload, destination_workload_namespace, destination_service)";
    let http = format!(
        r#"{{destination_service="{REVIEWS}", destination_workload="reviews-v2", destination_workload_namespace="bookinfo"}}"#
    );
    let tcp = format!(
        r#"{{destination_service="{DATABASE}", destination_workload="unknown", destination_workload_namespace="bookinfo"}}"#
    );
    let from = r#"reporter=~"source|waypoint""#;
    let known = format!(r#"{from}, destination_workload!="unknown""#);
    let requests = |labels: &str| format!("sum(increase(istio_requests_total{{{labels}}}[10m]))");
    let mut all = vec![
        // All requests, those that failed, and the rate of success.
        query(format!("{} {by}", requests(&known)), &[(&http, ALL)]),
        query(
            requests(&format!(r#"{known}, response_code=~"4..""#)),
            &[("{}", REFUSED)],
        ),
        query(
            format!(
                "{} by (destination_workload)",
                requests(&format!(r#"{known}, response_code=~"5..""#))
            ),
            &[(REVIEWS_V2, FAILED)],
        ),
        query(
            format!(
                "{} by (destination_workload) / {} by (destination_workload) > bool 0.8",
                requests(&format!(r#"{known}, response_code!~"5..""#)),
                requests(&known)
            ),
            &[(REVIEWS_V2, 1)],
        ),
        // Without HTTP.
        query(
            format!("sum(increase(istio_tcp_received_bytes_total{{{from}}}[10m])) {by}"),
            &[(&tcp, RECEIVED)],
        ),
        query(
            format!("sum(increase(istio_tcp_sent_bytes_total{{{from}}}[10m])) {by}"),
            &[(&tcp, SENT)],
        ),
    ];
    for quantile in ["0.50", "0.90", "0.99"] {
        let duration = "istio_request_duration_milliseconds_bucket";
        let by = "by (le, destination_workload, destination_workload_namespace)";
        all.push(query(
            format!("histogram_quantile({quantile}, sum(increase({duration}{{{known}}}[10m])) {by}) / 1000 < bool 60"),
            &[(
                r#"{destination_workload="reviews-v2", destination_workload_namespace="bookinfo"}"#,
                1,
            )],
        ));
    }
    all
}

fn performance() -> Vec<Query> {
    let build = format!(
        r#"{{component="proxy", tag="tower-mesh-{}"}}"#,
        env!("CARGO_PKG_VERSION")
    );
    let from = r#"reporter="source", source_workload="web-v1", source_workload_namespace="bookinfo", destination_workload="reviews-v2""#;
    let by = "by (source_workload, source_workload_namespace)";
    vec![
        query("sum(istio_build) by (component, tag)", &[(&build, 2)]),
        query(
            format!("sum(increase(istio_requests_total{{{from}}}[10m])) {by}"),
            &[(WEB, ALL)],
        ),
        query(
            format!("sum(increase(istio_request_bytes_sum{{{from}}}[10m])) {by} > bool 0"),
            &[(WEB, 1)],
        ),
        query(
            format!("sum(increase(istio_response_bytes_sum{{{from}}}[10m])) {by} > bool 0"),
            &[(WEB, 1)],
        ),
    ]
}

/// Of the service that is called, by default as the service itself reports, split by mutual TLS.
fn service() -> Vec<Query> {
    let coded = |code: &str| {
        format!(
            r#"{{source_workload="web-v1", source_workload_namespace="bookinfo", response_code="{code}"}}"#
        )
    };
    let by = "by (source_workload, source_workload_namespace)";
    let service = format!(r#"destination_service=~"{REVIEWS}""#);
    let mutual = r#"reporter="destination", connection_security_policy="mutual_tls""#;
    let plain = r#"reporter="destination", connection_security_policy!="mutual_tls""#;
    let requests = |labels: &str| format!("sum(increase(istio_requests_total{{{labels}}}[10m]))");
    let mut all = vec![
        query(
            format!(
                "{} by (source_workload, source_workload_namespace, response_code)",
                requests(&format!("{mutual}, {service}"))
            ),
            &[
                (&coded("200"), FINE + GRPC + 1),
                (&coded("500"), FAILED),
                (&coded("403"), REFUSED),
            ],
        ),
        query(
            format!(
                "{} {by}",
                requests(&format!(r#"{mutual}, {service}, response_code!~"5.*""#))
            ),
            &[(WEB, ALL - FAILED)],
        ),
        query(
            format!("{} or vector(0)", requests(&format!("{plain}, {service}"))),
            &[("{}", 0)],
        ),
        query(
            format!(
                "{} by (destination_workload, source_cluster, destination_cluster)",
                requests(&format!(r#"reporter="destination", {service}"#))
            ),
            &[(
                r#"{destination_workload="reviews-v2", source_cluster="Kubernetes", destination_cluster="Kubernetes"}"#,
                ALL,
            )],
        ),
        // The clients' own view of the same service.
        query(
            requests(&format!(r#"reporter="source", {service}"#)),
            &[("{}", ALL)],
        ),
    ];
    // A bool of each, because neither durations nor sizes are the same on each run.
    for family in [
        "istio_request_duration_milliseconds",
        "istio_request_bytes",
        "istio_response_bytes",
    ] {
        let group = "by (source_workload, source_workload_namespace, le)";
        let buckets =
            |labels: &str| format!("sum(increase({family}_bucket{{{labels}}}[10m])) {group}");
        all.push(query(
            format!(
                "histogram_quantile(0.95, {}) < bool 60000",
                buckets(&format!("{mutual}, {service}"))
            ),
            &[(WEB, 1)],
        ));
        all.push(query(
            format!(
                "count({}) or vector(0)",
                buckets(&format!("{plain}, {service}"))
            ),
            &[("{}", 0)],
        ));
    }
    let database = format!(r#"destination_service=~"{DATABASE}""#);
    for (family, bytes) in [
        ("istio_tcp_received_bytes_total", RECEIVED),
        ("istio_tcp_sent_bytes_total", SENT),
    ] {
        all.push(query(
            format!("sum(increase({family}{{{mutual}, {database}}}[10m])) {by}"),
            &[(SOMEBODY, bytes)],
        ));
        all.push(query(
            format!("sum(increase({family}{{{plain}, {database}}}[10m])) or vector(0)"),
            &[("{}", 0)],
        ));
    }
    all
}

/// Both directions of one workload. The destination's principal marks mutual TLS at the source.
fn workload() -> Vec<Query> {
    let incoming = r#"reporter="destination", destination_workload_namespace="bookinfo", destination_workload="reviews-v2""#;
    let outgoing =
        r#"reporter="source", source_workload_namespace="bookinfo", source_workload="web-v1""#;
    let (mutual, plain) = (
        r#"destination_principal=~"spiffe.*""#,
        r#"destination_principal!~"spiffe.*""#,
    );
    let service = |name: &str| format!(r#"{{destination_service="{name}"}}"#);
    let (reviews, database, gone, outside) = (
        service(REVIEWS),
        service(DATABASE),
        service("gone.bookinfo.svc.cluster.local"),
        service("api.example.com"),
    );
    let mut all = vec![
        query(
            format!(
                r#"sum(increase(istio_requests_total{{{incoming}, connection_security_policy="mutual_tls", response_code!~"5.*"}}[10m])) by (source_workload, source_workload_namespace)"#
            ),
            &[(WEB, ALL - FAILED)],
        ),
        query(
            format!(
                "sum(increase(istio_requests_total{{{outgoing}, {mutual}}}[10m])) by (destination_service)"
            ),
            &[(&reviews, ALL)],
        ),
        // What never arrived has met nobody.
        query(
            format!(
                "sum(increase(istio_requests_total{{{outgoing}, {plain}}}[10m])) by (destination_service)"
            ),
            &[(&gone, 1), (&outside, 1)],
        ),
        query(
            format!(
                r#"sum(increase(istio_requests_total{{{outgoing}, {mutual}, response_code=~"5.*"}}[10m])) by (destination_service, response_code)"#
            ),
            &[(
                &format!(r#"{{destination_service="{REVIEWS}", response_code="500"}}"#),
                FAILED,
            )],
        ),
    ];
    for family in [
        "istio_request_duration_milliseconds",
        "istio_request_bytes",
        "istio_response_bytes",
    ] {
        all.push(query(
            format!("histogram_quantile(0.95, sum(increase({family}_bucket{{{incoming}}}[10m])) by (source_workload, source_workload_namespace, le)) < bool 60000"),
            &[(WEB, 1)],
        ));
        all.push(query(
            format!("histogram_quantile(0.95, sum(increase({family}_bucket{{{outgoing}, {mutual}}}[10m])) by (destination_service, le)) < bool 60000"),
            &[(&reviews, 1)],
        ));
    }
    for (family, bytes) in [
        ("istio_tcp_received_bytes_total", RECEIVED),
        ("istio_tcp_sent_bytes_total", SENT),
    ] {
        all.push(query(
            format!("sum(increase({family}{{{incoming}}}[10m])) by (destination_workload)"),
            &[(REVIEWS_V2, bytes)],
        ));
        all.push(query(
            format!(
                "sum(increase({family}{{{outgoing}, {mutual}}}[10m])) by (destination_service)"
            ),
            &[(&database, bytes)],
        ));
    }
    all
}
