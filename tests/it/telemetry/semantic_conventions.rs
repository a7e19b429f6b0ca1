//! Spans by OpenTelemetry's semantic conventions, and the resource that they are of.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::MatchedPath;
use axum::middleware::{Next, from_fn};
use axum::routing::any;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty};
use opentelemetry::trace::Status;
use opentelemetry::{Key, Value};
use opentelemetry_sdk::trace::{InMemorySpanExporterBuilder, SimpleSpanProcessor};
use tower::{Layer, ServiceExt, service_fn};
use tower_mesh::context::{self, Peer};
use tower_mesh::live::Live;
use tower_mesh::policy::Engine;
use tower_mesh::propagation::{FinishedSpan, OpenTelemetry, Propagation, SpanKind, SpanSink};
use tower_mesh::rbac::RbacLayer;
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, Workload};

use crate::support::mesh::{app, build, proven, serve, unproven};

#[derive(Debug)]
struct Kept(std::sync::mpsc::Sender<FinishedSpan>);

impl SpanSink for Kept {
    fn export(&self, span: FinishedSpan) {
        let _ = self.0.send(span);
    }
}

fn recording() -> (Propagation, Receiver<FinishedSpan>) {
    let (spans, kept) = channel();
    let workload = Workload::new("default", "patients").service("patients", 8443);
    let propagation = Propagation::new()
        .sample_percent(100.0)
        .workload(&workload)
        .export_to(Kept(spans));
    (propagation, kept)
}

/// What the application answers.
#[derive(Clone, Copy)]
struct Answer {
    status: u16,
    grpc: Option<&'static str>,
    route: Option<&'static str>,
}

const OK: Answer = Answer {
    status: 200,
    grpc: None,
    route: None,
};

fn answer(answer: Answer) -> Response<Empty<Bytes>> {
    let mut response = Response::builder().status(answer.status);
    if let Some(status) = answer.grpc {
        response = response
            .header("content-type", "application/grpc")
            .header("grpc-status", status);
    }
    response.body(Empty::new()).unwrap()
}

/// The span of a request to a server.
async fn served(request: http::request::Builder, peer: Peer, with: Answer) -> FinishedSpan {
    let (propagation, kept) = recording();
    let app = service_fn(async |_: Request<Empty<Bytes>>| {
        if let (Some(route), Some(exchange)) = (with.route, context::current()) {
            exchange.set_route(route.into());
        }
        Ok::<_, Infallible>(answer(with))
    });
    let request = request.extension(peer).body(Empty::new()).unwrap();
    let layer = propagation.semantic_conventions().server_layer();
    drop(layer.layer(app).oneshot(request).await.unwrap());
    kept.recv().unwrap()
}

/// The span of a call.
async fn called(request: http::request::Builder, peer: Option<Peer>, with: Answer) -> FinishedSpan {
    let (propagation, kept) = recording();
    let server = service_fn(async |_: Request<Empty<Bytes>>| {
        let mut response = answer(with);
        // A name that the server gives, as sidecars do, is Istio's.
        let named = "patients.default.svc.cluster.local:8443/*".parse().unwrap();
        response
            .headers_mut()
            .insert("x-envoy-decorator-operation", named);
        response.extensions_mut().extend(
            peer.clone()
                .map(|peer| {
                    let mut extensions = http::Extensions::new();
                    extensions.insert(peer);
                    extensions
                })
                .unwrap_or_default(),
        );
        Ok::<_, Infallible>(response)
    });
    let layer = propagation.semantic_conventions().client_layer();
    let request = request.body(Empty::new()).unwrap();
    drop(layer.layer(server).oneshot(request).await.unwrap());
    kept.recv().unwrap()
}

/// The attributes of the conventions, `name=value`.
fn attributes(span: &FinishedSpan) -> BTreeMap<&str, &str> {
    const OURS: [&str; 9] = [
        "http.request.",
        "http.response.",
        "http.route",
        "url.",
        "server.",
        "client.",
        "network.",
        "user_agent.",
        "error.type",
    ];
    let is_ours =
        |name: &str| OURS.iter().any(|ours| name.starts_with(ours)) || name.starts_with("rpc.");
    let all = span.tags.iter().filter(|(name, _)| is_ours(name));
    all.map(|(name, value)| (&**name, value.as_str())).collect()
}

