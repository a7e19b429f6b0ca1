#![allow(clippy::string_slice, reason = "a test may panic")]

use std::net::SocketAddr;
use std::time::SystemTime;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, response};
use proptest::prelude::*;

use super::ids::hex;
use super::*;
use crate::context::{Exchange, Peer, TlsFacts, TraceContext};
use crate::identity::{PeerCertificate, Workload};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";
const UUID: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";

fn request(headers: &[(&str, &str)]) -> Parts {
    let (mut request, ()) = Request::new(()).into_parts();
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        request
            .headers
            .append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    request
}

fn answer() -> response::Parts {
    Response::new(()).into_parts().0
}

fn outsider() -> Exchange {
    let exchange = Exchange::default();
    exchange.set_peer(Peer::plaintext(address(), address()));
    exchange
}

fn insider() -> Exchange {
    let exchange = Exchange::default();
    let certificate = PeerCertificate {
        spiffe_id: Some("spiffe://cluster.local/ns/default/sa/web".parse().unwrap()),
        ..PeerCertificate::default()
    };
    let facts = TlsFacts {
        certificate: Some(certificate),
        ..TlsFacts::default()
    };
    exchange.set_peer(Peer::tls(address(), address(), facts));
    exchange
}

fn epoch() -> SystemTime {
    SystemTime::UNIX_EPOCH
}

fn address() -> SocketAddr {
    ([127, 0, 0, 1], 8443).into()
}

/// The context and the headers that a request with these headers gets.
fn begin_with(
    propagation: &Propagation,
    exchange: &Exchange,
    headers: &[(&str, &str)],
) -> (TraceContext, HeaderMap) {
    let mut request = request(headers);
    drop(propagation.begin(&mut request, exchange, epoch));
    (exchange.trace().unwrap().clone(), request.headers)
}

fn begin(headers: &[(&str, &str)]) -> (TraceContext, HeaderMap) {
    begin_with(&Propagation::new(), &Exchange::default(), headers)
}

fn shown(headers: &HeaderMap, name: &str) -> String {
    let values: Vec<_> = headers
        .get_all(name)
        .iter()
        .map(|value| value.to_str().unwrap())
        .collect();
    values.join("|")
}

#[test]
fn reads_traceparent_exactly_as_the_standard_says() {
    let good = format!("00-{TRACE}-{SPAN}-01");
    let with = |from: &str, to: &str| good.replace(from, to);
    let continued = [
        good.clone(),
        format!(" \t{good}\t "),
        with("00-", "01-"),
        with("00-", "fe-"),
        format!("{}-what-the-future-will-be", with("00-", "cc-")),
        format!("{}-", with("00-", "cc-")),
        with("-01", "-ff"),
    ];
    for value in continued {
        let (trace, headers) = begin(&[("traceparent", &value)]);
        assert_eq!(trace.trace_id.to_string(), TRACE, "{value}");
        assert_eq!(trace.parent_span_id.unwrap().to_string(), SPAN, "{value}");
        assert!(trace.sampled, "{value}");
        let written = shown(&headers, "traceparent");
        assert!(
            written.starts_with(&format!("00-{TRACE}-{}-0", trace.span_id)),
            "{written}"
        );
        assert_eq!(written.len(), 55);
    }
    let restarted = [
        String::new(),
        "garbage".to_owned(),
        with("00-", "ff-"),
        with("00-", "0X-"),
        with("00-", "0A-"),
        format!("{good}-more"),
        format!("{good}."),
        format!("{}.more", with("00-", "cc-")),
        with(TRACE, &TRACE.to_uppercase()),
        with(TRACE, &"0".repeat(32)),
        with(SPAN, &"0".repeat(16)),
        with(SPAN, &SPAN.to_uppercase()),
        with(TRACE, "abc"),
        with("-01", "-0g"),
        with("-01", ""),
        with("-01", "-1"),
        good.replace('-', "_"),
        good[..54].to_owned(),
    ];
    for value in restarted {
        let (trace, _) = begin(&[
            ("traceparent", &value),
            ("tracestate", "a=1"),
            ("baggage", "k=v"),
        ]);
        assert_ne!(trace.trace_id.to_string(), TRACE, "{value}");
        assert_eq!(trace.parent_span_id, None, "{value}");
        assert_eq!(trace.tracestate(), None, "{value}");
        assert_eq!(trace.baggage().unwrap(), "k=v", "{value}");
    }
    let (trace, headers) = begin(&[("traceparent", &good), ("TraceParent", &good)]);
    assert_eq!(trace.parent_span_id, None, "two headers are none");
    assert_eq!(headers.get_all("traceparent").iter().count(), 1);
}

