//! Two guards, one inside the other: what the outer one has said of the user stays said, and a client says nothing of it.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Empty;
use tower::{Layer, ServiceExt, service_fn};
use tower_mesh::context::{Claims, Exchange};
use tower_mesh::jwt::JwtLayer;
use tower_mesh::testing::Issuer;

use super::several::at;
use super::support::{get, layer};

/// The subject that policy sees, and the lines of `x-user`, behind both guards; `None` where one refused.
async fn behind(
    outer: &JwtLayer,
    inner: &JwtLayer,
    lines: &[(&str, &str)],
) -> Option<(Option<String>, Vec<String>)> {
    let seen = std::sync::Mutex::new(None);
    let app = service_fn(|request: Request<Empty<Bytes>>| {
        let (mut head, _) = request.into_parts();
        let exchange = Exchange::from_extensions(&mut head.extensions);
        let subject = exchange.claims().and_then(Claims::subject);
        *seen.lock().unwrap() = Some((subject.map(str::to_owned), users(&head.headers)));
        async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) }
    });
    let request = lines.iter().fold(get("/"), |request, (name, value)| {
        request.header(*name, *value)
    });
    let guarded = outer.layer(inner.layer(app));
    let answer = guarded.oneshot(request.body(Empty::new()).unwrap());
    let status = answer.await.unwrap().status();
    let seen = seen.lock().unwrap().take();
    assert_eq!(seen.is_some(), status == StatusCode::OK);
    seen
}

fn users(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.get_all("x-user").iter();
    lines
        .map(|line| line.to_str().unwrap().to_owned())
        .collect()
}

/// Claims and output headers are one decision, also where the second guard finds the token no more.
#[tokio::test]
async fn the_inner_guard_leaves_what_the_outer_one_has_told() {
    let issuer = Issuer::eddsa("a");
    let other = Issuer::eddsa("b");
    let good = issuer.token().subject("alice").sign();
    let bad = issuer.token().subject("alice").tampered();
    let told = Some((Some("alice".to_owned()), vec!["alice".to_owned()]));
    let nobody = Some((None, vec![]));
    for forwards in [false, true] {
        let guard = |issuer: &Issuer, place: &str| {
            let mut rule = at(issuer, &[place], "x-user");
            rule.forward_original_token = forwards;
            layer(vec![rule])
        };
        let outer = guard(&issuer, "x-jwt");
        for inner in [guard(&issuer, "x-jwt"), guard(&other, "x-b")] {
            for spoofed in [
                &[][..],
                &[("x-user", "eve")],
                &[("x-user", "eve"), ("x-user", "alice")],
            ] {
                let with = |token: &[(&'static str, &'static str)]| [token, spoofed].concat();
                let good: &'static str = good.clone().leak();
                let bad: &'static str = bad.clone().leak();
                let seen = behind(&outer, &inner, &with(&[("x-jwt", good)])).await;
                assert_eq!(seen, told, "forwards: {forwards}, {spoofed:?}");
                assert_eq!(behind(&outer, &inner, &with(&[])).await, nobody);
                assert_eq!(behind(&outer, &inner, &with(&[("x-jwt", bad)])).await, None);
            }
        }
    }
}
