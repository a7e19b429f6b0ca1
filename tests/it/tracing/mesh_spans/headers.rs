//! Headers of tracing and of gRPC that are malformed: a request never fails for them.

use axum::Router;
use axum::routing::any;
use http::{HeaderMap, HeaderValue, Method};
use tower_mesh::propagation::{Format, Propagation};

use super::watched::Watched;
use crate::support::mesh::{empty, get, get2, http1, http2, read};

/// Values that none of the headers may have, and some that are only odd.
fn odd() -> Vec<HeaderValue> {
    let id = "5b8aa5a2d2c872e8321cf37308d69df2";
    let texts = [
        "",
        " ",
        ",",
        ";",
        "=",
        "-",
        "--",
        "---",
        "-1",
        "0",
        "00",
        "abc",
        "%",
        "%zz",
        "k=%",
        "k=%e2%82",
        "k=%ff;p=%",
        "=v",
        "a=b=c,,;;",
        "9S",
        "S",
        "-1S",
        "1.5S",
        "999999999S",
        "18446744073709551616n",
        "1 S",
        "1x",
        "null",
        "{}",
        "%REQ(cookie)%",
        "AAAB",
        "AQ==",
        "10.0.0.1, ,[::1]:x",
        "By=;Hash=;URI=spiffe://",
        "00-0-0-0",
    ];
    let made = [
        format!("00-{id}-051581bf3cb55c13"),
        format!("00-{id}-051581bf3cb55c13-zz"),
        format!("ff-{id}-051581bf3cb55c13-01"),
        format!("00-{}-{}-01", "0".repeat(32), "0".repeat(16)),
        format!("{id}-"),
        format!("{id}:051581bf3cb55c13:0"),
        format!("{id}:051581bf3cb55c13:0:zz"),
        format!("{id}:0:0:1"),
        format!("{id}/18446744073709551616;o=1"),
        format!("{id};o=2"),
        format!("{id}/1;o="),
        format!("{id}-051581bf3cb55c13-x"),
        format!("{id}-051581bf3cb55c13-1-"),
        format!("{id}-051581bf3cb55c13-1-051581bf3cb55c13-1"),
        "-".repeat(2_000),
        "k=v,".repeat(1_000),
        format!("k={}", "v".repeat(7_000)),
        "7".repeat(7_000),
    ];
    let bytes: [&[u8]; 3] = [b"\xff\xfe", b"a\tb", b"00-\x80-\x81-01"];
    let texts = texts.into_iter().map(str::as_bytes);
    let texts = texts.chain(made.iter().map(String::as_bytes));
    let all = texts.chain(bytes);
    all.map(|value| HeaderValue::from_bytes(value).unwrap())
        .collect()
}

const NAMES: [&str; 30] = [
    "traceparent",
    "tracestate",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-sampled",
    "x-b3-flags",
    "x-b3-parentspanid",
    "baggage",
    "uber-trace-id",
    "uberctx-user",
    "grpc-trace-bin",
    "x-cloud-trace-context",
    "x-ot-span-context",
    "x-datadog-trace-id",
    "x-datadog-parent-id",
    "x-datadog-sampling-priority",
    "sw8",
    "x-request-id",
    "x-client-trace-id",
    "x-envoy-decorator-operation",
    "x-envoy-peer-metadata",
    "x-envoy-peer-metadata-id",
    "x-envoy-original-path",
    "x-envoy-force-trace",
    "x-envoy-downstream-service-cluster",
    "x-envoy-expected-rq-timeout-ms",
    "x-forwarded-for",
    "x-forwarded-client-cert",
    "grpc-timeout",
];

/// Reads and writes the formats, too, that are read only where they are asked for.
fn in_all_formats(propagation: Propagation) -> Propagation {
    propagation.formats([
        Format::W3c,
        Format::B3,
        Format::Jaeger,
        Format::OpenCensus,
        Format::CloudTrace,
    ])
}

#[tokio::test]
async fn a_malformed_header_breaks_no_request() {
    // The handler tells whether its request is recorded.
    let tells = any(|headers: HeaderMap| async move {
        let traceparent = headers["traceparent"].to_str().unwrap();
        let is_recorded = traceparent.ends_with(['1', '3']);
        is_recorded.to_string()
    });
    let router = Router::new().fallback(tells);
    let watched = Watched::tracing(router, in_all_formats, |builder| builder).await;
    let mut recorded = 0;
    let address = watched.served.address;
    let mut over_http1 = http1(&watched.pki, "desk", address).await;
    let mut over_http2 = http2(&watched.pki, "desk", address).await;
    for name in NAMES {
        for (turn, value) in odd().into_iter().enumerate() {
            // Each once, and twice, which is another way of being wrong.
            let headers = |request: http::request::Builder| {
                let request = request.method(Method::POST).header(name, value.clone());
                match turn % 2 {
                    0 => empty(request),
                    _ => empty(request.header(name, value.clone())),
                }
            };
            let shown = format!("{name}: {value:?}");
            // Deadlines are for requests of gRPC.
            let is_grpc = name == "grpc-timeout";
            let content_type = if is_grpc {
                "application/grpc"
            } else {
                "text/plain"
            };
            let (status, _, text) = match turn % 4 < 2 {
                true => {
                    over_http1.ready().await.unwrap();
                    let request = headers(get("/").header("content-type", content_type));
                    read(over_http1.send_request(request).await.unwrap()).await
                }
                false => {
                    let request = headers(get2("/").header("content-type", content_type));
                    read(over_http2.send_request(request).await.unwrap()).await
                }
            };
            assert_eq!(status, 200, "{shown}");
            recorded += usize::from(text.parse::<bool>().unwrap());
        }
    }
    let count = NAMES.len() * odd().len();
    let spans = watched.spans.all(recorded).await;
    assert!(
        spans
            .iter()
            .all(|span| span.tag("http.status_code") == Some("200"))
    );
    let lines = watched.log.take(count).await;
    assert!(
        lines
            .iter()
            .all(|line| line.starts_with("200 - via_upstream "))
    );
    let counted = watched.sum("istio_requests_total{", &["response_code=\"200\","]);
    assert_eq!(counted, count);
}
