//! Local limits behind a mesh, over sockets.

use std::time::Duration;

use axum::Router;
use axum::routing::any;
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use tower_mesh::Mesh;
use tower_mesh::policy::limit::{Action, Limit, Local, TokenBucket};
use tower_mesh::rate_limit::RateLimitLayer;
use tower_mesh::testing::Pki;

use crate::support::log;
use crate::support::mesh::{Served, app, build, empty, get, get2, http1, http2, read, serve};

fn pki() -> Pki {
    Pki::new("cluster.local").unwrap()
}

/// So many tokens, and no more while a test runs.
fn hourly(tokens: u32) -> TokenBucket {
    TokenBucket::new(tokens, Duration::from_secs(3_600))
}

fn by_caller(tokens: u32) -> Limit {
    Limit::new("callers")
        .descriptor([Action::principal_or("none")])
        .local(Local::default().descriptor([("principal", "")], hourly(tokens)))
}

fn by_tenant(local: Local) -> Limit {
    Limit::new("tenants")
        .descriptor([Action::header("x-tenant", "tenant")])
        .local(local)
}

/// An application behind these limits, in a mesh.
async fn serve_limited(pki: &Pki, limits: &RateLimitLayer) -> (Mesh, Served) {
    let mesh = build(app(pki)).await;
    let limited = Router::new()
        .fallback(any(|headers: HeaderMap| async move {
            match headers.contains_key("x-over") {
                true => "over",
                false => "within",
            }
        }))
        .layer(limits.clone());
    let served = serve(&mesh, limited).await;
    (mesh, served)
}

type Client = SendRequest<Full<Bytes>>;

async fn ask(client: &mut Client, tenant: &str) -> (u16, HeaderMap, String) {
    let request = get("/patients").header("x-tenant", tenant);
    read(client.send_request(empty(request)).await.unwrap()).await
}

/// How many of so many requests pass.
async fn passed(client: &mut Client, tenant: &str, requests: usize) -> usize {
    let mut passed = 0;
    for _ in 0..requests {
        passed += usize::from(ask(client, tenant).await.0 == 200);
    }
    passed
}

#[tokio::test]
async fn each_caller_has_its_own_tokens() {
    let pki = pki();
    let limits = RateLimitLayer::new([by_caller(2).x_ratelimit_headers()]);
    let (_mesh, served) = serve_limited(&pki, &limits).await;
    for account in ["desk", "ward"] {
        let mut client = http1(&pki, account, served.address).await;
        for (status, remaining, reset) in [(200, "1", "0"), (200, "0", "1800"), (429, "0", "1800")]
        {
            let (seen, headers, text) = ask(&mut client, "-").await;
            assert_eq!(seen, status);
            assert_eq!(headers["x-ratelimit-limit"], "2");
            assert_eq!(headers["x-ratelimit-remaining"], remaining);
            assert_eq!(headers["x-ratelimit-reset"], reset);
            let expected = if status == 200 {
                "within"
            } else {
                "local_rate_limited"
            };
            assert_eq!(text, expected);
            assert!(!headers.contains_key("x-envoy-ratelimited"));
        }
        // Another connection of the same caller is the same caller.
        let mut again = http1(&pki, account, served.address).await;
        assert_eq!(ask(&mut again, "-").await.0, 429);
    }
    let stats = &limits.stats()[0];
    assert_eq!(
        (stats.name(), stats.passed(), stats.refused()),
        ("callers", 4, 4)
    );
    assert_eq!((stats.keys(), stats.overflowed()), (2, 0));
}

#[tokio::test]
async fn a_grpc_caller_is_told_in_its_own_form() {
    let pki = pki();
    for (exhausted, status) in [(false, "14"), (true, "8")] {
        let mut limit = by_caller(1);
        limit.spec.as_resource_exhausted = exhausted;
        let (_mesh, served) = serve_limited(&pki, &RateLimitLayer::new([limit])).await;
        let mut client = http2(&pki, "desk", served.address).await;
        let request = || empty(get2("/clinic.Desk/Ask").header("content-type", "application/grpc"));
        assert_eq!(client.send_request(request()).await.unwrap().status(), 200);
        let (seen, headers, _) = read(client.send_request(request()).await.unwrap()).await;
        assert_eq!(
            (seen, &headers["grpc-status"]),
            (200, &status.parse().unwrap())
        );
        assert_eq!(headers["grpc-message"], "local_rate_limited");
    }
}

