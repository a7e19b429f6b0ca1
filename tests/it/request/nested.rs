//! Guards inside nested routers: they judge the target as it was sent, whatever nesting left of it.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::routing::any;
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use tower::{Layer, ServiceExt, service_fn};
use tower_mesh::istio::{LegacyJwt, StringMatch, TriggerRule};
use tower_mesh::jwt::{Authenticator, JwtLayer, Keyring};
use tower_mesh::live::Live;
use tower_mesh::message::GuardBody;
use tower_mesh::metrics::{MetricsLayer, Registry};
use tower_mesh::policy::{Authentication, Engine, LegacyAuthentication};
use tower_mesh::propagation::Propagation;
use tower_mesh::rbac::RbacLayer;
use tower_mesh::source::Fixed;
use tower_mesh::testing::{Issuer, Pki};
use tower_mesh::{Mesh, Workload};

use crate::support::mesh::{app, build, policy, unproven};

pub(super) fn request(target: &str) -> Request<AxumBody> {
    let request = Request::get(target)
        .header("host", "app")
        .extension(unproven());
    request.body(AxumBody::empty()).unwrap()
}

pub(super) async fn ask(app: &Router, target: &str) -> u16 {
    let answer = app.clone().oneshot(request(target)).await.unwrap();
    answer.status().as_u16()
}

fn allow(paths: &str) -> String {
    let rules = format!("[{{to: [{{operation: {{paths: [{paths}]}}}}]}}]");
    policy("p", "ALLOW", &rules)
}

fn rbac(paths: &str) -> RbacLayer {
    let workload = Workload::new("default", "app");
    let engine = Engine::builder(&workload).yaml(&allow(paths));
    RbacLayer::new(Live::new(engine.build().unwrap()))
}

/// Demands a token where a path is triggered.
pub(super) fn triggered(included: &[StringMatch], excluded: &[StringMatch]) -> JwtLayer {
    let issuer = Issuer::es256("a");
    let mut trigger = TriggerRule::default();
    trigger.included_paths = included.to_vec();
    trigger.excluded_paths = excluded.to_vec();
    let mut origin = LegacyJwt::default();
    origin.rule.issuer = Some(issuer.name().into());
    origin.rule.jwks = Some(issuer.jwks().as_str().into());
    origin.trigger_rules = vec![trigger];
    let mut policy = LegacyAuthentication::default();
    policy.origins = vec![origin];
    let mut authentication = Authentication::default();
    authentication.legacy = Some(policy);
    let compiled = Authenticator::compile(&authentication, &mut Keyring::new()).unwrap();
    JwtLayer::new(Live::new(compiled))
}

pub(super) fn reached() -> Router {
    let all = any(|| async { "reached" });
    Router::new().route("/{*rest}", all.clone()).route("/", all)
}