#[test]
fn traceparent_flags_are_a_mask() {
    for (flags, written) in [
        ("00", "00"),
        ("01", "01"),
        ("02", "02"),
        ("03", "03"),
        ("fd", "01"),
        ("fc", "00"),
    ] {
        let (trace, headers) = begin(&[("traceparent", &format!("00-{TRACE}-{SPAN}-{flags}"))]);
        let sent = shown(&headers, "traceparent");
        assert_eq!(&sent[53..], written, "{flags}");
        assert_eq!(trace.sampled, written.ends_with(['1', '3']), "{flags}");
    }
    let (_, headers) = begin(&[]);
    assert!(
        shown(&headers, "traceparent").ends_with("-02")
            || shown(&headers, "traceparent").ends_with("-03")
    );
}

#[test]
fn keeps_or_drops_tracestate_as_a_whole() {
    let members = |count: usize| {
        (0..count)
            .map(|n| format!("k{n}=1"))
            .collect::<Vec<_>>()
            .join(",")
    };
    let long_key = format!("{}=1", "k".repeat(256));
    let long_value = format!("k={}", "v".repeat(256));
    let rows: &[(&[&str], Option<&str>)] = &[
        (&["a=1"], Some("a=1")),
        (&["a=1,b=2", "c=3"], Some("a=1,b=2,c=3")),
        (&["a=1 , \tb=2", ""], Some("a=1,b=2")),
        (&[",a=1,,b=2,"], Some("a=1,b=2")),
        (&["a= 1"], Some("a= 1")),
        (
            &["foo@=1,foo@@bar=2,0a/*_-=3"],
            Some("foo@=1,foo@@bar=2,0a/*_-=3"),
        ),
        (&["a=1,b=2,a=3"], Some("a=1,b=2")),
        (&[&members(32)], Some(&members(32))),
        (&[&members(33)], None),
        (&[&long_key], Some(&long_key)),
        (&[&long_value], Some(&long_value)),
        (&[&format!("k{long_key}")], None),
        (&[&format!("{long_value}v")], None),
        (&["@foo=1"], None),
        (&["a=1,B=2"], None),
        (&["a=1,b"], None),
        (&["a="], None),
        (&["a=1=2"], None),
        (&["=1"], None),
        (&["a=\u{e9}"], None),
        (&[""], None),
        (&[" , "], None),
    ];
    let parent = format!("00-{TRACE}-{SPAN}-01");
    for (values, expected) in rows {
        let mut headers = vec![("traceparent", parent.as_str())];
        headers.extend(values.iter().map(|value| ("tracestate", *value)));
        let (trace, headers) = begin(&headers);
        assert_eq!(trace.trace_id.to_string(), TRACE);
        assert_eq!(
            trace.tracestate().map(|state| state.to_str().unwrap()),
            *expected,
            "{values:?}"
        );
        assert_eq!(
            shown(&headers, "tracestate"),
            expected.unwrap_or_default(),
            "{values:?}"
        );
    }
}

