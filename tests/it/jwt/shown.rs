//! A token in the query shows in no span, whichever layers stand around the guard.

use std::convert::Infallible;
use std::sync::mpsc::{Receiver, Sender, channel};

use axum::Router;
use axum::extract::OriginalUri;
use axum::routing::get;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_mesh::context::{Exchange, Peer};
use tower_mesh::jwt::JwtLayer;
use tower_mesh::live::Live;
use tower_mesh::metrics::{Format, MetricsLayer, Registry};
use tower_mesh::policy::Engine;
use tower_mesh::propagation::{FinishedSpan, Propagation, SpanSink};
use tower_mesh::rbac::RbacLayer;
use tower_mesh::testing::Issuer;
use tower_mesh::{Workload, context};

use super::support::{layer, rule};

#[derive(Debug)]
struct Kept(Sender<FinishedSpan>);

impl SpanSink for Kept {
    fn export(&self, span: FinishedSpan) {
        self.0.send(span).unwrap();
    }
}

fn recording() -> (Propagation, Receiver<FinishedSpan>) {
    let (sender, spans) = channel();
    let propagation = Propagation::new()
        .sample_percent(100.0)
        .export_to(Kept(sender));
    (propagation, spans)
}

fn rbac(rules: &str) -> RbacLayer {
    let yaml = format!(
        "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: p, namespace: default}}
spec: {{action: DENY, rules: {rules}}}
"
    );
    let workload = Workload::new("default", "app");
    let engine = Engine::builder(&workload).yaml(&yaml);
    RbacLayer::new(Live::new(engine.build().unwrap()))
}

/// A guard that finds tokens in the parameter `jwt`, and leaves them there or not.
fn jwt(issuer: &Issuer, parameter: &str, forwards: bool) -> JwtLayer {
    let mut rule = rule(issuer);
    rule.from_params = vec![parameter.into()];
    rule.forward_original_token = forwards;
    layer(vec![rule])
}

