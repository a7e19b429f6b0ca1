#![allow(clippy::string_slice, reason = "a test may panic")]

use super::fixture::{SPAN, TRACE, begin, begin_with, outsider, shown};
use crate::propagation::{EdgeTrace, Propagation};

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
