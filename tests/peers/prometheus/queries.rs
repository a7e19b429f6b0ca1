//! What Istio's dashboards and Kiali ask, and what they must get for the requests of [`Traffic`](super::traffic::Traffic).

use super::traffic::{FAILED, FINE, REFUSED};

/// A query, and the labels and the value of each series of its answer.
pub(super) struct Query {
    pub(super) expression: String,
    pub(super) answer: Vec<(String, usize)>,
}

fn query(expression: &str, answer: &[(&str, usize)]) -> Query {
    Query {
        expression: expression.to_owned(),
        answer: answer
            .iter()
            .map(|(labels, value)| ((*labels).to_owned(), *value))
            .collect(),
    }
}

const REVIEWS: &str = "reviews.bookinfo.svc.cluster.local";

/// The increase of a counter is all that the traffic made.
pub(super) fn all() -> Vec<Query> {
    let all = FINE + FAILED + REFUSED + 1;
    let workload = r#"{destination_workload="reviews-v2"}"#;
    let mesh = format!(
        r#"{{destination_service="{REVIEWS}", destination_workload="reviews-v2", destination_workload_namespace="bookinfo"}}"#
    );
    let service = format!(r#"destination_service=~"{REVIEWS}""#);
    let edge = r#"{source_workload="web-v1", source_workload_namespace="bookinfo"}"#;
    // A label that is empty is none.
    let kiali = |code: &str, flags: &str, protocol: &str, grpc: &str| {
        format!(
            r#"{{source_cluster="Kubernetes", source_workload_namespace="bookinfo", source_workload="web-v1", source_canonical_service="web", source_canonical_revision="v1", destination_cluster="Kubernetes", destination_service_namespace="bookinfo", destination_service="{REVIEWS}", destination_service_name="reviews", destination_workload_namespace="bookinfo", destination_workload="reviews-v2", destination_canonical_service="reviews", destination_canonical_revision="v2", request_protocol="{protocol}", response_code="{code}", response_flags="{flags}"{grpc}}}"#
        )
    };
    let by = "source_cluster, source_workload_namespace, source_workload, source_canonical_service, source_canonical_revision, destination_cluster, destination_service_namespace, destination_service, destination_service_name, destination_workload_namespace, destination_workload, destination_canonical_service, destination_canonical_revision, request_protocol, response_code, grpc_response_status, response_flags";
    vec![
        // Mesh dashboard.
        query(
            r#"sum(increase(istio_requests_total{reporter=~"source|waypoint", destination_workload!="unknown"}[10m])) by (destination_workload, destination_workload_namespace, destination_service)"#,
            &[(&mesh, all)],
        ),
        query(
            r#"sum(increase(istio_requests_total{reporter=~"source|waypoint", response_code=~"4..", destination_workload!="unknown"}[10m]))"#,
            &[("{}", REFUSED)],
        ),
        query(
            r#"sum(increase(istio_requests_total{reporter=~"source|waypoint", response_code=~"5..", destination_workload!="unknown"}[10m])) by (destination_workload)"#,
            &[(workload, FAILED)],
        ),
        query(
            r#"sum(increase(istio_request_duration_milliseconds_count{reporter=~"source|waypoint", destination_workload!="unknown"}[10m])) by (destination_workload)"#,
            &[(workload, all)],
        ),
        query(
            r#"(histogram_quantile(0.90, sum(increase(istio_request_bytes_bucket{reporter="destination"}[10m])) by (le)) < bool 5000)"#,
            &[("{}", 1)],
        ),
        // Performance dashboard.
        query(
            r#"sum(istio_build{component="proxy"}) by (component)"#,
            &[(r#"{component="proxy"}"#, 2)],
        ),
        query(
            r#"sum(increase(istio_requests_total{reporter="source", source_workload="web-v1", source_workload_namespace="bookinfo"}[10m])) by (source_workload, source_workload_namespace) > bool 0"#,
            &[(edge, 1)],
        ),
        // Service dashboard.
        query(
            &format!(
                r#"sum(increase(istio_requests_total{{reporter="destination", connection_security_policy="mutual_tls", {service}, response_code!~"5.*"}}[10m])) by (source_workload, source_workload_namespace)"#
            ),
            &[(edge, all - FAILED)],
        ),
        query(
            &format!(
                r#"sum(increase(istio_requests_total{{reporter="destination", connection_security_policy!="mutual_tls", {service}}}[10m])) or vector(0)"#
            ),
            &[("{}", 0)],
        ),
        query(
            &format!(
                r#"sum(increase(istio_response_bytes_count{{reporter="destination", {service}}}[10m])) by (source_cluster, destination_cluster)"#
            ),
            &[(
                r#"{source_cluster="Kubernetes", destination_cluster="Kubernetes"}"#,
                all,
            )],
        ),
        query(
            r#"sum(increase(istio_tcp_sent_bytes_total{reporter="destination"}[10m])) by (destination_workload)"#,
            &[(workload, 1000)],
        ),
        query(
            r#"sum(increase(istio_tcp_received_bytes_total{reporter="destination"}[10m])) by (destination_workload)"#,
            &[(workload, 10)],
        ),
        // Workload dashboard: the destination's identity marks mutual TLS at the source.
        query(
            &format!(
                r#"sum(increase(istio_requests_total{{reporter="source", destination_principal=~"spiffe.*", {service}}}[10m])) by (source_workload, source_workload_namespace)"#
            ),
            &[(edge, all)],
        ),
        // Kiali: the graph, incoming requests, failures that never arrived, the badge of mutual TLS, throughput.
        query(
            &format!(
                r#"sum(increase(istio_requests_total{{reporter="source", destination_workload="reviews-v2"}}[10m])) by ({by})"#
            ),
            &[
                (&kiali("200", "-", "http", ""), FINE),
                (&kiali("500", "-", "http", ""), FAILED),
                (&kiali("403", "-", "http", ""), REFUSED),
                (
                    &kiali("200", "-", "grpc", r#", grpc_response_status="7""#),
                    1,
                ),
            ],
        ),
        query(
            r#"sum(increase(istio_requests_total{reporter="destination", destination_workload_namespace="bookinfo"}[10m]))"#,
            &[("{}", all)],
        ),
        query(
            r#"sum(increase(istio_requests_total{reporter="source", destination_workload_namespace="unknown", destination_workload="unknown", destination_service=~"^.+\\.bookinfo\\..+$"}[10m])) by (destination_service_name, response_code)"#,
            &[(
                r#"{destination_service_name="gone", response_code="503"}"#,
                1,
            )],
        ),
        query(
            r#"sum(increase(istio_requests_total{reporter="destination", connection_security_policy="mutual_tls"}[10m])) by (source_principal, destination_principal)"#,
            &[(
                r#"{source_principal="spiffe://cluster.local/ns/bookinfo/sa/web", destination_principal="spiffe://cluster.local/ns/bookinfo/sa/reviews"}"#,
                all,
            )],
        ),
        query(
            r#"sum(increase(istio_requests_total{reporter="source", destination_service_name="BlackHoleCluster"}[10m])) by (destination_service)"#,
            &[(r#"{destination_service="api.example.com"}"#, 1)],
        ),
        query(
            r#"sum(increase(istio_request_bytes_sum{reporter="source", destination_workload="reviews-v2"}[10m])) > bool 0"#,
            &[("{}", 1)],
        ),
    ]
}