fn request(uri: &str) -> Request<Empty<Bytes>> {
    let mut request = Request::get(uri)
        .header("host", "app")
        .body(Empty::new())
        .unwrap();
    let peer = Peer::plaintext("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap());
    request.extensions_mut().insert(peer);
    request
}

async fn app<B>(_: Request<B>) -> Result<Response<Empty<Bytes>>, Infallible> {
    Ok(Response::new(Empty::new()))
}

/// Sends a request, reads the answer to its end, and gives what was shown of it: the answer, the span, the exchange.
async fn shown<S, B>(
    service: S,
    spans: &Receiver<FinishedSpan>,
    request: Request<Empty<Bytes>>,
) -> (StatusCode, String)
where
    S: tower::Service<Request<Empty<Bytes>>, Response = Response<B>, Error = Infallible>,
    B: http_body::Body<Data = Bytes, Error: std::fmt::Debug>,
{
    let (mut head, body) = request.into_parts();
    let exchange = Exchange::from_extensions(&mut head.extensions);
    let answer = service
        .oneshot(Request::from_parts(head, body))
        .await
        .unwrap();
    let (head, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let told: Vec<_> = spans.try_iter().collect();
    let target = exchange.target();
    let all = format!(
        "{:?} {body:?} {told:?} {exchange:?} {target:?}",
        head.headers
    );
    (head.status, all)
}

/// J-25: by the parameter's name once a guard has looked, by the form of the value where none came to look.
#[tokio::test]
async fn a_span_outside_the_guard_shows_no_token() {
    let issuer = Issuer::eddsa("i");
    let good = issuer.token().subject("alice").sign();
    let bad = issuer.token().subject("alice").tampered();
    let (propagation, spans) = recording();
    let registry = Registry::new();
    let metrics = || MetricsLayer::new(registry.server(&Workload::new("default", "app")));
    for forwards in [false, true] {
        for (token, status) in [(good.as_str(), 200), (&bad, 401), ("garbage-4711", 401)] {
            let secret = token.rsplit('.').next().unwrap();
            for uri in [
                format!("/x?page=2&jwt={token}&full"),
                format!("/x?page=2&%6awt={token}&full"),
                format!("http://app/x?page=2&jwt={token}&full"),
                format!("/x?jwt={token}&page=2&jwt={token}&full"),
            ] {
                let service = ServiceBuilder::new()
                    .layer(propagation.server_layer())
                    .layer(metrics())
                    .layer(rbac("[{to: [{operation: {paths: [/closed]}}]}]"))
                    .layer(jwt(&issuer, "jwt", forwards))
                    .service_fn(app);
                let (answered, all) = shown(service, &spans, request(&uri)).await;
                assert_eq!(answered, status, "{uri}");
                assert!(!all.contains(secret), "{uri}: {all}");
                assert!(all.contains("http://app/x?page=2&full"), "{uri}: {all}");
            }
        }
    }
    assert!(!registry.render(Format::Text).contains("jwt="));
    // A preflight's token is not looked at, but hidden.
    let service = ServiceBuilder::new()
        .layer(propagation.server_layer())
        .layer(jwt(&issuer, "jwt", true))
        .service_fn(app);
    let mut preflight = request("/x?page=2&jwt=garbage-4711&full");
    *preflight.method_mut() = http::Method::OPTIONS;
    for (name, value) in [
        ("origin", "https://a.example"),
        ("access-control-request-method", "PUT"),
    ] {
        let value = http::HeaderValue::from_static(value);
        preflight.headers_mut().insert(name, value);
    }
    let (status, all) = shown(service, &spans, preflight).await;
    assert!(status == 200 && !all.contains("garbage-4711"), "{all}");
}

/// Where a layer in front of the guard refuses, nobody said which parameter holds a token: its form does.
#[tokio::test]
async fn a_request_that_never_reached_the_guard_shows_no_token() {
    let issuer = Issuer::eddsa("i");
    let (propagation, spans) = recording();
    let closed = rbac("[{}]");
    for token in [
        issuer.token().subject("alice").sign(),
        issuer.token().subject("alice").tampered(),
        issuer.token().subject("alice").unsigned(),
    ] {
        let canary = token.split('.').nth(1).unwrap();
        for value in [
            token.clone(),
            token.replace('.', "%2E"),
            token.replace('.', "%2e"),
            format!("%20{token}%0a"),
            format!(".{}", token.replace('.', "..")),
            format!("{token}%3D%3D"),
        ] {
            for name in ["jwt", "access_token", "x"] {
                let uri = format!("/x?page=2&{name}={value}&full");
                let service = ServiceBuilder::new()
                    .layer(propagation.server_layer())
                    .layer(closed.clone())
                    .layer(jwt(&issuer, "jwt", true))
                    .service_fn(app);
                let (status, all) = shown(service, &spans, request(&uri)).await;
                assert_eq!(status, 403);
                let span = all.split("http.url").nth(1).unwrap();
                assert!(!span[..200].contains(canary), "{uri}: {all}");
                assert!(all.contains("http://app/x?page=2&full"), "{uri}: {all}");
            }
        }
    }
}

/// Without any guard: the calls that a handler makes, and the path before a rewrite.
#[tokio::test]
async fn a_client_and_a_path_before_a_rewrite_show_no_token() {
    let issuer = Issuer::eddsa("i");
    let token = issuer.token().subject("alice").sign();
    let (propagation, spans) = recording();
    let client = propagation.client_layer().layer(service_fn(app));
    let target = format!("http://other/x?jwt={token}&page=2&full");
    client.oneshot(request(&target)).await.unwrap();
    let span = spans.try_recv().unwrap();
    assert_eq!(span.tag("http.url"), Some("http://other/x?page=2&full"));

    for (value, status) in [(token.as_str(), 200), ("garbage-4711", 401)] {
        let service = ServiceBuilder::new()
            .layer(propagation.server_layer())
            .layer(jwt(&issuer, "jwt", true))
            .service_fn(app);
        let mut rewritten = request(&format!("/y?jwt={value}"));
        let before = format!("/x?page=2&jwt={value}&full");
        rewritten
            .headers_mut()
            .insert("x-envoy-original-path", before.parse().unwrap());
        let (mut head, body) = rewritten.into_parts();
        // A peer from outside does not get to say what the path was.
        head.extensions.clear();
        let (answered, all) = shown(service, &spans, Request::from_parts(head, body)).await;
        assert_eq!(answered, status);
        assert!(!all.contains(value), "{all}");
        assert!(all.contains("http://app/x?page=2&full"), "{all}");
    }
}

/// What a handler calls belongs to its request, and so do the parameters that may hold its token.
#[tokio::test]
async fn a_call_of_a_handler_shows_none_of_the_parameters_of_its_request() {
    let issuer = Issuer::eddsa("i");
    let token = issuer.token().subject("alice").sign();
    let (propagation, spans) = recording();
    let client = propagation.client_layer().layer(service_fn(app));
    let service = ServiceBuilder::new()
        .layer(propagation.server_layer())
        .layer(jwt(&issuer, "jwt", true))
        .service_fn(move |_: Request<Empty<Bytes>>| {
            assert!(context::current().is_some());
            client
                .clone()
                .oneshot(request("http://other/x?page=2&jwt=opaque-4711&full"))
        });
    let answer = service
        .oneshot(request(&format!("/?jwt={token}")))
        .await
        .unwrap();
    answer.into_body().collect().await.unwrap();
    let urls: Vec<_> = spans
        .try_iter()
        .map(|span| span.tag("http.url").unwrap().to_owned())
        .collect();
    assert_eq!(urls, ["http://other/x?page=2&full", "http://app/"]);
}

/// Two guards that look in different parameters.
#[tokio::test]
async fn the_parameters_of_every_guard_are_hidden() {
    let issuer = Issuer::eddsa("i");
    let token = issuer.token().subject("alice").sign();
    let (propagation, spans) = recording();
    for (first, second) in [
        (token.as_str(), "opaque-4711"),
        (token.as_str(), token.as_str()),
    ] {
        let service = ServiceBuilder::new()
            .layer(propagation.server_layer())
            .layer(jwt(&issuer, "one", true))
            .layer(jwt(&issuer, "two", true))
            .service_fn(app);
        let uri = format!("/x?one={first}&page=2&two={second}&full");
        let (_, all) = shown(service, &spans, request(&uri)).await;
        let secret = token.rsplit('.').next().unwrap();
        assert!(
            !all.contains(secret) && !all.contains("opaque-4711"),
            "{all}"
        );
        assert!(all.contains("http://app/x?page=2&full"), "{all}");
    }
}

/// A challenge that refuses one token does not repeat another one.
#[tokio::test]
async fn a_challenge_shows_no_token_of_any_parameter() {
    let issuer = Issuer::eddsa("i");
    let token = issuer.token().subject("alice").sign();
    let service = jwt(&issuer, "jwt", false).layer(service_fn(app));
    for other in [
        format!("access_token={token}"),
        format!("x={token}"),
        "access_token=opaque".into(),
    ] {
        let uri = format!("/x?jwt=bad&page=2&{other}");
        let answer = service.clone().oneshot(request(&uri)).await.unwrap();
        assert_eq!(answer.status(), 401);
        let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
        assert_eq!(
            challenge,
            r#"Bearer realm="http://app/x?page=2", error="invalid_token""#
        );
    }
}

/// What looks a little like a token stays: names of hosts, versions, addresses.
#[tokio::test]
async fn parameters_that_hold_no_token_are_shown() {
    let (propagation, spans) = recording();
    let service = propagation.server_layer().layer(service_fn(app));
    for query in [
        "version=1.2.3",
        "host=patients.default.svc.cluster.local",
        "to=https://www.example.org/a.b.c/index.html?x",
        "mail=somebody.with.name@hospital.example.org",
        "a=1&a&=&b=%2E.%2e",
    ] {
        let answer = service
            .clone()
            .oneshot(request(&format!("/x?{query}")))
            .await
            .unwrap();
        answer.into_body().collect().await.unwrap();
        let span = spans.try_recv().unwrap();
        let expected = format!("http://app/x?{query}");
        assert_eq!(span.tag("http.url"), Some(&*expected));
    }
}

/// J-26: neither does the target that axum's routers keep beside the request's.
#[tokio::test]
async fn a_token_that_is_taken_out_is_not_in_the_original_uri() {
    let issuer = Issuer::es256("https://issuer.test");
    let token = issuer.token().subject("alice").sign();
    let heard = || {
        let said = |OriginalUri(uri): OriginalUri| async move { uri.to_string() };
        Router::new().route("/b", get(said))
    };
    for forwards in [false, true] {
        let guard = || jwt(&issuer, "jwt", forwards);
        let expected = match forwards {
            true => format!("/a/b?jwt={token}&x=1"),
            false => "/a/b?x=1".to_owned(),
        };
        for app in [
            Router::new().nest("/a", heard().layer(guard())),
            Router::new().nest("/a", heard()).layer(guard()),
        ] {
            let asked = Request::get(format!("/a/b?jwt={token}&x=1"));
            let asked = asked.body(axum::body::Body::empty()).unwrap();
            let answer = app.oneshot(asked).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            let seen = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(seen, expected);
        }
    }
}
