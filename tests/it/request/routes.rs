//! The walk over an application's routes: it names those that no guard protects, and no other.

use std::convert::Infallible;
use std::future::pending;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse;
use axum::routing::{any, get, post};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Empty;
use tower::{ServiceExt, service_fn};
use tower_mesh::source::Fixed;
use tower_mesh::testing::Pki;
use tower_mesh::testing::routes::{
    Answer, DENY_ALL, RecordRoutesLayer, Routes, Walk, deny_all_mesh,
};
use tower_mesh::{Mesh, Workload};

use crate::support::mesh::{app as builder, build, policy, proven};

async fn closed() -> Mesh {
    deny_all_mesh(Workload::new("default", "app"))
        .await
        .unwrap()
}

fn routes() -> Routes {
    Routes::new().routes(["GET /a", "GET /a/{id}", "POST /files/{*path}"])
}

fn routes_with(seed: u64) -> Routes {
    routes().seed(seed)
}

/// The routes above, without a guard.
fn router() -> Router {
    let ok = || async { "open" };
    Router::new()
        .route("/a", get(ok))
        .route("/a/{id}", get(ok))
        .route("/files/{*path}", post(ok))
}

async fn walk(routes: Routes, app: Router) -> Walk {
    routes.walk(app, AxumBody::empty).await
}

fn named(walk: &Walk) -> Vec<&str> {
    let unguarded = walk.unguarded().iter();
    unguarded.map(|one| one.route.as_str()).collect()
}

/// What answered the requests to a route, with their methods.
fn answers(walk: &Walk, route: &str) -> Vec<(Answer, Vec<Method>)> {
    let one = walk.unguarded().iter().find(|one| one.route == route);
    let answers = one.map(|one| one.answers.iter());
    let answers = answers.into_iter().flatten();
    answers
        .map(|one| (one.answer.clone(), one.methods.clone()))
        .collect()
}

/// B-32
#[tokio::test]
async fn a_protected_router_has_no_unguarded_route() {
    let mesh = closed().await;
    let finished = router()
        .layer(mesh.server())
        .route("/after", any(|| async { "open" }))
        .merge(Router::new().route("/merged", any(|| async { "open" })))
        .nest("/nested", router().fallback(|| async { "nested fallback" }))
        .nest_service("/service", router())
        .method_not_allowed_fallback(|| async { "other method" })
        .fallback(|| async { "fallback" });
    let routes = routes().routes([
        "GET /after",
        "PURGE /merged",
        "GET /nested/a/{id}",
        "POST /service/files/{*path}",
    ]);
    for seed in 0..3 {
        let protected = mesh.protect(finished.clone());
        let walk = routes
            .clone()
            .seed(seed)
            .walk(protected, AxumBody::empty)
            .await;
        walk.assert_guarded();
        assert!(walk.requests() > 1000 + 7 * 9, "{walk}");
        assert!(walk.to_string().contains("a guard refused every request"));
    }
}

/// B-32
#[tokio::test]
async fn a_walk_names_a_route_that_is_added_after_the_layer() {
    let mesh = closed().await;
    let layered = router()
        .fallback(|| async { "fallback" })
        .layer(mesh.server());
    let guarded = walk(routes(), layered.clone()).await;
    guarded.assert_guarded();

    let app = layered.route("/after/{id}", any(|| async { "open" }));
    let walk = walk(routes().route("GET /after/{id}"), app).await;
    let named = named(&walk);
    assert_eq!(named[0], "GET /after/{id}");
    // Every method of it, and nothing of the others.
    let open = answers(&walk, named[0]);
    assert_eq!(open.len(), 1, "{walk}");
    assert_eq!(open[0].0, Answer::NotRefused(StatusCode::OK));
    let unknown = Method::from_bytes(b"UNKNOWN").unwrap();
    for method in [Method::GET, Method::HEAD, Method::OPTIONS, unknown] {
        assert!(open[0].1.contains(&method), "{method}: {walk}");
    }
    let mut found = walk.unguarded().iter().flat_map(|one| &one.answers);
    assert!(found.all(|one| one.path.starts_with("/after/")), "{walk}");
}