#[test]
fn cuts_a_long_tracestate_by_whole_members() {
    let long = format!("long={}", "v".repeat(200));
    let many: Vec<_> = (0..31)
        .map(|n| format!("k{n}={}", "v".repeat(90)))
        .collect();
    let all = format!("{long},{}", many.join(","));
    let (trace, _) = begin(&[
        ("traceparent", &format!("00-{TRACE}-{SPAN}-01")),
        ("tracestate", &all),
    ]);
    let kept = trace.tracestate().unwrap().to_str().unwrap().to_owned();
    assert!((512..=2048).contains(&kept.len()));
    assert!(
        many.join(",").starts_with(&kept),
        "the long one goes first, then those on the right"
    );
}

#[test]
fn carries_baggage_within_bounds() {
    let big: Vec<_> = (0..64)
        .map(|n| format!("k{n:02}={}", "v".repeat(123)))
        .collect();
    let big = big.join(",");
    assert!((8100..=8192).contains(&big.len()), "{}", big.len());
    let rows: &[(&[&str], Option<&str>)] = &[
        (
            &["k=v;prop;other=1, k2=v%20w"],
            Some("k=v;prop;other=1,k2=v%20w"),
        ),
        (&["a=1", "b=2"], Some("a=1,b=2")),
        (&["a=1=2"], Some("a=1=2")),
        (&["a=1,broken,b=2"], Some("a=1,b=2")),
        (&["a=\"q\",b=2"], Some("b=2")),
        (&["a=\u{e9}"], None),
        (&[&big], Some(&big)),
        (&[&big, &format!("z={}", "v".repeat(300))], Some(&big)),
        (&[""], None),
    ];
    for (values, expected) in rows {
        let headers: Vec<_> = values.iter().map(|value| ("baggage", *value)).collect();
        let (trace, _) = begin(&headers);
        assert_eq!(
            trace.baggage().map(|baggage| baggage.to_str().unwrap()),
            *expected,
            "{values:?}"
        );
    }
}

/// H-15: baggage stops at an edge.
#[test]
fn drops_baggage_of_strangers() {
    let (trace, _) = begin_with(
        &Propagation::new().edge_trace(EdgeTrace::Accept),
        &outsider(),
        &[("baggage", "a=1")],
    );
    assert_eq!(trace.baggage(), None);
}

#[test]
fn reads_b3_single() {
    let low = &TRACE[16..];
    let rows = [
        (format!("{TRACE}-{SPAN}"), None, TRACE.to_owned()),
        (format!("{TRACE}-{SPAN}-1"), Some("1"), TRACE.to_owned()),
        (format!("{TRACE}-{SPAN}-0"), Some("0"), TRACE.to_owned()),
        (format!("{TRACE}-{SPAN}-d"), Some("d"), TRACE.to_owned()),
        (
            format!("{TRACE}-{SPAN}-1-05e3ac9a4f6e3b90"),
            Some("1"),
            TRACE.to_owned(),
        ),
        (
            format!("{}-{}-1", TRACE.to_uppercase(), SPAN.to_uppercase()),
            Some("1"),
            TRACE.to_owned(),
        ),
        (format!("{low}-{SPAN}-1"), Some("1"), low.to_owned()),
        (
            format!("abc-{SPAN}-1"),
            Some("1"),
            "0000000000000abc".to_owned(),
        ),
    ];
    for (value, state, id) in rows {
        let (trace, headers) = begin(&[("b3", &value)]);
        let state = state.unwrap_or(if trace.sampled { "1" } else { "0" });
        assert_eq!(
            shown(&headers, "b3"),
            format!("{id}-{}-{state}-{SPAN}", trace.span_id),
            "{value}"
        );
        assert_eq!(trace.sampled, state != "0", "{value}");
        assert_eq!(trace.is_debug(), state == "d", "{value}");
        assert_eq!(trace.parent_span_id.unwrap().to_string(), SPAN);
        assert_eq!(
            shown(&headers, "x-b3-traceid"),
            "",
            "the encoding is the one received"
        );
        let padded = format!("{id:0>32}");
        assert!(
            shown(&headers, "traceparent").starts_with(&format!("00-{padded}-")),
            "{value}"
        );
    }
    for (value, sampled) in [("0", false), ("1", true), ("d", true)] {
        let (trace, headers) = begin(&[("b3", value)]);
        assert_eq!(
            (trace.sampled, trace.parent_span_id),
            (sampled, None),
            "{value}"
        );
        assert!(
            shown(&headers, "b3").ends_with(&format!("-{value}")),
            "ids are written too"
        );
    }
    let bad = [
        String::new(),
        TRACE.to_owned(),
        format!("{TRACE}-{SPAN}-"),
        format!("{TRACE}-{SPAN}-2"),
        format!("{TRACE}-{SPAN}-1-"),
        format!("{TRACE}-{SPAN}-1-zz"),
        format!("{TRACE}-{SPAN}-1-{SPAN}-1"),
        format!("{TRACE}0-{SPAN}-1"),
        format!("{TRACE}-{SPAN}0-1"),
        format!("{}-{SPAN}-1", TRACE.replace('a', "g")),
        format!("{}-{SPAN}-1", "0".repeat(32)),
        format!("{TRACE}-{}-1", "0".repeat(16)),
    ];
    for value in bad {
        let (trace, headers) = begin(&[("b3", &value)]);
        assert_eq!(trace.parent_span_id, None, "{value}");
        assert_eq!(shown(&headers, "b3"), "", "nothing stale stays: {value}");
        assert_eq!(
            shown(&headers, "x-b3-traceid"),
            trace.trace_id.to_string(),
            "a new root is multi"
        );
        assert_eq!(shown(&headers, "x-b3-parentspanid"), "");
    }
}

