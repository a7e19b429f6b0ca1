//! The layers by hand, in their order, in an application with an acceptor of its own.
//!
//! ```text
//! cargo run --example layers
//! ```
//!
//! `patients` reads its rules from a directory that is followed. Its acceptor is its own: it gives
//! each connection the peer that this program names, where a TLS terminator would give the one
//! that it has verified. The program calls as a desk that may read and as others that may not, and
//! changes the rules meanwhile.

#![allow(clippy::print_stdout, reason = "a program speaks to its user")]

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tower::Layer;
use tower_mesh::context::PeerLayer;
use tower_mesh::identity::SpiffeId;
use tower_mesh::metrics::{Format, MetricsLayer};
use tower_mesh::propagation::{Propagation, PropagationLayer};
use tower_mesh::source::Directory;
use tower_mesh::testing::Issuer;
use tower_mesh::{Claims, Guards, Peer, TraceContext, Workload};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let issuer = Issuer::es256("https://login.clinic.example");
    let directory = tempfile::tempdir()?;
    let policies = directory.path().join("policies.yaml");
    std::fs::write(&policies, rules(&issuer, "GET"))?;

    // The rules, and the driver that follows them and fetches keys.
    let workload = Workload::new("default", "patients").service("patients", 8443);
    let (guards, driver) = Guards::builder(workload.clone())
        .config(Directory::watch(directory.path()))
        .require_policy()
        .build()
        .await?;
    tokio::spawn(driver.run());

    let app = app(&guards, &workload);
    let token = issuer.token().subject("alice").sign();
    let bad = issuer.token().subject("alice").tampered();
    for (caller, token, expected) in [
        (Some("desk"), Some(&token), StatusCode::OK),
        (Some("desk"), None, StatusCode::FORBIDDEN),
        (Some("desk"), Some(&bad), StatusCode::UNAUTHORIZED),
        (Some("lab"), Some(&token), StatusCode::FORBIDDEN),
        (None, Some(&token), StatusCode::FORBIDDEN),
    ] {
        let (status, text) = call(&app, caller, token).await?;
        println!("{}: {status}: {text}", caller.unwrap_or("a stranger"));
        assert_eq!(status, expected);
    }

    // The layers are there already, and follow.
    std::fs::write(&policies, rules(&issuer, "DELETE"))?;
    let changed = async {
        while call(&app, Some("desk"), Some(&token)).await?.0 == StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok::<_, BoxError>(())
    };
    tokio::time::timeout(Duration::from_secs(30), changed).await??;
    println!("the rules have changed: the desk may not read any more");
    assert!(guards.readiness().is_ready());

    let metrics = guards.metrics().render(Format::Text);
    let counted = metrics
        .lines()
        .filter(|line| line.starts_with("istio_requests_total{"));
    println!("{} series of requests", counted.count());
    Ok(())
}

/// The order of the layers, from the innermost to the outermost, as `Router::layer` has it.
fn app(guards: &Guards, workload: &Workload) -> Router {
    Router::new()
        .route("/patients/{id}", get(read_patient))
        // 4. May this caller do this? Reads the claims, so it goes inside of `jwt`.
        .layer(guards.rbac())
        // 3. Whose token is it?
        .layer(guards.jwt())
        // 2. Counts what the guards refuse, too.
        .layer(MetricsLayer::new(guards.metrics().server(workload)))
        // 1. Traces all of it.
        .layer(PropagationLayer::new(Propagation::new().workload(workload)))
}

async fn read_patient(
    peer: Peer,
    claims: Claims,
    trace: TraceContext,
    Path(id): Path<u64>,
) -> String {
    let caller = peer.service_account().unwrap_or("a stranger");
    let user = claims.subject().unwrap_or("no one");
    format!(
        "patient {id} for {user} by {caller}, in trace {}",
        trace.trace_id
    )
}

/// Serves one connection as an acceptor of its own would, and asks over it.
async fn call(
    app: &Router,
    caller: Option<&str>,
    token: Option<&String>,
) -> Result<(StatusCode, String), BoxError> {
    let socket = TcpListener::bind("127.0.0.1:0").await?;
    let (connected, accepted) =
        tokio::join!(TcpStream::connect(socket.local_addr()?), socket.accept());
    let (stream, remote) = accepted?;
    let local = stream.local_addr()?;
    // Who has proven to be there: what the handshake verified, never what a request says.
    let peer = match caller {
        Some(account) => {
            let id = format!("spiffe://cluster.local/ns/default/sa/{account}");
            Peer::proven(remote, local, SpiffeId::new(&id)?)
        }
        None => Peer::plaintext(remote, local),
    };
    // 0. Outside of all the others, and for this connection only.
    let service = TowerToHyperService::new(PeerLayer::new(peer).layer(app.clone()));
    let served =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::spawn(served);

    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(connected?)).await?;
    tokio::spawn(connection);
    let mut request = Request::get("/patients/7").header("host", "patients");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let answer = sender.send_request(request.body(Body::empty())?).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// The desk may do this, for users that have signed in.
fn rules(issuer: &Issuer, method: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: users}}
spec:
  jwtRules:
  - issuer: {}
    jwks: '{}'
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: desk}}
spec:
  rules:
  - from:
    - source:
        principals: [cluster.local/ns/default/sa/desk]
        requestPrincipals: ['{}/*']
    to:
    - operation:
        methods: [{method}]
",
        issuer.name(),
        issuer.jwks(),
        issuer.name(),
    )
}
