//! Claims in a type of the application's own, for axum's handlers and tonic's methods.

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::Request;
use serde::Deserialize;
use serde_json::json;
use tonic::Code;
use tower::{Layer, ServiceExt, service_fn};
use tower_mesh::Workload;
use tower_mesh::context::{ClaimsAs, RequestFacts};
use tower_mesh::jwt::{Authenticator, JwtLayer, Keyring};
use tower_mesh::live::Live;
use tower_mesh::policy::Engine;
use tower_mesh::testing::Issuer;
use tracing::Level;

use crate::support::log::Log;
use crate::support::mesh::{ISSUER, authentication, read};

#[derive(Deserialize)]
struct Clinician {
    sub: String,
    wards: Vec<u32>,
    #[serde(default)]
    scope: Vec<String>,
}

impl Clinician {
    fn text(&self) -> String {
        format!("{} {:?} {:?}", self.sub, self.wards, self.scope)
    }
}

fn routes() -> Router {
    let maybe = |user: Option<ClaimsAs<Clinician>>| async move {
        user.map_or_else(|| "nobody".to_owned(), |user| user.text())
    };
    Router::new()
        .route(
            "/user",
            get(|ClaimsAs(user): ClaimsAs<Clinician>| async move { user.text() }),
        )
        .route("/maybe", get(maybe))
}

fn jwt(issuer: &Issuer) -> JwtLayer {
    let engine = Engine::builder(&Workload::new("default", "app"))
        .yaml(&authentication(issuer))
        .build()
        .unwrap();
    let rules = Authenticator::compile(engine.authentication(2), &mut Keyring::new());
    JwtLayer::new(Live::new(rules.unwrap()))
}

fn request(path: &str, token: Option<&str>) -> Request<Body> {
    let request = Request::get(path).header("host", "app");
    let request = match token {
        Some(token) => request.header("authorization", format!("Bearer {token}")),
        None => request,
    };
    request.body(Body::empty()).unwrap()
}

/// The tokens of the tests: a fitting one, and those that lack something or have it in another
/// form.
fn tokens(issuer: &Issuer) -> [(String, bool); 4] {
    let token = || issuer.token().subject("alice-secret");
    let wards = json!([3, 4]);
    [
        (
            token()
                .claim("wards", wards)
                .claim("scope", "read write")
                .sign(),
            true,
        ),
        (token().sign(), false),
        (token().claim("wards", "alice-secret").sign(), false),
        (
            token().claim("wards", json!(["alice-secret"])).sign(),
            false,
        ),
    ]
}

const OTHER: &str = "the verified token does not have the claims that this needs";
const NO_TOKEN: &str = "this needs a verified end-user token, and the request has none";

/// J-29. The answer to claims of another form is fixed, and neither it nor the log shows a claim.
#[tokio::test]
async fn a_handler_gets_claims_of_its_own_type_or_is_not_called() {
    let issuer = Issuer::es256(ISSUER);
    let app = routes().layer(jwt(&issuer));
    for path in ["/user", "/maybe"] {
        for (token, fits) in tokens(&issuer) {
            let (log, _listening) = Log::listen(Level::TRACE);
            let answer = app.clone().oneshot(request(path, Some(&token))).await;
            let (status, headers, text) = read(answer.unwrap()).await;
            if fits {
                let expected = "alice-secret [3, 4] [\"read\", \"write\"]";
                assert_eq!((status, text.as_str()), (200, expected), "{path}");
                continue;
            }
            // A good token that says too little: RFC 6750 §3.1.
            assert_eq!((status, text.as_str()), (403, OTHER), "{path}");
            assert_eq!(
                headers["www-authenticate"],
                "Bearer realm=\"tower-mesh\", error=\"insufficient_scope\""
            );
            let told = log.with(&["WARN", "tower_mesh::access", "Clinician"]);
            assert_eq!(told.len(), 1, "{}", log.text());
            assert!(!log.text().contains("alice-secret"), "{}", log.text());
        }
    }
    let bad = issuer.token().tampered();
    for (path, token, status, body) in [
        ("/user", None, 401, NO_TOKEN),
        ("/maybe", None, 200, "nobody"),
        ("/user", Some(bad.as_str()), 401, "Jwt verification fails"),
        ("/maybe", Some(bad.as_str()), 401, "Jwt verification fails"),
    ] {
        let answer = app.clone().oneshot(request(path, token)).await.unwrap();
        let (found, _, text) = read(answer).await;
        assert_eq!((found, text.as_str()), (status, body), "{path}");
    }
    let bare = routes().oneshot(request("/user", None)).await.unwrap();
    assert_eq!(bare.status(), 500, "no guard");
}

fn code(headers: &http::HeaderMap) -> Option<Code> {
    let code = headers.get("grpc-status")?;
    Some(Code::from_bytes(code.as_bytes()))
}

/// J-29. As for axum, in gRPC's codes.
#[tokio::test]
async fn a_method_gets_claims_of_its_own_type_or_a_status() {
    let issuer = Issuer::es256(ISSUER);
    let method = |request: Request<Body>| async move {
        let request = tonic::Request::from_http(request);
        let user: Result<Clinician, _> = request.claims_as();
        Ok::<_, std::convert::Infallible>(match user {
            Ok(user) => http::Response::new(Body::from(user.text())),
            Err(status) => status.into_http(),
        })
    };
    let app = jwt(&issuer).layer(service_fn(method));
    for (token, fits) in tokens(&issuer) {
        let (log, _listening) = Log::listen(Level::TRACE);
        let answer = app.clone().oneshot(request("/", Some(&token))).await;
        let answer = answer.unwrap();
        assert_eq!(
            code(answer.headers()),
            (!fits).then_some(Code::PermissionDenied)
        );
        let shown = format!("{:?} {}", answer.headers(), log.text());
        assert!(!shown.contains("alice-secret"), "{shown}");
    }
    let answer = app.oneshot(request("/", None)).await.unwrap();
    assert_eq!(code(answer.headers()), Some(Code::Unauthenticated));
    let answer = service_fn(method).oneshot(request("/", None)).await;
    assert_eq!(
        code(answer.unwrap().headers()),
        Some(Code::Internal),
        "no guard"
    );
}
