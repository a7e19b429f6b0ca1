use http::HeaderMap;

use super::fixture::{SPAN, TRACE, begin, begin_with, epoch, insider, outsider, request, shown};
use crate::context::{Exchange, TraceContext};
use crate::propagation::{EdgeTrace, Format, Propagation};

/// What a request with this header gets, and what a call of it then sends.
fn through(format: Format, name: &str, value: &str) -> (TraceContext, HeaderMap, HeaderMap) {
    let propagation = Propagation::new().formats([format]).sample_percent(0.0);
    let exchange = Exchange::default();
    let (trace, headers) = begin_with(&propagation, &exchange, &[(name, value)]);
    let mut call = request(&[(name, "stale")]);
    drop(propagation.begin_call(&mut call, Some(&exchange), epoch));
    (trace, headers, call.headers)
}

#[test]
fn reads_jaeger() {
    let low = &TRACE[16..];
    let short = "abc";
    let rows = [
        (format!("{TRACE}:{SPAN}:0:1"), TRACE.to_owned(), SPAN, "1"),
        (format!("{TRACE}:{SPAN}:0:0"), TRACE.to_owned(), SPAN, "0"),
        // Debug counts only with sampled, firehose is sent on, and the other bits mean nothing.
        (format!("{TRACE}:{SPAN}:0:3"), TRACE.to_owned(), SPAN, "3"),
        (format!("{TRACE}:{SPAN}:0:2"), TRACE.to_owned(), SPAN, "0"),
        (format!("{TRACE}:{SPAN}:0:9"), TRACE.to_owned(), SPAN, "9"),
        (format!("{TRACE}:{SPAN}:0:0b"), TRACE.to_owned(), SPAN, "b"),
        (format!("{TRACE}:{SPAN}:0:f8"), TRACE.to_owned(), SPAN, "8"),
        // The parent is passed over.
        (format!("{TRACE}:{SPAN}:x:01"), TRACE.to_owned(), SPAN, "1"),
        (format!("{TRACE}:{SPAN}::1"), TRACE.to_owned(), SPAN, "1"),
        (
            format!("{TRACE}%3A{SPAN}%3a0%3A1"),
            TRACE.to_owned(),
            SPAN,
            "1",
        ),
        (
            format!("{}:{}:0:1", TRACE.to_uppercase(), SPAN.to_uppercase()),
            TRACE.to_owned(),
            SPAN,
            "1",
        ),
        // Zeros in front are left out, and a trace id of 64 bits stays one.
        (format!("{low}:{SPAN}:0:1"), low.to_owned(), SPAN, "1"),
        (
            format!("{short}:1:0:1"),
            format!("{short:0>16}"),
            "0000000000000001",
            "1",
        ),
    ];
    for (value, id, span, flags) in rows {
        let (trace, headers, sent) = through(Format::Jaeger, "uber-trace-id", &value);
        assert_eq!(trace.trace_id.to_string(), format!("{id:0>32}"), "{value}");
        assert_eq!(trace.parent_span_id.unwrap().to_string(), span, "{value}");
        let bits = u8::from_str_radix(flags, 16).unwrap();
        assert_eq!(trace.sampled, bits & 1 != 0, "{value}");
        assert_eq!(trace.is_debug(), bits & 2 != 0, "{value}");
        assert_eq!(
            shown(&headers, "uber-trace-id"),
            format!("{id}:{}:0:{flags}", trace.span_id),
            "{value}"
        );
        let sent = shown(&sent, "uber-trace-id");
        assert!(sent.starts_with(&format!("{id}:")), "{value}: {sent}");
        assert!(sent.ends_with(&format!(":0:{flags}")), "{value}: {sent}");
        assert!(!sent.contains(&trace.span_id.to_string()), "{value}");
    }
    let bad = [
        String::new(),
        TRACE.to_owned(),
        format!("{TRACE}:{SPAN}:0"),
        format!("{TRACE}:{SPAN}:0:"),
        format!("{TRACE}:{SPAN}:0:1:"),
        format!("{TRACE}:{SPAN}:0:001"),
        format!("{TRACE}:{SPAN}:0:g"),
        format!("{TRACE}:{SPAN}:0:-1"),
        format!(":{SPAN}:0:1"),
        format!("{TRACE}::0:1"),
        format!("0:{SPAN}:0:1"),
        format!("{TRACE}:0:0:1"),
        format!("0{TRACE}:{SPAN}:0:1"),
        format!("{TRACE}:0{SPAN}:0:1"),
        format!("{}:{SPAN}:0:1", TRACE.replace('a', "g")),
        format!("{TRACE}-{SPAN}-0-1"),
    ];
    for value in bad {
        let (trace, headers, _) = through(Format::Jaeger, "uber-trace-id", &value);
        assert_eq!(trace.parent_span_id, None, "{value}");
        assert_eq!(
            shown(&headers, "uber-trace-id"),
            format!("{}:{}:0:0", trace.trace_id, trace.span_id),
            "{value}"
        );
    }
}

