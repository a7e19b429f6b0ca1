//! The requests.

use std::time::Duration;

use tower_mesh::testing::Issuer;

use super::ask::{Case, End};

/// All of them, in their order; each name once.
pub(super) fn cases(issuer: &Issuer, is_zipkin: bool) -> Vec<Case> {
    let mut cases = messages();
    cases.extend(traces(is_zipkin));
    cases.extend(grpc());
    cases.extend(refusals(issuer));
    cases.extend(ends());
    cases
}

fn messages() -> Vec<Case> {
    vec![
        Case::get("plain", "/"),
        Case::get("plain over 2", "/").http2(),
        Case::get("query", "/a?b=c&d=%20e"),
        Case::get("query over 2", "/a/b?x=1").http2(),
        Case::get("empty query", "/a?"),
        Case::get("head", "/a").method("HEAD"),
        Case::get("put", "/a").post("body").method("PUT"),
        Case::get("patch", "/a").post("body").method("PATCH"),
        Case::get("delete", "/a").method("DELETE"),
        Case::get("options", "/a").method("OPTIONS"),
        Case::get("post", "/echo").post("name=Ada"),
        Case::get("post over 2", "/echo").post("name=Ada").http2(),
        Case::get("large post", "/echo").post(vec![b'y'; 100_000]),
        Case::get("large post over 2", "/echo").post(vec![b'y'; 100_000]).http2(),
        Case::get("empty post", "/echo").post(""),
        Case::get("no content", "/empty"),
        Case::get("no content over 2", "/empty").http2(),
        Case::get("large answer", "/large"),
        Case::get("large answer over 2", "/large").http2(),
        Case::get("slow", "/slow"),
        Case::get("not found", "/status/404"),
        Case::get("server error", "/status/500"),
        Case::get("unavailable over 2", "/status/503").http2(),
        Case::get("redirect", "/status/302"),
        Case::get("agent", "/").with("user-agent", "curl/8.5.0"),
        Case::get("quotes in agent", "/").with("user-agent", r#"a" 200 - "b"#),
        Case::get("backslash in agent", "/").with("user-agent", r"a\b"),
        Case::get("tab in agent", "/").bytes("user-agent", b"a\tb"),
        Case::get("bytes in agent", "/").bytes("user-agent", b"caf\xc3\xa9 \xff"),
        Case::get("no direction in agent", "/").bytes("user-agent", "a\u{202e}b".as_bytes()),
        Case::get("long agent", "/").with("user-agent", &"x".repeat(3000)),
        Case::get("empty agent", "/").with("user-agent", ""),
        Case::get("forwarded for", "/").with("x-forwarded-for", "192.0.2.7, 10.0.0.1"),
        Case::get("forwarded proto", "/").with("x-forwarded-proto", "http"),
        Case::get("client cert", "/").with("x-forwarded-client-cert", "By=spiffe://x;URI=spiffe://y"),
        Case::get("original path", "/a").with("x-envoy-original-path", "/before"),
        Case::get("service cluster", "/").with("x-envoy-downstream-service-cluster", "desk.foo"),
        Case::get("decorator", "/").with("x-envoy-decorator-operation", "web.foo.svc.cluster.local:80/*"),
        Case::get("decorator over 2", "/")
            .with("x-envoy-decorator-operation", "other.foo.svc.cluster.local:80/*")
            .http2(),
        Case::get("host with port", "/").host("web.foo:8080"),
        Case::get("encoded path", "/a%2Fb/%7Euser"),
        Case::get("dots", "/a/../b"),
        Case::get("slashes", "//a///b"),
        Case::get("long path", &format!("/{}", "p".repeat(600))),
        Case::raw("old", b"GET /old HTTP/1.0\r\nhost: web\r\nx-case: old\r\n\r\n"),
        Case::raw("garbage", b"\x00\x01 nonsense\r\n\r\n"),
        Case::raw("bad header", b"GET / HTTP/1.1\r\nhost: web\r\nbad header\r\n\r\n"),
        Case::raw(
            "bad chunk",
            b"POST /echo HTTP/1.1\r\nhost: web\r\nx-case: bad chunk\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        ),
    ]
}

fn traces(is_zipkin: bool) -> Vec<Case> {
    let parent = format!("00-{TRACE}-{SPAN}-01");
    let mut cases = vec![
        Case::get("request id", "/").with("x-request-id", "00002710-4f89-41d3-9abc-0123456789ab"),
        Case::get("marked request id", "/")
            .with("x-request-id", "00002711-4f89-91d3-9abc-0123456789ab"),
        Case::get("odd request id", "/").with("x-request-id", "not a uuid"),
        Case::get("empty request id", "/").with("x-request-id", ""),
        Case::get("client trace id", "/").with("x-client-trace-id", "mine"),
        Case::get("forced", "/").with("x-envoy-force-trace", "true"),
        Case::get("baggage", "/").with("baggage", "user=ada,tenant=7;p=1"),
        Case::get("lightstep", "/").with("x-ot-span-context", "opaque"),
        Case::get("datadog", "/")
            .with("x-datadog-trace-id", "1234")
            .with("x-datadog-parent-id", "5678"),
    ];
    if is_zipkin {
        let multi = |name, sampled| {
            Case::get(name, "/")
                .with("x-b3-traceid", TRACE)
                .with("x-b3-spanid", SPAN)
                .with("x-b3-sampled", sampled)
        };
        cases.extend([
            multi("b3", "1"),
            multi("b3 denied", "0"),
            multi("b3 with parent", "1").with("x-b3-parentspanid", "00f067aa0ba902b8"),
            multi("b3 over 2", "1").http2(),
            Case::get("b3 deferred", "/")
                .with("x-b3-traceid", TRACE)
                .with("x-b3-spanid", SPAN),
            Case::get("b3 short trace", "/")
                .with("x-b3-traceid", "a3ce929d0e0e4736")
                .with("x-b3-spanid", SPAN)
                .with("x-b3-sampled", "1"),
            Case::get("b3 upper case", "/")
                .with("x-b3-traceid", "A3CE929D0E0E4736A3CE929D0E0E4737")
                .with("x-b3-spanid", "00F067AA0BA902B7")
                .with("x-b3-sampled", "1"),
            Case::get("b3 flags", "/")
                .with("x-b3-traceid", TRACE)
                .with("x-b3-spanid", SPAN)
                .with("x-b3-flags", "1"),
            Case::get("b3 no ids, denied", "/").with("x-b3-sampled", "0"),
            Case::get("b3 no span", "/")
                .with("x-b3-traceid", TRACE)
                .with("x-b3-sampled", "1"),
            Case::get("b3 single", "/").with("b3", &format!("{TRACE}-{SPAN}-1")),
            Case::get("b3 single denied", "/").with("b3", &format!("{TRACE}-{SPAN}-0")),
            Case::get("b3 single debug", "/").with("b3", &format!("{TRACE}-{SPAN}-d")),
            Case::get("b3 single alone", "/").with("b3", "0"),
            Case::get("b3 garbage", "/").with("b3", "garbage"),
            multi("b3 both", "0").with("b3", &format!("{OTHER}-{SPAN}-1")),
            multi("b3 denied, error", "0").method("DELETE"),
        ]);
    } else {
        cases.extend([
            Case::get("w3c", "/").with("traceparent", &parent),
            Case::get("w3c over 2", "/")
                .with("traceparent", &parent)
                .http2(),
            Case::get("w3c not sampled", "/").with("traceparent", &format!("00-{TRACE}-{SPAN}-00")),
            Case::get("w3c with state", "/")
                .with("traceparent", &parent)
                .with("tracestate", "a=1,b=2"),
            Case::get("w3c random", "/").with("traceparent", &format!("00-{TRACE}-{SPAN}-03")),
            Case::get("w3c state alone", "/").with("tracestate", "a=1"),
            Case::get("w3c later version", "/")
                .with("traceparent", &format!("01-{TRACE}-{SPAN}-01")),
            Case::get("w3c zero trace", "/")
                .with("traceparent", &format!("00-{}-{SPAN}-01", "0".repeat(32))),
            Case::get("w3c upper case", "/").with("traceparent", &parent.to_ascii_uppercase()),
            Case::get("w3c garbage", "/").with("traceparent", "garbage"),
            Case::get("w3c two", "/")
                .with("traceparent", &parent)
                .with("traceparent", &format!("00-{OTHER}-{SPAN}-01")),
        ]);
    }
    cases
}

fn grpc() -> Vec<Case> {
    vec![
        Case::grpc("grpc", "Find"),
        Case::grpc("grpc not found", "NotFound"),
        Case::grpc("grpc internal", "Internal"),
        Case::grpc("grpc denied by the application", "Denied"),
        Case::grpc("grpc exhausted", "Exhausted"),
        Case::grpc("grpc trailers only", "Only"),
        Case::grpc("grpc timeout", "Find").with("grpc-timeout", "1S"),
        Case::grpc("grpc refused", "Refused"),
        Case::get("grpc web", "/a")
            .post(vec![0; 5])
            .with("content-type", "application/grpc-web+proto"),
    ]
}

fn refusals(issuer: &Issuer) -> Vec<Case> {
    let bearer = |token: String| format!("Bearer {token}");
    let hour = Duration::from_secs(3600);
    let good = issuer.token().audience("app").sign();
    let expired = issuer.token().audience("app").expired_ago(hour).sign();
    let other = issuer.token().audience("other").sign();
    let stranger = Issuer::es256("https://c.example");
    let unknown = stranger.token().audience("app").sign();
    let forged = Issuer::es256("https://a.example")
        .token()
        .audience("app")
        .sign();
    vec![
        Case::get("denied", "/denied"),
        Case::get("denied over 2", "/denied?a=b").http2(),
        Case::get("denied post", "/denied").post("body"),
        Case::get("denied, traced", "/denied")
            .with("x-b3-traceid", TRACE)
            .with("x-b3-spanid", SPAN)
            .with("x-b3-sampled", "1")
            .with("traceparent", &format!("00-{TRACE}-{SPAN}-01")),
        Case::get("token", "/").with("authorization", &bearer(good)),
        Case::get("expired token", "/").with("authorization", &bearer(expired.clone())),
        Case::get("expired token over 2", "/")
            .with("authorization", &bearer(expired.clone()))
            .http2(),
        Case::get("other audience", "/").with("authorization", &bearer(other)),
        Case::get("unknown issuer", "/").with("authorization", &bearer(unknown)),
        Case::get("forged token", "/").with("authorization", &bearer(forged)),
        Case::get("no token", "/").with("authorization", "Bearer nonsense"),
        Case::grpc("grpc with expired token", "Find").with("authorization", &bearer(expired)),
    ]
}

fn ends() -> Vec<Case> {
    vec![
        Case::get("left", "/hang").end(End::Leaves),
        Case::get("left over 2", "/hang").http2().end(End::Leaves),
        Case::get("reset", "/hang").http2().end(End::Resets),
        Case::get("left later", "/begin").end(End::LeavesLater),
        Case::get("left later over 2", "/begin")
            .http2()
            .end(End::LeavesLater),
    ]
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const OTHER: &str = "5bf92f3577b34da6a3ce929d0e0e4737";
const SPAN: &str = "00f067aa0ba902b7";
