//! The composed mesh under every server that may carry it, and what its guards see there.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body as AxumBody;
use axum::extract::OriginalUri;
use axum::routing::{any, get as on_get};
use axum::{Extension, Router};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Version, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tower::{Service, ServiceExt, service_fn};
use tower_mesh::Peer;
use tower_mesh::context::Exchange;
use tower_mesh::mesh::Drained;
use tower_mesh::source::{Directory, Fixed, OnOpening};
use tower_mesh::testing::Pki;
use tower_mesh::tls::Protocol;

use crate::support::mesh::{
    Fed, app, build, caller, dial, empty, get, get2, http1, http2, lines, pass, policy, read,
    serve, until, until_status, write,
};

fn pki() -> Pki {
    Pki::new("cluster.local").unwrap()
}

/// DENY these paths.
fn deny(paths: &str) -> Fixed {
    let rules = format!("[{{to: [{{operation: {{paths: [{paths}]}}}}]}}]");
    Fixed::yaml("p.yaml", policy("closed", "DENY", &rules))
}

/// Says who called, where, and in which version.
fn echo() -> Router {
    Router::new().fallback(any(|request: Request<AxumBody>| async move {
        let exchange = request.extensions().get::<Exchange>();
        let peer = exchange.and_then(Exchange::peer);
        let principal = peer.and_then(Peer::principal).unwrap_or("nobody");
        format!(
            "{principal} {} {:?}",
            request.uri().path(),
            request.version()
        )
    }))
}

async fn status<B>(
    sender: &mut hyper::client::conn::http2::SendRequest<Full<Bytes>>,
    request: Request<B>,
) -> StatusCode
where
    Full<Bytes>: From<B>,
{
    let request = request.map(Full::from);
    sender.send_request(request).await.unwrap().status()
}

#[tokio::test]
async fn both_versions_are_served_as_the_client_asks() {
    let pki = pki();
    let mesh = build(app(&pki)).await;
    let served = serve(&mesh, echo()).await;
    let mut sender = http1(&pki, "desk", served.address).await;
    let response = sender.send_request(empty(get("/a"))).await.unwrap();
    let answer = read(response).await.2;
    assert_eq!(answer, "cluster.local/ns/default/sa/desk /a HTTP/1.1");
    let mut sender = http2(&pki, "desk", served.address).await;
    let response = sender.send_request(empty(get2("/a"))).await.unwrap();
    let answer = read(response).await.2;
    assert_eq!(answer, "cluster.local/ns/default/sa/desk /a HTTP/2.0");
}

/// RFC 9113 §3.4; Envoy prefers what ALPN settled to what the first bytes say.
#[tokio::test]
async fn a_client_speaks_the_version_that_it_agreed_on() {
    let pki = pki();
    let mesh = build(app(&pki)).await;
    let served = serve(&mesh, echo()).await;
    let requests = [
        (
            Protocol::Http1,
            "GET / HTTP/1.1\r\nhost: app.default\r\n\r\n",
        ),
        (
            Protocol::Http2,
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        ),
    ];
    for agreed in [Protocol::Http1, Protocol::Http2] {
        for (spoken, bytes) in requests {
            let mut stream = dial(&pki, "desk", served.address, agreed).await;
            stream.write_all(bytes.as_bytes()).await.unwrap();
            let mut answer = [0; 9];
            let read = stream.read_exact(&mut answer).await;
            assert_eq!(
                read.is_ok(),
                agreed == spoken,
                "{agreed:?} {spoken:?} {answer:?}"
            );
        }
    }
}

