//! axum's extractors without a mesh, what they answer when a fact is missing, and peers that are put by hand.

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::routing::get;
use axum::{Extension, Router};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt, service_fn};
use tower_mesh::context::{Exchange, MissingFact, PeerLayer};
use tower_mesh::jwt::{Authenticator, JwtLayer, Keyring};
use tower_mesh::live::Live;
use tower_mesh::policy::Engine;
use tower_mesh::propagation::{Propagation, PropagationLayer};
use tower_mesh::testing::{Issuer, Pki};
use tower_mesh::{Claims, Peer, TraceContext, Workload};
use tracing::Level;

use crate::support::log::Log;
use crate::support::mesh::{ISSUER, app, authentication, build, proven, read, unproven};

/// A route per fact, and one for all that may be missing.
fn routes() -> Router {
    Router::new()
        .route(
            "/peer",
            get(|peer: Peer| async move { peer.principal().unwrap_or("nobody").to_owned() }),
        )
        .route("/trace", get(|_: TraceContext| async { "traced" }))
        .route(
            "/claims",
            get(|claims: Claims| async move { claims.subject().unwrap_or_default().to_owned() }),
        )
        .route(
            "/any",
            get(
                |peer: Option<Peer>, claims: Option<Claims>, trace: Option<TraceContext>| async move {
                    format!("{} {} {}", peer.is_some(), claims.is_some(), trace.is_some())
                },
            ),
        )
}

/// A layer for tokens of this issuer; by no rule without one.
fn jwt(issuer: Option<&Issuer>) -> JwtLayer {
    by(&issuer.map(authentication).unwrap_or_default())
}

fn by(yaml: &str) -> JwtLayer {
    let workload = Workload::new("default", "app").service("app", 2);
    let engine = Engine::builder(&workload).yaml(yaml).build().unwrap();
    let rules = Authenticator::compile(engine.authentication(2), &mut Keyring::new());
    JwtLayer::new(Live::new(rules.unwrap()))
}

fn request(path: &str) -> Request<Body> {
    let request = Request::get(path).header("host", "app");
    request.body(Body::empty()).unwrap()
}

const NO_PEER: &str = "the handler asks for a Peer, and none is known: serve it by Mesh::serve, or wrap it in a PeerLayer";
const NO_TRACE: &str = "the handler asks for a TraceContext, and the request has none: serve it by Mesh::serve, or wrap it in a PropagationLayer";
const NO_GUARD: &str = "the handler asks for Claims, and no token is verified here: serve it by Mesh::serve, or wrap it in a JwtLayer, with a RequestAuthentication that applies to it";
const NO_TOKEN: &str = "this needs a verified end-user token, and the request has none";

#[tokio::test]
async fn a_missing_fact_says_what_is_wrong() {
    let issuer = Issuer::es256(ISSUER);
    let guarded = routes().layer(jwt(Some(&issuer)));
    let ruleless = routes().layer(jwt(None));
    let of_peers = routes().layer(by("apiVersion: authentication.istio.io/v1alpha1\nkind: Policy\nmetadata: {name: default}\nspec: {peers: [{mtls: {mode: PERMISSIVE}}]}\n"));
    let rows = [
        ("bare", routes(), "/peer", 500, NO_PEER),
        ("bare", routes(), "/trace", 500, NO_TRACE),
        ("bare", routes(), "/claims", 500, NO_GUARD),
        ("bare", routes(), "/any", 200, "false false false"),
        ("no rules", ruleless, "/claims", 500, NO_GUARD),
        ("peers alone", of_peers, "/claims", 500, NO_GUARD),
        ("no token", guarded.clone(), "/claims", 401, NO_TOKEN),
        ("no token", guarded, "/any", 200, "false false false"),
    ];
    for (name, app, path, status, body) in rows {
        let (log, _listening) = Log::listen(Level::INFO);
        let (found, headers, text) = read(app.oneshot(request(path)).await.unwrap()).await;
        assert_eq!((found, text.as_str()), (status, body), "{name} {path}");
        let challenge = headers
            .get("www-authenticate")
            .map(|value| value.to_str().unwrap());
        assert_eq!(
            challenge,
            (status == 401).then_some("Bearer realm=\"tower-mesh\""),
            "{name} {path}"
        );
        // Only what the application has to put right is in its log.
        let told = log.with(&["ERROR", "tower_mesh::access", body]);
        assert_eq!(
            told.len(),
            usize::from(status == 500),
            "{name} {path}: {}",
            log.text()
        );
    }
}

