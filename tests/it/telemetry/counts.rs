//! What the composed mesh counts: every request once, in all families, whichever way it was answered.

use axum::Router;
use axum::routing::{any, get};
use http::{Method, Request, StatusCode, Version};
use tower_mesh::Mesh;
use tower_mesh::mesh::ClientBody;
use tower_mesh::source::Fixed;
use tower_mesh::testing::{Issuer, Pki};

use crate::support::mesh::{
    ISSUER, Log, app, authentication, build, caller, empty, http1, http2, lines, policy, read,
    serve, until,
};

fn routes() -> Router {
    Router::new()
        .route("/text", any(async || "hello"))
        .route("/nothing", any(async || StatusCode::NO_CONTENT))
        .route("/same", any(async || StatusCode::NOT_MODIFIED))
        .route("/closed", get(async || "never"))
        .route(
            "/panics",
            get(async || {
                panic!("a handler that panics");
                #[expect(unreachable_code, reason = "the type of the handler")]
                ""
            }),
        )
}

/// The value of a sample line.
fn value(line: &str) -> usize {
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

/// The samples of a metric that hold these labels, added up.
fn sum(mesh: &Mesh, metric: &str, labels: &[&str]) -> usize {
    lines(mesh, metric, labels)
        .iter()
        .map(|line| value(line))
        .sum()
}

/// All families know of so many requests.
fn all_families_count(mesh: &Mesh, reporter: &str, expected: usize) {
    let reporter = format!("reporter=\"{reporter}\"");
    for metric in [
        "istio_requests_total{",
        "istio_request_duration_milliseconds_count{",
        "istio_request_bytes_count{",
        "istio_response_bytes_count{",
    ] {
        assert_eq!(sum(mesh, metric, &[&reporter]), expected, "{metric}");
    }
}

/// Method, path, further headers, and the code and gRPC status that are counted.
type Case<'a> = (Method, &'a str, &'a [(&'a str, &'a str)], &'a str, &'a str);

/// Nothing is counted twice and nothing as a client that left, on a connection that is kept for all of them.
#[tokio::test]
async fn every_answer_is_counted_once_in_all_families() {
    let pki = Pki::new("cluster.local").unwrap();
    let issuer = Issuer::es256(ISSUER);
    let rules =
        authentication(&issuer) + &policy("p", "DENY", "[{to: [{operation: {paths: [/closed]}}]}]");
    let bad = format!("Bearer {}", issuer.token().tampered());
    let cases: [Case<'_>; 11] = [
        (Method::GET, "/text", &[], "200", ""),
        (Method::HEAD, "/text", &[], "200", ""),
        (Method::POST, "/text", &[], "200", ""),
        (Method::GET, "/nothing", &[], "204", ""),
        (Method::GET, "/same", &[], "304", ""),
        (Method::GET, "/nowhere", &[], "404", ""),
        (Method::GET, "/closed", &[], "403", ""),
        (Method::HEAD, "/closed", &[], "403", ""),
        (
            Method::POST,
            "/closed",
            &[("content-type", "application/grpc")],
            "200",
            "7",
        ),
        (Method::GET, "/text", &[("authorization", &bad)], "401", ""),
        (Method::GET, "/panics", &[], "500", ""),
    ];
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let log = Log::default();
        let builder = app(&pki).config(Fixed::yaml("p.yaml", rules.clone()));
        let mesh = build(builder.telemetry(|telemetry| telemetry.on_complete(log.observe()))).await;
        let served = serve(&mesh, routes()).await;
        let mut h1 = http1(&pki, "desk", served.address).await;
        let mut h2 = http2(&pki, "desk", served.address).await;
        for (sent, (method, path, headers, code, grpc)) in cases.iter().enumerate() {
            let labels = [
                format!("response_code=\"{code}\""),
                format!("grpc_response_status=\"{grpc}\""),
                r#"response_flags="-""#.to_owned(),
            ];
            let labels: Vec<_> = labels.iter().map(String::as_str).collect();
            let before = sum(&mesh, "istio_requests_total{", &labels);
            let mut request = Request::builder().method(method).version(version);
            for (name, value) in *headers {
                request = request.header(*name, *value);
            }
            let answer = if version == Version::HTTP_2 {
                let request = request.uri(format!("http://app.default{path}"));
                h2.send_request(empty(request)).await
            } else {
                h1.ready().await.unwrap();
                let request = request.uri(*path).header("host", "app.default");
                h1.send_request(empty(request)).await
            };
            read(answer.unwrap()).await;
            log.wait(sent + 1).await;
            let after = sum(&mesh, "istio_requests_total{", &labels);
            assert_eq!(after, before + 1, "{version:?} {method} {path}");
            all_families_count(&mesh, "destination", sent + 1);
        }
    }
}

/// Who calls may let go of an answer that has no body without reading it, and has not left for that.
#[tokio::test]
async fn an_answer_without_a_body_is_whole_without_being_read() {
    let pki = Pki::new("cluster.local").unwrap();
    let served = serve(&build(app(&pki)).await, routes()).await;
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let desk = caller(&pki, "desk", served.address).await;
        let cases = [
            (Method::HEAD, "/text", "200"),
            (Method::GET, "/nothing", "204"),
            (Method::GET, "/same", "304"),
        ];
        for (sent, (method, path, code)) in cases.into_iter().enumerate() {
            let request = Request::builder()
                .method(method.clone())
                .version(version)
                .uri(format!("http://app.default{path}"))
                .body(ClientBody::empty())
                .unwrap();
            drop(desk.client().request(request).await.unwrap());
            let labels = [
                &*format!("response_code=\"{code}\""),
                r#"response_flags="-""#,
            ];
            until("the count", || {
                sum(&desk, "istio_requests_total{", &labels) == 1
            })
            .await;
            all_families_count(&desk, "source", sent + 1);
        }
    }
}