#[tokio::test]
async fn a_limit_that_only_reports_is_counted_and_logged() {
    let pki = pki();
    let (log, _guard) = log::Log::listen(tracing::Level::INFO);
    let mut limit = by_caller(2).report_only();
    limit.spec.not_enforced_headers = vec![("x-over".to_owned(), "yes".to_owned())];
    let limits = RateLimitLayer::new([limit]);
    let (_mesh, served) = serve_limited(&pki, &limits).await;
    let mut client = http1(&pki, "desk", served.address).await;
    for expected in ["within", "within", "over", "over", "over"] {
        assert_eq!(ask(&mut client, "-").await.2, expected);
    }
    let stats = &limits.stats()[0];
    assert_eq!(
        (stats.passed(), stats.refused(), stats.reported()),
        (2, 0, 3)
    );
    let lines = log.with(&["the limit only reports", "limit=callers", "default/sa/desk"]);
    assert_eq!(lines.len(), 3, "{}", log.text());
}

#[tokio::test]
async fn a_connection_can_have_tokens_of_its_own() {
    let pki = pki();
    let limits =
        RateLimitLayer::new([Limit::new("each").local(Local::new(hourly(3)).per_connection())]);
    let (_mesh, served) = serve_limited(&pki, &limits).await;
    let mut first = http1(&pki, "desk", served.address).await;
    assert_eq!(passed(&mut first, "-", 5).await, 3);
    let mut second = http1(&pki, "desk", served.address).await;
    assert_eq!(passed(&mut second, "-", 5).await, 3);
    assert_eq!(passed(&mut first, "-", 2).await, 0);
    let mut streams = http2(&pki, "desk", served.address).await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let answer = streams.send_request(empty(get2("/patients"))).await;
        statuses.push(answer.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [200, 200, 200, 429]);
}

/// A caller who rotates values gets the tokens of one further bucket, and resets none.
#[tokio::test]
async fn rotated_values_share_a_bucket_once_there_is_no_room() {
    let pki = pki();
    let local = Local::default()
        .descriptor([("tenant", "")], hourly(2))
        .max_keys(2);
    let limits = RateLimitLayer::new([by_tenant(local)]);
    let (_mesh, served) = serve_limited(&pki, &limits).await;
    let mut client = http1(&pki, "desk", served.address).await;
    assert_eq!(passed(&mut client, "north", 3).await, 2);
    assert_eq!(passed(&mut client, "south", 1).await, 1);
    let mut rotated = 0;
    for number in 0..50 {
        rotated += passed(&mut client, &format!("made-up-{number}"), 1).await;
    }
    assert_eq!(rotated, 2);
    assert_eq!(passed(&mut client, "north", 1).await, 0);
    assert_eq!(passed(&mut client, "south", 2).await, 1);
    let stats = &limits.stats()[0];
    assert_eq!((stats.keys(), stats.overflowed()), (2, 50));
}

/// A layer has every mistake told, and one that is made all the same has it in the log.
#[tokio::test]
async fn a_layer_of_limits_that_can_never_count_is_a_mistake() {
    let (log, _guard) = log::Log::listen(tracing::Level::ERROR);
    let good = || by_tenant(Local::default().descriptor([("tenant", "")], hourly(2)));
    let idle = || by_tenant(Local::default().descriptor([("tenants", "")], hourly(2)));
    let builder = RateLimitLayer::builder().limit(good());
    assert_eq!(builder.clone().build().unwrap().stats().len(), 1);
    let error = builder.limit(idle()).limit(Limit::new("none")).build();
    let due = [
        r#"two limits have the name "tenants": give each a name of its own"#,
        r#"the limit "tenants": no request reaches one of its buckets: no descriptor(..) makes its keys"#,
        r#"the limit "none": nothing counts: add local(..) or service(..)"#,
    ];
    let error = error.unwrap_err();
    assert_eq!(error.mistakes(), due);
    assert_eq!(error.to_string(), due.join("; "));
    assert_eq!(log.text(), "");
    drop(RateLimitLayer::new([idle()]));
    assert_eq!(
        log.with(&["counts less than it says", due[1]]).len(),
        1,
        "{}",
        log.text()
    );
}

/// A limit by a header does not count requests without it; the default bucket does.
#[tokio::test]
async fn a_request_without_a_value_is_counted_by_the_default_bucket() {
    let pki = pki();
    let local = Local::new(hourly(4)).descriptor([("tenant", "")], hourly(2));
    let (_mesh, served) = serve_limited(&pki, &RateLimitLayer::new([by_tenant(local)])).await;
    let mut client = http1(&pki, "desk", served.address).await;
    assert_eq!(passed(&mut client, "north", 3).await, 2);
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let answer = client.send_request(empty(get("/patients"))).await.unwrap();
        statuses.push(read(answer).await.0);
    }
    assert_eq!(statuses, [200, 200, 429]);
}
