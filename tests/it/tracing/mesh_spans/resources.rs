//! Each field of a Telemetry resource that is about traces, in a mesh that serves: a resource that
//! is replaced counts from the next request on.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::any;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tower_mesh::mesh::ExternalHost;
use tower_mesh::propagation::{FinishedSpan, SpanKind};
use tower_mesh::source::{Configuration, Fixed, Sender, channel};
use tower_mesh::testing::Pki;

use super::site::{Spans, only};
use crate::support::mesh::{Fed, Log, app, build, empty, get2, http2, lines, read, serve, until};

type Caller = hyper::client::conn::http2::SendRequest<Full<Bytes>>;

/// An application that makes a call for each request and answers with what the call has sent.
struct App {
    spans: Spans,
    ended: Log,
    asked: usize,
    sender: Sender,
    caller: Caller,
}

fn loaded(spec: &str) -> Configuration {
    let text = format!(
        "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\n\
         metadata: {{name: mesh, namespace: istio-system}}\nspec:\n{spec}\n"
    );
    Fixed::yaml("telemetry.yaml", text).load("default").unwrap()
}

fn tracing(fields: &str) -> Configuration {
    loaded(&format!("  tracing: [{{{fields}}}]"))
}

fn text(headers: &HeaderMap) -> String {
    let line = |(name, value): (_, &HeaderValue)| format!("{name}: {}\n", value.to_str().unwrap());
    headers.iter().map(line).collect()
}

impl App {
    async fn start(configuration: Configuration) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let echo = any(|headers: HeaderMap| async move { text(&headers) });
        tokio::spawn(async move { axum::serve(socket, Router::new().fallback(echo)).await });
        let pki = Pki::new("cluster.local").unwrap();
        let (spans, ended) = (Spans::default(), Log::default());
        let propagation = spans.recording();
        let (sender, source) = channel(configuration);
        let builder = app(&pki)
            .config(source)
            .outside("charts.example", ExternalHost::plaintext().at([address]))
            .telemetry(|telemetry| {
                telemetry
                    .propagation(propagation)
                    .on_complete(ended.observe())
            });
        let mesh = build(builder).await;
        let client = mesh.client().clone();
        let handler = any(async move || {
            let answer = client.get("http://charts.example/").await.unwrap();
            read(answer).await.2
        });
        let served = serve(&mesh, Router::new().fallback(handler)).await;
        let caller = http2(&pki, "desk", served.address).await;
        Self {
            spans,
            ended,
            asked: 0,
            sender,
            caller,
        }
    }

    async fn replace(&self, configuration: Configuration) {
        self.sender.send(configuration).await.unwrap();
    }

    /// The spans of one request, and the headers of the call that is made for it.
    async fn ask(&mut self, count: usize) -> (Vec<FinishedSpan>, String) {
        self.ask_with(get2("/"), count).await
    }

    async fn ask_with(
        &mut self,
        request: http::request::Builder,
        count: usize,
    ) -> (Vec<FinishedSpan>, String) {
        let answer = self.caller.send_request(empty(request)).await.unwrap();
        let (status, _, sent) = read(answer).await;
        assert_eq!(status, 200);
        self.asked += 1;
        self.ended.wait(self.asked).await;
        (self.spans.all(count).await, sent)
    }
}

#[tokio::test]
async fn the_share_of_recorded_traces_is_replaced() {
    let mut app = App::start(tracing("randomSamplingPercentage: 0")).await;
    app.ask(0).await;
    app.replace(tracing("randomSamplingPercentage: 100")).await;
    let (spans, sent) = app.ask(2).await;
    let client = only(&spans, SpanKind::Client);
    assert!(sent.contains(&format!("-{}-", client.trace.span_id)));
    app.replace(tracing("randomSamplingPercentage: 0")).await;
    let (_, sent) = app.ask(0).await;
    assert!(sent.contains("x-b3-sampled: 0"), "{sent}");
}

#[tokio::test]
async fn whether_the_request_id_chooses_is_replaced() {
    let by_id = "randomSamplingPercentage: 0, useRequestIdForTraceSampling: ";
    let mut app = App::start(tracing(&format!("{by_id}true"))).await;
    app.ask(0).await;
    app.replace(tracing(&format!("{by_id}false"))).await;
    app.ask(2).await;
    app.replace(tracing(&format!("{by_id}true"))).await;
    app.ask(0).await;
}