#[test]
fn reads_b3_multi() {
    let ids = [("x-b3-traceid", TRACE), ("X-B3-SpanId", SPAN)];
    type Sent = [(&'static str, &'static str)];
    let rows: &[(&Sent, Option<bool>, bool)] = &[
        (&[], None, false),
        (&[("x-b3-sampled", "1")], Some(true), false),
        (&[("x-b3-sampled", "0")], Some(false), false),
        (&[("x-b3-sampled", "true")], Some(true), false),
        (&[("x-b3-sampled", "false")], Some(false), false),
        (&[("x-b3-sampled", "what")], None, false),
        (&[("x-b3-sampled", "d")], Some(true), true),
        (&[("x-b3-flags", "1")], Some(true), true),
        (
            &[("x-b3-flags", "1"), ("x-b3-sampled", "0")],
            Some(true),
            true,
        ),
        (
            &[("x-b3-flags", "0"), ("x-b3-sampled", "0")],
            Some(false),
            false,
        ),
        (
            &[
                ("x-b3-parentspanid", "05e3ac9a4f6e3b90"),
                ("x-b3-sampled", "1"),
            ],
            Some(true),
            false,
        ),
    ];
    for (state, sampled, debug) in rows {
        for percent in [0.0, 100.0] {
            let propagation = Propagation::new().sample_percent(percent);
            let (trace, headers) =
                begin_with(&propagation, &Exchange::default(), &[&ids, *state].concat());
            // Deferred is decided by the request id.
            let sampled = sampled.unwrap_or(percent > 0.0);
            assert_eq!(
                (trace.sampled, trace.is_debug()),
                (sampled, *debug),
                "{state:?}"
            );
            assert_eq!(shown(&headers, "x-b3-traceid"), TRACE);
            assert_eq!(shown(&headers, "x-b3-spanid"), trace.span_id.to_string());
            assert_eq!(shown(&headers, "x-b3-parentspanid"), SPAN);
            let flag = if *debug {
                ""
            } else if sampled {
                "1"
            } else {
                "0"
            };
            assert_eq!(shown(&headers, "x-b3-sampled"), flag, "{state:?}");
            assert_eq!(
                shown(&headers, "x-b3-flags"),
                if *debug { "1" } else { "" },
                "{state:?}"
            );
        }
    }
    let bad: &[&[(&str, &str)]] = &[
        &[("x-b3-traceid", "xyz"), ("x-b3-spanid", SPAN)],
        &[("x-b3-traceid", TRACE), ("x-b3-spanid", "12")],
        &[
            ("x-b3-traceid", TRACE),
            ("x-b3-spanid", SPAN),
            ("x-b3-parentspanid", "zz"),
        ],
        &[
            ("x-b3-traceid", "00000000000000000000000000000000"),
            ("x-b3-spanid", SPAN),
        ],
        &[("x-b3-spanid", SPAN)],
    ];
    for headers in bad {
        let (trace, sent) = begin(headers);
        assert_eq!(trace.parent_span_id, None, "{headers:?}");
        assert_eq!(shown(&sent, "x-b3-traceid"), trace.trace_id.to_string());
        assert_eq!(shown(&sent, "x-b3-parentspanid"), "");
    }
    let (trace, _) = begin(&[("x-b3-traceid", TRACE), ("x-b3-sampled", "1")]);
    assert_eq!(
        (trace.sampled, trace.parent_span_id),
        (true, None),
        "a state without ids is honoured"
    );
}

