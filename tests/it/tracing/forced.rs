//! `x-envoy-force-trace` in a composed mesh: who is heard, and who sees the header.

use axum::Router;
use axum::routing::any;
use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::Body;
use http_body_util::Full;
use tower_mesh::propagation::Propagation;
use tower_mesh::testing::Pki;
use tower_mesh::tls::Mode;

use crate::support::mesh::{
    app, build, empty, get, get2, http1, http2, http2_in_plaintext, read, serve,
};

const UNDECIDED: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
const FORCED: &str = "3f2504e0-4f89-a1d3-9a0c-0305e82c3301";
const ON: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

/// Answers with what the application sees: how many headers speak of force, the request id, and the
/// flags of the trace.
fn seen() -> Router {
    Router::new().fallback(any(|headers: HeaderMap| async move {
        let text = |name: &str| {
            headers
                .get(name)
                .map_or("", |value| value.to_str().unwrap())
        };
        let (_, flags) = text("traceparent").rsplit_once('-').unwrap();
        let force = headers
            .keys()
            .filter(|name| name.as_str().contains("force"));
        format!("{} {} {flags}", force.count(), text("x-request-id"))
    }))
}

/// The request id that the caller is told, and what the application saw.
async fn heard<B: Body<Error: std::fmt::Debug>>(answer: Response<B>) -> (String, String) {
    let (status, headers, text) = read(answer).await;
    assert_eq!(status, 200);
    let told = headers.get("x-request-id");
    let told = told.map_or("", |id| id.to_str().unwrap()).to_owned();
    (told, text)
}

/// §2.5/2 and §8/20: a peer of the mesh forces a trace and is told the request id; the application
/// sees no such header.
#[tokio::test]
async fn a_peer_of_the_mesh_forces_a_trace() {
    let pki = Pki::new("cluster.local").unwrap();
    let quiet = Propagation::new().sample_percent(0.0);
    let mesh = build(app(&pki).telemetry(|telemetry| telemetry.propagation(quiet))).await;
    let served = serve(&mesh, seen()).await;
    let mut one = http1::<Full<Bytes>>(&pki, "desk", served.address).await;
    let mut two = http2::<Full<Bytes>>(&pki, "desk", served.address).await;
    let forced = (FORCED.to_owned(), format!("0 {FORCED} 03"));
    let quiet = (String::new(), format!("0 {UNDECIDED} 02"));
    for (extra, expected) in [
        (("x-envoy-force-trace", "1"), &forced),
        (("x-envoy-force-trace", "true"), &forced),
        // Of other spellings none is heard, and none is seen.
        (("x_envoy_force_trace", "1"), &quiet),
        (("x-other", "1"), &quiet),
    ] {
        let request = |get: http::request::Builder| {
            empty(
                get.header("x-request-id", UNDECIDED)
                    .header(extra.0, extra.1),
            )
        };
        let answer = one.send_request(request(get("/"))).await.unwrap();
        assert_eq!(heard(answer).await, *expected, "HTTP/1.1 {extra:?}");
        let answer = two.send_request(request(get2("/"))).await.unwrap();
        assert_eq!(heard(answer).await, *expected, "HTTP/2 {extra:?}");
    }
    // What a caller has decided about its own trace stays.
    let request = get("/")
        .header("traceparent", ON)
        .header("x-request-id", UNDECIDED);
    let request = request.header("x-envoy-force-trace", "1");
    let answer = one.send_request(empty(request)).await.unwrap();
    let (_, text) = heard(answer).await;
    assert!(text.ends_with(" 00"), "{text}");
}

/// Nobody else does: the header is removed unheard.
#[tokio::test]
async fn a_caller_without_identity_forces_nothing() {
    let pki = Pki::new("cluster.local").unwrap();
    let quiet = Propagation::new()
        .sample_percent(0.0)
        .preserve_external_request_id();
    let permissive = app(&pki).mode(Mode::Permissive);
    let mesh = build(permissive.telemetry(|telemetry| telemetry.propagation(quiet))).await;
    let served = serve(&mesh, seen()).await;
    let mut sender = http2_in_plaintext::<Full<Bytes>>(served.address).await;
    let request = get2("/").header("x-request-id", UNDECIDED);
    let request = request.header("x-envoy-force-trace", "1");
    let answer = sender.send_request(empty(request)).await.unwrap();
    let expected = (String::new(), format!("0 {UNDECIDED} 02"));
    assert_eq!(heard(answer).await, expected);
}
