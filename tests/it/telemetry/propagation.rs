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
use opentelemetry::trace::{SpanId, Status, TracerProvider};
use opentelemetry_sdk::trace::{
    InMemorySpanExporter, InMemorySpanExporterBuilder, SdkTracerProvider, SimpleSpanProcessor,
    SpanData,
};
use tokio::sync::Barrier;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_mesh::context::{self, Peer};
use tower_mesh::message::{CountingBody, GuardBody, LocalReply, ResponseFlags};
use tower_mesh::propagation::{
    FinishedSpan, OpenTelemetry, Propagation, ResponseBody, SpanKind, SpanSink,
};
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, Workload};
use tracing::{Event, Instrument, Subscriber, info_span};
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

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

fn get(uri: &str) -> Request<Empty<Bytes>> {
    Request::get(uri).body(Empty::new()).unwrap()
}

fn text(body: &'static str) -> Response<Full<Bytes>> {
    Response::new(Full::from(body))
}

fn current_id() -> String {
    context::current_trace().unwrap().trace_id.to_string()
}

fn traceparent(trace: u128) -> String {
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
    let (mesh, _driver) = Mesh::builder(Workload::new("default", "patients"))
        .identity(pki.identity("default", "patients").unwrap())
        .propagation(propagation)
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
    assert_eq!(span.tag("http.status_code"), Some("0"));
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

/// An application's OpenTelemetry, its mesh, and what both exported.
struct App {
    exporter: InMemorySpanExporter,
    propagation: Propagation,
    provider: SdkTracerProvider,
}

impl App {
    fn new(percent: f64) -> Self {
        let workload = Workload::new("default", "patients");
        let exporter = InMemorySpanExporterBuilder::new().build();
        let resource = OpenTelemetry::resource(&workload);
        let spans = OpenTelemetry::new(SimpleSpanProcessor::new(exporter.clone()), &resource);
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_span_processor(spans.clone())
            .build();
        let propagation = Propagation::new()
            .sample_percent(percent)
            .workload(&workload)
            .export_to(spans);
        Self {
            exporter,
            propagation,
            provider,
        }
    }

    fn spans(&self) -> Vec<SpanData> {
        self.exporter.get_finished_spans().unwrap()
    }
}

/// One request through a server whose handler opens spans of its own and calls another server.
async fn one_request(app: &App, is_activating: bool, headers: &[(&str, &str)]) -> Response<()> {
    let tracer = app.provider.tracer("app");
    let layer = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_context_activation(is_activating);
    let _default = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    let charts =
        app.propagation
            .server_layer()
            .layer(service_fn(async |_: Request<Empty<Bytes>>| {
                async {
                    tokio::task::yield_now().await;
                    Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
                }
                .instrument(info_span!("read chart"))
                .await
            }));
    // Another service is another task, even in one process.
    let charts =
        app.propagation
            .client_layer()
            .layer(service_fn(move |call: Request<Empty<Bytes>>| {
                let answer = tokio::spawn(charts.clone().oneshot(call));
                async { answer.await.unwrap() }
            }));
    let patients =
        app.propagation
            .server_layer()
            .layer(service_fn(move |_: Request<Empty<Bytes>>| {
                let charts = charts.clone();
                async move {
                    tokio::task::yield_now().await;
                    async {
                        tokio::task::yield_now().await;
                        charts.oneshot(get("http://charts.default/7")).await
                    }
                    .instrument(info_span!("read patient"))
                    .await
                }
            }));
    let mut request = get("http://patients.default/7");
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().unwrap();
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let response = patients.oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    body.collect().await.unwrap();
    Response::from_parts(head, ())
}

#[tokio::test]
async fn spans_of_the_application_nest_between_those_of_the_mesh() {
    for (is_activating, parent) in [(true, None), (false, None), (true, Some(traceparent(5)))] {
        let app = App::new(100.0);
        let headers: Vec<_> = parent
            .iter()
            .map(|value| ("traceparent", &**value))
            .collect();
        one_request(&app, is_activating, &headers).await;
        let spans = app.spans();
        let find = |name: &str| {
            spans
                .iter()
                .filter(|span| span.name == name)
                .collect::<Vec<_>>()
        };
        let [read_patient] = find("read patient")[..] else {
            panic!("{spans:#?}")
        };
        let [read_chart] = find("read chart")[..] else {
            panic!("{spans:#?}")
        };
        let servers = find("ingress");
        let [client] = find("egress charts.default")[..] else {
            panic!("{spans:#?}")
        };
        let by_id = |id: SpanId| {
            servers
                .iter()
                .find(|span| span.span_context.span_id() == id)
        };
        let outer = by_id(read_patient.parent_span_id).expect("nests under the server span");
        let inner = by_id(read_chart.parent_span_id).expect("nests under the server span");
        // Without activation, OpenTelemetry does not know which span of the application is entered.
        let caller = if is_activating { read_patient } else { outer };
        assert_eq!(client.parent_span_id, caller.span_context.span_id());
        assert_eq!(inner.parent_span_id, client.span_context.span_id());
        assert!(inner.parent_span_is_remote && !client.parent_span_is_remote);
        let is_root = parent.is_none();
        assert_eq!(outer.parent_span_id == SpanId::INVALID, is_root);
        assert_eq!(outer.parent_span_is_remote, !is_root);
        let trace = outer.span_context.trace_id();
        assert!(
            spans
                .iter()
                .all(|span| span.span_context.trace_id() == trace)
        );
        assert_eq!(spans.len(), 5);
        assert_eq!(outer.instrumentation_scope.name(), "tower-mesh");
        assert_eq!(outer.status, Status::Unset);
        assert!(outer.start_time <= outer.end_time);
    }
}

/// Two calls at once from inside a span of the handler's own, one of them with a context that the handler kept from elsewhere.
#[tokio::test]
async fn calls_at_once_are_children_of_the_span_that_the_handler_opened() {
    let app = App::new(100.0);
    let layer = tracing_opentelemetry::layer().with_tracer(app.provider.tracer("app"));
    let _default = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    let (sent, came) = channel();
    let charts =
        app.propagation
            .client_layer()
            .layer(service_fn(move |call: Request<Empty<Bytes>>| {
                let _ = sent.send(call.headers().clone());
                async {
                    tokio::task::yield_now().await;
                    Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
                }
            }));
    let patients =
        app.propagation
            .server_layer()
            .layer(service_fn(move |_: Request<Empty<Bytes>>| {
                let charts = charts.clone();
                async move {
                    let mut copied = get("http://charts.default/8");
                    for (name, value) in [("traceparent", traceparent(66)), ("b3", "0".to_owned())]
                    {
                        copied.headers_mut().insert(name, value.parse().unwrap());
                    }
                    let plain = charts.clone().oneshot(get("http://charts.default/7"));
                    let both = async { tokio::try_join!(plain, charts.oneshot(copied)) };
                    both.instrument(info_span!("read patient")).await?;
                    Ok::<_, Infallible>(text("done"))
                }
            }));
    let response = patients.oneshot(get("http://patients/")).await.unwrap();
    response.into_body().collect().await.unwrap();

    let spans = app.spans();
    let of = |name| spans.iter().filter(move |span| span.name == name);
    let own = of("read patient").next().unwrap();
    let calls: Vec<_> = of("egress charts.default").collect();
    let [one, other] = calls[..] else {
        panic!("{spans:#?}")
    };
    assert_ne!(one.span_context.span_id(), other.span_context.span_id());
    for call in calls {
        assert_eq!(call.parent_span_id, own.span_context.span_id());
        assert_eq!(call.span_context.trace_id(), own.span_context.trace_id());
    }
    for (headers, _) in came.try_iter().zip(0..2) {
        let trace = own.span_context.trace_id().to_string();
        let sent = headers["traceparent"].to_str().unwrap();
        assert!(sent.contains(&trace), "{headers:?}");
        assert_eq!(headers.get_all("traceparent").iter().count(), 1);
        assert!(!headers.contains_key("b3"), "{headers:?}");
        assert_eq!(headers["x-b3-traceid"], trace);
    }
}

/// The formatter of the module's documentation, writing to memory.
#[derive(Clone, Default)]
struct Lines(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct WithTrace<F>(F);

impl<S, N, F> FormatEvent<S, N> for WithTrace<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        fields: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        if let Some(trace) = context::current_trace() {
            write!(line, "trace_id={} ", trace.trace_id)?;
        }
        self.0.format_event(fields, line, event)
    }
}