/// `00`, `00` and 16 bytes, `01` and 8 bytes, `02` and 1 byte, in base64.
#[test]
fn reads_open_census() {
    // Of the trace id 0102..10, the span id 1112..18 and the options 1.
    let on = "AAABAgMEBQYHCAkKCwwNDg8QAREScxQVFhcYAgE";
    let (trace, headers, sent) = through(Format::OpenCensus, "grpc-trace-bin", on);
    assert_eq!(
        trace.trace_id.to_string(),
        "0102030405060708090a0b0c0d0e0f10"
    );
    assert_eq!(
        trace.parent_span_id.unwrap().to_string(),
        "1112731415161718"
    );
    assert!(trace.sampled);
    for headers in [&headers, &sent] {
        let value = shown(headers, "grpc-trace-bin");
        assert_eq!(value.len(), 39, "{value}");
        assert!(value.starts_with("AAABAgMEBQYHCAkKCwwNDg8QA"), "{value}");
        assert!(value.ends_with("AgE"), "{value}");
    }
    for (value, sampled) in [
        (format!("{on}="), true),
        ("AAABAgMEBQYHCAkKCwwNDg8QAREScxQVFhcYAgA".to_owned(), false),
        ("AAABAgMEBQYHCAkKCwwNDg8QAREScxQVFhcYAv4".to_owned(), false),
    ] {
        let (trace, ..) = through(Format::OpenCensus, "grpc-trace-bin", &value);
        assert!(trace.parent_span_id.is_some(), "{value}");
        assert_eq!(trace.sampled, sampled, "{value}");
    }
    let long = "A".repeat(400);
    for bad in [
        "",
        "AAAB",
        "not base64!",
        &long,
        &on[..38],
        &format!("{on}AAAA"),
        // Another version, another order of the fields, ids of zeros.
        "AQABAgMEBQYHCAkKCwwNDg8QAREScxQVFhcYAgE",
        "AAEBAgMEBQYHCAkKCwwNDg8QAREScxQVFhcYAgE",
        "AAABAgMEBQYHCAkKCwwNDg8QAxEScxQVFhcYAgE",
        "AAABAgMEBQYHCAkKCwwNDg8QAREScxQVFhcYAwE",
        "AAAAAAAAAAAAAAAAAAAAAAAAAREScxQVFhcYAgE",
        "AAABAgMEBQYHCAkKCwwNDg8QAQAAAAAAAAAAAgE",
    ] {
        let (trace, headers, _) = through(Format::OpenCensus, "grpc-trace-bin", bad);
        assert_eq!(trace.parent_span_id, None, "{bad}");
        assert_eq!(shown(&headers, "grpc-trace-bin").len(), 39, "{bad}");
    }
}

