use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use http::HeaderMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tower_mesh::mesh::ExternalHost;
use tower_mesh::propagation::{CustomTag, FinishedSpan, SpanKind};
use tower_mesh::testing::Pki;

use super::site::{Spans, app, desk};
use crate::support::mesh::{build, pass, read};

const CLUSTER: &str = "outbound|80||app.default.svc.cluster.local";

fn is_try(span: &FinishedSpan) -> bool {
    span.tag("upstream_address").is_some()
}

/// A workload of two addresses, of which one answers nothing.
#[tokio::test]
async fn each_try_has_a_span_under_the_span_of_the_call() {
    let pki = Pki::new("cluster.local").unwrap();
    let (sent, served) = (Spans::default(), Spans::default());
    let echo = any(|headers: HeaderMap| async move {
        let value = headers.get("traceparent");
        value.unwrap().to_str().unwrap().to_owned()
    });
    let app = app(&pki, served.recording(), Router::new().fallback(echo)).await;
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = socket.local_addr().unwrap();
    drop(socket);
    let addresses = [closed, app.address];
    let propagation = sent.recording().span_per_try();
    let desk = build(desk(&pki, propagation, "app.default", &addresses)).await;

    // The first turn is the closed address's.
    let answer = desk.client().get("http://app.default/").await.unwrap();
    assert_eq!(read(answer).await.0, 200);
    let spans = sent.all(3).await;
    let call = spans.iter().find(|span| !is_try(span)).unwrap();
    let tries: Vec<_> = spans.iter().filter(|span| is_try(span)).collect();
    let name = format!("router {CLUSTER} egress");
    for (span, address, status, flags, error) in [
        (tries[0], closed, "0", "UF", Some("true")),
        (tries[1], app.address, "200", "-", None),
    ] {
        assert_eq!(*span.name, name);
        assert_eq!(span.kind, SpanKind::Client);
        assert_eq!(span.trace.trace_id, call.trace.trace_id);
        assert_eq!(span.trace.parent_span_id, Some(call.trace.span_id));
        let address = address.to_string();
        for (tag, value) in [
            ("upstream_address", Some(&*address)),
            ("peer.address", Some(&*address)),
            ("upstream_cluster", Some(CLUSTER)),
            ("component", Some("proxy")),
            ("http.status_code", Some(status)),
            ("response_flags", Some(flags)),
            ("error", error),
        ] {
            assert_eq!(span.tag(tag), value, "{address}: {tag}");
        }
        assert_eq!(span.is_error, error.is_some());
        assert!(call.start <= span.start && span.end >= span.start);
    }
    // The server's span hangs under the try that reached it.
    let server = served.all(1).await;
    let parent = server[0].trace.parent_span_id;
    assert_eq!(parent, Some(tries[1].trace.span_id));
}

#[tokio::test]
async fn tries_have_no_spans_unless_they_are_asked_for() {
    let pki = Pki::new("cluster.local").unwrap();
    let (sent, served) = (Spans::default(), Spans::default());
    let app = app(&pki, served.recording(), Router::new()).await;
    let desk = desk(&pki, sent.recording(), "app.default", &[app.address]);
    let answer = build(desk).await.client().get("http://app.default/").await;
    assert_eq!(read(answer.unwrap()).await.0, 404);
    let call = sent.all(1).await;
    let server = served.all(1).await;
    assert_eq!(server[0].trace.parent_span_id, Some(call[0].trace.span_id));
}

/// An address that is gone, so that no try reaches a server.
#[tokio::test]
async fn a_call_that_reaches_nobody_has_a_span_for_each_address() {
    let pki = Pki::new("cluster.local").unwrap();
    let sent = Spans::default();
    let closed = |_| std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let sockets: Vec<_> = (0..2).map(closed).collect();
    let addresses: Vec<_> = sockets.iter().map(|it| it.local_addr().unwrap()).collect();
    drop(sockets);
    let propagation = sent.recording().span_per_try();
    let desk = build(desk(&pki, propagation, "app.default", &addresses)).await;
    assert!(desk.client().get("http://app.default/").await.is_err());
    let spans = sent.all(3).await;
    assert_eq!(spans.iter().filter(|span| is_try(span)).count(), 2);
    assert!(spans.iter().all(|span| span.is_error));
}

