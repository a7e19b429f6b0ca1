//! End-user tokens and their keys.

use axum::Router;
use axum::body::Body;
use axum::routing::{any, get};
use http::Request;
use tower::{Layer, ServiceExt};
use tower_mesh::context::PeerLayer;
use tower_mesh::source::Fixed;
use tower_mesh::testing::{Issuer, JwksServer};
use tower_mesh::{Claims, Mesh, Peer};
use tracing::Level;

use super::{Seen, line, pki, proven, refused, wait};
use crate::support::log::Log;
use crate::support::mesh::{self, ISSUER, authentication, build, policy, read};

/// Status, challenge and body of what a caller gets that sends this in `authorization`.
async fn ask(mesh: &Mesh, authorization: Option<&str>) -> String {
    let app = Router::new()
        .route("/claims", get(|_: Claims| async {}))
        .fallback(any(|| async {}));
    let request = Request::get("/claims").header("host", "patients.default");
    let request = match authorization {
        Some(text) => request.header("authorization", text),
        None => request,
    };
    let request = request.body(Body::empty()).unwrap();
    let service = PeerLayer::new(mesh::proven("desk")).layer(mesh.protect(app));
    let (status, headers, body) = read(service.oneshot(request).await.unwrap()).await;
    let challenge = headers.get("www-authenticate");
    let challenge =
        challenge.map(|value| format!("www-authenticate: {}\n", value.to_str().unwrap()));
    format!("{status}\n{}{body}", challenge.unwrap_or_default())
}

async fn mesh(yaml: &str) -> Mesh {
    build(proven(&pki()).config(Fixed::yaml("policies/users.yaml", yaml))).await
}

pub(super) async fn make(seen: &mut Seen) {
    let issuer = Issuer::es256(ISSUER);
    let stranger = Issuer::es256("https://issuer.test/");
    let namesake = Issuer::es256(ISSUER);
    let rule = authentication(&issuer);
    let users = mesh(&rule).await;
    let audience = rule.replace(
        &format!("issuer: {ISSUER}"),
        &format!("issuer: {ISSUER}\n    audiences: [patients]"),
    );
    let audience = mesh(&audience).await;
    let needs = policy(
        "users",
        "ALLOW",
        "[{from: [{source: {requestPrincipals: ['*']}}]}]",
    );
    let needs = mesh(&(rule.clone() + &needs)).await;
    let bearer = |token: String| format!("Bearer {token}");
    let good = bearer(issuer.token().subject("anna").sign());
    let expired = bearer(
        issuer
            .token()
            .subject("anna")
            .expired_ago(std::time::Duration::from_secs(3600))
            .sign(),
    );
    let foreign = bearer(stranger.token().subject("anna").sign());
    let forged = bearer(namesake.token().subject("anna").sign());
    let other = bearer(issuer.token().subject("anna").audience("charts").sign());
    for (id, mesh, token) in [
        ("token-expired", &users, Some(expired.as_str())),
        ("token-of-other-issuer", &users, Some(&foreign)),
        ("token-of-other-key", &users, Some(&forged)),
        ("token-no-jwt", &users, Some("Bearer abc")),
        ("token-for-other-audience", &audience, Some(&other)),
        ("token-missing", &needs, None),
        ("handler-wants-token", &users, None),
        ("handler-without-rules", &mesh("").await, Some(&good)),
    ] {
        seen.push((id, ask(mesh, token).await));
    }
    {
        let (log, _guard) = Log::listen(Level::INFO);
        let again = async || drop(ask(&users, Some(&expired)).await);
        let told = line(&log, &["tower_mesh::access", "request refused"], again).await;
        seen.push(("token-expired-in-log", told));
    }
    let bare = Router::new().fallback(|_: Peer| async {});
    let request = Request::get("/").body(Body::empty()).unwrap();
    let (status, _, body) = read(bare.oneshot(request).await.unwrap()).await;
    seen.push(("handler-outside-mesh", format!("{status}\n{body}")));
    keys(seen).await;
}

async fn keys(seen: &mut Seen) {
    let rule = |uri: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {{name: users}}\nspec:\n  jwtRules:\n  - issuer: {ISSUER}\n    jwksUri: {uri}\n"
        )
    };
    let pki = pki();
    let of = |uri: &str| proven(&pki).config(Fixed::yaml("policies/users.yaml", rule(uri)));
    seen.push((
        "keys-over-http",
        refused(of("http://127.0.0.1:8080/keys")).await,
    ));
    seen.push((
        "keys-uri-without-scheme",
        refused(of("issuer.test/keys")).await,
    ));
    {
        let (log, _guard) = Log::listen(Level::INFO);
        let server = JwksServer::start_plaintext(&Issuer::es256(ISSUER))
            .await
            .unwrap();
        server.answer("<html>Not here</html>".to_owned());
        let uri = format!("http://{}/keys", server.address());
        let _mesh = build(of(&uri).tokens(|tokens| tokens.loopback_http_jwks())).await;
        seen.push((
            "keys-are-none",
            wait(&log, &["tower_mesh::jwt", "could not be fetched"]).await,
        ));
    }
    let (log, _guard) = Log::listen(Level::INFO);
    let gone = super::calls::nobody().await;
    let _mesh = build(
        of("https://issuer.test/keys").tokens(|tokens| tokens.resolve("issuer.test:443", gone)),
    )
    .await;
    let pieces = [
        "tower_mesh::jwt",
        "could not be fetched",
        "https://issuer.test/keys",
    ];
    seen.push(("keys-unreachable", wait(&log, &pieces).await));
}