/// R-08: frame by frame, both ways, nothing held back.
#[tokio::test]
async fn bodies_stream_both_ways_at_once() {
    let pki = pki();
    let mesh = build(app(&pki)).await;
    let mirror = any(|request: Request<AxumBody>| async move {
        Response::new(AxumBody::new(request.into_body()))
    });
    let served = serve(&mesh, Router::new().fallback(mirror)).await;
    let desk = caller(&pki, "desk", served.address).await;
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let (feed, body) = mpsc::unbounded_channel();
        let body = Fed(body);
        let say = |text: &'static str| feed.send(Frame::data(Bytes::from(text))).unwrap();
        let request = Request::post("http://app.default/").version(version);
        // HTTP/1.1 answers once it has something to answer with.
        say("0");
        let response = desk.client().request(request.body(body).unwrap()).await;
        let mut body = response.unwrap().into_body();
        for text in ["0", "1", "2", "3"] {
            if text != "0" {
                say(text);
            }
            let frame = body.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), text, "{version:?}");
        }
        drop(feed);
        // HTTP/2 may end with an empty frame.
        let rest = body.collect().await.unwrap().to_bytes();
        assert!(rest.is_empty(), "{version:?}");
    }
    until("both calls to be counted", || {
        let counted = lines(&mesh, "istio_requests_total", &[r#"response_code="200""#]);
        counted.iter().any(|line| line.ends_with(" 2"))
    })
    .await;
}

#[tokio::test]
async fn axums_own_server_carries_it() {
    let pki = pki();
    let mesh = build(app(&pki).config(deny("/closed"))).await;
    let listener = mesh.listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr();
    let server = tokio::spawn(axum::serve(listener, mesh.make(echo())).into_future());
    let mut sender = http2(&pki, "desk", address).await;
    let response = sender.send_request(empty(get2("/open"))).await.unwrap();
    assert!(
        read(response)
            .await
            .2
            .starts_with("cluster.local/ns/default/sa/desk /open")
    );
    assert_eq!(
        status(&mut sender, get2("/closed").body("").unwrap()).await,
        403
    );
    server.abort();
}

#[tokio::test]
async fn tonics_own_server_carries_it_as_a_layer() {
    let pki = pki();
    let mesh = build(app(&pki).config(deny("/a.B/Closed"))).await;
    let listener = mesh.listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr();
    let routes = tonic::service::Routes::from(Router::new().route(
        "/a.B/{method}",
        any(|Extension(peer): Extension<Peer>| async move {
            let response = Response::builder().header("grpc-status", "0");
            let response = response.header("content-type", "application/grpc");
            response
                .header("who", peer.principal().unwrap())
                .body(AxumBody::empty())
                .unwrap()
        }),
    ));
    let mut server = tonic::transport::Server::builder().layer(mesh.server());
    let server = tokio::spawn(server.add_routes(routes).serve_with_incoming(listener));
    let mut sender = http2(&pki, "desk", address).await;
    let call = |path| {
        let request = Request::post(format!("http://app.default{path}"));
        empty(request.header("content-type", "application/grpc"))
    };
    let response = sender.send_request(call("/a.B/Open")).await.unwrap();
    assert_eq!(
        response.headers()["who"],
        "cluster.local/ns/default/sa/desk"
    );
    assert_eq!(response.headers()["grpc-status"], "0");
    let response = sender.send_request(call("/a.B/Closed")).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["grpc-status"], "7");
    let counted = lines(
        &mesh,
        "istio_requests_total",
        &[r#"request_protocol="grpc""#, r#"grpc_response_status="7""#],
    );
    assert_eq!(counted.len(), 1, "{counted:?}");
    server.abort();
}

#[tokio::test]
async fn hypers_own_server_carries_it() {
    let pki = pki();
    let mesh = build(app(&pki).config(deny("/closed"))).await;
    let mut listener = mesh.listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr();
    let bare = service_fn(|_: Request<_>| async {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"bare"))))
    });
    let guarded = mesh.protect(bare);
    let server = tokio::spawn(async move {
        loop {
            let connection = listener.accept().await;
            let service = guarded.clone().of(connection.peer().clone());
            tokio::spawn(async move {
                let service = TowerToHyperService::new(service);
                let http = auto::Builder::new(TokioExecutor::new());
                let _ = http
                    .serve_connection(TokioIo::new(connection), service)
                    .await;
            });
        }
    });
    let mut sender = http1(&pki, "desk", address).await;
    let response = sender.send_request(empty(get("/open"))).await.unwrap();
    assert_eq!(read(response).await.2, "bare");
    let response = sender.send_request(empty(get("/closed"))).await.unwrap();
    assert_eq!(response.status(), 403);
    server.abort();
}

