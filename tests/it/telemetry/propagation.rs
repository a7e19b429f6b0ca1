//! The propagation layers around services, on sockets and in runtimes.

use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full};
use tokio::sync::Barrier;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_mesh::context::{self, Peer};
use tower_mesh::message::{
    CountingBody, GuardBody, LocalReply, ResponseFlags, Watched, WatchedBody, WatchedFuture,
};
use tower_mesh::propagation::{
    FinishedSpan, OpenTelemetry, Propagation, ServerSpan, SpanKind, SpanSink,
};
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, Workload};

#[derive(Debug)]
struct Kept(Sender<FinishedSpan>);

impl SpanSink for Kept {
    fn export(&self, span: FinishedSpan) {
        let _ = self.0.send(span);
    }
}

/// Propagation that records everything, and what it recorded.
fn recording() -> (Propagation, Receiver<FinishedSpan>) {
    let (spans, kept) = channel();
    let propagation = Propagation::new()
        .sample_percent(100.0)
        .export_to(Kept(spans));
    (propagation, kept)
}

pub(super) fn get(uri: &str) -> Request<Empty<Bytes>> {
    Request::get(uri).body(Empty::new()).unwrap()
}

pub(super) fn text(body: &'static str) -> Response<Full<Bytes>> {
    Response::new(Full::from(body))
}

pub(super) fn current_id() -> String {
    context::current_trace().unwrap().trace_id.to_string()
}

pub(super) fn traceparent(trace: u128) -> String {
    format!("00-{trace:032x}-b7ad6b7169203331-01")
}

#[tokio::test]
async fn a_span_ends_when_the_body_has_ended_and_knows_both_sizes() {
    let (propagation, spans) = recording();
    let service =
        propagation
            .server_layer()
            .layer(service_fn(async |request: Request<Full<Bytes>>| {
                assert_eq!(
                    request.headers()["x-b3-traceid"].to_str().unwrap(),
                    current_id()
                );
                Ok::<_, Infallible>(text("four"))
            }));
    let request = Request::post("http://patients.default/patients/7?full=1")
        .header("user-agent", "curl")
        .body(Full::from("sixsix"))
        .unwrap();
    let response = service.oneshot(request).await.unwrap();
    assert!(spans.try_recv().is_err(), "not ended yet");
    response.into_body().collect().await.unwrap();

    let span = spans.try_recv().unwrap();
    let tag = |name| span.tag(name);
    assert_eq!(span.kind, SpanKind::Server);
    assert_eq!(&*span.name, "ingress");
    assert!(!span.is_error && !span.parent_is_remote);
    assert_eq!(tag("component"), Some("proxy"));
    assert_eq!(
        tag("http.url"),
        Some("http://patients.default/patients/7?full=1")
    );
    assert_eq!(tag("http.method"), Some("POST"));
    assert_eq!(tag("http.protocol"), Some("HTTP/1.1"));
    assert_eq!(tag("http.status_code"), Some("200"));
    assert_eq!(tag("user_agent"), Some("curl"));
    assert_eq!(tag("request_size"), Some("6"));
    assert_eq!(tag("response_size"), Some("4"));
    assert_eq!(tag("response_flags"), Some("-"));
    assert_eq!(tag("downstream_cluster"), Some("-"));
    assert_eq!(tag("error"), None);
    let id = span.trace.request_id().unwrap().to_str().unwrap();
    assert_eq!(tag("guid:x-request-id"), Some(id));
    assert!(spans.try_recv().is_err(), "once");
}

/// It tells what was read of the request, not what was announced.
#[tokio::test]
async fn the_whole_stack_knows_both_sizes_too() {
    let (propagation, spans) = recording();
    let pki = Pki::new("cluster.local").unwrap();
    let (mesh, _driver) = Mesh::builder(
        Workload::new("default", "patients"),
        pki.identity("default", "patients").unwrap(),
    )
    .telemetry(|telemetry| telemetry.propagation(propagation))
    .build()
    .await
    .unwrap();
    let at = ([127, 0, 0, 1], 8443).into();
    let service = mesh
        .protect(service_fn(
            async |request: Request<CountingBody<Full<Bytes>>>| {
                request.into_body().collect().await.unwrap();
                Ok::<_, Infallible>(text("four"))
            },
        ))
        .of(Peer::plaintext(at, at));
    let request = Request::post("/").body(Full::from("sixsix")).unwrap();
    let response = service.oneshot(request).await.unwrap();
    response.into_body().collect().await.unwrap();
    let span = spans.try_recv().unwrap();
    assert_eq!(span.tag("request_size"), Some("6"));
    assert_eq!(span.tag("response_size"), Some("4"));
}