#[test]
fn reads_cloud_trace() {
    let name = "x-cloud-trace-context";
    let largest = u64::MAX;
    for (value, parent, sampled) in [
        (format!("{TRACE}/1;o=1"), Some("0000000000000001"), true),
        (format!("{TRACE}/1;o=0"), Some("0000000000000001"), false),
        (format!("{TRACE}/255"), Some("00000000000000ff"), false),
        (
            format!("{}/{largest};o=1", TRACE.to_uppercase()),
            Some("ffffffffffffffff"),
            true,
        ),
        // Without a span it is the root of that trace.
        (TRACE.to_owned(), None, false),
        (format!("{TRACE};o=1"), None, true),
        (format!("{TRACE};o=0"), None, false),
        (format!("{TRACE}/0;o=1"), None, true),
    ] {
        let (trace, headers, sent) = through(Format::CloudTrace, name, &value);
        assert_eq!(trace.trace_id.to_string(), TRACE, "{value}");
        let found = trace.parent_span_id.map(|id| id.to_string());
        assert_eq!(found.as_deref(), parent, "{value}");
        assert_eq!(trace.sampled, sampled, "{value}");
        let span = u64::from_be_bytes(trace.span_id.to_bytes());
        let written = format!("{TRACE}/{span};o={}", u8::from(sampled));
        assert_eq!(shown(&headers, name), written, "{value}");
        let sent = shown(&sent, name);
        assert!(sent.starts_with(&format!("{TRACE}/")), "{value}: {sent}");
        assert_ne!(sent, written, "{value}");
    }
    for bad in [
        String::new(),
        "abc".to_owned(),
        format!("{TRACE}/"),
        format!("{TRACE}/x"),
        format!("{TRACE}/+1"),
        format!("{TRACE}/-1"),
        format!("{TRACE}/18446744073709551616"),
        format!("{TRACE}/1;o=2"),
        format!("{TRACE}/1;o="),
        format!("{TRACE}/1;x=1"),
        format!("{TRACE}0/1;o=1"),
        format!("{}/1;o=1", "0".repeat(32)),
    ] {
        let (trace, ..) = through(Format::CloudTrace, name, &bad);
        assert_ne!(trace.trace_id.to_string(), TRACE, "{bad}");
        assert_eq!(trace.parent_span_id, None, "{bad}");
    }
}

/// The first valid format wins, and of those that are configured nothing stale stays.
#[test]
fn optional_formats_take_their_turn() {
    let other = "1af7651916cd43dd8448eb211c80319c";
    let jaeger = format!("{other}:{SPAN}:0:0");
    let cloud = format!("{other};o=1");
    let w3c = format!("00-{TRACE}-{SPAN}-01");
    let all = [
        ("traceparent", w3c.as_str()),
        ("tracestate", "a=1"),
        ("uber-trace-id", jaeger.as_str()),
        ("uber-trace-id", "second"),
        ("x-cloud-trace-context", cloud.as_str()),
        ("grpc-trace-bin", "stale"),
    ];
    for (formats, winner, is_root) in [
        (
            [Format::W3c, Format::Jaeger, Format::OpenCensus],
            TRACE,
            false,
        ),
        (
            [Format::Jaeger, Format::W3c, Format::OpenCensus],
            other,
            false,
        ),
        (
            [Format::OpenCensus, Format::W3c, Format::Jaeger],
            TRACE,
            false,
        ),
        (
            [Format::CloudTrace, Format::W3c, Format::OpenCensus],
            other,
            true,
        ),
        (
            [Format::OpenCensus, Format::B3, Format::CloudTrace],
            other,
            true,
        ),
    ] {
        let propagation = Propagation::new().formats(formats);
        let exchange = Exchange::default();
        let (trace, headers) = begin_with(&propagation, &exchange, &all);
        assert_eq!(trace.trace_id.to_string(), winner, "{formats:?}");
        assert_eq!(trace.parent_span_id.is_none(), is_root, "{formats:?}");
        assert_eq!(trace.tracestate().is_some(), winner == TRACE, "{formats:?}");
        for (format, name) in [
            (Format::Jaeger, "uber-trace-id"),
            (Format::CloudTrace, "x-cloud-trace-context"),
        ] {
            if formats.contains(&format) {
                assert!(shown(&headers, name).starts_with(winner), "{formats:?}");
            } else {
                assert!(
                    shown(&headers, name).starts_with(other),
                    "untouched: {formats:?}"
                );
            }
        }
        if formats.contains(&Format::OpenCensus) {
            assert_ne!(shown(&headers, "grpc-trace-bin"), "stale", "{formats:?}");
        }
        let mut call = request(&[]);
        drop(propagation.begin_call(&mut call, Some(&exchange), epoch));
        let jaeger_sent = shown(&call.headers, "uber-trace-id");
        match formats.contains(&Format::Jaeger) {
            true => assert!(jaeger_sent.starts_with(winner), "{formats:?}"),
            // A format that is not read goes along untouched.
            false => assert_eq!(jaeger_sent, jaeger, "{formats:?}"),
        }
    }
    // By default all three go along as they came.
    let exchange = Exchange::default();
    let (_, headers) = begin_with(&Propagation::new(), &exchange, &all);
    assert_eq!(shown(&headers, "grpc-trace-bin"), "stale");
    let mut call = request(&[]);
    drop(Propagation::new().begin_call(&mut call, Some(&exchange), epoch));
    assert_eq!(shown(&call.headers, "x-cloud-trace-context"), cloud);
    assert_eq!(shown(&call.headers, "grpc-trace-bin"), "stale");
    // A root in these formats.
    let propagation = Propagation::new().formats([Format::Jaeger, Format::CloudTrace]);
    let mut call = request(&[]);
    drop(propagation.begin_call(&mut call, None, epoch));
    assert!(call.headers.contains_key("uber-trace-id"));
    assert!(call.headers.contains_key("x-cloud-trace-context"));
    assert!(!call.headers.contains_key("traceparent"));
}

