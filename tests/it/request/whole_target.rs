//! What is the whole target of a request that others have rewritten, or of which routers have taken more than a prefix.

use axum::Router;
use axum::body::Body as AxumBody;
use axum::extract::Request;
use tower::util::MapRequestLayer;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_mesh::Workload;
use tower_mesh::istio::StringMatch;
use tower_mesh::live::Live;
use tower_mesh::metrics::{MetricsLayer, Registry};
use tower_mesh::policy::Engine;
use tower_mesh::propagation::Propagation;
use tower_mesh::rbac::RbacLayer;
use tower_mesh::source::Fixed;
use tower_mesh::testing::Pki;

use crate::request::nested::{ask, nestings, reached, request, triggered};
use crate::support::mesh::{app, build, policy};

fn deny(paths: &str) -> String {
    let rules = format!("[{{to: [{{operation: {{paths: [{paths}]}}}}]}}]");
    policy("p", "DENY", &rules)
}

/// Refuses these paths, and lets all others through.
fn refusing(paths: &str) -> RbacLayer {
    let workload = Workload::new("default", "app");
    let engine = Engine::builder(&workload).yaml(&deny(paths));
    RbacLayer::new(Live::new(engine.build().unwrap()))
}

fn metrics() -> MetricsLayer {
    MetricsLayer::new(Registry::new().server(&Workload::new("default", "app")))
}

async fn status<S, B>(service: S, target: &str) -> u16
where
    S: Service<Request, Response = http::Response<B>>,
    S::Error: std::fmt::Debug,
{
    let answer = service.oneshot(request(target)).await.unwrap();
    answer.status().as_u16()
}

/// A middleware that gives each request another path.
fn giving<B>(
    path: fn(&str) -> String,
) -> MapRequestLayer<impl Fn(http::Request<B>) -> Request + Clone>
where
    B: http_body::Body<Data = bytes::Bytes, Error: Into<axum::BoxError>> + Send + 'static,
{
    MapRequestLayer::new(move |mut request: http::Request<B>| {
        *request.uri_mut() = path(request.uri().path()).parse().unwrap();
        request.map(AxumBody::new)
    })
}

/// B-30, B-31: of `/api//admin` axum's routers leave `/admin`, and so the application is asked for another target than policy judges.
#[tokio::test]
async fn a_slash_that_a_router_takes_along_is_refused() {
    let mesh = {
        let pki = Pki::new("cluster.local").unwrap();
        let denied = deny("/api/v1/admin, /api/v1/, /api/v1");
        build(app(&pki).config(Fixed::yaml("p.yaml", denied))).await
    };
    let layers = nestings(refusing("/api/v1/admin, /api/v1/, /api/v1"));
    for (name, app) in layers.into_iter().chain(nestings(mesh.server())) {
        assert_eq!(ask(&app, "/api/v1/other").await, 200, "{name}");
        assert_eq!(ask(&app, "/api/v1/other/").await, 200, "{name}");
        for denied in ["/api/v1/admin", "/api/v1", "/api/v1/"] {
            let status = ask(&app, denied).await;
            assert!(matches!(status, 403 | 404), "{name} {denied}: {status}");
        }
        let odd = match name {
            "flat" => continue,
            "nested" | "as a service" => ["/api//v1/admin", "/api//v1/", "/api//v1", "/api//"],
            _ => [
                "/api/v1//admin",
                "/api/v1//",
                "/api/v1///admin",
                "/api//v1/admin",
            ],
        };
        for odd in odd {
            let status = ask(&app, odd).await;
            assert!(matches!(status, 400 | 404), "{name} {odd}: {status}");
        }
    }
}

/// What nobody can judge triggers a demand for a token.
#[tokio::test]
async fn a_slash_that_a_router_takes_along_demands_a_token() {
    let excluded = [StringMatch::Prefix("/api//".into())];
    for (name, app) in nestings(triggered(&[], &excluded)).into_iter().skip(1) {
        for odd in ["/api//v1/admin", "/api/v1//admin"] {
            let status = ask(&app, odd).await;
            assert!(matches!(status, 401 | 404), "{name} {odd}: {status}");
        }
    }
}