#[tokio::test]
async fn custom_tags_are_replaced_as_a_whole() {
    let west = "customTags: {ward: {literal: {value: west}}, tenant: {header: {name: x-tenant, defaultValue: none}}}";
    let mut app = App::start(tracing(west)).await;
    let shown = |spans: &[FinishedSpan], name: &str| {
        let both = [SpanKind::Server, SpanKind::Client].map(|kind| {
            let tag = only(spans, kind).tag(name);
            tag.map(str::to_owned)
        });
        assert_eq!(both[0], both[1], "{name}");
        both[0].clone()
    };
    let (spans, _) = app.ask(2).await;
    assert_eq!(shown(&spans, "ward").as_deref(), Some("west"));
    assert_eq!(shown(&spans, "tenant").as_deref(), Some("none"));
    let east = "customTags: {ward: {literal: {value: east}}, component: {literal: {value: ours}}}";
    app.replace(tracing(east)).await;
    let (spans, _) = app.ask(2).await;
    assert_eq!(shown(&spans, "ward").as_deref(), Some("east"));
    assert_eq!(shown(&spans, "tenant"), None);
    assert_eq!(shown(&spans, "component").as_deref(), Some("ours"));
    app.replace(loaded("  tracing: []")).await;
    let (spans, _) = app.ask(2).await;
    assert_eq!(shown(&spans, "ward"), None);
    assert_eq!(shown(&spans, "component").as_deref(), Some("proxy"));
}

#[tokio::test]
async fn tags_of_istio_are_left_out_and_come_back() {
    let mut app = App::start(tracing("enableIstioTags: false")).await;
    let count = |spans: &[FinishedSpan]| {
        let of_istio = |span: &FinishedSpan| {
            let names = span.tags.iter().map(|(name, _)| name);
            names.filter(|name| name.starts_with("istio.")).count()
        };
        spans.iter().map(of_istio).collect::<Vec<_>>()
    };
    let (spans, _) = app.ask(2).await;
    assert_eq!(count(&spans), [0, 0]);
    app.replace(tracing("enableIstioTags: true")).await;
    let (spans, _) = app.ask(2).await;
    assert_eq!(count(&spans), [5, 5]);
}

#[tokio::test]
async fn a_context_that_is_not_sent_is_replaced() {
    let mut app = App::start(tracing("disableContextPropagation: true")).await;
    let has = |sent: &str| {
        let names = ["traceparent: ", "x-b3-traceid: ", "b3: "];
        names.map(|name| sent.lines().any(|line| line.starts_with(name)))
    };
    // The span is made, the call does not tell of it.
    let (_, sent) = app.ask(2).await;
    assert_eq!(has(&sent), [false; 3], "{sent}");
    assert!(sent.contains("x-request-id: "), "{sent}");
    app.replace(tracing("disableContextPropagation: false"))
        .await;
    let (_, sent) = app.ask(2).await;
    assert_eq!(has(&sent), [true, true, false], "{sent}");
}

/// Of a stream that is open while the interval is replaced.
#[tokio::test]
async fn the_interval_of_messages_is_replaced() {
    let pki = Pki::new("cluster.local").unwrap();
    let interval =
        |interval: &str| loaded(&format!("  metrics: [{{reportingInterval: {interval}}}]"));
    let (sender, source) = channel(interval("1h"));
    let mesh = build(app(&pki).config(source)).await;
    let (feed, fed) = mpsc::unbounded_channel();
    let body = Arc::new(Mutex::new(Some(Fed(fed))));
    let stream = any(async move || {
        let body = axum::body::Body::new(body.lock().unwrap().take().unwrap());
        let response = Response::builder().header("content-type", "application/grpc");
        response.body(body).unwrap()
    });
    let served = serve(&mesh, Router::new().fallback(stream)).await;
    let mut caller: Caller = http2(&pki, "desk", served.address).await;
    let request = get2("/charts.Charts/Watch").method("POST");
    let request = request.header("content-type", "application/grpc");
    let answer = caller.send_request(empty(request)).await.unwrap();
    let mut messages = answer.into_body();
    let mut message = async || {
        feed.send(Frame::data(Bytes::from_static(&[0; 5]))).unwrap();
        messages.frame().await.unwrap().unwrap();
    };
    let counted = || {
        let found = lines(&mesh, "istio_response_messages_total{", &[]);
        found.iter().any(|line| !line.ends_with(" 0"))
    };
    for _ in 0..3 {
        message().await;
    }
    assert!(!counted(), "reported before an hour is over");
    sender.send(interval("1ms")).await.unwrap();
    // The message that comes first after a millisecond.
    while !counted() {
        message().await;
    }
    let requests = lines(&mesh, "istio_requests_total{", &[]);
    assert_eq!(requests, [""; 0], "the stream has not ended");
    drop(feed);
    while let Some(rest) = messages.frame().await {
        rest.unwrap();
    }
    until("the end", || {
        !lines(&mesh, "istio_requests_total{", &[]).is_empty()
    })
    .await;
}

