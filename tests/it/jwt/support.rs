//! Requests through the layer, and what came of them.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use tower::{Layer, ServiceExt, service_fn};
use tower_mesh::context::{Claims, Exchange};
use tower_mesh::istio::JwtRule;
use tower_mesh::jwt::{Authenticator, JwtLayer, Keyring};
use tower_mesh::live::Live;
use tower_mesh::policy::Authentication;
use tower_mesh::testing::Issuer;

/// What came of a request: the answer, and what the application saw of it.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) status: StatusCode,
    pub(super) body: String,
    pub(super) headers: http::HeaderMap,
    pub(super) seen: Option<Seen>,
    pub(super) exchange: Exchange,
}

#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) head: http::HeaderMap,
    pub(super) uri: http::Uri,
    pub(super) claims: Option<Claims>,
}

pub(super) fn rule(issuer: &Issuer) -> JwtRule {
    let mut rule = JwtRule::default();
    rule.issuer = Some(issuer.name().into());
    rule.jwks = Some(issuer.jwks().as_str().into());
    rule
}

pub(super) fn authentication(rules: Vec<JwtRule>) -> Authentication {
    let mut authentication = Authentication::default();
    authentication.rules = rules;
    authentication
}

pub(super) fn layer(rules: Vec<JwtRule>) -> JwtLayer {
    let compiled = Authenticator::compile(&authentication(rules), &mut Keyring::new()).unwrap();
    JwtLayer::new(Live::new(compiled))
}

pub(super) async fn send(layer: &JwtLayer, request: Request<Empty<Bytes>>) -> Outcome {
    let seen = std::sync::Arc::new(std::sync::OnceLock::new());
    let note = seen.clone();
    let app = service_fn(move |request: Request<Empty<Bytes>>| {
        let note = note.clone();
        async move {
            let exchange = request.extensions().get::<Exchange>().cloned();
            let _ = note.set(Seen {
                head: request.headers().clone(),
                uri: request.uri().clone(),
                claims: exchange.and_then(|exchange| exchange.claims().cloned()),
            });
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let (mut head, body) = request.into_parts();
    let exchange = Exchange::from_extensions(&mut head.extensions);
    let response = layer
        .layer(app)
        .oneshot(Request::from_parts(head, body))
        .await
        .unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Outcome {
        status: parts.status,
        body: String::from_utf8(body.to_vec()).unwrap(),
        headers: parts.headers,
        seen: seen.get().cloned(),
        exchange,
    }
}

pub(super) fn get(uri: &str) -> http::request::Builder {
    Request::get(uri).header("host", "patients")
}

pub(super) fn bearer(token: &str) -> Request<Empty<Bytes>> {
    get("/charts")
        .header(AUTHORIZATION, format!("Bearer {token}"))
        .body(Empty::new())
        .unwrap()
}