/// The same guard, as deep as routers nest.
pub(super) fn nestings<L>(layer: L) -> Vec<(&'static str, Router)>
where
    L: Layer<axum::routing::Route> + Clone + Send + Sync + 'static,
    L::Service: tower::Service<Request<AxumBody>> + Clone + Send + Sync + 'static,
    <L::Service as tower::Service<Request<AxumBody>>>::Response:
        axum::response::IntoResponse + 'static,
    <L::Service as tower::Service<Request<AxumBody>>>::Error: Into<Infallible> + 'static,
    <L::Service as tower::Service<Request<AxumBody>>>::Future: Send + 'static,
{
    let guarded = || reached().layer(layer.clone());
    vec![
        ("flat", guarded()),
        ("nested", Router::new().nest("/api", guarded())),
        (
            "nested twice",
            Router::new().nest("/api", Router::new().nest("/v1", guarded())),
        ),
        (
            "as a service",
            Router::new().nest_service("/api", guarded()),
        ),
        (
            "as a service in a service",
            Router::new().nest_service("/api", Router::new().nest_service("/v1", guarded())),
        ),
        (
            "as a service behind a slash",
            Router::new().nest_service("/api/", Router::new().nest_service("/v1/", guarded())),
        ),
        (
            "under a parameter",
            Router::new().nest("/{any}", Router::new().nest("/v1", guarded())),
        ),
    ]
}

/// B-31
#[tokio::test]
async fn a_policy_layer_judges_the_whole_target_wherever_it_is_nested() {
    for (name, app) in nestings(rbac("/api/v1/admin")) {
        assert_eq!(ask(&app, "/api/v1/admin").await, 200, "{name}");
        assert_eq!(ask(&app, "/api/v1/admin?a=b").await, 200, "{name}");
        assert_eq!(ask(&app, "/api/v1/%61dmin").await, 200, "{name}");
        assert_eq!(ask(&app, "/api/v1/other").await, 403, "{name}");
        // Not what policy judges, nor what a router may have taken for it.
        for odd in [
            "/api/v1//admin",
            "/api//v1/admin",
            "/api/v1/x/../admin",
            "/api/v1/./admin",
        ] {
            let status = ask(&app, odd).await;
            assert!(matches!(status, 400 | 403 | 404), "{name} {odd}: {status}");
        }
    }
    // Nor does it take what nesting left for the whole.
    for (name, app) in nestings(rbac("/admin, /v1/admin")).into_iter().skip(1) {
        assert_eq!(ask(&app, "/api/v1/admin").await, 403, "{name}");
    }
}

/// B-31, without a router that keeps the target: whichever of our layers is outermost does.
#[tokio::test]
async fn the_outermost_layer_keeps_the_target_for_those_inside() {
    // A router of somebody else's, which keeps nothing.
    fn strip<B>(
        mut request: Request<B>,
    ) -> impl Future<Output = Result<Response<GuardBody<AxumBody>>, Infallible>>
    where
        B: http_body::Body<Data = bytes::Bytes, Error: Into<axum::BoxError>> + Send + 'static,
    {
        let path = request.uri().path().strip_prefix("/api").unwrap();
        *request.uri_mut() = path.parse().unwrap();
        let inner = rbac("/api/admin").layer(reached());
        inner.oneshot(request.map(AxumBody::new))
    }
    let registry = Registry::new();
    let metrics = MetricsLayer::new(registry.server(&Workload::new("default", "app")));
    let jwt = triggered(&[StringMatch::Exact("/never".into())], &[]);
    let answers = [
        metrics
            .layer(service_fn(strip))
            .oneshot(request("/api/admin"))
            .await
            .unwrap()
            .status(),
        jwt.layer(service_fn(strip))
            .oneshot(request("/api/admin"))
            .await
            .unwrap()
            .status(),
        Propagation::new()
            .server_layer()
            .layer(service_fn(strip))
            .oneshot(request("/api/admin"))
            .await
            .unwrap()
            .status(),
        rbac("/api/*")
            .layer(service_fn(strip))
            .oneshot(request("/api/admin"))
            .await
            .unwrap()
            .status(),
    ];
    assert_eq!(answers, [StatusCode::OK; 4]);
}

/// B-31
#[tokio::test]
async fn a_token_is_demanded_by_the_whole_target_wherever_the_layer_is_nested() {
    for (name, app) in nestings(triggered(
        &[StringMatch::Exact("/api/v1/admin".into())],
        &[],
    )) {
        assert_eq!(ask(&app, "/api/v1/admin").await, 401, "{name}");
        assert_eq!(ask(&app, "/api/v1/admin?a=b").await, 401, "{name}");
        assert_eq!(ask(&app, "/api/v1/other").await, 200, "{name}");
    }
    let excluded = [
        StringMatch::Prefix("/v1/".into()),
        StringMatch::Exact("/admin".into()),
    ];
    for (name, app) in nestings(triggered(&[], &excluded)) {
        assert_eq!(ask(&app, "/api/v1/admin").await, 401, "{name}");
    }
}

#[tokio::test]
async fn triggers_are_asked_about_the_normalized_path() {
    let included = triggered(&[StringMatch::Exact("/admin".into())], &[]);
    let excluded = triggered(&[], &[StringMatch::Prefix("/public/".into())]);
    let status = |layer: &JwtLayer, target: &str| {
        let app = layer.layer(service_fn(|_: Request<Empty<bytes::Bytes>>| async {
            Ok::<_, Infallible>(Response::new(Empty::<bytes::Bytes>::new()))
        }));
        let request = Request::get(target)
            .header("host", "app")
            .extension(unproven());
        let answer = app.oneshot(request.body(Empty::new()).unwrap());
        async move { answer.await.unwrap().status().as_u16() }
    };
    for target in [
        "/admin",
        "/x/../admin",
        "/x/%2e%2e/admin",
        "/./admin",
        "/%61dmin",
        "/admi%6E",
        "//admin",
        "/%2fadmin",
        "/..;/admin",
        "/../admin",
        "http://app/x/../admin",
        "/admin%00",
        "/admin?a=/other",
    ] {
        assert_eq!(status(&included, target).await, 401, "{target}");
    }
    assert_eq!(status(&included, "/other").await, 200);
    assert_eq!(status(&included, "/other?/admin").await, 200);
    for target in [
        "/admin",
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/..%2fadmin",
        "/public//../../admin",
    ] {
        assert_eq!(status(&excluded, target).await, 401, "{target}");
    }
    assert_eq!(status(&excluded, "/public/a").await, 200);
    assert_eq!(status(&excluded, "/public/%61").await, 200);
}

/// A handler that sends its request on to another target does not take the permission for its own along.
#[tokio::test]
async fn a_request_that_is_sent_on_is_judged_by_its_new_target() {
    let metrics = MetricsLayer::new(Registry::new().server(&Workload::new("default", "app")));
    let sent_on = any(|mut request: Request<AxumBody>| {
        *request.uri_mut() = "/admin".parse().unwrap();
        rbac("/public").layer(reached()).oneshot(request)
    });
    let app = Router::new().route("/public", sent_on).layer(metrics);
    assert_eq!(ask(&app, "/public").await, 403);
}

/// What a query may not hold is refused behind a router, too.
#[tokio::test]
async fn a_query_holds_what_a_target_may() {
    let layer = rbac("/a");
    for (target, status) in [("/a?b=%C3%A9", 200), ("/a?b=é", 400)] {
        let asked = request(target);
        let answer = layer.layer(reached()).oneshot(asked).await.unwrap();
        assert_eq!(answer.status(), status, "{target}");
    }
}

async fn mesh(paths: &str) -> Mesh {
    let pki = Pki::new("cluster.local").unwrap();
    build(app(&pki).config(Fixed::yaml("p.yaml", allow(paths)))).await
}

/// B-30: the route was chosen by the raw path, and no rewriting changes it.
#[tokio::test]
async fn the_whole_stack_as_a_layer_refuses_what_it_would_have_rewritten() {
    let mesh = mesh("/admin, /api/v1/admin").await;
    let layered = reached().layer(mesh.server());
    for (target, status) in [
        ("/admin", 200),
        ("/%61dmin", 200),
        ("/other", 403),
        ("/x/../admin", 400),
        ("/x/%2e%2e/admin", 400),
        ("/./admin", 400),
        ("/admin/.", 400),
        ("/..;/admin", 400),
        ("/admin%00", 400),
    ] {
        assert_eq!(ask(&layered, target).await, status, "{target}");
        let rewritten = match status {
            400 if target == "/admin%00" => 400,
            400 if target == "/admin/." => 403,
            400 => 200,
            status => status,
        };
        let answer = mesh
            .protect(reached())
            .oneshot(request(target))
            .await
            .unwrap();
        assert_eq!(answer.status(), rewritten, "{target}");
    }
    for (name, app) in nestings(mesh.server()).into_iter().skip(1) {
        assert_eq!(ask(&app, "/api/v1/admin").await, 200, "{name}");
        assert_eq!(ask(&app, "/api/v1/other").await, 403, "{name}");
        assert_eq!(ask(&app, "/api/v1/x/../admin").await, 400, "{name}");
    }
}

/// What is protected and then nested is behind a router, too.
#[tokio::test]
async fn a_protected_service_inside_a_router_judges_the_whole_target() {
    let mesh = mesh("/api/admin").await;
    let app = Router::new().nest_service("/api", mesh.protect(reached()));
    for (target, status) in [
        ("/api/admin", 200),
        ("/api/other", 403),
        ("/api/x/../admin", 400),
        ("/api/../api/admin", 400),
    ] {
        assert_eq!(ask(&app, target).await, status, "{target}");
    }
}

/// A guard inside a protected router sees the target that the router was given.
#[tokio::test]
async fn a_guard_inside_a_protected_router_judges_the_rewritten_target() {
    let mesh = mesh("/api/admin").await;
    let inside = Router::new().nest("/api", reached().layer(rbac("/api/admin")));
    for (target, status) in [
        ("/api/admin", 200),
        ("/x/../api/admin", 200),
        ("/api/other", 403),
    ] {
        let answer = mesh.protect(inside.clone()).oneshot(request(target));
        assert_eq!(answer.await.unwrap().status(), status, "{target}");
    }
}
