//! Calls with a context: of a request for which they are made, or of their own headers.

use super::call::Call;

pub(super) fn traces(is_zipkin: bool) -> Vec<Call> {
    let mut calls = vec![
        Call::get("request id", "/").within("x-request-id", "00002710-4f89-41d3-9abc-0123456789ab"),
        Call::get("marked request id", "/")
            .within("x-request-id", "00002711-4f89-91d3-9abc-0123456789ab"),
        Call::get("odd request id", "/").within("x-request-id", "not a uuid"),
        Call::get("request id of its own", "/")
            .with("x-request-id", "00002712-4f89-41d3-9abc-0123456789ab"),
        Call::get("baggage", "/").within("baggage", "user=ada,tenant=7;p=1"),
        Call::get("lightstep", "/").within("x-ot-span-context", "opaque"),
        Call::get("datadog", "/")
            .within("x-datadog-trace-id", "1234")
            .within("x-datadog-parent-id", "5678"),
    ];
    if is_zipkin {
        let multi = |name, sampled| {
            Call::get(name, "/")
                .within("x-b3-traceid", TRACE)
                .within("x-b3-spanid", SPAN)
                .within("x-b3-sampled", sampled)
        };
        calls.extend([
            multi("b3", "1"),
            multi("b3 over 2", "1").http2(),
            multi("b3 denied", "0"),
            multi("b3 with parent", "1").within("x-b3-parentspanid", "00f067aa0ba902b8"),
            multi("b3 refused", "1").at("once.foo.svc.cluster.local"),
            multi("b3 outside", "1").at("legacy.example"),
            Call::get("b3 deferred", "/")
                .within("x-b3-traceid", TRACE)
                .within("x-b3-spanid", SPAN),
            Call::get("b3 short trace", "/")
                .within("x-b3-traceid", "a3ce929d0e0e4736")
                .within("x-b3-spanid", SPAN)
                .within("x-b3-sampled", "1"),
            Call::get("b3 flags", "/")
                .within("x-b3-traceid", TRACE)
                .within("x-b3-spanid", SPAN)
                .within("x-b3-flags", "1"),
            Call::get("b3 single", "/").within("b3", &format!("{TRACE}-{SPAN}-1")),
            Call::get("b3 single denied", "/").within("b3", &format!("{TRACE}-{SPAN}-0")),
        ]);
    } else {
        let parent = |flags| format!("00-{TRACE}-{SPAN}-{flags}");
        calls.extend([
            Call::get("w3c", "/").within("traceparent", &parent("01")),
            Call::get("w3c over 2", "/")
                .within("traceparent", &parent("01"))
                .http2(),
            Call::get("w3c not sampled", "/").within("traceparent", &parent("00")),
            Call::get("w3c with state", "/")
                .within("traceparent", &parent("01"))
                .within("tracestate", "a=1,b=2"),
            Call::get("w3c refused", "/")
                .within("traceparent", &parent("01"))
                .at("once.foo.svc.cluster.local"),
            Call::get("w3c outside", "/")
                .within("traceparent", &parent("01"))
                .at("legacy.example"),
        ]);
    }
    calls
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
pub(super) const SPAN: &str = "00f067aa0ba902b7";