#[tokio::test]
async fn spans_are_named_and_tagged_after_the_workload() {
    let (propagation, spans) = recording();
    let workload = Workload::new("default", "patients")
        .service("patients", 8443)
        .label("version", "v2")
        .cluster("east");
    let propagation = propagation.workload(&workload).node_id("sidecar~1~2~3");
    let service = propagation
        .server_layer()
        .layer(service_fn(async |_: Request<Empty<Bytes>>| {
            Ok::<_, Infallible>(text(""))
        }));
    let long = format!("/{}", "é".repeat(200));
    let uri: http::Uri = format!("http://h{}", "/a".repeat(300)).parse().unwrap();
    let mut request = get("/");
    *request.uri_mut() = uri;
    request
        .headers_mut()
        .insert("user-agent", long.parse().unwrap());
    service.oneshot(request).await.unwrap();
    let span = spans.try_recv().unwrap();
    assert_eq!(
        &*span.name, "patients.default.svc.cluster.local:8443/*",
        "the only service, whatever the port"
    );
    assert_eq!(span.tag("node_id"), Some("sidecar~1~2~3"));
    assert_eq!(span.tag("istio.canonical_service"), Some("patients"));
    assert_eq!(span.tag("istio.canonical_revision"), Some("v2"));
    assert_eq!(span.tag("istio.cluster_id"), Some("east"));
    assert_eq!(span.tag("istio.namespace"), Some("default"));
    assert_eq!(span.tag("istio.mesh_id"), Some("unknown"));
    assert_eq!(span.tag("http.url").unwrap().len(), "http://h".len() + 256);
}

/// J-25: neither side's span shows a token that is in the query, be it that of the target or of the path before a rewrite.
#[tokio::test]
async fn spans_do_not_show_a_token_in_the_query() {
    let (propagation, spans) = recording();
    let service = ServiceBuilder::new()
        .layer(propagation.client_layer())
        .layer(propagation.server_layer())
        .service(service_fn(async |_: Request<Empty<Bytes>>| {
            Ok::<_, Infallible>(text(""))
        }));
    for (query, shown) in [
        ("access_token=secret", ""),
        ("a=1&access_token=secret&b=2", "?a=1&b=2"),
        ("access_token=secret&access_token=secret", ""),
        ("access_token", ""),
        ("access%5Ftoken=secret&b=2", "?b=2"),
        ("%61ccess_token=secret", ""),
        (
            "my_access_token=1&a=access_token",
            "?my_access_token=1&a=access_token",
        ),
    ] {
        let target = format!("/patients?{query}");
        for (uri, original) in [(target.as_str(), None), ("/", Some(target.as_str()))] {
            let mut request = get(&format!("http://patients{uri}"));
            if let Some(original) = original {
                let original = original.parse().unwrap();
                request
                    .headers_mut()
                    .insert("x-envoy-original-path", original);
            }
            service.clone().oneshot(request).await.unwrap();
            let expected = format!("http://patients/patients{shown}");
            for span in [spans.try_recv().unwrap(), spans.try_recv().unwrap()] {
                assert_eq!(span.tag("http.url"), Some(&*expected), "{:?}", span.kind);
            }
        }
    }
}

