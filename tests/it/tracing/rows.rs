//! Rows of the specification about trace headers, through a composed mesh: what the application sees of a request, and what a call that it
//! makes for it carries.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::any;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::Full;
use tower_mesh::mesh::ExternalHost;
use tower_mesh::propagation::{FinishedSpan, Propagation, SpanKind, SpanSink};
use tower_mesh::testing::Pki;
use tower_mesh::tls::Mode;

use crate::support::mesh::{
    Served, app, build, empty, get, get2, http1, http2_in_plaintext, read, serve, until,
};

const T: &str = "0af7651916cd43dd8448eb211c80319c";
const S: &str = "b7ad6b7169203331";
/// The last 16 digits of a trace id of 64 bits.
const SHORT: &str = "8448eb211c80319c";

#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Vec<FinishedSpan>>>);

impl SpanSink for Kept {
    fn export(&self, span: FinishedSpan) {
        self.0.lock().unwrap().push(span);
    }
}

/// An application in a mesh that calls a server outside for each request, and both sides' headers.
struct App {
    pki: Pki,
    served: Served,
    spans: Kept,
}

/// The headers that the application saw, those that the called server saw, and those of the response.
struct Heard {
    seen: Vec<(String, String)>,
    sent: Vec<(String, String)>,
    answered: HeaderMap,
}

fn text(headers: &HeaderMap) -> String {
    let line = |(name, value): (&HeaderName, &HeaderValue)| {
        format!("{name}: {}\n", value.to_str().unwrap())
    };
    headers.iter().map(line).collect()
}

fn one<'a>(lines: &'a [(String, String)], name: &str) -> &'a str {
    let found: Vec<_> = lines.iter().filter(|(found, _)| found == name).collect();
    assert!(found.len() < 2, "{name}: {found:?}");
    found.first().map_or("", |(_, value)| value)
}

/// The digits and flags of a `traceparent`.
fn parts(traceparent: &str) -> [&str; 4] {
    let parts: Vec<_> = traceparent.split('-').collect();
    parts.try_into().unwrap()
}

impl App {
    async fn start(percent: f64) -> Self {
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let echo = any(|headers: HeaderMap| async move { text(&headers) });
        tokio::spawn(async move { axum::serve(socket, Router::new().fallback(echo)).await });
        let pki = Pki::new("cluster.local").unwrap();
        let spans = Kept::default();
        let propagation = Propagation::new()
            .sample_percent(percent)
            .export_to(spans.clone());
        let builder = app(&pki)
            .mode(Mode::Permissive)
            .outside("charts.example", ExternalHost::plaintext().at([address]))
            .telemetry(|telemetry| telemetry.propagation(propagation));
        let mesh = build(builder).await;
        let client = mesh.client().clone();
        let handler = any(move |headers: HeaderMap| async move {
            let answer = client.get("http://charts.example/").await.unwrap();
            format!("{}\n{}", text(&headers), read(answer).await.2)
        });
        let served = serve(&mesh, Router::new().fallback(handler)).await;
        Self { pki, served, spans }
    }

    /// A request of a peer with an identity.
    async fn ask(&self, headers: &[(&str, &str)]) -> Heard {
        let mut sender = http1::<Full<Bytes>>(&self.pki, "desk", self.served.address).await;
        let request = headers.iter().fold(get("/"), |request, (name, value)| {
            request.header(*name, *value)
        });
        Heard::of(read(sender.send_request(empty(request)).await.unwrap()).await)
    }

    /// A request of a caller without one.
    async fn ask_as_stranger(&self, headers: &[(&str, &str)]) -> Heard {
        let mut sender = http2_in_plaintext::<Full<Bytes>>(self.served.address).await;
        let request = headers.iter().fold(get2("/"), |request, (name, value)| {
            request.header(*name, *value)
        });
        Heard::of(read(sender.send_request(empty(request)).await.unwrap()).await)
    }
}

impl Heard {
    fn of((status, answered, text): (u16, HeaderMap, String)) -> Self {
        assert_eq!(status, 200, "{text}");
        let (seen, sent) = text.split_once("\n\n").unwrap();
        let lines = |text: &str| {
            let lines = text.lines().filter_map(|line| line.split_once(": "));
            let lines = lines.map(|(name, value)| (name.to_owned(), value.to_owned()));
            lines.collect::<Vec<_>>()
        };
        Self {
            seen: lines(seen),
            sent: lines(sent),
            answered,
        }
    }
}

