//! The calls.

use super::call::{Call, End};
use super::table_traces::traces;

/// All of them, in their order; each name once.
pub(super) fn calls(is_zipkin: bool) -> Vec<Call> {
    let mut calls = messages();
    calls.extend(traces(is_zipkin));
    calls.extend(grpc());
    calls.extend(unreached());
    calls.extend(broken());
    calls.extend(ends());
    calls
}

fn messages() -> Vec<Call> {
    vec![
        Call::get("plain", "/"),
        Call::get("plain over 2", "/").http2(),
        Call::get("query", "/a?b=c&d=%20e"),
        Call::get("query over 2", "/a/b?x=1").http2(),
        Call::get("encoded path", "/a%2Fb/%7Euser"),
        Call::get("long path", &format!("/{}", "p".repeat(600))),
        Call::get("head", "/a").method("HEAD"),
        Call::get("put", "/a").post("body").method("PUT"),
        Call::get("delete", "/a").method("DELETE"),
        Call::get("options", "/a").method("OPTIONS"),
        Call::get("post", "/echo").post("name=Ada"),
        Call::get("post over 2", "/echo").post("name=Ada").http2(),
        Call::get("large post", "/echo").post(vec![b'y'; 100_000]),
        Call::get("large post over 2", "/echo")
            .post(vec![b'y'; 100_000])
            .http2(),
        Call::get("no content", "/empty"),
        Call::get("no content over 2", "/empty").http2(),
        Call::get("large answer", "/large"),
        Call::get("large answer over 2", "/large").http2(),
        Call::get("slow", "/slow"),
        Call::get("redirect", "/status/302"),
        Call::get("bad request", "/status/400"),
        Call::get("not found", "/status/404"),
        Call::get("not found over 2", "/status/404").http2(),
        Call::get("too many", "/status/429"),
        Call::get("server error", "/status/500"),
        Call::get("server error over 2", "/status/500").http2(),
        Call::get("unavailable", "/status/503"),
        Call::get("unavailable over 2", "/status/503").http2(),
        Call::get("gateway timeout", "/status/504"),
        Call::get("agent", "/").with("user-agent", "curl/8.5.0"),
        Call::get("quotes in agent", "/").with("user-agent", r#"a" 200 - "b"#),
        Call::get("forwarded for", "/").with("x-forwarded-for", "192.0.2.7"),
        Call::get("service cluster", "/").with("x-envoy-downstream-service-cluster", "desk.foo"),
        Call::get("decorator", "/").with("x-envoy-decorator-operation", "other:80/*"),
        Call::get("described", "/described"),
        Call::get("named", "/named"),
        Call::get("outside", "/").at("legacy.example"),
        Call::get("outside, post", "/")
            .at("legacy.example")
            .post("")
            .with("x-a", "b"),
        Call::get("outside, error", "/error").at("legacy.example"),
        Call::get("old", "/old").at("legacy.example"),
    ]
}

fn grpc() -> Vec<Call> {
    let grpc = "application/grpc";
    vec![
        Call::grpc("grpc", "Find"),
        Call::grpc("grpc not found", "NotFound"),
        Call::grpc("grpc internal", "Internal"),
        Call::grpc("grpc denied", "Denied"),
        Call::grpc("grpc exhausted", "Exhausted"),
        Call::grpc("grpc trailers only", "Only"),
        Call::grpc("grpc unavailable", "Unavailable"),
        Call::grpc("grpc timeout header", "Find").with("grpc-timeout", "1S"),
        Call::grpc("grpc, status 503", "Find").target("/status/503"),
        Call::grpc("grpc, status 404", "Find").target("/status/404"),
        Call::grpc("grpc refused", "Find").at("once.foo.svc.cluster.local"),
        Call::grpc("grpc, closed", "Find").at("closed.foo.svc.cluster.local"),
        Call::grpc("grpc, unknown", "Find").at("unknown.foo.svc.cluster.local"),
        Call::grpc("grpc too late", "Short").short(),
        Call::grpc("grpc reset", "Find").target("/reset"),
        Call::grpc("grpc broken", "Break"),
        Call::grpc("grpc left", "Find")
            .target("/hang")
            .end(End::Leaves),
        Call::get("grpc web", "/a")
            .post(vec![0; 5])
            .with("content-type", "application/grpc-web+proto"),
        Call::get("grpc over 1, refused", "/pkg.Svc/Find")
            .http2()
            .with("content-type", grpc)
            .method("POST")
            .at("plain.foo.svc.cluster.local"),
    ]
}

/// No server gets them.
fn unreached() -> Vec<Call> {
    let closed = "closed.foo.svc.cluster.local";
    vec![
        Call::get("refused", "/").at("once.foo.svc.cluster.local"),
        Call::get("refused over 2", "/")
            .at("once.foo.svc.cluster.local")
            .http2(),
        Call::get("refused post", "/")
            .at("once.foo.svc.cluster.local")
            .post("body"),
        Call::get("refused, retried", "/").at(closed),
        Call::get("refused by both", "/").at("both.foo.svc.cluster.local"),
        Call::get("refused by both, over 2", "/")
            .at("both.foo.svc.cluster.local")
            .http2(),
        Call::get("stranger", "/").at("stranger.foo.svc.cluster.local"),
        Call::get("stranger over 2", "/")
            .at("stranger.foo.svc.cluster.local")
            .http2(),
        Call::get("plaintext", "/").at("plain.foo.svc.cluster.local"),
        Call::get("unknown", "/").at("unknown.foo.svc.cluster.local"),
        Call::get("unknown over 2", "/")
            .at("unknown.foo.svc.cluster.local")
            .http2(),
        Call::get("unknown outside", "/").at("www.example.com"),
    ]
}

fn broken() -> Vec<Call> {
    let raw = "raw.foo.svc.cluster.local";
    vec![
        Call::get("closed before the head", "/close").at(raw),
        Call::get("closed before the head, post", "/close")
            .at(raw)
            .post(""),
        Call::get("half a head", "/half-head").at(raw),
        Call::get("garbage", "/garbage").at(raw),
        Call::get("half a body", "/half-body").at(raw),
        Call::get("half a chunked body", "/half-chunk").at(raw),
        Call::get("bad chunk", "/bad-chunk").at(raw),
        Call::get("good on the same", "/").at(raw),
        Call::get("outside, closed", "/close").at("legacy.example"),
        Call::get("outside, half a body", "/half-body").at("legacy.example"),
        Call::get("reset", "/reset").http2(),
        Call::get("cancelled by the server", "/cancel").http2(),
        Call::get("refused stream", "/refuse").http2(),
        Call::get("refused stream once", "/refuse-once").http2(),
        Call::get("reset later", "/break").http2(),
        Call::get("broken later", "/break"),
    ]
}

fn ends() -> Vec<Call> {
    vec![
        Call::get("too late", "/short").short(),
        Call::get("too late over 2", "/short").http2().short(),
        Call::get("too late, post", "/short").post("body").short(),
        Call::get("left", "/hang").end(End::Leaves),
        Call::get("left over 2", "/hang").http2().end(End::Leaves),
        Call::get("left later", "/begin").end(End::LeavesLater),
        Call::get("left later over 2", "/begin")
            .http2()
            .end(End::LeavesLater),
    ]
}