fn expect(name: &str, span: &FinishedSpan, expected: &[(&str, &str)]) {
    let expected: BTreeMap<_, _> = expected.iter().copied().collect();
    assert_eq!(attributes(span), expected, "{name}");
}

#[tokio::test]
async fn a_server_span_has_the_attributes_of_the_conventions() {
    let request = || {
        Request::get("/patients/7?sort=name&access_token=secret&page=2")
            .header("host", "patients.default:8080")
            .header("user-agent", "curl/8")
    };
    let with = Answer {
        route: Some("/patients/{id}"),
        ..OK
    };
    let span = served(request(), proven("desk"), with).await;
    assert_eq!(&*span.name, "GET /patients/{id}");
    assert_eq!(span.kind, SpanKind::Server);
    let common = [
        ("http.request.method", "GET"),
        ("url.path", "/patients/7"),
        ("url.query", "sort=name&page=2"),
        ("url.scheme", "https"),
        ("server.address", "patients.default"),
        ("server.port", "8080"),
        ("client.address", "10.0.0.1"),
        ("network.peer.address", "10.0.0.1"),
        ("network.peer.port", "1"),
        ("network.protocol.name", "http"),
        ("network.protocol.version", "1.1"),
        ("user_agent.original", "curl/8"),
    ];
    let good = [
        ("http.response.status_code", "200"),
        ("http.route", "/patients/{id}"),
    ];
    expect("a good one", &span, &[&common[..], &good].concat());
    // Istio's tags are all there.
    for (tag, value) in [
        ("http.method", "GET"),
        ("http.status_code", "200"),
        ("component", "proxy"),
    ] {
        assert_eq!(span.tag(tag), Some(value), "{tag}");
    }

    for (status, error) in [(503, Some("503")), (404, None)] {
        let span = served(request(), proven("desk"), Answer { status, ..OK }).await;
        assert_eq!(&*span.name, "GET", "no route is known");
        assert_eq!(
            attributes(&span).get("error.type").copied(),
            error,
            "{status}"
        );
        assert_eq!(span.is_error, error.is_some());
    }
}

/// J-25: what a guard further in says of a parameter holds for the span that began before.
#[tokio::test]
async fn a_parameter_that_a_guard_hides_is_in_no_attribute() {
    let (propagation, kept) = recording();
    let guard = service_fn(async |_: Request<Empty<Bytes>>| {
        let hidden: std::sync::Arc<[Box<str>]> = ["ticket".into()].into();
        context::current().unwrap().hide(&hidden, None);
        Ok::<_, Infallible>(answer(OK))
    });
    let layer = propagation.semantic_conventions().server_layer();
    for (query, left) in [
        ("ticket=opensesame&x=1", "x=1"),
        ("x=1&ticket=opensesame", "x=1"),
        ("ticket=opensesame", ""),
    ] {
        let request = Request::get(format!("/list?{query}")).extension(proven("desk"));
        let request = request.body(Empty::new()).unwrap();
        drop(layer.layer(guard).oneshot(request).await.unwrap());
        let span = kept.recv().unwrap();
        assert_eq!(span.tag("url.query"), Some(left), "{query}");
        let shows = span
            .tags
            .iter()
            .any(|(_, value)| value.as_str().contains("opensesame"));
        assert!(!shows, "{query}: {span:?}");
    }
}