#[tokio::test]
async fn a_bare_service_is_protected_without_any_server() {
    let mesh = build(app(&pki()).config(deny("/closed"))).await;
    // Neither `Send` nor `Clone` nor infallible.
    let calls = std::rc::Rc::new(std::cell::Cell::new(0));
    let count = std::rc::Rc::clone(&calls);
    let mut guarded = mesh.protect(service_fn(move |_: Request<_>| {
        count.set(count.get() + 1);
        async { Err::<Response<Full<Bytes>>, _>(std::io::Error::other("no")) }
    }));
    let peer = Peer::plaintext("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap());
    let request = |path: &str| empty(Request::get(path).extension(peer.clone()));
    let ready = guarded.ready().await.unwrap();
    assert_eq!(ready.call(request("/closed")).await.unwrap().status(), 403);
    assert_eq!(calls.get(), 0);
    let ready = guarded.ready().await.unwrap();
    assert_eq!(
        ready.call(request("/open")).await.unwrap_err().to_string(),
        "no"
    );
    assert_eq!(calls.get(), 1);
}

/// B-30: the router sees what policy judged.
#[tokio::test]
async fn the_path_that_is_judged_is_the_path_that_is_routed() {
    let pki = pki();
    let mesh = build(app(&pki).config(deny("/admin, /admin/*"))).await;
    let router = Router::new()
        .route(
            "/x/{*rest}",
            any(|request: Request<AxumBody>| async move { format!("x {}", request.uri()) }),
        )
        .fallback(any(|request: Request<AxumBody>| async move {
            format!("- {}", request.uri().path())
        }));
    let served = serve(&mesh, router).await;
    let mut sender = http1(&pki, "desk", served.address).await;
    let cases = [
        ("/x/../admin", 403, ""),
        ("/x/%2e%2e/admin", 403, ""),
        ("/x/./../admin/", 403, ""),
        ("/%61dmin", 403, ""),
        ("/x/y?z=/../admin", 200, "x /x/y?z=/../admin"),
        ("/x/./y", 200, "x /x/y"),
        ("/x/../y", 200, "- /y"),
    ];
    for (path, expected, text) in cases {
        let response = sender.send_request(empty(get(path))).await.unwrap();
        let (status, _, body) = read(response).await;
        assert_eq!(status, expected, "{path}: {body}");
        if expected == 200 {
            assert_eq!(body, text, "{path}");
        }
    }
}

/// B-31: however deep a router is nested, policy reads the whole target.
#[tokio::test]
async fn nested_routers_are_judged_on_the_whole_target() {
    let pki = pki();
    let inner = || {
        Router::new().fallback(any(|request: Request<AxumBody>| async move {
            request.uri().path().to_owned()
        }))
    };
    let mesh = build(app(&pki).config(deny("/api/admin, /v1/api/admin"))).await;
    let router = Router::new()
        .nest("/api", inner())
        .nest("/v1", Router::new().nest("/api", inner()))
        .nest_service("/service", inner());
    let served = serve(&mesh, router).await;
    let mut sender = http1(&pki, "desk", served.address).await;
    for (path, expected) in [
        ("/api/admin", 403),
        ("//api//admin", 200),
        ("/v1/api/admin", 403),
        ("/api/other", 200),
        ("/service/admin", 200),
        ("/v1/api/other", 200),
    ] {
        let response = sender.send_request(empty(get(path))).await.unwrap();
        let status = response.status().as_u16();
        assert!(
            status == expected || (expected == 200 && status == 404),
            "{path}: {status}"
        );
    }

    // A layer deep inside judges the same.
    let peer = Peer::plaintext("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap());
    let router = Router::new().nest("/api", inner().layer(mesh.server()));
    let request = Request::get("/api/admin").extension(peer);
    let response = router.oneshot(request.body(AxumBody::empty()).unwrap());
    assert_eq!(response.await.unwrap().status(), 403);
}

/// B-32: `protect` covers whatever the finished router holds; `Router::layer` only what came before.
#[tokio::test]
async fn nothing_of_a_protected_router_is_left_outside() {
    let pki = pki();
    let mesh = build(app(&pki).config(deny("'*'"))).await;
    let ok = || any(|| async { "open" });
    let layered = Router::new().route("/before", ok()).layer(mesh.server());
    let layered = layered.route("/after", ok());
    let peer = Peer::plaintext("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap());
    let request = |path: &str| {
        let request = Request::get(path).extension(peer.clone());
        request.body(AxumBody::empty()).unwrap()
    };
    let ask = async |path: &str| {
        layered
            .clone()
            .oneshot(request(path))
            .await
            .unwrap()
            .status()
    };
    assert_eq!(ask("/before").await, 403);
    assert_eq!(ask("/after").await, 200, "the caveat of `Mesh::server`");

    let finished = layered
        .merge(Router::new().route("/merged", ok()))
        .nest("/nested", Router::new().route("/x", ok()))
        .fallback(|| async { "fallback" });
    let served = serve(&mesh, finished).await;
    for path in ["/before", "/after", "/merged", "/nested/x", "/nowhere", "*"] {
        for method in [Method::GET, Method::PUT, Method::OPTIONS, Method::HEAD] {
            // A refusal of the gate ends its connection.
            let mut sender = http1(&pki, "desk", served.address).await;
            let request = get(path).method(&method);
            let response = sender.send_request(empty(request)).await.unwrap();
            let status = response.status().as_u16();
            assert!(
                status == 403 || (path == "*" && status == 400),
                "{method} {path}: {status}"
            );
        }
    }
}

/// B-33: to policy a HEAD is a HEAD, though the router answers it with the handler of GET.
#[tokio::test]
async fn head_is_judged_as_head() {
    let pki = pki();
    let rules = "[{to: [{operation: {methods: [GET]}}]}]";
    let mesh = build(app(&pki).config(Fixed::yaml("p.yaml", policy("p", "ALLOW", rules)))).await;
    let served = serve(&mesh, Router::new().route("/", on_get(|| async { "x" }))).await;
    let mut sender = http1(&pki, "desk", served.address).await;
    for (method, expected) in [(Method::GET, 200), (Method::HEAD, 403)] {
        let response = sender
            .send_request(empty(get("/").method(method)))
            .await
            .unwrap();
        assert_eq!(response.status(), expected);
    }
}

/// B-34: what is allowed but has no route is still counted.
#[tokio::test]
async fn a_request_without_a_route_is_judged_and_counted() {
    let pki = pki();
    let mesh = build(app(&pki).config(deny("/closed"))).await;
    let served = serve(&mesh, Router::new().route("/", on_get(|| async { "x" }))).await;
    let mut sender = http2(&pki, "desk", served.address).await;
    assert_eq!(
        status(&mut sender, get2("/closed").body("").unwrap()).await,
        403
    );
    assert_eq!(
        status(&mut sender, get2("/nowhere").body("").unwrap()).await,
        404
    );
    let put = get2("/").method(Method::PUT);
    assert_eq!(status(&mut sender, put.body("").unwrap()).await, 405);
    for code in ["403", "404", "405"] {
        let label = format!(r#"response_code="{code}""#);
        until("the count", || {
            !lines(&mesh, "istio_requests_total", &[&label]).is_empty()
        })
        .await;
    }
}

/// B-36: one connection, many streams and authorities: each is judged for itself.
#[tokio::test]
async fn every_stream_of_a_connection_is_judged() {
    let pki = pki();
    let rules =
        "[{to: [{operation: {hosts: [closed.default]}}]}, {to: [{operation: {paths: [/closed]}}]}]";
    let mesh = build(app(&pki).config(Fixed::yaml("p.yaml", policy("p", "DENY", rules)))).await;
    let served = serve(&mesh, echo()).await;
    let sender = http2(&pki, "desk", served.address).await;
    let mut asked = tokio::task::JoinSet::new();
    for turn in 0..60 {
        let (host, path, expected) = match turn % 3 {
            0 => ("app.default", "/open", 200),
            1 => ("closed.default", "/open", 403),
            _ => ("app.default", "/closed", 403),
        };
        let mut sender = sender.clone();
        asked.spawn(async move {
            let request = Request::get(format!("http://{host}{path}"));
            let response = sender.send_request(empty(request)).await.unwrap();
            assert_eq!(response.status(), expected, "{host}{path}");
        });
    }
    while let Some(done) = asked.join_next().await {
        done.unwrap();
    }
}

/// B-35: trailers are no headers, and what they say is not judged.
#[tokio::test]
async fn trailers_never_feed_policy() {
    let pki = pki();
    let rules = "[{when: [{key: 'request.headers[x-pass]', values: ['yes']}]}]";
    let mesh = build(app(&pki).config(Fixed::yaml("p.yaml", policy("p", "ALLOW", rules)))).await;
    let served = serve(&mesh, echo()).await;
    let mut sender = http2(&pki, "desk", served.address).await;
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-pass", "yes".parse().unwrap());
    let frames = [
        Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"x"))),
        Ok(Frame::trailers(trailers)),
    ];
    let body = StreamBody::new(Frames(frames.into_iter()));
    let response = sender
        .send_request(get2("/").method(Method::POST).body(body).unwrap())
        .await;
    assert_eq!(response.unwrap().status(), 403);
}

struct Frames<I>(I);

impl<I: Iterator + Unpin> futures_core::Stream for Frames<I> {
    type Item = I::Item;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<I::Item>> {
        Poll::Ready(self.0.next())
    }
}

/// R-12: a change takes effect; a broken file keeps the last good one.
#[tokio::test]
async fn a_watched_policy_takes_effect_and_a_broken_one_does_not() {
    let pki = pki();
    let directory = tempfile::tempdir().unwrap();
    let closed = |path: &str| {
        let rules = format!("[{{to: [{{operation: {{paths: [{path}]}}}}]}}]");
        write(directory.path(), &policy("p", "DENY", &rules));
    };
    closed("/a");
    let mesh = build(app(&pki).config(Directory::watch(directory.path()))).await;
    let served = serve(&mesh, echo()).await;
    let sender = http2(&pki, "desk", served.address).await;
    let ask = async |path| {
        let request = empty(get2(path));
        sender.clone().send_request(request).await.unwrap().status()
    };
    assert_eq!(
        (ask("/a").await.as_u16(), ask("/b").await.as_u16()),
        (403, 200)
    );
    closed("/b");
    until_status("the change", 403, async || {
        pass(Duration::from_secs(1)).await;
        ask("/b").await
    })
    .await;
    assert_eq!(ask("/a").await, 200);

    let generation = mesh.engine();
    write(
        directory.path(),
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n: [",
    );
    for _ in 0..50 {
        pass(Duration::from_secs(1)).await;
        assert_eq!(
            (ask("/a").await.as_u16(), ask("/b").await.as_u16()),
            (200, 403)
        );
    }
    drop(generation);
    closed("/a");
    until_status("the repair", 403, async || {
        pass(Duration::from_secs(1)).await;
        ask("/a").await
    })
    .await;
}

#[tokio::test]
async fn a_changed_peer_authentication_switches_the_port() {
    let pki = pki();
    let directory = tempfile::tempdir().unwrap();
    let mode = |mode: &str| {
        let head =
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default}";
        write(
            directory.path(),
            &format!("{head}\nspec: {{mtls: {{mode: {mode}}}}}\n"),
        );
    };
    mode("STRICT");
    // From STRICT to PERMISSIVE opens the port, and is refused unless it is asked for.
    let watch = Directory::watch(directory.path()).on_opening(OnOpening::Warn);
    let mesh = build(app(&pki).config(watch)).await;
    let served = serve(&mesh, echo()).await;
    let plain = async || {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        let _ = stream
            .write_all(b"GET /p HTTP/1.1\r\nhost: app\r\nconnection: close\r\n\r\n")
            .await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        if String::from_utf8_lossy(&answer).contains("nobody /p") {
            StatusCode::OK
        } else {
            StatusCode::FORBIDDEN
        }
    };
    assert_eq!(plain().await, 403);
    mode("PERMISSIVE");
    until_status("PERMISSIVE", 200, async || {
        pass(Duration::from_secs(1)).await;
        plain().await
    })
    .await;
    let mut sender = http1(&pki, "desk", served.address).await;
    let response = sender.send_request(empty(get("/"))).await.unwrap();
    assert!(
        read(response)
            .await
            .2
            .starts_with("cluster.local/ns/default/sa/desk")
    );
    mode("STRICT");
    until_status("STRICT", 403, async || {
        pass(Duration::from_secs(1)).await;
        plain().await
    })
    .await;
}

/// R-01: a client that proves who it is and then says nothing, or not enough, is let go.
#[tokio::test]
async fn a_silent_client_is_let_go() {
    let pki = pki();
    let mesh = build(app(&pki)).await;
    let served = serve(&mesh, echo()).await;
    let stalls: [(&str, Protocol, &[u8]); 5] = [
        ("nothing in h1", Protocol::Http1, b""),
        (
            "half a head",
            Protocol::Http1,
            b"GET / HTTP/1.1\r\nhost: a\r\n",
        ),
        ("one byte that could be both", Protocol::Http1, b"P"),
        ("nothing in h2", Protocol::Http2, b""),
        ("half a preface", Protocol::Http2, b"PRI * HTTP/2.0\r\n"),
    ];
    for (name, protocol, bytes) in stalls {
        let mut stream = dial(&pki, "desk", served.address, protocol).await;
        stream.write_all(bytes).await.unwrap();
        stream.flush().await.unwrap();
        let closed = tokio::spawn(async move {
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        });
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        let mut passed = 0;
        while !closed.is_finished() {
            assert!(
                std::time::Instant::now() < deadline,
                "{name}: still held after {passed} s"
            );
            pass(Duration::from_secs(1)).await;
            passed += 1;
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        }
    }
}

/// What is known of a request is in its exchange, and the target there is the one that was sent.
#[tokio::test]
async fn the_exchange_holds_the_target_as_it_was_sent() {
    let pki = pki();
    let mesh = build(app(&pki)).await;
    let handler = any(
        |OriginalUri(uri): OriginalUri, Extension(exchange): Extension<Exchange>| async move {
            format!("{} {}", uri.path(), exchange.target().unwrap().path())
        },
    );
    let served = serve(&mesh, Router::new().fallback(handler)).await;
    let mut sender = http1(&pki, "desk", served.address).await;
    let request = get("/a/../b").header(header::ACCEPT, "*/*");
    let response = sender.send_request(empty(request)).await.unwrap();
    assert_eq!(read(response).await.2, "/b /a/../b");
}

/// Each future owns its share of the mesh: it is spawned as it is, and the mesh is used, or dropped, afterwards.
#[tokio::test]
async fn serving_can_be_spawned_as_it_is() {
    fn owned<F: Future<Output = std::io::Result<Drained>> + Send + 'static>(serving: F) -> F {
        serving
    }
    let pki = pki();
    let mesh = build(app(&pki)).await;
    let socket = async || tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (guarded, plain) = (socket().await, socket().await);
    let address = guarded.local_addr().unwrap();
    let taken = address.to_string();
    let serving = [
        tokio::spawn(owned(mesh.serve("127.0.0.1:0", echo()))),
        tokio::spawn(owned(mesh.serve_on(guarded, echo()))),
        tokio::spawn(owned(mesh.serve_plaintext("127.0.0.1:0", mesh.probe()))),
        tokio::spawn(owned(mesh.serve_plaintext_on(plain, mesh.probe()))),
    ];
    // Nothing is listened on before the first poll, so that this one fails only then.
    let refused = owned(mesh.serve(taken, echo()));
    let error = refused.await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    // An address may be borrowed, too, where the future is not spawned.
    let lent = address.to_string();
    let error = mesh.serve(&lent, echo()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    let mut sender = http1(&pki, "desk", address).await;
    let response = sender.send_request(empty(get("/a"))).await.unwrap();
    assert_eq!(response.status(), 200);
    drop(sender);
    mesh.shutdown(Duration::from_secs(5));
    drop(mesh);
    for served in serving {
        assert_eq!(served.await.unwrap().unwrap(), Drained::default());
    }
}