/// H-15: what a stranger says of its trace restarts in these formats, too.
#[test]
fn a_stranger_continues_no_trace_in_optional_formats() {
    let jaeger = format!("{TRACE}:{SPAN}:0:1");
    let cloud = format!("{TRACE};o=1");
    for (format, name, value) in [
        (Format::Jaeger, "uber-trace-id", &jaeger),
        (Format::CloudTrace, "x-cloud-trace-context", &cloud),
    ] {
        let propagation = Propagation::new().formats([format]).sample_percent(0.0);
        let (trace, headers) = begin_with(&propagation, &outsider(), &[(name, value)]);
        assert_ne!(trace.trace_id.to_string(), TRACE);
        assert!(!trace.sampled && !shown(&headers, name).contains(TRACE));
        let accepting = propagation.edge_trace(EdgeTrace::Accept);
        let (trace, _) = begin_with(&accepting, &outsider(), &[(name, value)]);
        assert_eq!(trace.trace_id.to_string(), TRACE);
        assert!(!trace.sampled, "a stranger records no more than our share");
    }
}

/// Jaeger's baggage is carried where Jaeger is configured, within bounds, and not from strangers.
#[test]
fn carries_jaegers_baggage() {
    let jaeger = Propagation::new().formats([Format::W3c, Format::Jaeger]);
    let long = "v".repeat(8192);
    let sent = [("uberctx-user", "anna"), ("uberctx-ward", "a%20b")];
    let too_long = [("uberctx-user", "anna"), ("uberctx-ward", long.as_str())];
    for (propagation, exchange, sent, user, ward) in [
        (&jaeger, Exchange::default(), &sent, "anna", "a%20b"),
        (&jaeger, insider(), &sent, "anna", "a%20b"),
        (&jaeger, outsider(), &sent, "", ""),
        (&jaeger, insider(), &too_long, "anna", ""),
        (&Propagation::new(), insider(), &sent, "", ""),
    ] {
        begin_with(propagation, &exchange, sent);
        let mut call = request(&[]);
        drop(propagation.begin_call(&mut call, Some(&exchange), epoch));
        assert_eq!(shown(&call.headers, "uberctx-user"), user);
        assert_eq!(shown(&call.headers, "uberctx-ward"), ward);
        // Nobody may know of the user who is not trusted.
        let mut call = request(&[]);
        drop(propagation.begin_call_to(None, || false, &mut call, Some(&exchange), epoch));
        assert_eq!(shown(&call.headers, "uberctx-user"), "");
    }
    // What the application sets itself stays.
    let exchange = insider();
    begin_with(&jaeger, &exchange, &sent);
    let mut call = request(&[("uberctx-user", "own")]);
    drop(jaeger.begin_call(&mut call, Some(&exchange), epoch));
    assert_eq!(shown(&call.headers, "uberctx-user"), "own");
    let (trace, _) = begin(&[]);
    assert_eq!(trace.baggage(), None);
}