#[test]
fn the_first_valid_format_wins_and_all_are_written() {
    let other = "1af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{TRACE}-{SPAN}-01");
    let b3 = format!("{other}-{SPAN}-0");
    let both = [
        ("traceparent", parent.as_str()),
        ("b3", b3.as_str()),
        ("x-b3-traceid", "stale"),
        ("x-b3-flags", "1"),
    ];
    for (formats, winner) in [
        ([Format::W3c, Format::B3], TRACE),
        ([Format::B3, Format::W3c], other),
    ] {
        let propagation = Propagation::new().formats(formats);
        let (trace, headers) = begin_with(&propagation, &Exchange::default(), &both);
        assert_eq!(trace.trace_id.to_string(), winner);
        assert!(shown(&headers, "traceparent").contains(winner));
        assert!(shown(&headers, "b3").starts_with(winner));
        assert_eq!(shown(&headers, "x-b3-traceid"), "", "nothing stale stays");
        assert_eq!(shown(&headers, "x-b3-flags"), "");
    }
    let (trace, _) = begin(&[("traceparent", "bad"), ("b3", &b3)]);
    assert_eq!(
        trace.trace_id.to_string(),
        other,
        "an invalid format counts as absent"
    );
    let only_w3c = Propagation::new().formats([Format::W3c]);
    let (trace, headers) = begin_with(&only_w3c, &Exchange::default(), &both[1..]);
    assert_eq!(trace.parent_span_id, None);
    assert_eq!(
        shown(&headers, "b3"),
        "",
        "formats we understand but do not use leave nothing behind"
    );
}

/// H-14.
#[test]
fn request_ids_are_made_kept_or_replaced() {
    let quiet = Propagation::new().sample_percent(0.0);
    let preserving = quiet.clone().preserve_external_request_id();
    let long = "x".repeat(129);
    let rows: [(&Propagation, Exchange, Option<&str>, bool); 12] = [
        (&quiet, Exchange::default(), None, false),
        (&quiet, Exchange::default(), Some(""), false),
        (&quiet, Exchange::default(), Some(UUID), true),
        (&quiet, Exchange::default(), Some("no uuid at all"), true),
        (&quiet, insider(), Some(UUID), true),
        (&quiet, insider(), Some(&long), true),
        (&quiet, outsider(), Some(UUID), false),
        (&preserving, outsider(), Some(UUID), true),
        (&preserving, outsider(), Some("a.b-c_d:1"), true),
        (&preserving, outsider(), Some("a b"), false),
        (&preserving, outsider(), Some(&long), false),
        (&preserving, outsider(), Some(""), false),
    ];
    for (propagation, exchange, sent, is_kept) in rows {
        let headers: Vec<_> = sent.iter().map(|id| ("x-request-id", *id)).collect();
        let (trace, seen) = begin_with(propagation, &exchange, &headers);
        let id = trace.request_id().unwrap().to_str().unwrap();
        assert_eq!(shown(&seen, "x-request-id"), id);
        assert_eq!(Some(id) == sent, is_kept, "{sent:?} became {id}");
        if !is_kept {
            assert_eq!(id.len(), 36);
            assert_eq!(id, id.to_lowercase());
            assert_eq!(&id[14..15], "4");
            assert!("89ab".contains(&id[19..20]));
            let dashes: Vec<_> = id.match_indices('-').map(|(at, _)| at).collect();
            assert_eq!(dashes, [8, 13, 18, 23]);
        }
    }
}