/// B-32
#[tokio::test]
async fn a_walk_finds_what_a_route_layer_leaves_unguarded() {
    let mesh = closed().await;
    let walk = walk(routes(), router().route_layer(mesh.server())).await;
    let named = named(&walk);
    assert!(!named.contains(&"GET /a/{id}"), "{walk}");
    assert!(named.contains(&"random paths"), "{walk}");
    let found = &answers(&walk, "random paths")[0];
    assert_eq!(found.0, Answer::NotRefused(StatusCode::NOT_FOUND), "{walk}");
    assert!(!answers(&walk, "OPTIONS *").is_empty(), "{walk}");
}

/// B-32: the guard of a method's handler is not that of the others.
#[tokio::test]
async fn a_walk_asks_a_route_with_every_method() {
    let mesh = closed().await;
    let one = get(|| async { "open" }).route_layer(mesh.server());
    let app = Router::new().route("/a", one);
    let walk = walk(Routes::new().route("GET /a").random_paths(0), app).await;
    let found = answers(&walk, "GET /a");
    assert_eq!(found.len(), 1, "{walk}");
    let (answer, methods) = &found[0];
    assert_eq!(*answer, Answer::NotRefused(StatusCode::METHOD_NOT_ALLOWED));
    assert!(!methods.contains(&Method::GET), "{walk}");
    assert!(!methods.contains(&Method::HEAD), "{walk}");
    assert!(methods.contains(&Method::DELETE), "{walk}");
}

/// B-32
#[tokio::test]
async fn a_walk_names_merged_and_nested_routers_without_a_guard() {
    let mesh = closed().await;
    let layered = || router().layer(mesh.server());
    let other = || Router::new().route("/x/{id}", any(|| async { "open" }));
    for (route, app) in [
        ("GET /x/{id}", layered().merge(other())),
        ("GET /in/x/{id}", layered().nest("/in", other())),
        ("GET /in/x/{id}", layered().nest_service("/in", other())),
    ] {
        let walk = walk(routes().route(route), app).await;
        let named = named(&walk);
        assert_eq!(named[0], route, "{walk}");
        assert!(!named.iter().any(|name| name.contains("GET /a")), "{walk}");
    }
    // What nobody listed: the fallback of a nested router, whose routes are guarded.
    let inner = router().layer(mesh.server()).fallback(|| async { "open" });
    let app = Router::new()
        .nest("/in", inner)
        .fallback(|| async { "open" });
    let app = app.layer(mesh.server());
    walk(Routes::new().route("GET /in/a"), app)
        .await
        .assert_guarded();
    let inner = router()
        .route_layer(mesh.server())
        .fallback(|| async { "open" });
    let app = Router::new().nest_service("/in", inner);
    let walk = walk(Routes::new().route("GET /in/a").random_paths(0), app).await;
    assert!(
        named(&walk).contains(&"unlisted paths at and below /in"),
        "{walk}"
    );
}

/// B-32: only a guard's refusal counts, whatever the status.
#[tokio::test]
async fn a_refusal_of_the_application_itself_is_no_guard() {
    for status in [400, 401, 403, 404] {
        let status = StatusCode::from_u16(status).unwrap();
        let app = Router::new().fallback(move || async move { status });
        let walk = walk(Routes::new().route("GET /a").random_paths(0), app).await;
        let found = answers(&walk, "GET /a");
        assert_eq!(found[0].0, Answer::NotRefused(status), "{walk}");
    }
}