#[tokio::test]
async fn log_lines_inside_a_request_carry_its_trace_id() {
    let lines = Lines::default();
    let written = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .event_format(WithTrace(Format::default().with_ansi(false)))
        .with_writer(move || written.clone())
        .finish();
    let _default = tracing::subscriber::set_default(subscriber);
    let service = Propagation::new().server_layer().layer(service_fn(
        async |request: Request<Empty<Bytes>>| {
            let path = request.uri().path().to_owned();
            tracing::info!("begins {path}");
            tokio::task::yield_now().await;
            let span = info_span!("inner");
            async { tracing::warn!("goes on {path}") }
                .instrument(span)
                .await;
            Ok::<_, Infallible>(text("done"))
        },
    ));
    let ask = |path: &'static str, trace| {
        let mut request = get(path);
        let value = traceparent(trace).parse().unwrap();
        request.headers_mut().insert("traceparent", value);
        service.clone().oneshot(request)
    };
    tracing::info!("outside");
    let (one, other) = tokio::join!(ask("/one", 1), ask("/other", 2));
    drop((one, other));
    tracing::info!("outside");

    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let seen: Vec<_> = text.lines().collect();
    assert_eq!(seen.len(), 6, "{text}");
    for line in seen {
        let id = match line {
            _ if line.contains("/one") => format!("trace_id={:032x} ", 1),
            _ if line.contains("/other") => format!("trace_id={:032x} ", 2),
            _ => String::new(),
        };
        assert_eq!(line.contains("trace_id="), !id.is_empty(), "{line}");
        assert!(line.starts_with(&id), "{line}");
    }
}

