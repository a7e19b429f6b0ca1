//! The cases of the sidecar: what it counts for requests that go wrong, that leave the mesh, or that last.

use std::time::{Duration, Instant};

use http::{Request, request};
use tower_mesh::mesh::ClientBody;
use tower_mesh::message::{ByteCount, End, Watch};
use tower_mesh::metrics::Registry;
use tower_mesh::source::Fixed;
use tower_mesh::testing::{Issuer, Pki};
use tower_mesh::{Mesh, Workload};

use super::{call, routes, text};
use crate::support::mesh::{
    ISSUER, app, authentication, build, caller, empty, get, http1, lines, policy, proven, read,
    serve, unproven, until,
};

fn head(request: request::Builder) -> request::Parts {
    request.body(()).unwrap().into_parts().0
}

/// The only sample of requests, which holds all these labels.
#[track_caller]
fn only(text: &str, labels: &[&str]) {
    let mut lines = text
        .lines()
        .filter(|line| line.starts_with("istio_requests_total{"));
    let line = lines.next().unwrap();
    assert_eq!(lines.next(), None);
    for label in labels {
        assert!(line.contains(label), "{label}: {line}");
    }
}

/// Headers of a request, and labels that its count has.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);

/// Cases 22 to 24: refusals have no flag.
#[tokio::test]
async fn refusals_of_policies_and_tokens_are_counted_without_flags() {
    let pki = Pki::new("cluster.local").unwrap();
    let issuer = Issuer::es256(ISSUER);
    let rules = authentication(&issuer)
        + &policy("closed", "DENY", "[{to: [{operation: {paths: [/text]}}]}]");
    let expired = format!(
        "Bearer {}",
        issuer.token().expired_ago(Duration::from_secs(3600)).sign()
    );
    let cases: [Case<'_>; 3] = [
        (
            &[],
            &[r#"request_protocol="http",response_code="403",grpc_response_status="""#],
        ),
        (
            &[("content-type", "application/grpc")],
            &[r#"request_protocol="grpc",response_code="200",grpc_response_status="7""#],
        ),
        (&[("authorization", &expired)], &[r#"response_code="401""#]),
    ];
    for (headers, labels) in cases {
        let mesh = build(app(&pki).config(Fixed::yaml("p.yaml", rules.clone()))).await;
        let served = serve(&mesh, routes()).await;
        let mut desk = http1(&pki, "desk", served.address).await;
        let mut request = get("/text");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(desk.send_request(empty(request)).await.unwrap()).await;
        until("the count", || {
            lines(&mesh, "istio_requests_total{", &[]).len() == 1
        })
        .await;
        let text = text(mesh.metrics());
        only(&text, labels);
        only(
            &text,
            &[r#"response_flags="-",connection_security_policy="mutual_tls""#],
        );
    }
}

/// Case 25.
#[test]
fn a_caller_that_leaves_before_the_answer_is_counted_with_the_code_0() {
    let registry = Registry::new();
    let metrics = registry.server(&Workload::new("default", "app"));
    let now = Instant::now();
    let record = metrics.begin(
        &mut head(Request::get("/")),
        None,
        ByteCount::default(),
        now,
    );
    record.finish(End::cancelled(), now + Duration::from_millis(7));
    let text = text(&registry);
    only(&text, &[r#"response_code="0""#, r#"response_flags="DC""#]);
    let sum = text
        .lines()
        .find(|line| line.starts_with("istio_request_duration_milliseconds_sum{"));
    assert!(sum.unwrap().ends_with(" 7"), "{sum:?}");
}

/// Case 26: Kiali finds such a call by the service's whole name.
#[tokio::test]
async fn a_refused_connection_is_counted_at_the_caller() {
    let pki = Pki::new("cluster.local").unwrap();
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let desk = caller(&pki, "desk", address).await;
    let request = Request::get("http://app.default/text")
        .body(ClientBody::empty())
        .unwrap();
    assert!(desk.client().request(request).await.is_err());
    let text = text(desk.metrics());
    only(
        &text,
        &[
            r#"reporter="source""#,
            r#"destination_workload="unknown",destination_workload_namespace="unknown""#,
            r#"destination_service="app.default.svc.cluster.local""#,
            r#"response_code="503""#,
            r#"UF"#,
        ],
    );
}

/// Case 27.
#[test]
fn a_host_outside_the_mesh_is_istios_passthrough_cluster() {
    let registry = Registry::new();
    let metrics = registry.client(&Workload::new("default", "desk"));
    let now = Instant::now();
    let mut head = head(Request::get("https://api.example.com:8443/"));
    metrics
        .begin(&mut head, ByteCount::default(), now)
        .finish(End::cancelled(), now);
    only(
        &text(&registry),
        &[
            r#"destination_service="api.example.com""#,
            r#"destination_service_name="PassthroughCluster",destination_service_namespace="unknown""#,
        ],
    );
}

/// What Istio counts where `REGISTRY_ONLY` lets nothing out.
#[tokio::test]
async fn a_host_that_the_mesh_does_not_know_is_istios_black_hole() {
    let pki = Pki::new("cluster.local").unwrap();
    let desk = Mesh::builder(
        Workload::new("default", "desk"),
        pki.identity("default", "desk").unwrap(),
    );
    let desk = build(desk).await;
    let request = Request::get("http://API.example.com/")
        .body(ClientBody::empty())
        .unwrap();
    assert!(desk.client().request(request).await.is_err());
    only(
        &text(desk.metrics()),
        &[
            r#"reporter="source""#,
            r#"destination_service="api.example.com""#,
            r#"destination_service_name="BlackHoleCluster",destination_service_namespace="unknown""#,
        ],
    );
}

/// Case 28.
#[test]
fn a_caller_without_metadata_has_no_more_than_its_certificate_says() {
    let unknown = r#"source_workload="unknown",source_canonical_service="unknown",source_canonical_revision="latest""#;
    for (peer, expected) in [
        (
            unproven(),
            [
                r#"source_workload_namespace="unknown",source_principal="unknown""#,
                r#"destination_principal="unknown""#,
                r#"connection_security_policy="none""#,
            ],
        ),
        (
            proven("desk"),
            [
                r#"source_workload_namespace="default",source_principal="spiffe://cluster.local/ns/default/sa/desk""#,
                r#"destination_principal="spiffe://cluster.local/ns/default/sa/app""#,
                r#"connection_security_policy="mutual_tls""#,
            ],
        ),
    ] {
        let registry = Registry::new();
        let metrics = registry.server(&Workload::new("default", "app"));
        let now = Instant::now();
        let mut head = head(Request::get("/"));
        let record = metrics.begin(&mut head, Some(&peer), ByteCount::default(), now);
        record.finish(End::cancelled(), now);
        let text = text(&registry);
        only(&text, &expected);
        only(&text, &[unknown]);
    }
}

/// Case 29.
#[test]
fn a_short_request_has_the_duration_0_and_a_long_stream_reports_its_messages() {
    let registry = Registry::new();
    let (server, client) = (
        registry.server(&Workload::new("default", "app")),
        registry.client(&Workload::new("default", "desk")),
    );
    let now = Instant::now();
    let record = server.begin(
        &mut head(Request::get("/")),
        None,
        ByteCount::default(),
        now,
    );
    record.finish(End::cancelled(), now + Duration::from_micros(400));
    let text_now = text(&registry);
    let buckets = text_now
        .lines()
        .filter(|line| line.starts_with("istio_request_duration_milliseconds_bucket{"));
    assert_eq!(buckets.filter(|line| line.ends_with(" 1")).count(), 20);

    let grpc =
        || Request::post("http://app.default/s/m").header("content-type", "application/grpc");
    let mut inbound = server.begin(&mut head(grpc()), None, ByteCount::default(), now);
    let mut outbound = client.begin(&mut head(grpc()), ByteCount::default(), now);
    outbound.answered(&mut http::Response::new(()).into_parts().0);
    let messages = |reporter: &str| {
        let text = text(&registry);
        let mut lines = text
            .lines()
            .filter(|line| line.starts_with("istio_response_messages_total{"));
        let line = lines.find(|line| line.contains(reporter));
        line.map_or(0, |line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
    };
    for (second, so_far, expected) in [(4, 1, 0), (5, 2, 2), (9, 3, 2), (10, 4, 4)] {
        let at = now + Duration::from_secs(second);
        inbound.progressed(so_far, at);
        outbound.progressed(so_far, at);
        assert_eq!(messages("reporter=\"destination\""), expected, "{second}");
        assert_eq!(messages("reporter=\"source\""), expected, "{second}");
    }
    let mut end = End::cancelled();
    end.messages = 5;
    inbound.finish(end, now + Duration::from_secs(12));
    outbound.finish(end, now + Duration::from_secs(12));
    assert_eq!((messages("destination\""), messages("source\"")), (5, 5));
}

/// Calls that are answered have the destination's own description.
#[tokio::test]
async fn both_ends_of_a_call_agree_about_each_other() {
    let pki = Pki::new("cluster.local").unwrap();
    let mesh = build(app(&pki)).await;
    let served = serve(&mesh, routes()).await;
    let desk = caller(&pki, "desk", served.address).await;
    assert_eq!(call(&desk, "/text").await, 200);
    until("the count", || {
        lines(&mesh, "istio_requests_total{", &[]).len() == 1
    })
    .await;
    let labels = [
        r#"source_workload="desk""#,
        r#"destination_workload="app""#,
        r#"source_cluster="Kubernetes""#,
        r#"destination_cluster="Kubernetes""#,
    ];
    only(&text(mesh.metrics()), &labels);
    only(&text(desk.metrics()), &labels);
    only(
        &text(desk.metrics()),
        &[
            r#"destination_service="app.default.svc.cluster.local""#,
            r#"destination_service_name="app",destination_service_namespace="default""#,
        ],
    );
}