/// B-32: what is around the guard can answer as well.
#[tokio::test]
async fn an_answer_around_the_guard_is_found() {
    let mesh = closed().await;
    let replaced = from_fn(|request: axum::extract::Request, next: Next| async move {
        let answer = next.run(request).await;
        match answer.status() {
            StatusCode::FORBIDDEN => "the start page".into_response(),
            _ => answer,
        }
    });
    let app = router().layer(mesh.server()).layer(replaced);
    let report = walk(routes().random_paths(0), app).await;
    let found = answers(&report, "GET /a");
    assert_eq!(found[0].0, Answer::Replaced(StatusCode::OK), "{report}");

    // As a layer for CORS does.
    let before = from_fn(|request: axum::extract::Request, next: Next| async move {
        match *request.method() {
            Method::OPTIONS => StatusCode::NO_CONTENT.into_response(),
            _ => next.run(request).await,
        }
    });
    let app = router().layer(mesh.server()).layer(before);
    let report = walk(routes().random_paths(0), app).await;
    let due = [(
        Answer::NotRefused(StatusCode::NO_CONTENT),
        vec![Method::OPTIONS],
    )];
    assert_eq!(answers(&report, "GET /a"), due, "{report}");
}

/// A mesh that allows something proves nothing.
#[tokio::test]
async fn a_mesh_that_does_not_deny_all_is_told() {
    let pki = Pki::new("cluster.local").unwrap();
    let rules = "[{to: [{operation: {paths: [/a]}}]}]";
    let lenient = Fixed::yaml("p.yaml", policy("p", "ALLOW", rules));
    let mesh = build(builder(&pki).config(lenient)).await;
    let few = || routes().random_paths(0);
    let report = few().walk(mesh.protect(router()), AxumBody::empty).await;
    let found = answers(&report, "GET /a");
    assert_eq!(found[0].0, Answer::NotRefused(StatusCode::OK), "{report}");

    // The policy for meshes of your own, whoever calls.
    let mesh = build(builder(&pki).config(Fixed::yaml("d.yaml", DENY_ALL))).await;
    let proven = few().peer(proven("desk"));
    let report = proven.walk(mesh.protect(router()), AxumBody::empty).await;
    report.assert_guarded();
}

/// Any tower service, also one that fails, panics or never answers.
#[tokio::test(start_paused = true)]
async fn a_walk_goes_on_after_a_failure_a_panic_and_a_silence() {
    async fn answer(
        request: Request<Empty<Bytes>>,
    ) -> Result<Response<Empty<Bytes>>, std::io::Error> {
        match request.uri().path() {
            "/fails" => Err(std::io::Error::other("its own")),
            "/panics" => panic!("its own"),
            "/hangs" => pending().await,
            _ => Ok(Response::new(Empty::new())),
        }
    }
    let routes = Routes::new().routes(["GET /fails", "GET /hangs", "GET /panics"]);
    let routes = routes.random_paths(0);
    let report = routes.walk(service_fn(answer), Empty::<Bytes>::new).await;
    for (route, due) in [
        ("GET /fails", Answer::Failed("its own".into())),
        ("GET /hangs", Answer::Silent),
        ("GET /panics", Answer::Panicked),
    ] {
        let found = answers(&report, route);
        assert_eq!((found.len(), &found[0].0), (1, &due), "{report}");
    }
}

#[tokio::test]
async fn a_report_names_routes_methods_and_examples() {
    let mesh = closed().await;
    let fine = |_: Request<Empty<Bytes>>| async {
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    };
    let routes = Routes::new().route("GET /").random_paths(0);
    let walk = routes.walk(service_fn(fine), Empty::<Bytes>::new).await;
    assert_eq!(
        walk.to_string(),
        "routes: 1, requests: 10, seed: 0\n\
         not guarded:\n  \
           GET /\n    \
             200, not from a guard: GET / and 8 more, by GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE, UNKNOWN\n  \
           OPTIONS *\n    \
             200, not from a guard: OPTIONS *\n\
         Guard the finished service with policies that deny all: Mesh::serve or Mesh::protect, around the last route, merge and fallback.\n"
    );
    // The same seed asks the same.
    let app = || router().route_layer(mesh.server());
    let report = async |seed| {
        let walk = routes_with(seed).walk(app(), AxumBody::empty).await;
        walk.to_string()
    };
    assert_eq!(report(7).await, report(7).await);
    assert_ne!(report(7).await, report(8).await);
}