/// A formatter has the operators of access logs, and what has no value is left out of it.
#[tokio::test]
async fn a_formatter_writes_what_access_logs_write() {
    let formatted = |texts: &[(&str, &str)]| {
        let tag =
            |(name, text): &(&str, &str)| format!("{name}: {{formatter: {{value: '{text}'}}}}");
        let tags: Vec<_> = texts.iter().map(tag).collect();
        tracing(&format!("customTags: {{{}}}", tags.join(", ")))
    };
    let token = format!("{0}.{0}.{0}", "eyJhbGciOiJFUzI1NiJ9");
    let texts = [
        ("plain", "west"),
        (
            "asked",
            "%REQ(:METHOD)% %REQ(:PATH)% by %REQ(X-TENANT?USER-AGENT)%",
        ),
        ("answer", "%RESPONSE_CODE%%%, %PROTOCOL% and %RESP(x-none)%"),
        ("by", "<%DOWNSTREAM_PEER_URI_SAN%>"),
        ("to", "%UPSTREAM_CLUSTER%"),
        ("cut", "%REQ(:METHOD):1%"),
        ("hidden", "%REQ(x-token)%%REQ(x-token?x-none)%"),
        ("none", "%REQ(x-none?x-none)%"),
        ("variable", "%ENVIRONMENT(CARGO_PKG_NAME)% of %PROTOCOL%"),
        // Instead of the mesh's own.
        ("http.url", "%REQ(:SCHEME)%://%REQ(:AUTHORITY)%"),
    ];
    let mut app = App::start(formatted(&texts)).await;
    let request = get2("/a?b")
        .header("x-token", token)
        .header("user-agent", "a browser");
    let (spans, _) = app.ask_with(request, 2).await;
    let server = only(&spans, SpanKind::Server);
    let client = only(&spans, SpanKind::Client);
    let desk = "<spiffe://cluster.local/ns/default/sa/desk>";
    let asked = "GET /a?… by a browser";
    for (name, of_server, of_client) in [
        ("plain", Some("west"), Some("west")),
        ("asked", Some(asked), Some("GET / by ")),
        (
            "answer",
            Some("200%, HTTP/2 and "),
            Some("200%, HTTP/1.1 and "),
        ),
        ("by", Some(desk), Some("<>")),
        ("cut", Some("G"), Some("G")),
        ("hidden", None, None),
        ("none", None, None),
        ("variable", None, None),
        (
            "http.url",
            Some("http://app.default"),
            Some("http://charts.example"),
        ),
    ] {
        assert_eq!(server.tag(name), of_server, "{name} of the server");
        assert_eq!(client.tag(name), of_client, "{name} of the client");
    }
    let clusters = [server, client].map(|span| span.tag("upstream_cluster"));
    assert_eq!([server, client].map(|span| span.tag("to")), clusters);
    let urls = server.tags.iter().filter(|(name, _)| name == "http.url");
    assert_eq!(urls.count(), 1);
    // What cannot be read is refused, and what was there stays.
    for (text, wrong) in [
        ("%RESPONSE_COD% x", "did you mean %RESPONSE_CODE%?"),
        ("a %REQ(cookie)%", "holds a secret"),
        ("%REQ(Authorization)%", "holds a secret"),
    ] {
        let refused = app
            .sender
            .send(formatted(&[("t", text)]))
            .await
            .unwrap_err();
        let problems = refused.problems().unwrap().to_string();
        assert!(problems.starts_with("telemetry.yaml:"), "{problems}");
        assert!(problems.contains(wrong), "{problems}");
    }
    let (spans, _) = app.ask(2).await;
    assert_eq!(only(&spans, SpanKind::Server).tag("plain"), Some("west"));
    app.replace(formatted(&[("plain", "%RESPONSE_CODE% east")]))
        .await;
    let (spans, _) = app.ask(2).await;
    assert_eq!(
        only(&spans, SpanKind::Server).tag("plain"),
        Some("200 east")
    );
}