#[tokio::test]
async fn the_facts_are_found_where_they_are() {
    let issuer = Issuer::es256(ISSUER);
    let token = format!("Bearer {}", issuer.token().subject("alice").sign());
    let whole = routes()
        .layer(jwt(Some(&issuer)))
        .layer(PropagationLayer::new(Propagation::new()))
        .layer(PeerLayer::new(proven("desk")));
    // Without any layer of ours: what a listener left, in either form, is enough for a Peer.
    let left = routes().layer(Extension(proven("desk")));
    let connected = routes().layer(Extension(ConnectInfo(proven("desk"))));
    let desk = "cluster.local/ns/default/sa/desk";
    for (name, app, path, expected) in [
        ("whole", whole.clone(), "/peer", desk),
        ("whole", whole.clone(), "/claims", "alice"),
        ("whole", whole.clone(), "/trace", "traced"),
        ("whole", whole, "/any", "true true true"),
        ("left", left, "/peer", desk),
        ("connected", connected, "/peer", desk),
    ] {
        let mut request = request(path);
        let value = token.parse().unwrap();
        request.headers_mut().insert("authorization", value);
        let (status, _, text) = read(app.oneshot(request).await.unwrap()).await;
        assert_eq!((status, text.as_str()), (200, expected), "{name} {path}");
    }
}

/// For those who answer in a form of their own.
#[test]
fn a_missing_fact_is_an_error() {
    let error: Box<dyn std::error::Error + Send + Sync> = MissingFact::Claims.into();
    assert_eq!(error.to_string(), NO_TOKEN);
    assert!(error.source().is_none());
}

/// Who the exchange of a request says is there.
async fn who<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let exchange = request.extensions().get::<Exchange>();
    let principal = exchange.and_then(|exchange| exchange.peer()?.principal());
    let text = principal.unwrap_or("nobody").to_owned();
    Ok(Response::new(Full::from(text)))
}

#[tokio::test]
async fn a_peer_by_hand_fills_a_gap_and_replaces_nobody() {
    let by_hand = PeerLayer::new(proven("by-hand"));
    let asked = |put: &dyn Fn(&mut Request<()>)| {
        let mut request = Request::new(());
        put(&mut request);
        let service = by_hand.layer(service_fn(who));
        async move {
            let answer = service.oneshot(request).await.unwrap();
            let bytes = answer.into_body().collect().await.unwrap().to_bytes();
            String::from_utf8(bytes.to_vec()).unwrap()
        }
    };
    let hand = "cluster.local/ns/default/sa/by-hand";
    let desk = "cluster.local/ns/default/sa/desk";
    assert_eq!(asked(&|_| ()).await, hand, "no one else knows");
    let left = asked(&|request| {
        request.extensions_mut().insert(proven("desk"));
    });
    assert_eq!(left.await, desk, "a listener under tonic");
    let connected = asked(&|request| {
        request.extensions_mut().insert(ConnectInfo(proven("desk")));
    });
    assert_eq!(connected.await, desk, "a listener under axum");
    let anonymous = asked(&|request| {
        request.extensions_mut().insert(unproven());
    });
    assert_eq!(
        anonymous.await,
        "nobody",
        "no identity is lent to plaintext"
    );
    let outer = asked(&|request| {
        let exchange = Exchange::from_extensions(request.extensions_mut());
        exchange.set_peer(proven("desk"));
    });
    assert_eq!(outer.await, desk, "a layer further out");
}

/// A peer by hand outside of a connection that was proven: the proven one is judged, and no weaker one.
#[tokio::test]
async fn the_peer_of_a_connection_counts_before_one_by_hand() {
    let pki = Pki::new("cluster.local").unwrap();
    let mesh = build(app(&pki)).await;
    for (real, expected) in [
        (proven("desk"), "cluster.local/ns/default/sa/desk"),
        (unproven(), "nobody"),
    ] {
        let connection = mesh.protect(service_fn(who)).of(real);
        let service = PeerLayer::new(proven("admin")).layer(connection);
        let request = request("/").map(|_| Full::<Bytes>::default());
        let (status, _, text) = read(service.oneshot(request).await.unwrap()).await;
        assert_eq!((status, text.as_str()), (200, expected));
    }
}