#[tokio::test]
async fn row_9_a_stale_header_of_b3_goes_nowhere() {
    let app = App::start(0.0).await;
    let stale = "1af7651916cd43dd8448eb211c80319c";
    let single = format!("{T}-{S}-1");
    let sent = [
        ("b3", &*single),
        ("x-b3-traceid", stale),
        ("x-b3-sampled", "0"),
    ];
    let heard = app.ask(&sent).await;
    for headers in [&heard.seen, &heard.sent] {
        let b3: Vec<_> = one(headers, "b3").split('-').collect();
        assert_eq!((b3[0], b3[2]), (T, "1"), "{headers:?}");
        let is_stale = |(_, value): &(String, String)| value.contains(stale);
        assert!(!headers.iter().any(is_stale), "{headers:?}");
        assert_eq!(one(headers, "x-b3-sampled"), "");
    }
    until("two spans", || app.spans.0.lock().unwrap().len() == 2).await;
}

#[tokio::test]
async fn row_10_debugging_beats_a_refusal_to_record() {
    let app = App::start(0.0).await;
    let sent = [
        ("x-b3-traceid", T),
        ("x-b3-spanid", S),
        ("x-b3-flags", "1"),
        ("x-b3-sampled", "0"),
    ];
    let heard = app.ask(&sent).await;
    for headers in [&heard.seen, &heard.sent] {
        assert_eq!(one(headers, "x-b3-traceid"), T);
        assert_eq!(one(headers, "x-b3-flags"), "1");
        assert_eq!(one(headers, "x-b3-sampled"), "");
    }
    until("two spans", || app.spans.0.lock().unwrap().len() == 2).await;
    let spans = app.spans.0.lock().unwrap();
    assert!(spans.iter().all(|span| span.trace.is_debug()));
}

#[tokio::test]
async fn row_11_a_short_trace_id_stays_short_in_b3() {
    let app = App::start(0.0).await;
    let sent = [
        ("x-b3-traceid", SHORT),
        ("x-b3-spanid", S),
        ("x-b3-sampled", "1"),
    ];
    let heard = app.ask(&sent).await;
    for headers in [&heard.seen, &heard.sent] {
        assert_eq!(one(headers, "x-b3-traceid"), SHORT);
        assert_eq!(one(headers, "x-b3-sampled"), "1");
        let [_, trace, span, flags] = parts(one(headers, "traceparent"));
        assert_eq!(trace, format!("{}{SHORT}", "0".repeat(16)));
        assert_eq!(span, one(headers, "x-b3-spanid"));
        assert_eq!(flags, "01");
    }
    let server = one(&heard.seen, "x-b3-spanid");
    assert_eq!(one(&heard.seen, "x-b3-parentspanid"), S);
    assert_eq!(one(&heard.sent, "x-b3-parentspanid"), server);
}

#[tokio::test]
async fn row_12_a_trace_id_alone_is_none_but_its_state_counts() {
    let app = App::start(100.0).await;
    for (state, sampled) in [("0", "0"), ("1", "1")] {
        let heard = app
            .ask(&[("x-b3-traceid", T), ("x-b3-sampled", state)])
            .await;
        for headers in [&heard.seen, &heard.sent] {
            let trace = one(headers, "x-b3-traceid");
            assert!(trace != T && trace.len() == 32, "{trace}");
            assert_eq!(one(headers, "x-b3-sampled"), sampled);
            let [_, of_w3c, _, flags] = parts(one(headers, "traceparent"));
            assert_eq!(
                (of_w3c, flags.ends_with(['1', '3'])),
                (trace, sampled == "1")
            );
        }
        assert_eq!(one(&heard.seen, "x-b3-parentspanid"), "", "a root");
    }
    // Of the first request nothing was recorded.
    until("two spans", || app.spans.0.lock().unwrap().len() == 2).await;
}

#[tokio::test]
async fn row_13_a_bad_b3_leaves_the_trace_to_w3c() {
    let app = App::start(0.0).await;
    let traceparent = format!("00-{T}-{S}-01");
    let heard = app
        .ask(&[("b3", "garbage"), ("traceparent", &traceparent)])
        .await;
    for headers in [&heard.seen, &heard.sent] {
        let [_, trace, _, flags] = parts(one(headers, "traceparent"));
        assert_eq!((trace, flags), (T, "01"));
        assert_ne!(one(headers, "b3"), "garbage");
    }
    assert_eq!(one(&heard.sent, "x-b3-traceid"), T);
    assert_eq!(one(&heard.sent, "b3"), "");
}

