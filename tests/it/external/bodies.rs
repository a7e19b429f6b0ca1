//! How much of a request's body a provider sees, and what becomes of longer ones.

use bytes::Bytes;
use http_body::Frame;
use tokio::sync::mpsc;
use tower_mesh::message::ResponseFlags;

use super::support::{Kind, Stub, Ward, answered};
use crate::support::mesh::{Fed, get2, http2, pass_until, seconds, still};

/// The body that a provider has seen, and what it was told of it.
#[derive(Debug, PartialEq)]
struct Shown {
    body: String,
    is_partial: Option<String>,
}

#[tokio::test]
async fn a_provider_sees_as_much_as_its_bound_allows() {
    let whole = ", timeout: 5s, includeRequestBodyInCheck: {maxRequestBytes: 5}";
    let partial =
        ", timeout: 5s, includeRequestBodyInCheck: {maxRequestBytes: 5, allowPartialMessage: true}";
    for kind in Kind::BOTH {
        for (more, sent, expected) in [
            (whole, "", Some(("", None))),
            (whole, "123", Some(("123", Some("false")))),
            (whole, "12345", Some(("12345", Some("false")))),
            (whole, "123456", None),
            (partial, "12345", Some(("12345", Some("false")))),
            (partial, "123456", Some(("12345", Some("true")))),
        ] {
            let mut stub = Stub::new().await;
            let ward = Ward::asking(&stub, kind, more).await;
            let mut caller = ward.caller().await;
            let waiting = caller.send(get2("/a").method("POST"), sent);
            let Some((body, is_partial)) = expected else {
                let (status, _, text) = answered(waiting).await;
                assert_eq!((status, &*text), (413, "Payload Too Large"));
                assert!(stub.is_idle() && ward.is_uncalled());
                let seen = ward.seen(0).await;
                assert_eq!(seen.details.as_deref(), Some("request_payload_too_large"));
                assert_eq!(seen.flags, ResponseFlags::none());
                continue;
            };
            let asked = stub.next().await;
            let shown = match kind {
                Kind::Grpc => {
                    let http = asked.http();
                    assert_eq!(usize::try_from(http.size), Ok(sent.len()), "{sent}");
                    Shown {
                        is_partial: http.headers.get("x-envoy-auth-partial-body").cloned(),
                        body: http.body,
                    }
                }
                Kind::Http => {
                    let headers = &asked.head.headers;
                    let partial = headers.get("x-envoy-auth-partial-body");
                    Shown {
                        body: String::from_utf8(asked.body.to_vec()).unwrap(),
                        is_partial: partial.map(|is| is.to_str().unwrap().to_owned()),
                    }
                }
            };
            let expected = Shown {
                body: body.to_owned(),
                is_partial: is_partial.map(str::to_owned),
            };
            assert_eq!(shown, expected, "{sent}");
            asked.answer(kind.yes());
            assert_eq!(answered(waiting).await.0, 200);
            // The application gets the whole body.
            assert_eq!(ward.called().body, sent);
        }
    }
}

#[tokio::test]
async fn a_longer_body_is_refused_also_where_the_provider_fails_open() {
    let more = ", timeout: 5s, failOpen: true, includeRequestBodyInCheck: {maxRequestBytes: 5}";
    for kind in Kind::BOTH {
        let mut stub = Stub::new().await;
        let ward = Ward::asking(&stub, kind, more).await;
        let mut caller = ward.caller().await;
        let waiting = caller.send(get2("/a").method("POST"), "123456");
        assert_eq!(answered(waiting).await.0, 413);
        assert!(stub.is_idle() && ward.is_uncalled());
        // One without a body is asked about.
        let waiting = caller.get("/a");
        stub.next().await.answer(kind.yes());
        assert_eq!(answered(waiting).await.0, 200);
    }
}

#[tokio::test]
async fn a_body_is_packed_as_text_or_as_bytes() {
    let sent = "caf\u{e9}";
    for (packs, body, raw) in [("false", sent, ""), ("true", "", sent)] {
        let bound = format!("{{maxRequestBytes: 9, packAsBytes: {packs}}}");
        let more = format!(", timeout: 5s, includeRequestBodyInCheck: {bound}");
        let mut stub = Stub::new().await;
        let ward = Ward::asking(&stub, Kind::Grpc, &more).await;
        let mut caller = ward.caller().await;
        let waiting = caller.send(get2("/a").method("POST"), sent);
        let asked = stub.next().await;
        let http = asked.http();
        assert_eq!((&*http.body, &*http.raw_body), (body, raw.as_bytes()));
        asked.answer(Kind::Grpc.yes());
        assert_eq!(answered(waiting).await.0, 200);
    }
}

/// A body has as long as an answer of the provider. That it comes late is no outage of the provider,
/// so failing open does not apply.
async fn late(kind: Kind, content_type: &str, expected: (u16, Option<&str>)) {
    let more = ", timeout: 5s, failOpen: true, includeRequestBodyInCheck: {maxRequestBytes: 5}";
    let stub = Stub::new().await;
    let ward = Ward::asking(&stub, kind, more).await;
    let _still = still();
    let mut caller = http2(&ward.pki, "desk", ward.served.address).await;
    let (feed, body) = mpsc::unbounded_channel();
    feed.send(Frame::data(Bytes::from("12"))).unwrap();
    let request = get2("/a").method("POST");
    let request = request.header("content-type", content_type);
    let waiting = tokio::spawn(caller.send_request(request.body(Fed(body)).unwrap()));
    seconds(4).await;
    assert!(!waiting.is_finished());
    pass_until("the answer", || waiting.is_finished()).await;
    let (status, headers, _) = answered(waiting).await;
    let grpc = headers
        .get("grpc-status")
        .map(|code| code.to_str().unwrap());
    assert_eq!((status, grpc), expected);
    assert!(stub.is_idle() && ward.is_uncalled());
    let seen = ward.seen(0).await;
    assert_eq!(seen.details.as_deref(), Some("request_body_timeout"));
    assert_eq!(seen.flags, ResponseFlags::none());
    drop(feed);
}

#[tokio::test]
async fn a_body_that_comes_too_late_is_refused_also_where_the_provider_fails_open() {
    late(Kind::Grpc, "text/plain", (408, None)).await;
}

#[tokio::test]
async fn a_body_that_comes_too_late_for_a_provider_over_http_is_refused() {
    late(Kind::Http, "text/plain", (408, None)).await;
}

#[tokio::test]
async fn a_body_that_comes_too_late_has_a_status_of_grpc() {
    late(Kind::Grpc, "application/grpc", (200, Some("4"))).await;
}