#[tokio::test]
async fn what_a_caller_makes_up_makes_no_names() {
    let request = Request::builder().method("BREW").uri("/?x=1");
    let span = served(request, unproven(), OK).await;
    assert_eq!(&*span.name, "HTTP");
    expect(
        "a method of its own",
        &span,
        &[
            ("http.request.method", "_OTHER"),
            ("http.request.method_original", "BREW"),
            ("http.response.status_code", "200"),
            ("url.path", "/"),
            ("url.query", "x=1"),
            ("url.scheme", "http"),
            ("server.address", "10.0.0.2"),
            ("server.port", "2"),
            ("client.address", "10.0.0.1"),
            ("network.peer.address", "10.0.0.1"),
            ("network.peer.port", "1"),
            ("network.protocol.name", "http"),
            ("network.protocol.version", "1.1"),
        ],
    );
    let long = "x".repeat(5000);
    let request = Request::get(format!("/{long}?{long}")).header("user-agent", &long);
    let span = served(request, unproven(), OK).await;
    for name in ["url.path", "url.query", "user_agent.original"] {
        assert_eq!(span.tag(name).map(str::len), Some(256), "{name}");
    }
    let request = Request::post("/made.Up/Name").header("content-type", "application/grpc");
    let unknown = Answer {
        grpc: Some("12"),
        ..OK
    };
    let span = served(request, unproven(), unknown).await;
    assert_eq!(&*span.name, "grpc");
    assert_eq!(span.tag("rpc.method"), Some("_OTHER"));
    assert_eq!(span.tag("rpc.method_original"), Some("made.Up/Name"));
    // An application without gRPC, which answers as it likes to whatever content type.
    let request = || Request::post("/patients/7").header("content-type", "application/grpc");
    let span = served(request(), unproven(), OK).await;
    assert_eq!(&*span.name, "grpc");
    let with = Answer {
        route: Some("/patients/{id}"),
        ..OK
    };
    assert_eq!(
        &*served(request(), unproven(), with).await.name,
        "POST /patients/{id}"
    );
}

/// A guard answers in gRPC's form before anybody has looked for the method.
#[tokio::test]
async fn what_a_guard_refuses_names_no_span() {
    let (propagation, kept) = recording();
    let layer = propagation.semantic_conventions().server_layer();
    let engine = Engine::builder(&Workload::new("default", "patients"))
        .yaml("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: nothing}\nspec: {}\n")
        .build()
        .unwrap();
    let app = service_fn(async |_: Request<Empty<Bytes>>| Ok::<_, Infallible>(answer(OK)));
    let guarded = RbacLayer::new(Live::new(engine)).layer(app);
    let request = Request::post("/made.Up/Name")
        .header("host", "patients")
        .header("content-type", "application/grpc")
        .extension(unproven())
        .body(Empty::new());
    drop(
        layer
            .layer(guarded)
            .oneshot(request.unwrap())
            .await
            .unwrap(),
    );
    let span = kept.recv().unwrap();
    assert_eq!(
        span.tag("rpc.response.status_code"),
        Some("PERMISSION_DENIED")
    );
    assert_eq!(&*span.name, "grpc");
    assert_eq!(span.tag("rpc.method"), Some("_OTHER"));
}

/// What signs a URL is as good as a token to those who read spans.
#[tokio::test]
async fn signatures_of_urls_are_in_no_attribute() {
    for name in [
        "AWSAccessKeyId",
        "Signature",
        "sig",
        "X-Goog-Signature",
        "X-Amz-Signature",
        "X-Amz-Credential",
        "X-Amz-Security-Token",
        "%73ig",
    ] {
        let path = format!("/chart?page=2&{name}=0f1e2d");
        let server = served(Request::get(&path), unproven(), OK).await;
        let call = Request::get(format!("http://store.example{path}"));
        let client = called(call, None, OK).await;
        assert_eq!(server.tag("url.query"), Some("page=2"), "{name}");
        let full = Some("http://store.example/chart?page=2");
        assert_eq!(client.tag("url.full"), full, "{name}");
        for (tag, value) in server.tags.iter().chain(&client.tags) {
            assert!(!value.as_str().contains("0f1e2d"), "{name}: {tag}");
        }
    }
}

