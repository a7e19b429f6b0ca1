//! Providers of the process, rules in CEL, and caches of decisions.

mod caching;
mod outcomes;
mod rules;

use std::convert::Infallible;
use std::future::pending;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{ServiceExt, service_fn};
use tower_mesh::external::{
    Authorization, AuthorizationRequest, Authorizer, AuthorizerError, BodyBound, Stage,
};
use tower_mesh::message::CountingBody;
use tower_mesh::source::Fixed;
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, MeshBuilder, Peer, Workload};

use crate::support::mesh::proven;

/// What a [`Stub`] does when it is asked.
#[derive(Clone, Debug)]
enum Says {
    This(Authorization),
    Error,
    Panics,
    /// Never answers.
    Nothing,
}

/// An authorizer that does what it was set to, and keeps what it was asked.
#[derive(Clone)]
struct Stub {
    says: Arc<Mutex<Says>>,
    asked: Arc<Mutex<Vec<AuthorizationRequest>>>,
    stage: Stage,
    body: Option<BodyBound>,
    /// Answers wait until this can be had.
    gate: Arc<tokio::sync::Mutex<()>>,
}

impl Stub {
    /// Holds all answers back until this is dropped.
    fn gate(&self) -> tokio::sync::OwnedMutexGuard<()> {
        Arc::clone(&self.gate).try_lock_owned().unwrap()
    }

    fn new(says: Says) -> Self {
        Self {
            says: Arc::new(Mutex::new(says)),
            asked: Arc::default(),
            stage: Stage::AfterTokens,
            body: None,
            gate: Arc::default(),
        }
    }

    fn allowing() -> Self {
        Self::new(Says::This(Authorization::allow()))
    }

    fn say(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    fn asked(&self) -> Vec<AuthorizationRequest> {
        self.asked.lock().unwrap().clone()
    }

    fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Authorizer for Stub {
    async fn authorize(
        &self,
        request: AuthorizationRequest,
    ) -> Result<Authorization, AuthorizerError> {
        self.asked.lock().unwrap().push(request);
        drop(self.gate.lock().await);
        let says = self.says.lock().unwrap().clone();
        match says {
            Says::This(answer) => Ok(answer),
            Says::Error => Err(AuthorizerError::from_static("down")),
            Says::Panics => panic!("as the test wants it"),
            Says::Nothing => pending().await,
        }
    }

    fn stage(&self) -> Stage {
        self.stage
    }

    fn wants_body(&self) -> Option<BodyBound> {
        self.body
    }
}

/// A policy that sends requests for paths below `/NAME` to the provider of this name.
fn asks(provider: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
         metadata: {{name: ask-{provider}}}\n\
         spec: {{action: CUSTOM, provider: {{name: {provider}}}, \
         rules: [{{to: [{{operation: {{paths: ['/{provider}*']}}}}]}}]}}\n---\n"
    )
}

fn builder(yaml: impl Into<String>) -> MeshBuilder {
    let identity = Pki::new("cluster.local").unwrap();
    let identity = identity.identity("default", "app").unwrap();
    let workload = Workload::new("default", "app").service("app", 8443);
    let builder = Mesh::builder(workload, identity);
    builder.config(Fixed::yaml("p.yaml", yaml.into()))
}

async fn build(builder: MeshBuilder) -> Mesh {
    let (mesh, driver) = builder.build().await.unwrap();
    tokio::spawn(driver.run());
    mesh
}

/// Answers with the request's target, some of its headers and its body.
async fn echo(
    request: Request<CountingBody<Full<Bytes>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut shown = request.uri().to_string();
    for (name, value) in request.headers() {
        if ["x-ward", "x-list", "x-secret"].contains(&name.as_str()) {
            shown += &format!(" {name}={}", value.to_str().unwrap());
        }
    }
    let body = request.into_body().collect().await.unwrap().to_bytes();
    if !body.is_empty() {
        shown += &format!(" [{}]", String::from_utf8_lossy(&body));
    }
    Ok(Response::new(Full::from(shown)))
}

/// What a caller gets.
#[derive(Debug)]
struct Got {
    status: u16,
    headers: HeaderMap,
    body: String,
}

async fn send(mesh: &Mesh, request: Request<Full<Bytes>>) -> Got {
    let answer = mesh
        .protect(service_fn(echo))
        .oneshot(request)
        .await
        .unwrap();
    let (head, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Got {
        status: head.status.as_u16(),
        headers: head.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

fn request(path: &str, peer: Peer) -> http::request::Builder {
    Request::get(path).header("host", "app").extension(peer)
}

/// The answer to `GET` of this path by this caller.
async fn get(mesh: &Mesh, path: &str, caller: &str) -> Got {
    let request = request(path, proven(caller)).body(Full::default());
    send(mesh, request.unwrap()).await
}

async fn status(mesh: &Mesh, path: &str, caller: &str) -> u16 {
    get(mesh, path, caller).await.status
}

const ALLOWED: u16 = StatusCode::OK.as_u16();
const REFUSED: u16 = StatusCode::FORBIDDEN.as_u16();