#[test]
fn the_request_id_decides_alike_at_every_hop() {
    // The first 8 digits of `UUID` are 0x3f2504e0 = 1059390688, so it falls below 6.89 % and above.
    for (percent, sampled) in [
        (0.0, false),
        (6.88, false),
        (6.89, true),
        (100.0, true),
        (f64::NAN, false),
        (-1.0, false),
        (1e9, true),
    ] {
        let propagation = Propagation::new().sample_percent(percent);
        let (trace, _) = begin_with(
            &propagation,
            &Exchange::default(),
            &[("x-request-id", UUID)],
        );
        assert_eq!(trace.sampled, sampled, "{percent}");
        let expected = if sampled {
            UUID.replacen("-4", "-9", 2).replace("-9f89", "-4f89")
        } else {
            UUID.to_owned()
        };
        assert_eq!(trace.request_id().unwrap(), expected.as_str(), "{percent}");
    }
    for id in ["short", "zzzzzzzz-4f89-41d3-9a0c-0305e82c3301"] {
        let (trace, _) = begin_with(
            &Propagation::new().sample_percent(100.0),
            &Exchange::default(),
            &[("x-request-id", id)],
        );
        assert!(!trace.sampled, "{id}");
    }
}

#[test]
fn reasons_force_and_parents_decide() {
    let marked = |mark: &str| format!("3f2504e0-4f89-{mark}1d3-9a0c-0305e82c3301");
    let (on, off) = (
        format!("00-{TRACE}-{SPAN}-01"),
        format!("00-{TRACE}-{SPAN}-00"),
    );
    let id = |mark: &str| ("x-request-id", marked(mark));
    let client = ("x-client-trace-id", "abc".to_owned());
    let force = ("x-envoy-force-trace", "true".to_owned());
    let rows = [
        (vec![id("4")], false, "4"),
        (vec![id("9")], true, "9"),
        (vec![id("a")], true, "a"),
        (vec![id("b")], true, "b"),
        (vec![id("7")], false, "7"),
        (vec![id("4"), client.clone()], true, "b"),
        (vec![id("4"), force.clone()], true, "a"),
        (vec![id("4"), client.clone(), force.clone()], true, "b"),
        (vec![id("4"), ("traceparent", on)], true, "9"),
        (vec![id("9"), ("traceparent", off.clone())], false, "9"),
        (vec![id("4"), ("traceparent", off)], false, "4"),
        (vec![id("4"), ("b3", "1".to_owned())], true, "9"),
        (vec![id("9"), ("b3", "0".to_owned())], false, "9"),
    ];
    for (headers, sampled, mark) in rows {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let (trace, _) = begin_with(
            &Propagation::new().sample_percent(0.0),
            &Exchange::default(),
            &headers,
        );
        assert_eq!(trace.sampled, sampled, "{headers:?}");
        assert_eq!(
            trace.request_id().unwrap(),
            marked(mark).as_str(),
            "{headers:?}"
        );
    }
}

