use http::{HeaderMap, HeaderName, HeaderValue};

use super::fixture::{SPAN, TRACE, begin, begin_with, epoch, request, shown};
use crate::context::{Exchange, TraceContext};
use crate::propagation::Propagation;

#[test]
fn a_client_span_is_a_child_and_replaces_what_the_handler_copied() {
    let propagation = Propagation::new();
    let exchange = Exchange::default();
    let b3 = format!("{TRACE}-{SPAN}-1");
    let inbound = [
        ("b3", b3.as_str()),
        ("x-request-id", "id-1"),
        ("baggage", "a=1"),
        ("x-ot-span-context", "ot"),
        ("sw8", "s"),
        ("x-datadog-trace-id", "7"),
    ];
    let (server, _) = begin_with(&propagation, &exchange, &inbound);
    let mut call = request(&[
        ("traceparent", "stale"),
        ("x-b3-traceid", "stale"),
        ("x-request-id", "stale"),
        ("sw8", "own"),
    ]);
    let span = propagation.begin_call(&mut call, Some(&exchange), epoch);
    let client = span.trace().unwrap();
    assert_eq!(client.trace_id, server.trace_id);
    assert_eq!(client.parent_span_id, Some(server.span_id));
    assert_ne!(client.span_id, server.span_id);
    let headers = &call.headers;
    assert_eq!(
        shown(headers, "b3"),
        format!("{TRACE}-{}-1-{}", client.span_id, server.span_id)
    );
    assert_eq!(
        shown(headers, "traceparent"),
        format!("00-{TRACE}-{}-01", client.span_id)
    );
    assert_eq!(shown(headers, "x-b3-traceid"), "");
    assert_eq!(shown(headers, "x-request-id"), "id-1");
    assert_eq!(shown(headers, "baggage"), "a=1");
    assert_eq!(shown(headers, "x-ot-span-context"), "ot");
    assert_eq!(shown(headers, "x-datadog-trace-id"), "7");
    assert_eq!(shown(headers, "sw8"), "own");
}

#[test]
fn authorization_and_cookies_are_carried_only_when_named() {
    let inbound = [("authorization", "secret"), ("end-user", "jason")];
    for (propagation, carried) in [
        (Propagation::new(), ""),
        (
            Propagation::new().forward([HeaderName::from_static("end-user")]),
            "jason",
        ),
    ] {
        let exchange = Exchange::default();
        begin_with(&propagation, &exchange, &inbound);
        let mut call = request(&[]);
        drop(propagation.begin_call(&mut call, Some(&exchange), epoch));
        assert_eq!(shown(&call.headers, "authorization"), "");
        assert_eq!(shown(&call.headers, "end-user"), carried);
    }
}

#[test]
fn a_call_outside_of_requests_is_a_root() {
    let mut call = request(&[("x-request-id", "mine")]);
    let span = Propagation::new().begin_call(&mut call, None, epoch);
    let trace = span.trace().unwrap();
    assert_eq!(trace.parent_span_id, None);
    assert_eq!(shown(&call.headers, "x-request-id"), "mine");
    assert_eq!(
        shown(&call.headers, "x-b3-spanid"),
        trace.span_id.to_string()
    );
}

#[test]
fn the_application_can_inject_by_hand() {
    let (trace, _) = begin(&[("b3", &format!("{TRACE}-{SPAN}-0")), ("baggage", "a=1")]);
    let mut headers = HeaderMap::new();
    headers.insert("x-b3-flags", HeaderValue::from_static("1"));
    trace.inject(&mut headers);
    assert_eq!(
        shown(&headers, "b3"),
        format!("{TRACE}-{}-0-{SPAN}", trace.span_id)
    );
    assert_eq!(shown(&headers, "baggage"), "a=1");
    assert_eq!(headers.get("x-request-id"), trace.request_id());
    assert!(!headers.contains_key("x-b3-flags"));

    let mut headers = HeaderMap::new();
    TraceContext::root(trace.trace_id, trace.span_id, true).inject(&mut headers);
    let ids = format!("00-{TRACE}-{}-01", trace.span_id);
    assert_eq!(shown(&headers, "traceparent"), ids);
    assert_eq!(shown(&headers, "x-b3-traceid"), TRACE);
}