#[tokio::test]
async fn children_of_unrecorded_requests_are_neither_exported_nor_roots() {
    for headers in [
        vec![],
        vec![("b3", "0")],
        vec![(
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
        )],
    ] {
        let app = App::new(0.0);
        one_request(&app, true, &headers).await;
        assert_eq!(app.spans(), []);
    }
}

#[tokio::test]
async fn a_call_in_a_trace_of_the_applications_own_belongs_to_it() {
    let app = App::new(0.0);
    let tracer = app.provider.tracer("app");
    let layer = tracing_opentelemetry::layer().with_tracer(tracer);
    let _default = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    let client =
        app.propagation
            .client_layer()
            .layer(service_fn(async |_: Request<Empty<Bytes>>| {
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            }));
    let job = async { client.oneshot(get("http://charts/")).await.map(drop) };
    job.instrument(info_span!("nightly job")).await.unwrap();
    let spans = app.spans();
    let [call, job] = &spans[..] else {
        panic!("{spans:#?}")
    };
    assert_eq!(call.parent_span_id, job.span_context.span_id());
    assert_eq!(call.span_context.trace_id(), job.span_context.trace_id());
}

#[test]
fn types_are_what_servers_need() {
    fn is_shared<T: Send + Sync + Clone + 'static>() {}
    fn is_sent<T: Send + 'static>() {}
    is_shared::<Propagation>();
    is_shared::<tower_mesh::propagation::PropagationLayer>();
    is_shared::<tower_mesh::propagation::ServerPropagation<()>>();
    is_shared::<tower_mesh::propagation::ClientPropagation<()>>();
    is_shared::<OpenTelemetry>();
    is_sent::<ResponseBody<Full<Bytes>, tower_mesh::propagation::ServerSpan>>();
    is_sent::<
        tower_mesh::propagation::ResponseFuture<
            std::future::Ready<()>,
            tower_mesh::propagation::ServerSpan,
        >,
    >();
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