/// A try that breaks has the flag that its call has.
#[tokio::test]
async fn a_try_that_breaks_says_how() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = socket.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await;
        stream.write_all(b"nonsense\r\n\r\n").await.unwrap();
    });
    let (pki, sent) = (Pki::new("cluster.local").unwrap(), Spans::default());
    let builder = desk(
        &pki,
        sent.recording().span_per_try(),
        "app.default",
        &[address],
    );
    let old = ExternalHost::plaintext().at([address]);
    let desk = build(builder.outside("old.example", old)).await;
    let error = desk.client().get("http://old.example/").await.unwrap_err();
    assert_eq!(error.flags().to_string(), "UPE");
    for span in sent.all(2).await {
        assert_eq!(span.tag("response_flags"), Some("UPE"), "{span:#?}");
    }
}

/// A custom tag that has the name of a tag of the try's own takes its place, as on other spans.
#[tokio::test]
async fn a_custom_tag_of_a_try_is_there_once() {
    let pki = Pki::new("cluster.local").unwrap();
    let (sent, served) = (Spans::default(), Spans::default());
    let app = app(&pki, served.recording(), Router::new()).await;
    let names = [
        "upstream_address",
        "peer.address",
        "http.status_code",
        "response_flags",
        "http.protocol",
        "component",
        "ward",
    ];
    let tags = names.map(|name| CustomTag::literal(name, "ours").unwrap());
    let propagation = sent.recording().span_per_try().custom_tags(tags);
    let desk = build(desk(&pki, propagation, "app.default", &[app.address])).await;
    let answer = desk.client().get("http://app.default/").await.unwrap();
    assert_eq!(read(answer).await.0, 404);
    for span in sent.all(2).await {
        for name in names {
            let values = span.tags.iter().filter(|(known, _)| known == name);
            let values: Vec<_> = values.map(|(_, value)| value.as_str()).collect();
            assert_eq!(values, ["ours"], "{name}");
        }
    }
}

/// As in Envoy's router: the call has the flag of the timeout, the try that it takes back has none.
#[tokio::test]
async fn a_try_that_the_timeout_of_its_call_cuts_is_canceled() {
    let pki = Pki::new("cluster.local").unwrap();
    let (sent, served) = (Spans::default(), Spans::default());
    let came = Arc::new(Notify::new());
    let told = Arc::clone(&came);
    let late = any(async move || {
        told.notify_one();
        std::future::pending::<&str>().await
    });
    let app = app(&pki, served.recording(), Router::new().fallback(late)).await;
    let propagation = sent.recording().span_per_try();
    let desk = build(desk(&pki, propagation, "app.default", &[app.address])).await;
    let call = desk.client().get("http://app.default/");
    let call = call.timeout(Duration::from_secs(60));
    let call = tokio::spawn(async move { call.await.unwrap_err() });
    came.notified().await;
    pass(Duration::from_secs(61)).await;
    assert!(call.await.unwrap().is_timeout());
    let spans = sent.all(2).await;
    let cut = spans.iter().find(|span| is_try(span)).unwrap();
    let call = spans.iter().find(|span| !is_try(span)).unwrap();
    assert_eq!(cut.tag("response_flags"), Some("-"));
    assert_eq!(cut.tag("http.status_code"), Some("0"));
    assert_eq!(cut.tag("canceled"), Some("true"));
    assert_eq!(cut.tag("error"), Some("true"));
    assert_eq!(call.tag("response_flags"), Some("UT"));
    assert_eq!(call.tag("canceled"), None);
}