#[tokio::test]
async fn a_client_span_has_the_attributes_of_the_conventions() {
    let rows = [
        (
            "http://user:password@charts.default/list?access_token=secret&x=1",
            "http://charts.default/list?x=1",
            "http",
            "80",
        ),
        (
            "https://charts.default/list",
            "https://charts.default/list",
            "https",
            "443",
        ),
        (
            "http://charts.default:9090/",
            "http://charts.default:9090/",
            "http",
            "9090",
        ),
    ];
    for (uri, full, scheme, port) in rows {
        let request = Request::get(uri).version(http::Version::HTTP_11);
        let span = called(request, Some(proven("charts")), OK).await;
        assert_eq!(&*span.name, "GET", "{uri}");
        expect(
            uri,
            &span,
            &[
                ("http.request.method", "GET"),
                ("http.response.status_code", "200"),
                ("url.full", full),
                ("url.scheme", scheme),
                ("server.address", "charts.default"),
                ("server.port", port),
                ("network.peer.address", "10.0.0.1"),
                ("network.peer.port", "1"),
                ("network.protocol.name", "http"),
                ("network.protocol.version", "1.1"),
            ],
        );
    }
    let refused = called(
        Request::get("http://[::1]:81/"),
        None,
        Answer { status: 403, ..OK },
    )
    .await;
    assert_eq!(
        refused.tag("error.type"),
        Some("403"),
        "a client counts refusals"
    );
    assert_eq!(refused.tag("server.address"), Some("::1"));
    assert_eq!(refused.tag("server.port"), Some("81"));
}

#[tokio::test]
async fn grpc_has_the_attributes_of_rpc() {
    let request = || {
        Request::post("http://patients.default/clinic.v1.Patients/Get")
            .header("content-type", "application/grpc")
    };
    // (the status, its name, an error on the server's side, an error on the client's)
    let rows = [
        ("0", "OK", false, false),
        ("5", "NOT_FOUND", false, true),
        ("14", "UNAVAILABLE", true, true),
        ("99", "99", false, true),
    ];
    for (code, status, of_server, of_client) in rows {
        let with = Answer {
            grpc: Some(code),
            ..OK
        };
        let server = served(request(), proven("desk"), with).await;
        let client = called(request(), Some(proven("patients")), with).await;
        for (span, is_error) in [(server, of_server), (client, of_client)] {
            assert_eq!(&*span.name, "clinic.v1.Patients/Get");
            let all = attributes(&span);
            assert_eq!(all["rpc.system.name"], "grpc");
            assert_eq!(all["rpc.method"], "clinic.v1.Patients/Get");
            assert_eq!(all["rpc.response.status_code"], status);
            let error = is_error.then_some(status);
            assert_eq!(
                all.get("error.type").copied(),
                error,
                "{code} {:?}",
                span.kind
            );
        }
    }
}

#[tokio::test]
async fn a_call_without_an_answer_says_why() {
    let (propagation, kept) = recording();
    let never = service_fn(async |_: Request<Empty<Bytes>>| {
        std::future::pending::<Result<Response<Empty<Bytes>>, Infallible>>().await
    });
    let layer = propagation.semantic_conventions().server_layer();
    let request = Request::get("/")
        .extension(proven("desk"))
        .body(Empty::<Bytes>::new());
    let mut asked = Box::pin(layer.layer(never).oneshot(request.unwrap()));
    assert!(futures_poll(asked.as_mut()).await);
    drop(asked);
    let span = kept.recv().unwrap();
    assert_eq!(span.tag("error.type"), Some("DC"));
    assert_eq!(span.tag("http.response.status_code"), None);
}

struct Breaking;

impl Body for Breaking {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Poll::Ready(Some(Err("broken off")))
    }
}

/// A good status says nothing of a body that breaks off; a reader that stops is no error.
#[tokio::test]
async fn a_body_that_breaks_off_is_an_error() {
    for (is_read, error) in [(true, Some("UC")), (false, None)] {
        for conventions in [true, false] {
            let (propagation, kept) = recording();
            let propagation = match conventions {
                true => propagation.semantic_conventions(),
                false => propagation,
            };
            let server = service_fn(async |_: Request<Empty<Bytes>>| {
                Ok::<_, Infallible>(Response::new(Breaking))
            });
            let request = Request::get("http://charts.default/").body(Empty::new());
            let call = propagation.client_layer().layer(server);
            let response = call.oneshot(request.unwrap()).await.unwrap();
            if is_read {
                let read = response.into_body().collect().await;
                assert!(read.is_err());
            } else {
                drop(response);
            }
            let span = kept.recv().unwrap();
            let error = error.filter(|_| conventions);
            assert_eq!(span.tag("error.type"), error, "{is_read} {conventions}");
            assert_eq!(span.is_error, error.is_some(), "{is_read} {conventions}");
        }
    }
}