/// B-31: whichever layer kept the raw path, the guard in front of the router has made another one of it.
#[tokio::test]
async fn a_guard_behind_a_rewriting_one_judges_what_it_has_made() {
    let mesh = {
        let pki = Pki::new("cluster.local").unwrap();
        build(app(&pki).config(Fixed::yaml("p.yaml", deny("/never")))).await
    };
    let inside = Router::new().nest("/api", reached().layer(refusing("/api/admin, /api/admin/")));
    let in_front = refusing("/never").in_front_of_router();
    for (target, expected) in [
        ("/api/other", 200),
        ("/api/%6Fther", 200),
        ("/x/../api/other/.", 200),
        ("/api/admin", 403),
        ("/api/%61dmin", 403),
        ("/x/../api/admin/.", 403),
        ("/api/x/../%61dmin/x/..", 403),
    ] {
        let outer = metrics().layer(in_front.layer(inside.clone()));
        assert_eq!(status(outer, target).await, expected, "{target}");
        let outer = Propagation::new()
            .server_layer()
            .layer(mesh.protect(inside.clone()));
        assert_eq!(status(outer, target).await, expected, "{target}");
    }
}

/// B-31: the guard in front of a router of somebody else's keeps the target, rewritten or not.
#[tokio::test]
async fn a_guard_in_front_of_the_router_keeps_the_target() {
    let strip = |mut request: Request| {
        let path = request.uri().path().strip_prefix("/api").unwrap();
        *request.uri_mut() = path.parse().unwrap();
        refusing("/api/admin").layer(reached()).oneshot(request)
    };
    for (target, expected) in [
        ("/api/admin", 403),
        ("/api/%61dmin", 403),
        ("/api//admin", 200),
        ("/api/other", 200),
    ] {
        let in_front = refusing("/never").in_front_of_router();
        let outer = in_front.layer(service_fn(strip));
        assert_eq!(status(outer, target).await, expected, "{target}");
    }
}

/// A middleware between the layer that kept the path and the router: what the router chose by is what is judged.
#[tokio::test]
async fn a_middleware_in_front_of_the_router_hides_no_target() {
    let inside = Router::new().nest("/api", reached().layer(refusing("/api/admin")));
    let trim = giving(|path| path.trim_end_matches('/').to_owned());
    let merge = giving(|path| path.replace("//", "/"));
    let map = giving(|path| path.replace("/old", "/api"));
    for (target, trimmed, merged, mapped) in [
        ("/api/admin", 403, 403, 403),
        ("/api/other", 200, 200, 200),
        ("/api/admin/", 403, 200, 200),
        ("/api//admin", 400, 403, 400),
        ("/old/admin", 404, 404, 403),
        ("/old/other", 404, 404, 200),
    ] {
        let outer = metrics().layer(trim.layer(inside.clone()));
        assert_eq!(status(outer, target).await, trimmed, "trimmed {target}");
        let outer = metrics().layer(merge.layer(inside.clone()));
        assert_eq!(status(outer, target).await, merged, "merged {target}");
        let outer = metrics().layer(map.layer(inside.clone()));
        assert_eq!(status(outer, target).await, mapped, "mapped {target}");
    }
}

/// Where axum has nested a router and nobody kept what it was given, nobody judges the rest as if it were the whole.
#[tokio::test]
async fn a_remainder_of_nobody_knows_what_is_refused() {
    let inside = Router::new().nest("/api", reached().layer(refusing("/api/admin")));
    let map = giving(|path| path.replace("/old", "/api"));
    let outside = Router::new().fallback_service(map.layer(inside));
    assert_eq!(ask(&outside, "/api/admin").await, 403);
    assert_eq!(ask(&outside, "/api/other").await, 200);
    for odd in ["/old/admin", "/old/other/x"] {
        assert_eq!(ask(&outside, odd).await, 400, "{odd}");
    }
}
