use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::fixture::{SPAN, TRACE, begin, begin_with, epoch, insider, outsider, request, shown};
use crate::context::Exchange;
use crate::propagation::{Format, Propagation};

#[test]
fn headers_that_are_no_text_are_no_context() {
    let bad = "\u{ff}\u{fe}";
    let names = [
        "traceparent",
        "tracestate",
        "baggage",
        "b3",
        "x-b3-traceid",
        "x-b3-spanid",
        "x-b3-sampled",
        "x-client-trace-id",
        "x-envoy-decorator-operation",
    ];
    let headers: Vec<_> = names.iter().map(|name| (*name, bad)).collect();
    let (trace, _) = begin(&headers);
    assert_eq!(trace.parent_span_id, None);
}

fn any_header() -> impl Strategy<Value = (HeaderName, HeaderValue)> {
    let names = [
        "traceparent",
        "tracestate",
        "baggage",
        "b3",
        "x-b3-traceid",
        "x-b3-spanid",
        "x-b3-parentspanid",
        "x-b3-sampled",
        "x-b3-flags",
        "x-request-id",
        "sw8",
        "uber-trace-id",
        "uberctx-user",
        "grpc-trace-bin",
        "x-cloud-trace-context",
    ];
    let near = format!("00-{TRACE}-{SPAN}-01");
    let value = prop_oneof![
        proptest::collection::vec(0x20..=0xff_u8, 0..80),
        Just(near.into_bytes()),
        Just(format!("{TRACE}:{SPAN}:0:1").into_bytes()),
        Just(format!("{TRACE};o=1").into_bytes()),
        Just(b"AAABAgMEBQYHCAkKCwwNDg8QAREScxQVFhcYAgE".to_vec()),
        "[0-9a-f]{0,33}(:[0-9a-f]{0,17}){0,4}".prop_map(String::into_bytes),
        "[0-9a-f]{30,33}(/[0-9]{0,20})?(;o=[0-2])?".prop_map(String::into_bytes),
        "[0-9a-f]{0,33}(-[0-9a-f]{0,17}){0,3}".prop_map(String::into_bytes),
        "[a-z@]{0,3}(=[ -~]{0,4})?(,[a-z]=[0-9;]{0,3}){0,40}".prop_map(String::into_bytes),
    ];
    (proptest::sample::select(names.to_vec()), value).prop_filter_map(
        "a header value",
        |(name, value)| {
            Some((
                HeaderName::from_static(name),
                HeaderValue::from_bytes(&value).ok()?,
            ))
        },
    )
}

/// Some formats, at least one, in any order.
fn any_formats() -> impl Strategy<Value = Vec<Format>> {
    let all = vec![
        Format::W3c,
        Format::B3,
        Format::Jaeger,
        Format::OpenCensus,
        Format::CloudTrace,
    ];
    let some = proptest::sample::subsequence(all, 1..=5);
    some.prop_shuffle()
}

proptest! {
    /// A client chooses which headers it sends, how often and in which order. None of that makes us
    /// write over a header that is not ours.
    #[test]
    fn other_headers_stay_as_they_are(lines in proptest::collection::vec((0..5_usize, 0..100_u8), 0..10)) {
        let names = ["traceparent", "x-request-id", "authorization", "b3", "x-role"];
        let values: Vec<_> = lines.iter().map(|(_, value)| format!("value-{value}")).collect();
        let lines = lines.iter().zip(&values);
        let sent: Vec<_> = lines.map(|((name, _), value)| (names[*name], value.as_str())).collect();
        let before = request(&sent).headers;
        for exchange in [Exchange::default(), outsider(), insider()] {
            let (trace, after) = begin_with(&Propagation::new(), &exchange, &sent);
            for name in ["authorization", "x-role"] {
                prop_assert_eq!(shown(&after, name), shown(&before, name));
            }
            let id = trace.request_id().unwrap().to_str().unwrap();
            // Several ids stay as they came, where ids from outside are not replaced.
            prop_assert!(shown(&after, "x-request-id").split('|').any(|shown| shown == id));
            prop_assert_eq!(after.get_all("traceparent").iter().count(), 1);
        }
    }

    /// In the usual formats, and in any others.
    #[test]
    fn any_headers_give_a_context_that_reads_back(
        headers in proptest::collection::vec(any_header(), 0..12),
        formats in proptest::option::of(any_formats()),
    ) {
        let mut inbound = request(&[]);
        for (name, value) in headers {
            inbound.headers.append(name, value);
        }
        let mut propagation = Propagation::new();
        if let Some(formats) = formats {
            propagation = propagation.formats(formats);
        }
        let exchange = Exchange::default();
        drop(propagation.begin(&mut inbound, &exchange, epoch));
        let here = exchange.trace().unwrap().clone();
        let mut call = request(&[]);
        let client = propagation.begin_call(&mut call, Some(&exchange), epoch);
        let sent = client.trace().unwrap().clone();
        let there = Exchange::default();
        drop(propagation.begin(&mut call, &there, epoch));
        let there = there.trace().unwrap();
        prop_assert_eq!(sent.trace_id, here.trace_id);
        prop_assert_eq!(there.trace_id, here.trace_id);
        prop_assert_eq!(there.parent_span_id, Some(sent.span_id));
        prop_assert_eq!(there.sampled, here.sampled);
        prop_assert_eq!(there.tracestate(), here.tracestate());
        prop_assert_eq!(there.baggage(), here.baggage());
        prop_assert_eq!(there.request_id(), here.request_id());
    }
}
