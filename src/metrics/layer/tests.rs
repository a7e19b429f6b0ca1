//! The layers at work: what is counted, and when.

mod messages;

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use std::time::Instant;

use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceExt, service_fn};

use super::*;
use crate::Workload;
use crate::context::{Peer, TlsFacts};
use crate::identity::{PeerCertificate, SpiffeId};
use crate::message::{CountingBody, End, LocalReply, ResponseFlags, Watch as _, Watched};
use crate::metrics::{ClientMetrics, Format, Registry};

type Request = http::Request<Full<Bytes>>;

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";
const PATIENTS: &str = "spiffe://cluster.local/ns/default/sa/patients";
/// NAME=p, NAMESPACE=n, WORKLOAD_NAME=w, CLUSTER_ID=Kubernetes and canonical name c.
const METADATA: &str = "ChoKCkNMVVNURVJfSUQSDBoKS3ViZXJuZXRlcwo0CgZMQUJFTFMSKiooCiYKH3NlcnZpY2UuaXN0aW8uaW8vY2Fub25pY2FsLW5hbWUSAxoBYwoQCglOQU1FU1BBQ0USAxoBbgoLCgROQU1FEgMaAXAKFAoNV09SS0xPQURfTkFNRRIDGgF3";

fn patients() -> Workload {
    Workload::new("default", "patients")
        .name("patients-v1")
        .service("patients", 8443)
        .label("app", "patients")
        .label("version", "v1")
}

fn addresses() -> (SocketAddr, SocketAddr) {
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    (at(50_000), at(8443))
}

fn plaintext() -> Peer {
    let (remote, local) = addresses();
    Peer::plaintext(remote, local)
}

fn mtls(id: &str) -> Peer {
    let (remote, local) = addresses();
    let facts = TlsFacts {
        certificate: Some(PeerCertificate::from_spiffe_id(SpiffeId::new(id).unwrap())),
        ..TlsFacts::default()
    };
    Peer::tls(remote, local, facts)
}

fn from(peer: Peer) -> Request {
    let mut request = Request::new(Full::default());
    request.extensions_mut().insert(peer);
    request
}

fn described(mut request: Request) -> Request {
    let headers = request.headers_mut();
    headers.insert("x-envoy-peer-metadata", METADATA.parse().unwrap());
    headers.insert("x-envoy-peer-metadata-id", "some~id".parse().unwrap());
    request
}

fn grpc(mut request: Request) -> Request {
    let headers = request.headers_mut();
    headers.insert("content-type", "application/grpc".parse().unwrap());
    request
}

/// The labels and value of every sample of one name.
fn samples(registry: &Registry, name: &str) -> Vec<(String, String)> {
    let text = registry.render(Format::Text);
    text.lines()
        .filter_map(|line| {
            let rest = line.strip_prefix(name)?.strip_prefix('{')?;
            let (labels, value) = rest.rsplit_once("} ")?;
            Some((labels.to_owned(), value.to_owned()))
        })
        .collect()
}

fn only_labels(registry: &Registry) -> String {
    match samples(registry, "istio_requests_total").as_slice() {
        [(labels, count)] => {
            assert_eq!(count, "1");
            labels.clone()
        }
        other => panic!("{other:#?}"),
    }
}

async fn serve(
    registry: &Registry,
    request: Request,
    answer: Response<Full<Bytes>>,
) -> Response<Bytes> {
    let layer = MetricsLayer::new(registry.server(&patients()));
    let mut answer = Some(answer);
    let service = layer.layer(service_fn(
        move |request: http::Request<CountingBody<Full<Bytes>>>| {
            let answer = answer.take().unwrap();
            async move {
                for header in request.headers().keys() {
                    assert!(!header.as_str().starts_with("x-envoy-peer"), "{header}");
                }
                request.into_body().collect().await.unwrap();
                Ok::<_, std::io::Error>(answer)
            }
        },
    ));
    let (head, body) = service.oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Response::from_parts(head, body)
}

fn ok() -> Response<Full<Bytes>> {
    Response::new(Full::from("hello"))
}

fn with_grpc_status(status: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    response
        .headers_mut()
        .insert("grpc-status", status.parse().unwrap());
    response
}

const OWN_AS_DESTINATION: &str = r#"destination_workload="patients-v1",destination_workload_namespace="default",destination_principal="{OWN}",destination_app="patients",destination_version="v1",destination_service="patients.default.svc.cluster.local",destination_canonical_service="patients",destination_canonical_revision="v1",destination_service_name="patients",destination_service_namespace="default",destination_cluster="Kubernetes""#;

