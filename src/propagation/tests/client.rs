use http::{HeaderMap, HeaderName, HeaderValue};

#[cfg(feature = "opentelemetry")]
use super::fixture::UUID;
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

/// A sidecar samples by the request id: an undecided one would turn off what the application records.
#[cfg(feature = "opentelemetry")]
#[test]
fn a_call_under_a_recorded_span_says_so_in_its_request_id() {
    use opentelemetry::Context;
    use opentelemetry::trace::{self as otel, TraceContextExt as _, TraceFlags, TraceState};

    let quiet = Propagation::new().sample_percent(0.0);
    let marked = |mark: &str| UUID.replacen("-41d3", &format!("-{mark}1d3"), 1);
    let (four, nine, b) = (marked("4"), marked("9"), marked("b"));
    for (own, sent, is_recorded, expected) in [
        // The job of an application: there is no request.
        (None, Some(&four), true, &nine),
        (None, Some(&four), false, &four),
        (None, Some(&b), true, &b),
        // A request that is not recorded, with a span that is.
        (Some(&four), None, true, &nine),
        (Some(&four), None, false, &four),
        (Some(&nine), None, false, &nine),
        (Some(&b), None, true, &b),
        (
            Some(&"no uuid".to_owned()),
            None,
            true,
            &"no uuid".to_owned(),
        ),
    ] {
        let flags = match is_recorded {
            true => TraceFlags::SAMPLED,
            false => TraceFlags::NOT_SAMPLED,
        };
        let span = otel::SpanContext::new(
            otel::TraceId::from_hex(TRACE).unwrap(),
            otel::SpanId::from_hex(SPAN).unwrap(),
            flags,
            false,
            TraceState::NONE,
        );
        let exchange = own.map(|id| {
            let exchange = Exchange::default();
            begin_with(
                &quiet,
                &exchange,
                &[("x-request-id", id.as_str()), ("b3", "0")],
            );
            exchange
        });
        let _entered = Context::new().with_remote_span_context(span).attach();
        let sent: Vec<_> = sent
            .iter()
            .map(|id| ("x-request-id", id.as_str()))
            .collect();
        let mut call = request(&sent);
        let span = quiet.begin_call(&mut call, exchange.as_ref(), epoch);
        let trace = span.trace().unwrap();
        let row = format!("{own:?} {sent:?} {is_recorded}");
        assert_eq!(trace.sampled, is_recorded, "{row}");
        assert_eq!(&shown(&call.headers, "x-request-id"), expected, "{row}");
        assert_eq!(trace.request_id().unwrap(), expected.as_str(), "{row}");
    }
    // A new id is marked as it is made.
    let span = otel::SpanContext::new(
        otel::TraceId::from_hex(TRACE).unwrap(),
        otel::SpanId::from_hex(SPAN).unwrap(),
        TraceFlags::SAMPLED,
        false,
        TraceState::NONE,
    );
    let _entered = Context::new().with_remote_span_context(span).attach();
    let mut call = request(&[]);
    drop(quiet.begin_call(&mut call, None, epoch));
    assert_eq!(shown(&call.headers, "x-request-id").as_bytes()[14], b'9');
}