/// Whether a future waits.
async fn futures_poll<F: Future>(mut future: Pin<&mut F>) -> bool {
    std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}

/// Both ends of one call through whole meshes; the route is the application's router's.
#[tokio::test]
async fn the_spans_of_whole_meshes_follow_the_conventions() {
    let pki = Pki::new("cluster.local").unwrap();
    let (propagation, kept) = recording();
    let mesh = build(
        app(&pki).telemetry(|telemetry| telemetry.propagation(propagation.semantic_conventions())),
    )
    .await;
    let routes = Router::new().route("/patients/{id}", any(|| async { "a patient" }));
    let routes = routes.route_layer(from_fn(
        |path: MatchedPath, request: axum::extract::Request, next: Next| {
            context::current().unwrap().set_route(path.as_str().into());
            next.run(request)
        },
    ));
    let served = serve(&mesh, routes).await;
    let (propagation, calls) = recording();
    let desk = Mesh::builder(
        Workload::new("default", "desk"),
        pki.identity("default", "desk").unwrap(),
    )
    .telemetry(|telemetry| telemetry.propagation(propagation.semantic_conventions()))
    .upstream("app.default", [served.address], [mesh.spiffe_id()]);
    let desk = build(desk).await;
    let answer = desk
        .client()
        .get("http://app.default/patients/7?access_token=x")
        .await;
    answer.unwrap().into_body().collect().await.unwrap();
    let call = calls.recv().unwrap();
    let span = tokio::task::spawn_blocking(move || kept.recv().unwrap())
        .await
        .unwrap();
    assert_eq!(&*span.name, "GET /patients/{id}");
    assert_eq!(&*call.name, "GET");
    let port = served.address.port().to_string();
    for (span, name, value) in [
        (&span, "http.route", "/patients/{id}"),
        (&span, "url.scheme", "https"),
        (&span, "server.address", "app.default"),
        (&span, "server.port", &*port),
        (&span, "client.address", "127.0.0.1"),
        (&call, "url.full", "http://app.default/patients/7"),
        (&call, "network.peer.address", "127.0.0.1"),
        (&call, "network.peer.port", &*port),
    ] {
        assert_eq!(span.tag(name), Some(value), "{name}");
    }
    assert_eq!(
        span.tag("url.query"),
        None,
        "there was a token and nothing else"
    );
}

/// Without the option nothing of it is there, and names are Istio's.
#[tokio::test]
async fn spans_are_as_istio_makes_them_without_the_option() {
    let (propagation, kept) = recording();
    let app = service_fn(async |_: Request<Empty<Bytes>>| Ok::<_, Infallible>(answer(OK)));
    let request = Request::get("/")
        .extension(proven("desk"))
        .body(Empty::new());
    let layer = propagation.server_layer();
    drop(layer.layer(app).oneshot(request.unwrap()).await.unwrap());
    let span = kept.recv().unwrap();
    assert_eq!(&*span.name, "patients.default.svc.cluster.local:8443/*");
    expect("istio", &span, &[]);
}

