use axum::Router;
use axum::routing::any;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body::Frame;
use tokio::sync::mpsc;
use tower_mesh::mesh::BuildError;
use tower_mesh::propagation::{Propagation, SpanKind, SpanView};
use tower_mesh::source::Fixed;
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, Workload};

use super::site::{Spans, app, desk, only};
use crate::support::mesh::{Fed, build, empty, get, http1, read, serve};

fn policies(action: &str, path: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
         metadata: {{annotations: {{istio.io/dry-run: 'true'}}, name: trial-{action}}}\n\
         spec: {{action: {action}, rules: [{{to: [{{operation: {{paths: [{path}]}}}}]}}]}}\n---\n"
    )
}

/// A policy on trial refuses nothing; the span tells what it would have done.
#[tokio::test]
async fn a_server_span_tells_what_policies_on_trial_would_decide() {
    let pki = Pki::new("cluster.local").unwrap();
    let served = Spans::default();
    let both = policies("DENY", "/secret") + &policies("ALLOW", "/open");
    let builder = crate::support::mesh::app(&pki)
        .config(Fixed::yaml("policies.yaml", &both))
        .telemetry(|telemetry| telemetry.propagation(served.recording()));
    let app = serve(&build(builder).await, Router::new()).await;
    let mut sender = http1(&pki, "desk", app.address).await;
    let tag = "istio.authorization.dry_run";
    for (path, deny, allow) in [
        ("/secret", ("denied", true), ("denied", false)),
        ("/open", ("allowed", false), ("allowed", true)),
        ("/other", ("allowed", false), ("denied", false)),
    ] {
        let answer = sender.send_request(empty(get(path))).await.unwrap();
        assert_eq!(read(answer).await.0, 404, "the application's own");
        let spans = served.all(1).await;
        for (kind, (result, matches)) in [("deny", deny), ("allow", allow)] {
            let shown = |what| spans[0].tag(&format!("{tag}.{kind}_policy.{what}"));
            assert_eq!(shown("result"), Some(result), "{path} {kind}");
            let name = format!(
                "ns[default]-policy[trial-{}]-rule[0]",
                kind.to_ascii_uppercase()
            );
            assert_eq!(shown("name"), matches.then_some(&*name), "{path} {kind}");
        }
    }
}

/// Of gRPC, what the trailers say counts more than what the head says.
#[tokio::test]
async fn grpc_status_and_message_are_those_of_the_trailers() {
    let pki = Pki::new("cluster.local").unwrap();
    let (sent, served) = (Spans::default(), Spans::default());
    let fails = any(|headers: HeaderMap| async move {
        let at_once = headers.contains_key("at-once");
        let response = Response::builder().header("content-type", "application/grpc");
        let response = match at_once {
            true => response
                .header("grpc-status", "5")
                .header("grpc-message", "no such chart"),
            false => response,
        };
        let trailers = [("grpc-status", "8"), ("grpc-message", "too many charts")];
        let trailers = trailers.map(|(name, value)| {
            let value = HeaderValue::from_static(value);
            (http::HeaderName::from_static(name), value)
        });
        let trailers = Frame::trailers(trailers.into_iter().collect::<HeaderMap>());
        let data = Frame::data(Bytes::from_static(&[0, 0, 0, 0, 0]));
        let (feed, fed) = mpsc::unbounded_channel();
        if !at_once {
            feed.send(data).unwrap();
            feed.send(trailers).unwrap();
        }
        let body = Fed(fed);
        response.body(axum::body::Body::new(body)).unwrap()
    });
    let app = app(&pki, served.recording(), Router::new().fallback(fails)).await;
    let desk = build(desk(&pki, sent.recording(), "app.default", &[app.address])).await;
    for (at_once, status, message) in [
        (true, "5", "no such chart"),
        (false, "8", "too many charts"),
    ] {
        let call = desk.client().post("http://app.default/charts.Charts/Read");
        let call = call.header("content-type", "application/grpc");
        let call = match at_once {
            true => call.header("at-once", "1"),
            false => call,
        };
        drop(read(call.await.unwrap()).await);
        for span in [&sent.all(1).await[0], &served.all(1).await[0]] {
            assert_eq!(
                span.tag("grpc.status_code"),
                Some(status),
                "{:?}",
                span.kind
            );
            assert_eq!(span.tag("grpc.message"), Some(message), "{:?}", span.kind);
            let named = span.tags.iter().filter(|(name, _)| name == "grpc.message");
            assert_eq!(named.count(), 1);
        }
    }
}