/// H-15: what a caller without identity says of traces.
#[test]
fn a_stranger_neither_continues_traces_nor_forces_them() {
    let on = format!("00-{TRACE}-{SPAN}-01");
    let told = [
        ("traceparent", on.as_str()),
        ("x-envoy-force-trace", "1"),
        ("x-client-trace-id", "x"),
        ("x-envoy-decorator-operation", "evil"),
    ];
    for percent in [0.0, 100.0] {
        for (edge, is_continued) in [
            (EdgeTrace::Restart, false),
            (EdgeTrace::RestartAndLink, false),
            (EdgeTrace::Accept, true),
        ] {
            let propagation = Propagation::new().sample_percent(percent).edge_trace(edge);
            let (trace, headers) = begin_with(&propagation, &outsider(), &told);
            assert_eq!(
                trace.trace_id.to_string() == TRACE,
                is_continued,
                "{edge:?}"
            );
            assert_eq!(trace.sampled, percent > 0.0, "{edge:?} at {percent}");
            assert!(!headers.contains_key("x-envoy-force-trace"));
            assert!(!headers.contains_key("x-envoy-decorator-operation"));
        }
    }
    let (trace, _) = begin_with(&Propagation::new(), &insider(), &told);
    assert_eq!(trace.trace_id.to_string(), TRACE);
}

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

#[test]
fn an_exchange_is_traced_once() {
    let propagation = Propagation::new();
    let exchange = Exchange::default();
    let (first, _) = begin_with(&propagation, &exchange, &[]);
    let (second, headers) = begin_with(&propagation, &exchange, &[]);
    assert_eq!(first.span_id, second.span_id);
    assert!(headers.is_empty());
}

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
    ];
    let near = format!("00-{TRACE}-{SPAN}-01");
    let value = prop_oneof![
        proptest::collection::vec(0x20..=0xff_u8, 0..80),
        Just(near.into_bytes()),
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

proptest! {
    #[test]
    fn any_headers_give_a_context_that_reads_back(headers in proptest::collection::vec(any_header(), 0..12)) {
        let mut inbound = request(&[]);
        for (name, value) in headers {
            inbound.headers.append(name, value);
        }
        let propagation = Propagation::new();
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

#[test]
fn operations_are_named_after_services() {
    let workload = Workload::new("default", "patients")
        .service("patients", 8443)
        .service("admin", 9443);
    let propagation = Propagation::new().workload(&workload);
    let mut response = answer();
    propagation
        .begin(&mut request(&[]), &insider(), epoch)
        .respond(&mut response);
    assert_eq!(
        shown(&response.headers, "x-envoy-decorator-operation"),
        "patients.default.svc.cluster.local:8443/*"
    );
    let mut response = answer();
    propagation
        .begin(&mut request(&[]), &outsider(), epoch)
        .respond(&mut response);
    assert!(response.headers.is_empty(), "strangers are told nothing");
}

#[test]
fn returns_the_request_id_only_when_asked() {
    let returned = |propagation: &Propagation, exchange: &Exchange, headers: &[(&str, &str)]| {
        let mut response = answer();
        propagation
            .begin(&mut request(headers), exchange, epoch)
            .respond(&mut response);
        response.headers.contains_key("x-request-id")
    };
    let force = [("x-envoy-force-trace", "1")];
    assert!(!returned(&Propagation::new(), &insider(), &[]));
    assert!(returned(&Propagation::new(), &insider(), &force));
    assert!(!returned(&Propagation::new(), &outsider(), &force));
    assert!(returned(
        &Propagation::new().return_request_id(),
        &outsider(),
        &[]
    ));
}

#[test]
fn hex_digits_are_those_and_no_other_bytes() {
    for byte in 0..=u8::MAX {
        let text = [b'1', byte];
        let digit = char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok());
        let expected = digit.map(|digit| [0x10 | digit]);
        assert_eq!(hex::any_case::<1>(&text), expected, "{byte}");
        let is_upper = byte.is_ascii_uppercase();
        assert_eq!(
            hex::lower::<1>(&text),
            expected.filter(|_| !is_upper),
            "{byte}"
        );
    }
    assert_eq!(hex::lower::<1>(b"1"), None);
    assert_eq!(hex::lower::<1>(b"111"), None);
}
