//! The cases of the sidecar: what it counts for requests that go wrong, that leave the mesh, or that last.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::{Request, request};
use tokio::net::TcpListener;
use tower_mesh::mesh::{ClientBody, ExternalHost};
use tower_mesh::message::{ByteCount, End, Watch};
use tower_mesh::metrics::Registry;
use tower_mesh::source::Fixed;
use tower_mesh::testing::{Issuer, Pki};
use tower_mesh::tls::Mode;
use tower_mesh::{Mesh, Workload};

use super::{call, routes, text};
use crate::support::mesh::{
    ISSUER, app, authentication, build, caller, empty, get, get2, http1, http2_in_plaintext, lines,
    policy, read, serve, until,
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

/// What a workload with these rules counts of one request of `desk` with these headers.
async fn counted(pki: &Pki, rules: String, headers: &[(&str, &str)]) -> String {
    let mesh = build(app(pki).config(Fixed::yaml("p.yaml", rules))).await;
    let served = serve(&mesh, routes()).await;
    let mut desk = http1(pki, "desk", served.address).await;
    let mut request = get("/text");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    read(desk.send_request(empty(request)).await.unwrap()).await;
    until("the count", || {
        lines(&mesh, "istio_requests_total{", &[]).len() == 1
    })
    .await;
    text(mesh.metrics())
}

fn closed() -> String {
    policy("closed", "DENY", "[{to: [{operation: {paths: [/text]}}]}]")
}

/// No flag, and the caller over mutual TLS.
const NO_FLAG: &str = r#"response_flags="-",connection_security_policy="mutual_tls""#;

/// Case 22.
#[tokio::test]
async fn a_denied_http_request_is_403_without_a_flag() {
    let pki = Pki::new("cluster.local").unwrap();
    let labels = r#"request_protocol="http",response_code="403",grpc_response_status="""#;
    only(&counted(&pki, closed(), &[]).await, &[labels, NO_FLAG]);
}

/// Case 23.
#[tokio::test]
async fn a_denied_grpc_call_is_http_200_with_grpc_status_7_and_without_a_flag() {
    let pki = Pki::new("cluster.local").unwrap();
    let grpc = [("content-type", "application/grpc")];
    let labels = r#"request_protocol="grpc",response_code="200",grpc_response_status="7""#;
    only(&counted(&pki, closed(), &grpc).await, &[labels, NO_FLAG]);
}

/// Case 24.
#[tokio::test]
async fn a_token_for_another_audience_is_403_and_an_expired_one_401_both_without_a_flag() {
    let pki = Pki::new("cluster.local").unwrap();
    let issuer = Issuer::es256(ISSUER);
    let rules = authentication(&issuer);
    let rules = rules.replace("    jwks:", "    audiences: [patients]\n    jwks:");
    let token = || issuer.token().audience("patients");
    let expired = token().expired_ago(Duration::from_secs(3600)).sign();
    for (token, code) in [
        (token().sign(), "200"),
        (issuer.token().audience("charts").sign(), "403"),
        (expired, "401"),
    ] {
        let token = format!("Bearer {token}");
        let text = counted(&pki, rules.clone(), &[("authorization", &token)]).await;
        only(&text, &[&format!("response_code=\"{code}\""), NO_FLAG]);
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

async fn nobody() -> SocketAddr {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    closed.local_addr().unwrap()
}

/// Case 26: Kiali finds such a call by the service's whole name. The second address is the one retry.
#[tokio::test]
async fn a_refused_connect_with_one_retry_is_503_urx_uf_at_the_source() {
    let pki = Pki::new("cluster.local").unwrap();
    let app = pki.identity("default", "app").unwrap();
    let id = app.svid().spiffe_id().clone();
    let desk = Mesh::builder(
        Workload::new("default", "desk"),
        pki.identity("default", "desk").unwrap(),
    );
    let servers = [nobody().await, nobody().await];
    let desk = build(desk.upstream("app.default", servers, [id])).await;
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
            r#"response_flags="URX,UF""#,
        ],
    );
    assert!(
        text.lines()
            .any(|line| line.starts_with("istio_requests_total{") && line.ends_with(" 1"))
    );
}

/// Case 27.
#[tokio::test]
async fn a_call_to_a_host_outside_the_mesh_is_counted_as_istios_passthrough_cluster() {
    let pki = Pki::new("cluster.local").unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(socket, routes()).await });
    let desk = Mesh::builder(
        Workload::new("default", "desk"),
        pki.identity("default", "desk").unwrap(),
    );
    let host = ExternalHost::plaintext().at([address]);
    let desk = build(desk.outside("api.example.com", host)).await;
    let request = Request::get("http://api.example.com/text");
    let request = request.body(ClientBody::empty()).unwrap();
    let answer = desk.client().request(request).await.unwrap();
    assert_eq!(read(answer).await.0, 200);
    only(
        &text(desk.metrics()),
        &[
            r#"destination_workload="unknown",destination_workload_namespace="unknown",destination_principal="unknown""#,
            r#"destination_service="api.example.com""#,
            r#"destination_service_name="PassthroughCluster",destination_service_namespace="unknown""#,
            r#"response_code="200""#,
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

const NO_METADATA: &str = r#"source_workload="unknown",source_canonical_service="unknown",source_canonical_revision="latest""#;

/// Case 28, the first half.
#[tokio::test]
async fn a_plaintext_caller_without_metadata_is_unknown_and_not_mutual_tls() {
    let pki = Pki::new("cluster.local").unwrap();
    let mesh = build(app(&pki).mode(Mode::Permissive)).await;
    let served = serve(&mesh, routes()).await;
    let mut desk = http2_in_plaintext(served.address).await;
    let answer = desk.send_request(empty(get2("/text"))).await.unwrap();
    assert_eq!(read(answer).await.0, 200);
    until("the count", || {
        lines(&mesh, "istio_requests_total{", &[]).len() == 1
    })
    .await;
    only(
        &text(mesh.metrics()),
        &[
            NO_METADATA,
            r#"source_workload_namespace="unknown",source_principal="unknown",source_app="unknown",source_version="unknown",source_cluster="unknown""#,
            r#"destination_principal="unknown""#,
            r#"connection_security_policy="none""#,
        ],
    );
}

/// Case 28, the second half.
#[tokio::test]
async fn a_mutual_tls_caller_without_metadata_has_the_principal_and_namespace_of_its_certificate() {
    let pki = Pki::new("cluster.local").unwrap();
    only(
        &counted(&pki, String::new(), &[]).await,
        &[
            NO_METADATA,
            r#"source_workload_namespace="default",source_principal="spiffe://cluster.local/ns/default/sa/desk",source_app="unknown""#,
            r#"destination_principal="spiffe://cluster.local/ns/default/sa/app""#,
            r#"connection_security_policy="mutual_tls""#,
        ],
    );
}

/// Case 29, the first half.
#[test]
fn a_request_of_0_4_ms_has_the_duration_0_and_counts_from_the_bucket_0_5_on() {
    let registry = Registry::new();
    let server = registry.server(&Workload::new("default", "app"));
    let now = Instant::now();
    let record = server.begin(
        &mut head(Request::get("/")),
        None,
        ByteCount::default(),
        now,
    );
    record.finish(End::cancelled(), now + Duration::from_micros(400));
    let text = text(&registry);
    let with = |part: &str| {
        let name = format!("istio_request_duration_milliseconds_{part}{{");
        let lines = text.lines().filter(move |line| line.starts_with(&name));
        lines.collect::<Vec<_>>()
    };
    assert!(with("bucket")[0].contains("le=\"0.5\""));
    assert_eq!(with("bucket").len(), 20);
    assert!(with("bucket").iter().all(|line| line.ends_with(" 1")));
    assert!(with("sum")[0].ends_with(" 0"));
}

/// Case 29, the second half.
#[test]
fn a_grpc_stream_of_12_s_adds_messages_at_5_s_10_s_and_its_end_and_one_request_at_the_end() {
    let registry = Registry::new();
    let (server, client) = (
        registry.server(&Workload::new("default", "app")),
        registry.client(&Workload::new("default", "desk")),
    );
    let now = Instant::now();
    let grpc =
        || Request::post("http://app.default/s/m").header("content-type", "application/grpc");
    let mut inbound = server.begin(&mut head(grpc()), None, ByteCount::default(), now);
    let mut outbound = client.begin(&mut head(grpc()), ByteCount::default(), now);
    outbound.answered(&mut http::Response::new(()).into_parts().0);
    let value = |family: &str, reporter: &str| {
        let text = text(&registry);
        let family = format!("{family}{{");
        let mut lines = text.lines().filter(|line| line.starts_with(&family));
        let line = lines.find(|line| line.contains(&format!("reporter=\"{reporter}\"")));
        line.map_or(0, |line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
    };
    let both = |family: &str| ["destination", "source"].map(|side| value(family, side));
    for (second, so_far, expected) in [(4, 1, 0), (5, 2, 2), (9, 3, 2), (10, 4, 4)] {
        let at = now + Duration::from_secs(second);
        inbound.progressed(so_far, at);
        outbound.progressed(so_far, at);
        let messages = both("istio_response_messages_total");
        assert_eq!(messages, [expected, expected], "{second}");
        assert_eq!(both("istio_requests_total"), [0, 0], "{second}");
    }
    let mut end = End::cancelled();
    end.messages = 5;
    inbound.finish(end, now + Duration::from_secs(12));
    outbound.finish(end, now + Duration::from_secs(12));
    assert_eq!(both("istio_response_messages_total"), [5, 5]);
    assert_eq!(both("istio_requests_total"), [1, 1]);
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