/// The view of OpenTelemetry alone: its names and attributes, and nothing of Istio's.
#[tokio::test]
async fn spans_can_have_the_view_of_the_conventions_alone() {
    let pki = Pki::new("cluster.local").unwrap();
    let (sent, served) = (Spans::default(), Spans::default());
    let view = SpanView::SemanticConventions;
    let app = app(&pki, served.recording().span_view(view), Router::new()).await;
    let propagation = sent.recording().span_view(view).span_per_try();
    let desk = build(desk(&pki, propagation, "app.default", &[app.address])).await;
    let call = desk.client().get("http://app.default/7");
    assert_eq!(read(call.await.unwrap()).await.0, 404);
    let spans = [sent.all(2).await, served.all(1).await].concat();
    let is_istios = |name: &str| {
        let other = ["component", "zone", "error", "user_agent", "request_size"];
        let names = ["node_id", "response_flags", "peer.address", "http.url"];
        name.starts_with("istio.")
            || name.starts_with("upstream_")
            || other.contains(&name)
            || names.contains(&name)
    };
    for span in &spans {
        assert_eq!(&*span.name, "GET");
        let found = span.tags.iter().find(|(name, _)| is_istios(name));
        assert!(found.is_none(), "{:?}: {found:?}", span.kind);
        assert_eq!(span.tag("http.response.status_code"), Some("404"));
        assert_eq!(span.tag("http.request.method"), Some("GET"));
        assert!(span.tag("guid:x-request-id").is_some());
    }
    let server = only(&spans, SpanKind::Server);
    assert_eq!(server.tag("url.path"), Some("/7"));
    assert_eq!(server.tag("http.request.body.size"), Some("0"));
    assert!(!server.is_error, "of a server, 404 is no error");
    for span in spans.iter().filter(|span| span.kind == SpanKind::Client) {
        assert_eq!(span.tag("url.full"), Some("http://app.default/7"));
        assert_eq!(span.tag("server.address"), Some("app.default"));
        assert_eq!(span.tag("network.peer.address"), Some("127.0.0.1"));
        assert_eq!(span.tag("error.type"), Some("404"));
        assert!(span.is_error);
    }
}

/// Custom tags and the rest can be replaced while a mesh runs, and no other mesh is touched.
#[tokio::test]
async fn a_mesh_has_options_of_its_own() {
    let pki = Pki::new("cluster.local").unwrap();
    let served = Spans::default();
    let propagation = served.recording();
    let app = app(&pki, propagation.clone(), Router::new()).await;
    let silent = propagation.server_options().report_spans(false);
    propagation.replace_options(silent.clone(), silent);
    let mut sender = http1(&pki, "desk", app.address).await;
    drop(read(sender.send_request(empty(get("/"))).await.unwrap()).await);
    served.all(1).await;
}

#[tokio::test]
async fn shared_spans_to_a_collector_that_cannot_take_them_are_a_mistake() {
    let pki = Pki::new("cluster.local").unwrap();
    let built = async |propagation: Propagation| -> Result<_, BuildError> {
        let identity = pki.identity("default", "app").unwrap();
        let builder = Mesh::builder(Workload::new("default", "app"), identity);
        let builder = builder.telemetry(|telemetry| {
            telemetry
                .propagation(propagation)
                .otlp("http://127.0.0.1:4317")
        });
        builder.build().await
    };
    let error = built(Propagation::new().share_spans()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("`share_spans` is for Zipkin alone"), "{text}");
    assert!(built(Propagation::new()).await.is_ok());
}
