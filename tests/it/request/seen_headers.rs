//! What policy takes for absent, repaired or joined reaches the handler of a composed mesh as policy saw it.

use axum::Router;
use axum::body::Body as AxumBody;
use axum::routing::any;
use http::{HeaderMap, HeaderValue, Request, Version};
use tower::{Layer, ServiceExt};
use tower_mesh::live::Live;
use tower_mesh::policy::Engine;
use tower_mesh::rbac::RbacLayer;
use tower_mesh::source::Fixed;
use tower_mesh::testing::Pki;
use tower_mesh::{Peer, Workload};

use crate::support::mesh::{app, build, policy, proven, read, unproven};

/// Says the lines of the header that `x-asked` names.
fn heard() -> Router {
    Router::new().fallback(any(|headers: HeaderMap| async move {
        let name = headers["x-asked"].to_str().unwrap();
        let lines = headers.get_all(name).iter();
        let lines: Vec<_> = lines
            .map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned())
            .collect();
        lines.join("|")
    }))
}

fn request(peer: &Peer, asked: &str, headers: &[(&str, &str)]) -> Request<AxumBody> {
    let request = Request::get("/")
        .header("host", "app")
        .header("x-asked", asked);
    let request = headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap())
    });
    request
        .extension(peer.clone())
        .body(AxumBody::empty())
        .unwrap()
}

/// What is asked for, what is sent, and what arrives.
type Row = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
);

const ROWS: &[Row] = &[
    // Headers of one hop.
    ("te", &[("te", "gzip")], ""),
    ("te", &[("te", "Trailers")], ""),
    ("te", &[("te", "trailers")], "trailers"),
    ("te", &[("te", "gzip, trailers")], "trailers"),
    (
        "te",
        &[("te", "gzip"), ("te", "trailers;q=1"), ("te", "trailers")],
        "trailers",
    ),
    ("keep-alive", &[("keep-alive", "timeout=5")], ""),
    (
        "proxy-connection",
        &[("proxy-connection", "keep-alive")],
        "",
    ),
    ("transfer-encoding", &[("transfer-encoding", "chunked")], ""),
    ("connection", &[("connection", "keep-alive")], ""),
    ("connection", &[("connection", "close")], ""),
    ("upgrade", &[("upgrade", "websocket")], ""),
    // An upgrade stays, and nothing is named beside it.
    (
        "upgrade",
        &[("connection", "Upgrade"), ("upgrade", "websocket")],
        "websocket",
    ),
    (
        "connection",
        &[("connection", "Upgrade"), ("upgrade", "websocket")],
        "Upgrade",
    ),
    (
        "connection",
        &[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
        ],
        "upgrade",
    ),
    // But for one that is never granted.
    (
        "upgrade",
        &[
            ("connection", "Upgrade, HTTP2-Settings"),
            ("upgrade", "h2c"),
            ("http2-settings", "AA"),
        ],
        "",
    ),
    (
        "connection",
        &[
            ("connection", "Upgrade, HTTP2-Settings"),
            ("upgrade", "H2C"),
            ("http2-settings", "AA"),
        ],
        "",
    ),
    (
        "http2-settings",
        &[
            ("connection", "Upgrade, HTTP2-Settings"),
            ("upgrade", "h2c"),
            ("http2-settings", "AA"),
        ],
        "",
    ),
    // What steers Envoy.
    ("x-envoy-internal", &[("x-envoy-internal", "true")], ""),
    ("x-envoy-retry-on", &[("x-envoy-retry-on", "5xx")], ""),
    ("x-envoy-max-retries", &[("x-envoy-max-retries", "9")], ""),
    ("x-envoy-ip-tags", &[("x-envoy-ip-tags", "a")], ""),
    (
        "x-envoy-original-url",
        &[("x-envoy-original-url", "/admin")],
        "",
    ),
    ("x-envoy-force-trace", &[("x-envoy-force-trace", "1")], ""),
    (
        "x-envoy-upstream-rq-timeout-ms",
        &[("x-envoy-upstream-rq-timeout-ms", "1")],
        "",
    ),
    // Who a peer says that called it.
    (
        "x-forwarded-client-cert",
        &[(
            "x-forwarded-client-cert",
            "By=a;URI=spiffe://cluster.local/ns/a/sa/admin",
        )],
        "",
    ),
    (
        "x-forwarded-client-cert",
        &[
            ("x-forwarded-client-cert", "a"),
            ("x-forwarded-client-cert", "b"),
        ],
        "",
    ),
    // A referer is one.
    ("referer", &[("referer", "http://a/b#c")], ""),
    ("referer", &[("referer", "a b")], ""),
    ("referer", &[("referer", "http://u@a/")], ""),
    (
        "referer",
        &[("referer", "http://a"), ("referer", "http://b")],
        "",
    ),
    ("referer", &[("referer", "http://a/b?c")], "http://a/b?c"),
    // Lines that are stored as one.
    (
        "accept",
        &[("accept", "a"), ("accept", "b"), ("accept", "c")],
        "a,b,c",
    ),
    (
        "accept",
        &[("accept", "a"), ("accept", ""), ("accept", "b")],
        "a,b",
    ),
    ("origin", &[("origin", "a"), ("origin", "b")], "a,b"),
    (
        "authorization",
        &[("authorization", "Basic a"), ("authorization", "Basic b")],
        "Basic a,Basic b",
    ),
    (
        "x-forwarded-for",
        &[
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "9.9.9.9"),
        ],
        "1.1.1.1,9.9.9.9",
    ),
    (
        "x-forwarded-host",
        &[("x-forwarded-host", "a"), ("x-forwarded-host", "b")],
        "a,b",
    ),
    (
        "x-forwarded-proto",
        &[
            ("x-forwarded-proto", "http"),
            ("x-forwarded-proto", "https"),
        ],
        "http,https",
    ),
    (
        "content-type",
        &[("content-type", "a"), ("content-type", "b")],
        "a,b",
    ),
    ("via", &[("via", "a"), ("via", "b")], "a,b"),
    // All others line by line.
    (
        "x-role",
        &[("x-role", "user"), ("x-role", "admin")],
        "user|admin",
    ),
    ("cookie", &[("cookie", "a=1"), ("cookie", "b=2")], "a=1|b=2"),
    (
        "accept-language",
        &[("accept-language", "a"), ("accept-language", "b")],
        "a|b",
    ),
    // Without the blanks that HTTP/2 lets through.
    ("x-role", &[("x-role", " admin\t")], "admin"),
    ("x-role", &[("x-role", "user "), ("x-role", " ")], "user|"),
];

