#![allow(clippy::string_slice, reason = "a test may panic")]

use super::fixture::{SPAN, TRACE, begin, begin_with, shown};
use crate::context::Exchange;
use crate::propagation::{Format, Propagation};

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