/// As OpenTelemetry's own exporters get it: numbers are numbers.
#[tokio::test]
async fn exported_numbers_are_numbers() {
    let exporter = InMemorySpanExporterBuilder::new().build();
    let workload = Workload::new("default", "patients");
    let resource = OpenTelemetry::resource(&workload);
    let spans = OpenTelemetry::new(SimpleSpanProcessor::new(exporter.clone()), &resource);
    let propagation = Propagation::new().sample_percent(100.0).export_to(spans);
    let failing = Answer { status: 500, ..OK };
    let app = service_fn(async |_: Request<Empty<Bytes>>| Ok::<_, Infallible>(answer(failing)));
    let request = Request::get("/")
        .extension(proven("desk"))
        .body(Empty::new());
    let layer = propagation.semantic_conventions().server_layer();
    let response = layer.layer(app).oneshot(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    drop(response);
    let spans = exporter.get_finished_spans().unwrap();
    let value = |name: &str| {
        let mut attributes = spans[0].attributes.iter();
        let found = attributes.find(|attribute| attribute.key.as_str() == name);
        found.map(|attribute| attribute.value.clone())
    };
    assert_eq!(value("http.response.status_code"), Some(Value::I64(500)));
    assert_eq!(value("server.port"), Some(Value::I64(2)));
    assert_eq!(value("url.path"), Some(Value::from("/")));
    assert_eq!(spans[0].status, Status::error(""));
}

/// Prints the resource, for the test below, which runs it with other variables.
#[test]
#[allow(clippy::print_stdout, reason = "another process reads it")]
fn resource_of_a_workload() {
    let workload = Workload::new("default", "patients")
        .label("app", "patients")
        .label("version", "v2");
    for (key, value) in OpenTelemetry::resource(&workload).iter() {
        println!("resource {key}={value}");
    }
}

type Pairs = &'static [(&'static str, &'static str)];

#[test]
fn the_environment_has_the_last_word_on_the_resource() {
    let rows: [(Pairs, Pairs); 7] = [
        (
            &[],
            &[
                ("service.name", "patients.default"),
                ("service.namespace", "default"),
                ("service.version", "v2"),
            ],
        ),
        // The workload says which pod it is, and no variable does.
        (&[("POD_NAME", "patients-7d4b9")], &[]),
        (
            &[(
                "OTEL_RESOURCE_ATTRIBUTES",
                "service.name=records,deployment.environment.name=test",
            )],
            &[
                ("service.name", "records"),
                ("service.namespace", "default"),
                ("deployment.environment.name", "test"),
            ],
        ),
        (
            &[
                (
                    "OTEL_RESOURCE_ATTRIBUTES",
                    "service.name=records,service.version=3",
                ),
                ("OTEL_SERVICE_NAME", "charts"),
            ],
            &[("service.name", "charts"), ("service.version", "3")],
        ),
        (
            &[(
                "OTEL_RESOURCE_ATTRIBUTES",
                " team = a%2Cb%3D%C3%A9 ,,zone=x=y,",
            )],
            &[("team", "a,b=é"), ("zone", "x=y")],
        ),
        // What cannot be read does not count, with all that stands beside it.
        (
            &[(
                "OTEL_RESOURCE_ATTRIBUTES",
                "service.name=records,team=100%,zone=x",
            )],
            &[("service.name", "patients.default")],
        ),
        (
            &[("OTEL_RESOURCE_ATTRIBUTES", "service.name=records,team")],
            &[("service.name", "patients.default")],
        ),
    ];
    for (variables, expected) in rows {
        let mut command = Command::new(std::env::current_exe().unwrap());
        for name in ["POD_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_SERVICE_NAME"] {
            command.env_remove(name);
        }
        let name = "telemetry::semantic_conventions::resource_of_a_workload";
        command.args([name, "--exact", "--nocapture", "--test-threads=1"]);
        let output = command.envs(variables.iter().copied()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<_> = text
            .lines()
            .filter_map(|line| {
                let (_, pair) = line.split_once("resource ")?;
                pair.split_once('=')
            })
            .collect();
        for pair in expected {
            assert!(lines.contains(pair), "{variables:?} {pair:?}: {text}");
        }
        assert!(lines.iter().all(|(name, _)| !name.starts_with("k8s.")));
    }
}

#[test]
fn a_pod_is_in_the_resource() {
    let workload = Workload::new("default", "patients").pod("patients-7d4b9");
    let resource = OpenTelemetry::resource(&workload);
    for (name, expected) in [
        ("k8s.pod.name", "patients-7d4b9"),
        ("k8s.namespace.name", "default"),
        ("k8s.cluster.name", workload.cluster_id()),
    ] {
        let value = resource.get(&Key::from_static_str(name));
        assert_eq!(value, Some(Value::from(expected.to_owned())), "{name}");
    }
}