/// The example of `docs/testing-policies.md`.
#[tokio::test]
async fn the_page_shows_the_report_as_it_is() {
    let mesh = closed().await;
    let ok = || async { "open" };
    let app = Router::new()
        .route("/patients", get(ok))
        .route("/patients/{id}", get(ok))
        .layer(mesh.server())
        .route("/export", get(ok));
    let routes = ["GET /patients", "GET /patients/{id}", "GET /export"];
    let walk = walk(Routes::new().routes(routes).random_paths(0), app).await;
    let page = include_str!("../../../docs/testing-policies.md");
    assert!(page.contains(&format!("```text\n{walk}```")), "{walk}");
}

#[tokio::test]
async fn routes_are_recorded_from_traffic() {
    let recorder = RecordRoutesLayer::new();
    let app = Router::new()
        .merge(router())
        .nest("/in", router())
        .nest_service("/service", router())
        .layer(recorder.clone());
    let ask = async |method: Method, path: &str| {
        let request = Request::builder().method(method).uri(path);
        let request = request.body(AxumBody::empty()).unwrap();
        drop(app.clone().oneshot(request).await.unwrap());
    };
    ask(Method::GET, "/a/7?x=y").await;
    ask(Method::GET, "/a/8").await;
    ask(Method::POST, "/files/x/y").await;
    ask(Method::GET, "/in/a/7").await;
    ask(Method::GET, "/service/a/7").await;
    let templates = [
        "GET /a/{id}",
        "POST /files/{*path}",
        "GET /in/a/{id}",
        "GET /service/a/7",
    ];
    assert_eq!(recorder.routes(), templates);

    // The guard came too late.
    let walk = walk(Routes::new().recorded(&recorder).random_paths(0), app).await;
    let named = named(&walk);
    assert!(templates.iter().all(|one| named.contains(one)), "{walk}");

    // Around a service it notes paths as they are.
    let recorder = RecordRoutesLayer::new();
    let app = tower::Layer::layer(&recorder, closed().await.protect(router()));
    let request = Request::get("/a/%7Bid%7D/{x}").body(AxumBody::empty());
    app.clone().oneshot(request.unwrap()).await.unwrap();
    assert_eq!(recorder.routes(), ["GET /a/%7Bid%7D/{{x}}"]);
    let routes = Routes::new().recorded(&recorder);
    routes.walk(app, AxumBody::empty).await.assert_guarded();
}

#[tokio::test]
async fn a_recorder_is_bounded_and_tells_what_it_left_out() {
    let recorder = RecordRoutesLayer::new().at_most(2);
    let app = tower::Layer::layer(&recorder, closed().await.protect(router()));
    for path in ["/1", "/2", "/2", "/3", "/4", "/1"] {
        let request = Request::get(path).body(AxumBody::empty());
        app.clone().oneshot(request.unwrap()).await.unwrap();
    }
    assert_eq!(recorder.routes(), ["GET /1", "GET /2"]);
    let routes = Routes::new().recorded(&recorder).random_paths(0);
    let walk = routes.walk(app, AxumBody::empty).await;
    assert!(walk.unguarded().is_empty());
    assert!(walk.to_string().contains("not asked: 2 recorded requests"));
    let failed = std::panic::catch_unwind(|| walk.assert_guarded());
    assert!(failed.is_err());
}

#[test]
fn what_is_no_route_is_told() {
    for wrong in [
        "", "GET", "/a", "GET a", "GE T /a", "GET /{a", "GET /a}", "GET /a b",
    ] {
        let failed = std::panic::catch_unwind(|| Routes::new().route(wrong));
        let why = failed.unwrap_err().downcast::<String>().unwrap();
        assert!(why.contains(&format!("`{wrong}` is no route")), "{why}");
    }
}