/// H-19: an authority is cut like a path.
#[tokio::test]
async fn a_long_authority_is_cut() {
    let (propagation, spans) = recording();
    let service = propagation
        .server_layer()
        .layer(service_fn(async |_: Request<Empty<Bytes>>| {
            Ok::<_, Infallible>(text(""))
        }));
    let mut request = get("/charts.Charts/Read");
    for (name, value) in [
        ("host", "h".repeat(1000)),
        ("content-type", "application/grpc".into()),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    service.oneshot(request).await.unwrap();
    let span = spans.try_recv().unwrap();
    assert_eq!(span.tag("grpc.authority").unwrap().len(), 256);
    let url = span.tag("http.url").unwrap();
    assert_eq!(url.len(), "http:///charts.Charts/Read".len() + 256);
}

#[tokio::test]
async fn flags_of_local_replies_and_the_address_of_who_answered_are_tagged() {
    let (propagation, spans) = recording();
    let address = "10.0.0.5:8443".parse().unwrap();
    let service = ServiceBuilder::new()
        .layer(propagation.client_layer())
        .service(service_fn(move |request: Request<Empty<Bytes>>| {
            let reply = LocalReply::new(StatusCode::SERVICE_UNAVAILABLE, "no", "details")
                .flags(ResponseFlags::UPSTREAM_OVERFLOW);
            let mut response: Response<GuardBody<Empty<Bytes>>> =
                reply.into_response(request.method(), request.headers());
            response
                .extensions_mut()
                .insert(Peer::plaintext(address, address));
            async { Ok::<_, Infallible>(response) }
        }));
    let response = service.oneshot(get("http://charts/")).await.unwrap();
    response.into_body().collect().await.unwrap();
    let span = spans.try_recv().unwrap();
    assert_eq!(span.tag("response_flags"), Some("UO"));
    assert_eq!(span.tag("peer.address"), Some("10.0.0.5"));
    assert_eq!(span.tag("error"), Some("true"));
}

/// What a service answers, and what the spans of both sides make of it: the tag `error`, and the status ERROR of server and client.
#[tokio::test]
async fn errors_follow_envoys_table() {
    let http = |code: u16| Response::builder().status(code).body(()).unwrap();
    let grpc = |code: u16| {
        Response::builder()
            .header("grpc-status", code)
            .body(())
            .unwrap()
    };
    let mut rows = vec![
        (http(101), false, false, false),
        (http(200), false, false, false),
        (http(304), false, false, false),
        (http(400), false, false, true),
        (http(404), false, false, true),
        (http(500), true, true, true),
        (http(503), true, true, true),
        (grpc(0), false, false, false),
    ];
    for code in [2, 4, 8, 12, 13, 14, 15] {
        rows.push((grpc(code), true, true, true));
    }
    for code in [1, 3, 5, 6, 7, 9, 10, 11, 16, 99] {
        rows.push((grpc(code), false, false, true));
    }
    for (answer, tag, server, client) in rows {
        let (propagation, spans) = recording();
        let is_grpc = answer.headers().contains_key("grpc-status");
        let shown = format!("{answer:?}");
        let service = ServiceBuilder::new()
            .layer(propagation.client_layer())
            .layer(propagation.server_layer())
            .service(service_fn(move |_: Request<Empty<Bytes>>| {
                let answer = answer.clone().map(|()| Empty::<Bytes>::new());
                async { Ok::<_, Infallible>(answer) }
            }));
        let mut request = get("http://charts.default/charts.Charts/Read");
        if is_grpc {
            let value = "application/grpc+proto".parse().unwrap();
            request.headers_mut().insert("content-type", value);
        }
        let response = service.oneshot(request).await.unwrap();
        response.into_body().collect().await.unwrap();
        for span in spans.try_iter() {
            assert_eq!(span.tag("error"), tag.then_some("true"), "{shown}");
            let expected = match span.kind {
                SpanKind::Server => server,
                SpanKind::Client => client,
                kind => panic!("{kind:?}"),
            };
            assert_eq!(span.is_error, expected, "{:?} {shown}", span.kind);
            let path = is_grpc.then_some("/charts.Charts/Read");
            assert_eq!(span.tag("grpc.path"), path);
            assert_eq!(span.tag("grpc.status_code").is_some(), is_grpc);
        }
    }
}

#[tokio::test]
async fn grpc_status_is_read_from_trailers() {
    let (propagation, spans) = recording();
    let service = propagation
        .server_layer()
        .layer(service_fn(async |_: Request<Empty<Bytes>>| {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "14".parse().unwrap());
            let body = Full::<Bytes>::from("x").with_trailers(async { Some(Ok(trailers)) });
            Ok::<_, Infallible>(Response::new(body))
        }));
    let mut request = get("/");
    let value = "application/grpc".parse().unwrap();
    request.headers_mut().insert("content-type", value);
    let response = service.oneshot(request).await.unwrap();
    response.into_body().collect().await.unwrap();
    let span = spans.try_recv().unwrap();
    assert_eq!(span.tag("grpc.status_code"), Some("14"));
    assert!(span.is_error);
}