#[tokio::test]
async fn the_called_side_names_its_caller_as_istio_does() {
    let nobody = r#"source_workload="unknown",source_canonical_service="unknown",source_canonical_revision="latest",source_workload_namespace="unknown",source_principal="unknown",source_app="unknown",source_version="unknown",source_cluster="unknown""#;
    let proven = r#"source_workload="unknown",source_canonical_service="unknown",source_canonical_revision="latest",source_workload_namespace="shop",source_principal="spiffe://cluster.local/ns/shop/sa/web",source_app="unknown",source_version="unknown",source_cluster="unknown""#;
    let said = r#"source_workload="w",source_canonical_service="c",source_canonical_revision="latest",source_workload_namespace="shop",source_principal="spiffe://cluster.local/ns/shop/sa/web",source_app="unknown",source_version="unknown",source_cluster="Kubernetes""#;
    let http =
        r#"request_protocol="http",response_code="200",grpc_response_status="",response_flags="-""#;
    let grpc_denied = r#"request_protocol="grpc",response_code="200",grpc_response_status="7",response_flags="-""#;
    for (request, answer, source, own, outcome, policy) in [
        (from(plaintext()), ok(), nobody, "unknown", http, "none"),
        // H-13: metadata counts only over mutual TLS.
        (
            described(from(plaintext())),
            ok(),
            nobody,
            "unknown",
            http,
            "none",
        ),
        (from(mtls(WEB)), ok(), proven, PATIENTS, http, "mutual_tls"),
        (
            described(from(mtls(WEB))),
            ok(),
            said,
            PATIENTS,
            http,
            "mutual_tls",
        ),
        (
            Request::new(Full::default()),
            ok(),
            nobody,
            "unknown",
            http,
            "none",
        ),
        (
            grpc(from(mtls(WEB))),
            with_grpc_status("7"),
            proven,
            PATIENTS,
            grpc_denied,
            "mutual_tls",
        ),
    ] {
        let registry = Registry::new();
        serve(&registry, request, answer).await;
        let destination = OWN_AS_DESTINATION.replace("{OWN}", own);
        assert_eq!(
            only_labels(&registry),
            format!(
                "reporter=\"destination\",{source},{destination},{outcome},connection_security_policy=\"{policy}\""
            )
        );
    }
}

#[tokio::test]
async fn a_refusal_is_counted_with_its_code_and_its_flags() {
    for (flags, shown) in [
        (ResponseFlags::none(), "-"),
        (ResponseFlags::UNAUTHORIZED_EXTERNAL, "UAEX"),
    ] {
        let registry = Registry::new();
        let reply = LocalReply::new(StatusCode::FORBIDDEN, "RBAC: access denied", "x").flags(flags);
        let request = from(mtls(WEB));
        let answer = reply
            .into_response::<Full<Bytes>>(request.method(), request.headers())
            .map(|_| Full::from("RBAC: access denied"));
        serve(&registry, request, answer).await;
        let labels = only_labels(&registry);
        assert!(labels.contains("response_code=\"403\""));
        assert!(labels.contains(&format!("response_flags=\"{shown}\"")));
    }
}

#[tokio::test]
async fn sizes_and_times_are_in_the_histograms() {
    let registry = Registry::new();
    let mut request = from(plaintext());
    *request.body_mut() = Full::from("0123456789");
    serve(&registry, request, ok()).await;
    let value = |name| samples(&registry, name).remove(0).1;
    let head = "GET / HTTP/1.1\r\n\r\n".len() + 10;
    assert_eq!(value("istio_request_bytes_sum"), head.to_string());
    let head = "HTTP/1.1 200 OK\r\n\r\n".len() + 5;
    assert_eq!(value("istio_response_bytes_sum"), head.to_string());
    assert_eq!(value("istio_request_duration_milliseconds_count"), "1");
    let buckets = samples(&registry, "istio_request_duration_milliseconds_bucket");
    assert_eq!(buckets.len(), 20);
    assert!(buckets[0].0.ends_with(",le=\"0.5\""));
    assert!(buckets[19].0.ends_with(",le=\"+Inf\""));
}

