//! Rows 8 and 22 to 25 of the cases: a request that is not recorded, is refused or is left alone has
//! its line and its count, and its span says no more than Envoy's.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use http::{HeaderMap, Request, Version};
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tower_mesh::source::Fixed;
use tower_mesh::testing::Issuer;
use tower_mesh::tls::Protocol;

use super::watched::Watched;
use crate::support::mesh::{ISSUER, dial, empty, get, http1, policy, read};

/// Shows one of the headers that it got.
fn shows(name: &'static str) -> Router {
    Router::new().fallback(any(move |headers: HeaderMap| async move {
        let value = headers.get(name).map(|value| value.to_str().unwrap());
        value.unwrap_or_default().to_owned()
    }))
}

#[tokio::test]
async fn row_8_a_request_that_is_not_recorded_has_its_line_and_its_count() {
    let watched = Watched::start(shows("b3")).await;
    let mut desk = http1(&watched.pki, "desk", watched.served.address).await;
    let request = empty(get("/").header("b3", "0"));
    let (status, _, seen) = read(desk.send_request(request).await.unwrap()).await;
    assert_eq!(status, 200);
    let parts: Vec<_> = seen.split('-').collect();
    let [trace, span, "0"] = parts[..] else {
        panic!("{seen}")
    };
    let is_id = |id: &str| id.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert_eq!((trace.len(), span.len()), (32, 16), "{seen}");
    assert!(
        is_id(trace) && is_id(span) && trace != "0".repeat(32),
        "{seen}"
    );
    let line = watched
        .line(&["response_code=\"200\",", "response_flags=\"-\""])
        .await;
    assert_eq!(line, "200 - via_upstream");
    watched.spans.all(0).await;
    // The next one is recorded.
    desk.ready().await.unwrap();
    drop(read(desk.send_request(empty(get("/"))).await.unwrap()).await);
    watched.one("200", "-", &[]).await;
}

#[tokio::test]
async fn rows_22_and_23_a_refusal_of_policy_is_no_error_of_the_span() {
    let deny = policy("p", "DENY", "[{to: [{operation: {paths: [/closed]}}]}]");
    let watched = Watched::with(Router::new(), |builder| {
        builder.config(Fixed::yaml("p.yaml", deny))
    })
    .await;
    let mut desk = http1(&watched.pki, "desk", watched.served.address).await;
    let denied = "rbac_access_denied_matched_policy[ns[default]-policy[p]-rule[0]]";
    for (content_type, code, grpc, protocol) in [
        ("text/plain", "403", None, "http"),
        ("application/grpc", "200", Some("7"), "grpc"),
    ] {
        desk.ready().await.unwrap();
        let request = empty(get("/closed").header("content-type", content_type));
        let (status, headers, _) = read(desk.send_request(request).await.unwrap()).await;
        assert_eq!(status.to_string(), code);
        let told = headers
            .get("grpc-status")
            .map(|value| value.to_str().unwrap());
        assert_eq!(told, grpc);
        let labels = [
            format!("grpc_response_status=\"{}\"", grpc.unwrap_or_default()),
            format!("request_protocol=\"{protocol}\""),
        ];
        let labels: Vec<_> = labels.iter().map(String::as_str).collect();
        let left = watched.one(code, "-", &labels).await;
        assert_eq!(left.line, format!("{code} - {denied}"));
        assert_eq!(left.span.tag("error"), None, "{protocol}");
        assert_eq!(left.span.tag("grpc.status_code"), grpc);
        assert!(!left.span.is_error, "{protocol}");
    }
}

#[tokio::test]
async fn row_24_a_refusal_of_a_token_has_no_flag() {
    let issuer = Issuer::es256(ISSUER);
    let rules = format!(
        "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {{name: users}}\n\
         spec:\n  jwtRules:\n  - issuer: {}\n    audiences: [app]\n    jwks: '{}'\n",
        issuer.name(),
        issuer.jwks()
    );
    let watched = Watched::with(Router::new(), |builder| {
        builder.config(Fixed::yaml("p.yaml", rules))
    })
    .await;
    let hour = Duration::from_secs(3600);
    let elsewhere = issuer.token().audience("else").sign();
    let expired = issuer.token().audience("app").expired_ago(hour).sign();
    let mut desk = http1(&watched.pki, "desk", watched.served.address).await;
    for (token, code, why) in [
        (elsewhere, "403", "Audiences_in_Jwt_are_not_allowed"),
        (expired, "401", "Jwt_is_expired"),
    ] {
        desk.ready().await.unwrap();
        let request = empty(get("/").header("authorization", format!("Bearer {token}")));
        let (status, ..) = read(desk.send_request(request).await.unwrap()).await;
        assert_eq!(status.to_string(), code);
        let left = watched.one(code, "-", &["grpc_response_status=\"\""]).await;
        let details = format!("{code} - jwt_authn_access_denied{{{why}}}");
        assert_eq!(left.line, details);
        assert_eq!(left.span.tag("error"), None, "{why}");
        assert!(!left.span.is_error, "{why}");
    }
}

#[tokio::test]
async fn row_25_a_client_that_goes_away_leaves_the_code_0() {
    let came = Arc::new(Notify::new());
    let told = Arc::clone(&came);
    let late = Router::new().fallback(any(async move || {
        told.notify_one();
        std::future::pending::<&str>().await
    }));
    let watched = Watched::start(late).await;
    let address = watched.served.address;
    // Over HTTP/1.1 and HTTP/2 alike.
    let mut stream = dial(&watched.pki, "desk", address, Protocol::Http1).await;
    let head = b"GET / HTTP/1.1\r\nhost: app.default\r\n\r\n";
    stream.write_all(head).await.unwrap();
    stream.flush().await.unwrap();
    came.notified().await;
    drop(stream);
    is_gone(&watched).await;

    let stream = dial(&watched.pki, "desk", address, Protocol::Http2).await;
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(async move { drop(connection.await) });
    let mut sender = sender.ready().await.unwrap();
    let request = Request::get("http://app.default/").version(Version::HTTP_2);
    let asked = sender
        .send_request(request.body(()).unwrap(), true)
        .unwrap();
    came.notified().await;
    connection.abort();
    is_gone(&watched).await;
    drop(asked);
}

async fn is_gone(watched: &Watched) {
    let left = watched.one("0", "DC", &[]).await;
    assert_eq!(left.line, "0 DC downstream_remote_disconnect");
    assert_eq!(left.span.tag("error"), Some("true"));
    assert!(left.span.is_error);
}