#[tokio::test]
async fn the_handler_of_a_mesh_sees_the_headers_that_policy_saw() {
    let pki = Pki::new("cluster.local").unwrap();
    let mesh = build(app(&pki)).await;
    for peer in [unproven(), proven("desk")] {
        for (name, headers, expected) in ROWS {
            let guarded = mesh.protect(heard()).of(peer.clone());
            let answer = guarded
                .oneshot(request(&peer, name, headers))
                .await
                .unwrap();
            let (status, _, seen) = read(answer).await;
            assert_eq!((status, seen.as_str()), (200, *expected), "{headers:?}");

            let layered = heard().layer(mesh.server());
            let answer = layered
                .oneshot(request(&peer, name, headers))
                .await
                .unwrap();
            assert_eq!(read(answer).await.2, *expected, "layered {headers:?}");
        }
    }
}

#[tokio::test]
async fn the_handler_behind_the_policy_layer_sees_them_too() {
    let workload = Workload::new("default", "app");
    let engine = Engine::builder(&workload);
    let layer = RbacLayer::new(Live::new(engine.build().unwrap()));
    for layer in [layer.clone(), layer.in_front_of_router()] {
        for peer in [unproven(), proven("desk")] {
            for (name, headers, expected) in ROWS {
                let guarded = layer.layer(heard());
                let answer = guarded
                    .oneshot(request(&peer, name, headers))
                    .await
                    .unwrap();
                assert_eq!(read(answer).await.2, *expected, "{headers:?}");
            }
        }
    }
}