#[tokio::test]
async fn ends_that_nobody_waited_for_are_recorded_once() {
    let (propagation, spans) = recording();
    let stuck = propagation
        .server_layer()
        .layer(service_fn(|_: Request<Empty<Bytes>>| {
            pending::<Result<Response<Empty<Bytes>>, Infallible>>()
        }));
    let mut call = Box::pin(stuck.oneshot(get("/")));
    let polled = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_pending()));
    assert!(polled.await);
    drop(call);
    let span = spans.try_recv().unwrap();
    assert_eq!(span.tag("response_flags"), Some("DC"));
    assert_eq!(span.tag("http.status_code"), Some("0"));
    assert!(span.is_error && spans.try_recv().is_err());

    let endless = propagation
        .server_layer()
        .layer(service_fn(async |_: Request<Empty<Bytes>>| {
            Ok::<_, Infallible>(Response::new(Endless))
        }));
    let mut response = endless.oneshot(get("/")).await.unwrap();
    response.frame().await.unwrap().unwrap();
    drop(response);
    let span = spans.try_recv().unwrap();
    assert_eq!(span.tag("response_flags"), Some("DC"));
    assert_eq!(span.tag("http.status_code"), Some("200"));
    assert_eq!(span.tag("response_size"), Some("4"));
    assert!(spans.try_recv().is_err());

    let failing = propagation
        .client_layer()
        .layer(service_fn(async |_: Request<Empty<Bytes>>| {
            Err::<Response<Empty<Bytes>>, _>("refused")
        }));
    assert_eq!(failing.oneshot(get("/")).await.unwrap_err(), "refused");
    let span = spans.try_recv().unwrap();
    assert_eq!((span.kind, span.is_error), (SpanKind::Client, true));
    assert_eq!(span.tag("http.status_code"), Some("503"));
    assert_eq!(span.tag("response_flags"), Some("UC"));
    assert!(spans.try_recv().is_err());
}

#[tokio::test]
async fn unrecorded_requests_export_nothing_and_still_propagate() {
    let (propagation, spans) = recording();
    let service =
        propagation
            .server_layer()
            .layer(service_fn(async |request: Request<Empty<Bytes>>| {
                let sent = request.headers()["traceparent"]
                    .to_str()
                    .unwrap()
                    .to_owned();
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(sent)))
            }));
    let mut request = get("/");
    let value = traceparent(7).replace("-01", "-00").parse().unwrap();
    request.headers_mut().insert("traceparent", value);
    let response = service.oneshot(request).await.unwrap();
    let sent = response.into_body().collect().await.unwrap().to_bytes();
    assert!(sent.starts_with(format!("00-{:032x}-", 7).as_bytes()) && sent.ends_with(b"-00"));
    assert!(spans.try_recv().is_err());
}