/// R-10.
#[tokio::test]
async fn a_dropped_future_and_a_dropped_body_are_counted_once() {
    let registry = Registry::new();
    let layer = MetricsLayer::new(registry.server(&patients()));
    let never = layer.layer(service_fn(|_| {
        std::future::pending::<Result<Response<Full<Bytes>>, std::io::Error>>()
    }));
    drop(never.oneshot(from(plaintext())));
    assert!(
        samples(&registry, "istio_requests_total").is_empty(),
        "not called"
    );

    let mut never = layer.layer(service_fn(|_| {
        std::future::pending::<Result<Response<Full<Bytes>>, std::io::Error>>()
    }));
    drop(never.call(from(plaintext())));
    let labels = only_labels(&registry);
    assert!(labels.contains(r#"response_code="0",grpc_response_status="",response_flags="DC""#));

    let registry = Registry::new();
    let layer = MetricsLayer::new(registry.server(&patients()));
    let service = layer.layer(service_fn(async |_| Ok::<_, std::io::Error>(ok())));
    drop(service.oneshot(from(plaintext())).await.unwrap());
    let labels = only_labels(&registry);
    assert!(labels.contains(r#"response_code="200",grpc_response_status="",response_flags="DC""#));
}

#[tokio::test]
async fn an_inner_error_is_counted() {
    let registry = Registry::new();
    let layer = MetricsLayer::new(registry.server(&patients()));
    let service = layer.layer(service_fn(async |_| {
        Err::<Response<Full<Bytes>>, _>(std::io::Error::other("broken"))
    }));
    service.oneshot(from(plaintext())).await.unwrap_err();
    assert!(only_labels(&registry).contains(r#"response_code="0""#));
}

#[tokio::test]
async fn the_caller_gets_the_metadata_headers_that_it_sent() {
    for (sent, returned) in [
        (&[][..], &[][..]),
        (&["x-envoy-peer-metadata-id"], &["x-envoy-peer-metadata-id"]),
        (
            &["x-envoy-peer-metadata", "x-envoy-peer-metadata-id"],
            &["x-envoy-peer-metadata", "x-envoy-peer-metadata-id"],
        ),
    ] {
        let mut request = from(mtls(WEB));
        for name in sent {
            request
                .headers_mut()
                .insert(*name, "~unreadable~".parse().unwrap());
        }
        let response = serve(&Registry::new(), request, ok()).await;
        let mut names: Vec<_> = response
            .headers()
            .keys()
            .map(|name| name.as_str())
            .collect();
        names.sort_unstable();
        assert_eq!(names, returned);
    }
}

/// R-21.
#[tokio::test]
async fn a_peer_that_keeps_changing_its_story_is_known_by_its_name_alone() {
    let registry = Registry::new();
    let metrics = registry.server(&patients());
    let peer = mtls(WEB);
    for version in 0..1000 {
        let workload = Workload::new("shop", "web").label("version", format!("v{version}"));
        let request = http::Request::get("http://patients.default/").body(());
        let (mut request, ()) = request.unwrap().into_parts();
        let client = Registry::new().client(&workload);
        let sent = client.begin(&mut request, Default::default(), Instant::now());
        sent.finish(End::cancelled(), Instant::now());
        let record = metrics.begin(
            &mut request,
            Some(&peer),
            Default::default(),
            Instant::now(),
        );
        record.finish(End::cancelled(), Instant::now());
    }
    let series = samples(&registry, "istio_requests_total");
    assert_eq!(series.len(), 1);
    let total: u64 = series
        .iter()
        .map(|(_, count)| count.parse::<u64>().unwrap())
        .sum();
    assert_eq!(total, 1000);
}

async fn call(
    registry: &Registry,
    host: &str,
    answer: Result<Response<Full<Bytes>>, std::io::Error>,
) -> http::HeaderMap {
    let layer = MetricsLayer::new(registry.client(&patients()));
    let (told, mut sent) = tokio::sync::mpsc::unbounded_channel();
    let mut answer = Some(answer);
    let service = layer.layer(service_fn(move |request: http::Request<_>| {
        told.send(request.headers().clone()).unwrap();
        drop::<CountingBody<Full<Bytes>>>(request.into_body());
        std::future::ready(answer.take().unwrap())
    }));
    let uri = format!("http://{host}/");
    let request = http::Request::get(uri).body(Full::default()).unwrap();
    if let Ok(response) = service.oneshot(request).await {
        assert!(response.headers().is_empty());
        response.into_body().collect().await.unwrap();
    }
    sent.try_recv().unwrap()
}

const OWN_AS_SOURCE: &str = r#"reporter="source",source_workload="patients-v1",source_canonical_service="patients",source_canonical_revision="v1",source_workload_namespace="default",source_principal="{OWN}",source_app="patients",source_version="v1",source_cluster="Kubernetes""#;

#[tokio::test]
async fn the_calling_side_names_whom_it_called_as_istio_does() {
    let charts = "spiffe://cluster.local/ns/default/sa/charts";
    let mut described = ok();
    described
        .headers_mut()
        .insert("x-envoy-peer-metadata", METADATA.parse().unwrap());
    described
        .headers_mut()
        .insert("x-envoy-peer-metadata-id", "id".parse().unwrap());
    described.extensions_mut().insert(mtls(charts));
    let mut proven = ok();
    proven.extensions_mut().insert(mtls(charts));

    let said = r#"destination_workload="w",destination_workload_namespace="default",destination_principal="spiffe://cluster.local/ns/default/sa/charts",destination_app="unknown",destination_version="unknown",destination_service="charts.default.svc.cluster.local",destination_canonical_service="c",destination_canonical_revision="latest",destination_service_name="charts",destination_service_namespace="default",destination_cluster="Kubernetes""#;
    let name_only = r#"destination_workload="unknown",destination_workload_namespace="default",destination_principal="spiffe://cluster.local/ns/default/sa/charts",destination_app="unknown",destination_version="unknown",destination_service="charts.default.svc.cluster.local",destination_canonical_service="unknown",destination_canonical_revision="latest",destination_service_name="charts",destination_service_namespace="default",destination_cluster="unknown""#;
    let failed = r#"destination_workload="unknown",destination_workload_namespace="unknown",destination_principal="unknown",destination_app="unknown",destination_version="unknown",destination_service="charts.default.svc.cluster.local",destination_canonical_service="unknown",destination_canonical_revision="latest",destination_service_name="charts",destination_service_namespace="default",destination_cluster="unknown""#;
    let outside = r#"destination_workload="unknown",destination_workload_namespace="unknown",destination_principal="unknown",destination_app="unknown",destination_version="unknown",destination_service="api.example.com",destination_canonical_service="unknown",destination_canonical_revision="latest",destination_service_name="PassthroughCluster",destination_service_namespace="unknown",destination_cluster="unknown""#;
    for (host, answer, destination, own, code, flags) in [
        ("charts.default", Ok(described), said, PATIENTS, "200", "-"),
        ("charts:8080", Ok(proven), name_only, PATIENTS, "200", "-"),
        (
            "charts.default.svc",
            Err(std::io::Error::other("no")),
            failed,
            "unknown",
            "503",
            "UC",
        ),
        ("api.example.com", Ok(ok()), outside, "unknown", "200", "-"),
    ] {
        let registry = Registry::new();
        let sent = call(&registry, host, answer).await;
        assert_eq!(
            sent.contains_key("x-envoy-peer-metadata"),
            host != "api.example.com"
        );
        assert_eq!(
            sent.contains_key("x-envoy-peer-metadata-id"),
            host != "api.example.com"
        );
        let source = OWN_AS_SOURCE.replace("{OWN}", own);
        assert_eq!(
            only_labels(&registry),
            format!(
                "{source},{destination},request_protocol=\"http\",response_code=\"{code}\",grpc_response_status=\"\",response_flags=\"{flags}\",connection_security_policy=\"unknown\""
            )
        );
    }
}

/// R-21.
#[test]
fn any_number_of_hosts_makes_a_bounded_number_of_series() {
    let registry = Registry::new();
    let metrics = registry.client(&patients());
    for host in 0..5000 {
        let uri = format!("http://h{host}.example.com/");
        let request = http::Request::get(uri).body(());
        let (mut request, ()) = request.unwrap().into_parts();
        let record = metrics.begin(&mut request, Default::default(), Instant::now());
        record.finish(End::cancelled(), Instant::now());
    }
    let series = samples(&registry, "istio_requests_total");
    assert!(series.len() <= 1100, "{}", series.len());
    let total: u64 = series
        .iter()
        .map(|(_, count)| count.parse::<u64>().unwrap())
        .sum();
    assert_eq!(total, 5000);
}

#[test]
fn a_connection_is_counted_when_it_opens_and_when_it_closes() {
    let registry = Registry::new();
    let metrics = registry.server(&patients());
    let connection = metrics.connection(&mtls(WEB));
    connection.sent(10);
    connection.sent(5);
    connection.received(3);
    let value = |name| samples(&registry, name).remove(0);
    assert_eq!(value("istio_tcp_connections_closed_total").1, "0");
    drop(connection);
    for (name, expected) in [
        ("istio_tcp_connections_opened_total", "1"),
        ("istio_tcp_connections_closed_total", "1"),
        ("istio_tcp_sent_bytes_total", "15"),
        ("istio_tcp_received_bytes_total", "3"),
    ] {
        let (labels, count) = value(name);
        assert_eq!(count, expected, "{name}");
        assert!(labels.contains("reporter=\"destination\""));
        assert!(labels.ends_with(
            r#",request_protocol="tcp",response_flags="-",connection_security_policy="mutual_tls""#
        ));
    }
}

#[test]
fn the_types_may_be_shared() {
    fn check<T: Send + Sync + Clone>() {}
    check::<Registry>();
    check::<Watched<(), ServerMetrics>>();
    check::<Watched<(), ClientMetrics>>();
    check::<crate::metrics::Scrape>();
}