/// RFC 9110 §7.6.1, before anybody judges: what a `Connection` header names is for one hop, and is gone for guards and application alike.
#[tokio::test]
async fn what_a_connection_header_names_is_gone_before_the_guards() {
    let pki = Pki::new("cluster.local").unwrap();
    let mesh = build(app(&pki)).await;
    for (connection, name, value, expected) in [
        ("x-room", "x-room", "7", Some("")),
        ("keep-alive, X-Room", "x-room", "7", Some("")),
        ("close,x-room,", "x-room", "7", Some("")),
        ("x-other", "x-room", "7", Some("7")),
        ("authorization", "authorization", "Basic a", Some("")),
        ("te", "te", "trailers", Some("trailers")),
        ("close", "x-close", "7", Some("7")),
        // What may not be named.
        ("host", "host", "app", None),
        ("Host", "host", "app", None),
        ("x-forwarded-for", "x-room", "7", None),
        ("x-forwarded-host", "x-room", "7", None),
        ("x-forwarded-proto", "x-room", "7", None),
        (":authority", "x-room", "7", None),
        ("a, b, c, d, e, f, g, h, i, x-room", "x-room", "7", None),
    ] {
        let more = [("connection", connection), (name, value)];
        let more = &more[..if name == "host" { 1 } else { 2 }];
        let asked = request(&unproven(), name, more);
        let answer = mesh.protect(heard()).of(unproven()).oneshot(asked).await;
        let (status, _, seen) = read(answer.unwrap()).await;
        let got = (status == 200).then_some(seen.as_str());
        assert_eq!(got, expected, "{connection}");
        assert!(status == 200 || status == 400, "{connection}: {status}");
    }
}

/// The application behind a DENY on values of a header, in each way in which guards are put up.
async fn refusing(header: &str, value: &str) -> [Router; 3] {
    let when = format!("{{key: 'request.headers[{header}]', values: ['{value}']}}");
    let denied = policy("p", "DENY", &format!("[{{when: [{when}]}}]"));
    let workload = Workload::new("default", "app");
    let engine = Engine::builder(&workload).yaml(&denied);
    let engine = Live::new(engine.build().unwrap());
    let pki = Pki::new("cluster.local").unwrap();
    let mesh = build(app(&pki).config(Fixed::yaml("p.yaml", denied))).await;
    [
        heard().layer(mesh.server()),
        heard().layer(RbacLayer::new(engine.clone())),
        heard().layer(RbacLayer::new(engine).in_front_of_router()),
    ]
}

/// H-01: what a caller over TLS says of callers before it reaches policy, as in Envoy, and never the application.
#[tokio::test]
async fn policy_judges_what_a_caller_says_of_others() {
    let name = "x-forwarded-client-cert";
    for app in refusing(name, "By=evil*").await {
        for (said, status) in [("By=evil;URI=a", 403), ("By=good", 200)] {
            let request = request(&proven("a"), name, &[(name, said)]);
            let answer = app.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.status(), status, "{said}");
            if status == 200 {
                assert_eq!(read(answer).await.2, "");
            }
        }
    }
}

/// RFC 9113 §8.2.3: the crumbs of a cookie are one header, as in Envoy. Lines of HTTP/1 are not.
#[tokio::test]
async fn crumbs_of_a_cookie_are_one_header() {
    for app in refusing("cookie", "a=1; b=2").await {
        for (version, cookies, status, expected) in [
            (Version::HTTP_2, &["a=1", "b=2"][..], 403, ""),
            (Version::HTTP_2, &["a=1; b=2"], 403, ""),
            (
                Version::HTTP_2,
                &["b=2", "a=1", "c=3"],
                200,
                "b=2; a=1; c=3",
            ),
            (Version::HTTP_2, &["a=1"], 200, "a=1"),
            (Version::HTTP_11, &["a=1", "b=2"], 200, "a=1|b=2"),
        ] {
            let lines: Vec<_> = cookies.iter().map(|line| ("cookie", *line)).collect();
            let mut request = request(&unproven(), "cookie", &lines);
            *request.version_mut() = version;
            let answer = app.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.status(), status, "{cookies:?}");
            if status == 200 {
                assert_eq!(read(answer).await.2, expected);
            }
        }
    }
}