#[tokio::test]
async fn rows_15_16_17_and_18_the_request_id_decides() {
    let on = ("x-b3-sampled", "0");
    for (percent, id, extra, sampled, left) in [
        // 0x2710 = 10000, which is 0 of ten thousand.
        (
            0.01,
            "00002710-4f89-41d3-9a0c-0305e82c3301",
            None,
            true,
            "00002710-4f89-91d3-9a0c-0305e82c3301",
        ),
        // 0x270f = 9999.
        (
            10.0,
            "0000270f-4f89-41d3-9a0c-0305e82c3301",
            None,
            false,
            "0000270f-4f89-41d3-9a0c-0305e82c3301",
        ),
        (100.0, "abc", None, false, "abc"),
        (
            0.0,
            "0000270f-4f89-91d3-9a0c-0305e82c3301",
            None,
            true,
            "0000270f-4f89-91d3-9a0c-0305e82c3301",
        ),
        (
            0.0,
            "0000270f-4f89-91d3-9a0c-0305e82c3301",
            Some(on),
            false,
            "0000270f-4f89-91d3-9a0c-0305e82c3301",
        ),
    ] {
        let app = App::start(percent).await;
        let headers: Vec<_> = std::iter::once(("x-request-id", id)).chain(extra).collect();
        let heard = app.ask(&headers).await;
        for headers in [&heard.seen, &heard.sent] {
            assert_eq!(one(headers, "x-request-id"), left, "{percent} {id}");
            let [.., flags] = parts(one(headers, "traceparent"));
            assert_eq!(flags.ends_with(['1', '3']), sampled, "{percent} {id}");
        }
    }
}

/// Row 19, too: the next hop, a sidecar at 1 %, records what we record.
#[tokio::test]
async fn row_19_a_recorded_trace_marks_the_request_id() {
    let app = App::start(0.0).await;
    let traceparent = format!("00-{T}-{S}-01");
    let undecided = "0000270f-4f89-41d3-9a0c-0305e82c3301";
    let headers = [
        ("traceparent", traceparent.as_str()),
        ("x-request-id", undecided),
    ];
    let heard = app.ask(&headers).await;
    let id = one(&heard.sent, "x-request-id");
    assert_eq!(id, undecided.replacen("-41d3", "-91d3", 1));
}

#[tokio::test]
async fn row_20_a_stranger_says_nothing_of_the_mesh() {
    let app = App::start(0.0).await;
    let id = "0000270f-4f89-91d3-9a0c-0305e82c3301";
    let said = [
        ("x-request-id", id),
        ("x-envoy-decorator-operation", "evil"),
        ("x-envoy-force-trace", "1"),
        ("x-envoy-peer-metadata", "Cg=="),
        ("x-envoy-peer-metadata-id", "sidecar~evil"),
    ];
    let heard = app.ask_as_stranger(&said).await;
    for headers in [&heard.seen, &heard.sent] {
        for (name, _) in &said[1..] {
            // A call names its own workload to a server of the mesh alone.
            assert_eq!(one(headers, name), "", "{name}");
        }
        let new = one(headers, "x-request-id");
        assert!(new != id && new.len() == 36, "{new}");
        let [.., flags] = parts(one(headers, "traceparent"));
        assert_eq!(flags, "02", "not forced");
    }
    let told = [
        "x-request-id",
        "x-envoy-decorator-operation",
        "x-envoy-peer-metadata",
    ];
    for name in told {
        assert!(!heard.answered.contains_key(name), "{name}");
    }
    assert!(app.spans.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn row_21_a_peer_names_the_operation() {
    let app = App::start(100.0).await;
    let name = "b.ns.svc.cluster.local:80/*";
    let heard = app.ask(&[("x-envoy-decorator-operation", name)]).await;
    assert_eq!(one(&heard.seen, "x-envoy-decorator-operation"), "");
    assert!(!heard.answered.contains_key("x-envoy-decorator-operation"));
    let is_server = |span: &&FinishedSpan| span.kind == SpanKind::Server;
    until("the span", || {
        app.spans
            .0
            .lock()
            .unwrap()
            .iter()
            .any(|span| is_server(&span))
    })
    .await;
    let spans = app.spans.0.lock().unwrap();
    let server = spans.iter().find(is_server).unwrap();
    assert_eq!(&*server.name, name);
}
