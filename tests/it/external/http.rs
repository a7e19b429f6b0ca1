//! Providers over HTTP: what they are asked, and what follows from each of their answers.

use tower_mesh::message::ResponseFlags;

use super::support::{Asked, Kind, Stub, Ward, answered, plain, status};
use crate::support::mesh::get2;

const TIMEOUT: &str = ", timeout: 5s";

/// The headers of a question, but those of the call that carries it.
fn shown(asked: &Asked) -> Vec<String> {
    const OF_CALLS: [&str; 10] = [
        "traceparent",
        "tracestate",
        "x-request-id",
        "x-envoy-peer-metadata",
        "x-envoy-peer-metadata-id",
        "x-envoy-attempt-count",
        "x-b3-traceid",
        "x-b3-spanid",
        "x-b3-sampled",
        "x-b3-parentspanid",
    ];
    let lines = asked.head.headers.iter();
    let lines = lines.filter(|(name, _)| !OF_CALLS.contains(&name.as_str()));
    let lines = lines.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
    let mut lines: Vec<_> = lines.collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn a_provider_sees_the_head_and_what_is_listed() {
    let lists = ", pathPrefix: /check, includeRequestHeadersInCheck: [x-*, cookie], \
                 includeAdditionalHeadersInCheck: {x-b: added}";
    let more = format!("{TIMEOUT}{lists}");
    for (more, path, expected) in [
        (
            TIMEOUT,
            "/a?q=1",
            &[
                "authorization: Bearer t",
                "content-length: 0",
                "host: app.default",
            ][..],
        ),
        (
            &more,
            "/check/a?q=1",
            &[
                "authorization: Bearer t",
                "content-length: 0",
                "cookie: a=1; b=2",
                "host: app.default",
                "x-a: 1,2",
                "x-b: added",
                "x-forwarded-proto: https",
            ],
        ),
    ] {
        let mut stub = Stub::new().await;
        let ward = Ward::asking(&stub, Kind::Http, more).await;
        let mut caller = ward.caller().await;
        let request = get2("/a?q=1")
            .method("PUT")
            .header("authorization", "Bearer t")
            .header("x-a", "1")
            .header("x-a", "2")
            .header("x-b", "sent")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .header("accept", "text/plain");
        let waiting = caller.send(request, "body");
        let asked = stub.next().await;
        assert_eq!(asked.head.method, "PUT");
        let target = asked.head.uri.path_and_query().unwrap().as_str();
        assert_eq!((target, asked.body.len()), (path, 0));
        let shown: Vec<_> = shown(&asked)
            .into_iter()
            .filter(|line| !line.starts_with("x-forwarded-client-cert"))
            .collect();
        assert_eq!(shown, expected);
        asked.answer(plain(200, &[], "ignored"));
        assert_eq!(status(waiting).await, 200);
        assert_eq!(ward.called().body, "body");
    }
}

#[tokio::test]
async fn each_status_has_its_result() {
    let mut stub = Stub::new().await;
    let ward = Ward::asking(&stub, Kind::Http, ", timeout: 5s, statusOnError: '501'").await;
    let mut caller = ward.caller().await;
    let (denied, error) = (Some("ext_authz_denied"), Some("ext_authz_error"));
    for (number, (said, expected, body, details)) in [
        (200, 200, "hello", None),
        (201, 201, "said", denied),
        (204, 204, "", denied),
        (302, 302, "said", denied),
        (401, 401, "said", denied),
        (499, 499, "said", denied),
        (500, 501, "", error),
        (503, 501, "", error),
    ]
    .into_iter()
    .enumerate()
    {
        let waiting = caller.get("/a");
        let text = if said == 204 { "" } else { "said" };
        stub.next().await.answer(plain(said, &[], text));
        let (status, _, text) = answered(waiting).await;
        assert_eq!((status, &*text), (expected, body), "{said}");
        let seen = ward.seen(number).await;
        assert_eq!(seen.details.as_deref(), details, "{said}");
        if details.is_some() {
            assert_eq!(seen.flags, ResponseFlags::UNAUTHORIZED_EXTERNAL, "{said}");
            assert!(ward.is_uncalled());
        } else {
            ward.called();
        }
    }
}

#[tokio::test]
async fn headers_of_the_answer_go_where_they_are_listed() {
    let more = ", timeout: 5s, headersToUpstreamOnAllow: [x-user, 'x-auth-*'], \
                headersToDownstreamOnAllow: [set-cookie, x-from], \
                headersToDownstreamOnDeny: ['*-why']";
    let mut stub = Stub::new().await;
    let ward = Ward::asking(&stub, Kind::Http, more).await;
    let mut caller = ward.caller().await;
    let headers = [
        ("x-user", "alice"),
        ("x-user", "bob"),
        ("x-auth-role", "nurse"),
        ("x-other", "o"),
        ("x-from", "opa"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        (
            "x-envoy-auth-headers-to-remove",
            "cookie, X-Old , :path, host",
        ),
    ];
    let request = get2("/a").header("x-user", "forged").header("x-old", "1");
    let waiting = caller.send(request.header("cookie", "c=1"), "");
    stub.next().await.answer(plain(200, &headers, ""));
    let (status, answer, _) = answered(waiting).await;
    assert_eq!(status, 200);
    let from: Vec<_> = answer.get_all("x-from").iter().collect();
    assert_eq!(from, ["app", "opa"]);
    assert_eq!(answer.get_all("set-cookie").iter().count(), 2);
    assert!(answer.get("x-other").is_none());
    let called = ward.called();
    for (name, lines) in [
        ("x-user", &["bob"][..]),
        ("x-auth-role", &["nurse"]),
        ("x-other", &[]),
        ("cookie", &[]),
        ("x-old", &[]),
    ] {
        assert_eq!(called.lines(name), lines, "{name}");
    }

    let headers = [
        ("location", "/login"),
        ("www-authenticate", "Basic"),
        ("x-why", "w"),
        ("set-cookie", "a=1"),
        ("content-type", "text/html"),
    ];
    let waiting = caller.get("/a");
    stub.next().await.answer(plain(302, &headers, "<p>no"));
    let (status, answer, body) = answered(waiting).await;
    assert_eq!((status, &*body), (302, "<p>no"));
    for (name, value) in [
        ("location", Some("/login")),
        ("www-authenticate", Some("Basic")),
        ("x-why", Some("w")),
        ("set-cookie", None),
        ("content-type", Some("text/plain")),
        ("content-length", Some("5")),
    ] {
        let found = answer.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(found, value, "{name}");
    }
}

#[tokio::test]
async fn a_refusal_has_all_headers_if_none_are_listed() {
    let mut stub = Stub::new().await;
    let ward = Ward::asking(&stub, Kind::Http, TIMEOUT).await;
    let mut caller = ward.caller().await;
    let headers = [("set-cookie", "a=1"), ("set-cookie", "b=2"), ("x-any", "1")];
    let waiting = caller.get("/a");
    stub.next().await.answer(plain(401, &headers, "{}"));
    let (status, answer, _) = answered(waiting).await;
    assert_eq!((status, &answer["x-any"]), (401, &"1".parse().unwrap()));
    assert_eq!(answer.get_all("set-cookie").iter().count(), 2);
}

/// A provider may speak HTTP/1 only. A caller's content type once made the question HTTP/2, so that
/// it failed, and a provider that fails open let the request pass.
#[tokio::test]
async fn a_caller_does_not_choose_the_protocol_of_the_question() {
    let mut stub = Stub::new().await;
    let more = format!("{TIMEOUT}, includeRequestHeadersInCheck: [content-type]");
    let ward = Ward::asking(&stub, Kind::Http, &more).await;
    let mut caller = ward.caller().await;
    let request = get2("/a").header("content-type", "application/grpc");
    let waiting = caller.send(request, "");
    let asked = stub.next().await;
    assert_eq!(asked.head.version, http::Version::HTTP_11);
    assert_eq!(asked.head.headers["content-type"], "application/grpc");
    asked.answer(plain(200, &[], ""));
    assert_eq!(answered(waiting).await.0, 200);
}