#[tokio::test]
async fn the_client_renames_its_span_after_the_servers_operation() {
    let (propagation, spans) = recording();
    let service =
        propagation
            .client_layer()
            .layer(service_fn(async |request: Request<Empty<Bytes>>| {
                let operation = if request.uri().path() == "/named" {
                    "charts.default.svc.cluster.local:80/*"
                } else {
                    ""
                };
                let response = Response::builder().header("x-envoy-decorator-operation", operation);
                Ok::<_, Infallible>(response.body(Empty::<Bytes>::new()).unwrap())
            }));
    for (uri, name) in [
        (
            "http://charts/named",
            "charts.default.svc.cluster.local:80/*",
        ),
        ("http://charts/", "egress charts"),
    ] {
        let response = service.clone().oneshot(get(uri)).await.unwrap();
        assert!(response.headers().is_empty(), "the header is taken off");
        drop(response);
        assert_eq!(&*spans.try_recv().unwrap().name, name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_requests_on_one_connection_keep_their_traces() {
    let propagation = Propagation::new();
    let barrier = Arc::new(Barrier::new(COUNT));
    let other =
        propagation
            .client_layer()
            .layer(service_fn(|call: Request<Empty<Bytes>>| async move {
                Ok::<_, Infallible>(call.headers()["traceparent"].clone())
                    .map(|header| Response::builder().header("sent", header))
                    .map(|response| response.body(Empty::<Bytes>::new()).unwrap())
            }));
    let service = propagation.server_layer().layer(service_fn(
        move |request: Request<hyper::body::Incoming>| {
            let (barrier, other) = (barrier.clone(), other.clone());
            async move {
                let id = request.uri().path().trim_start_matches('/').to_owned();
                assert_eq!(current_id(), id);
                for _ in 0..20 {
                    // All requests are in here at once, and go on whichever thread is free.
                    barrier.wait().await;
                    tokio::task::yield_now().await;
                    assert_eq!(current_id(), id);
                    let sent = other.clone().oneshot(get("/")).await.unwrap();
                    assert!(sent.headers()["sent"].to_str().unwrap().contains(&id));
                }
                Ok::<_, Infallible>(Response::new(Watching(3)))
            }
        },
    ));
    let (near, far) = tokio::io::duplex(64 * 1024);
    let service = hyper_util::service::TowerToHyperService::new(service);
    tokio::spawn(async move {
        hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
            .serve_connection(hyper_util::rt::TokioIo::new(far), service)
            .await
    });
    let (sender, connection) = hyper::client::conn::http2::handshake(
        hyper_util::rt::TokioExecutor::new(),
        hyper_util::rt::TokioIo::new(near),
    )
    .await
    .unwrap();
    tokio::spawn(connection);
    let calls: Vec<_> = (1..=COUNT as u128)
        .map(|trace| {
            let mut sender = sender.clone();
            let request = Request::get(format!("http://patients/{trace:032x}"))
                .header("traceparent", traceparent(trace))
                .body(Empty::<Bytes>::new())
                .unwrap();
            tokio::spawn(async move {
                let response = sender.send_request(request).await.unwrap();
                let body = response.into_body().collect().await.unwrap().to_bytes();
                assert_eq!(body, format!("{trace:032x}").repeat(3));
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    assert!(context::current().is_none());
}

const COUNT: usize = 8;

#[tokio::test]
async fn dropped_futures_and_bodies_are_dropped_as_their_request() {
    let (left, ids) = channel();
    let service = Propagation::new().server_layer().layer(service_fn(
        move |request: Request<Empty<Bytes>>| {
            let leaves = Leaves(left.clone());
            async move {
                if request.uri().path() == "/stuck" {
                    pending::<()>().await;
                }
                Ok::<_, Infallible>(Response::new(leaves))
            }
        },
    ));
    let traced = |uri, trace| {
        let mut request = get(uri);
        let value = traceparent(trace).parse().unwrap();
        request.headers_mut().insert("traceparent", value);
        request
    };
    drop(service.clone().oneshot(traced("/", 9)).await.unwrap());
    assert_eq!(ids.try_recv().unwrap(), format!("{:032x}", 9));

    let mut stuck = Box::pin(service.oneshot(traced("/stuck", 10)));
    let polled = poll_fn(|cx| Poll::Ready(stuck.as_mut().poll(cx).is_pending()));
    assert!(polled.await);
    drop(stuck);
    assert_eq!(ids.try_recv().unwrap(), format!("{:032x}", 10));
    assert!(context::current().is_none());
}

/// A body that tells, when it is dropped, as which request.
struct Leaves(Sender<String>);

impl Drop for Leaves {
    fn drop(&mut self) {
        let id = context::current_trace().map(|trace| trace.trace_id.to_string());
        let _ = self.0.send(id.unwrap_or_default());
    }
}

impl Body for Leaves {
    type Data = Bytes;
    type Error = Infallible;
    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

#[test]
fn types_are_what_servers_need() {
    fn is_shared<T: Send + Sync + Clone + 'static>() {}
    fn is_sent<T: Send + 'static>() {}
    is_shared::<Propagation>();
    is_shared::<tower_mesh::propagation::PropagationLayer>();
    is_shared::<tower_mesh::propagation::ClientPropagationLayer>();
    is_shared::<Watched<(), Propagation>>();
    is_shared::<OpenTelemetry>();
    is_sent::<WatchedBody<Full<Bytes>, ServerSpan>>();
    is_sent::<WatchedFuture<std::future::Ready<()>, ServerSpan>>();
}

#[tokio::test]
async fn the_ready_service_is_the_one_that_is_called() {
    #[derive(Default)]
    struct Once(bool);
    impl Clone for Once {
        fn clone(&self) -> Self {
            Self(false)
        }
    }
    impl Service<Request<Empty<Bytes>>> for Once {
        type Response = Response<Empty<Bytes>>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Self::Response, Infallible>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            self.0 = true;
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, _: Request<Empty<Bytes>>) -> Self::Future {
            assert!(self.0, "called without being ready");
            std::future::ready(Ok(Response::new(Empty::new())))
        }
    }
    let (server, client) = (Propagation::new(), Propagation::new());
    let service = server
        .server_layer()
        .layer(client.client_layer().layer(Once::default()));
    let response = service.oneshot(get("/")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

/// A body of so many frames, each the trace id that is current when it is polled.
struct Watching(usize);

impl Body for Watching {
    type Data = Bytes;
    type Error = Infallible;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(left) = self.0.checked_sub(1) else {
            return Poll::Ready(None);
        };
        self.0 = left;
        cx.waker().wake_by_ref();
        Poll::Ready(Some(Ok(Frame::data(current_id().into()))))
    }
}

struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;
    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"more")))))
    }
}
