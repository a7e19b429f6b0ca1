//! The cases of the W3C's own test suite for Trace Context, each under its name there: 37 of Level 1, 3 with several calls, and the one of
//! Level 2. The suite itself is a Python program that `examples/trace_context.rs` can be run against; these rows need nothing but this
//! crate. What leaves is compared with Level 2, which takes more keys of `tracestate` than Level 1.

use std::collections::BTreeSet;

use crate::telemetry::trace_context::{Harness, P, T, traceparent, values};

/// One request of a case.
struct Sent {
    lines: Vec<String>,
    calls: usize,
    is_continued: bool,
    /// The one `tracestate` that leaves; none if it is empty.
    state: String,
}

/// A request whose trace goes on.
fn on<L: Into<String>>(lines: impl IntoIterator<Item = L>, state: &str) -> Sent {
    Sent {
        lines: lines.into_iter().map(Into::into).collect(),
        calls: 1,
        is_continued: true,
        state: state.to_owned(),
    }
}

/// A request for which a new trace begins, without a list.
fn new<L: Into<String>>(lines: impl IntoIterator<Item = L>) -> Sent {
    Sent {
        is_continued: false,
        ..on(lines, "")
    }
}

fn thrice(sent: Sent) -> Vec<Sent> {
    vec![Sent { calls: 3, ..sent }]
}

/// A good `traceparent` and these lists.
fn listed(lists: &[&str], state: &str) -> Sent {
    let lists = lists.iter().map(|list| format!("tracestate:{list}"));
    on(std::iter::once(parent("00", "00")).chain(lists), state)
}

/// A list that comes and leaves as it is, and one that is dropped whole.
fn kept(list: &str) -> Sent {
    listed(&[list], list)
}

fn dropped(list: &str) -> Sent {
    listed(&[list], "")
}

fn parent(version: &str, rest: &str) -> String {
    format!("traceparent: {version}-{T}-{P}-{rest}")
}

/// Requests that each carry one `traceparent` and begin a new trace.
fn bad<V: AsRef<str>>(values: impl IntoIterator<Item = V>) -> Vec<Sent> {
    let line = |value: V| format!("traceparent: {}", value.as_ref());
    values.into_iter().map(|value| new([line(value)])).collect()
}

fn of_traceparent() -> Vec<(&'static str, Vec<Sent>)> {
    let zeros = "0".repeat(32);
    let (trace, span) = (&T[1..], &P[1..]);
    vec![
        (
            "both_traceparent_and_tracestate_missing",
            vec![new::<&str>([])],
        ),
        (
            "traceparent_included_tracestate_missing",
            vec![on([parent("00", "01")], "")],
        ),
        (
            "traceparent_duplicated",
            vec![
                new([
                    parent("00", "01"),
                    format!("traceparent: 00-{}-{P}-01", P.repeat(2)),
                ]),
                new([parent("00", "01"), parent("00", "01")]),
            ],
        ),
        (
            "traceparent_header_name",
            vec![
                new([format!("trace-parent: 00-{T}-{P}-01")]),
                new([format!("trace.parent: 00-{T}-{P}-01")]),
            ],
        ),
        (
            "traceparent_header_name_valid_casing",
            ["TraceParent", "TrAcEpArEnT", "TRACEPARENT"]
                .map(|name| on([format!("{name}: 00-{T}-{P}-01")], ""))
                .into(),
        ),
        (
            "traceparent_version_0x00",
            vec![
                new([parent("00", "01.")]),
                new([parent("00", "01-what-comes-then")]),
            ],
        ),
        (
            "traceparent_version_0xcc",
            vec![
                on([parent("cc", "01")], ""),
                on([parent("cc", "01-what-comes-then")], ""),
                new([parent("cc", "01.what-comes-then")]),
            ],
        ),
        ("traceparent_version_0xff", vec![new([parent("ff", "01")])]),
        (
            "traceparent_version_illegal_characters",
            vec![new([parent(".0", "01")]), new([parent("0.", "01")])],
        ),
        (
            "traceparent_version_too_long",
            vec![new([parent("000", "01")]), new([parent("0000", "01")])],
        ),
        (
            "traceparent_version_too_short",
            vec![new([parent("0", "01")])],
        ),
        (
            "traceparent_trace_id_all_zero",
            bad([format!("00-{zeros}-{P}-01")]),
        ),
        (
            "traceparent_trace_id_illegal_characters",
            bad([format!("00-.{trace}-{P}-01"), format!("00-{trace}.-{P}-01")]),
        ),
        (
            "traceparent_trace_id_too_long",
            bad([format!("00-{T}0-{P}-01"), format!("00-0{T}-{P}-01")]),
        ),
        (
            "traceparent_trace_id_too_short",
            bad([format!("00-{trace}-{P}-01")]),
        ),
        (
            "traceparent_parent_id_all_zero",
            bad([format!("00-{T}-{}-01", "0".repeat(16))]),
        ),
        (
            "traceparent_parent_id_illegal_characters",
            bad([format!("00-{T}-.{span}-01"), format!("00-{T}-{span}.-01")]),
        ),
        (
            "traceparent_parent_id_too_long",
            bad([format!("00-{T}-{P}0-01")]),
        ),
        (
            "traceparent_parent_id_too_short",
            bad([format!("00-{T}-{span}-01")]),
        ),
        (
            "traceparent_trace_flags_illegal_characters",
            vec![new([parent("00", ".0")]), new([parent("00", "0.")])],
        ),
        (
            "traceparent_trace_flags_too_long",
            vec![new([parent("00", "001")])],
        ),
        (
            "traceparent_trace_flags_too_short",
            vec![new([parent("00", "1")])],
        ),
        (
            "traceparent_ows_handling",
            [
                ("  ", ""),
                (" \t", ""),
                (" ", " "),
                (" ", "\t"),
                ("\t ", " \t"),
            ]
            .map(|(before, after)| on([format!("traceparent:{before}00-{T}-{P}-01{after}")], ""))
            .into(),
        ),
    ]
}

fn of_tracestate() -> Vec<(&'static str, Vec<Sent>)> {
    let key: String = ('a'..='z').chain('0'..='9').chain("_-*/".chars()).collect();
    let every = (b' '..=b'~').filter(|byte| !b",=".contains(byte));
    let every = String::from_utf8(every.collect()).unwrap();
    let members = |last: u8| {
        let members: Vec<_> = (1..=last).map(|n| format!("bar{n:02}={n:02}")).collect();
        members.join(",")
    };
    let lists = |all: &str| {
        let all: Vec<_> = all.split(',').collect();
        let lists = all.chunks(10).map(|some| some.join(","));
        lists.collect::<Vec<_>>()
    };
    let (full, over) = (members(32), members(33));
    let (full_lists, over_lists) = (lists(&full), lists(&over));
    let texts = |lists: &[String], state: &str| {
        let lists: Vec<_> = lists.iter().map(String::as_str).collect();
        listed(&lists, state)
    };
    let after_foo = |key: &str, is_kept: bool| {
        let list = format!("{key}=1");
        let all = format!("foo=1,{list}");
        listed(&["foo=1", &list], if is_kept { &all } else { "" })
    };
    let named = |name: &str, state: &str| on([parent("00", "00"), format!("{name}: foo=1")], state);
    vec![
        (
            "tracestate_included_traceparent_missing",
            vec![new(["tracestate: foo=1"]), new(["tracestate: foo=1,bar=2"])],
        ),
        (
            "tracestate_included_traceparent_included",
            vec![kept("foo=1,bar=2")],
        ),
        (
            "tracestate_header_name",
            vec![named("trace-state", ""), named("trace.state", "")],
        ),
        (
            "tracestate_header_name_valid_casing",
            ["TraceState", "TrAcEsTaTe", "TRACESTATE"]
                .map(|name| named(name, "foo=1"))
                .into(),
        ),
        (
            "tracestate_empty_header",
            vec![
                dropped(""),
                listed(&["foo=1", ""], "foo=1"),
                listed(&["", "foo=1"], "foo=1"),
            ],
        ),
        (
            "tracestate_multiple_headers_different_keys",
            vec![listed(
                &["foo=1,bar=2", "red=1,blue=2", "baz=3"],
                "foo=1,bar=2,red=1,blue=2,baz=3",
            )],
        ),
        (
            // The trace goes on, and the first of two members with one key stays.
            "tracestate_duplicated_keys",
            vec![
                listed(&["foo=1,foo=1"], "foo=1"),
                listed(&["foo=1,foo=2"], "foo=1"),
                listed(&["foo=1", "foo=1"], "foo=1"),
                listed(&["foo=1", "foo=2"], "foo=1"),
            ],
        ),
        (
            "tracestate_all_allowed_characters",
            vec![
                kept(&format!("{key}={every}")),
                kept(&format!("{key}@a-z0-9_-*/={every}")),
            ],
        ),
        (
            "tracestate_ows_handling",
            [
                ("foo=1 \t , \t bar=2, \t baz=3", "foo=1,bar=2,baz=3"),
                ("foo=1\t \t,\t \tbar=2,\t \tbaz=3", "foo=1,bar=2,baz=3"),
                (" foo=1", "foo=1"),
                ("\tfoo=1", "foo=1"),
                ("foo=1 ", "foo=1"),
                ("foo=1\t", "foo=1"),
                ("\t foo=1 \t", "foo=1"),
            ]
            .map(|(list, state)| listed(&[list], state))
            .into(),
        ),
        (
            "tracestate_key_illegal_characters",
            ["foo =1", "FOO=1", "foo.bar=1"].map(dropped).into(),
        ),
        (
            // Level 2 takes the sign anywhere but in front.
            "tracestate_key_illegal_vendor_format",
            vec![
                kept("foo@=1,bar=2"),
                dropped("@foo=1,bar=2"),
                kept("foo@@bar=1,bar=2"),
                kept("foo@bar@baz=1,bar=2"),
            ],
        ),
        (
            "tracestate_member_count_limit",
            vec![texts(&full_lists, &full), texts(&over_lists, "")],
        ),
        (
            // Level 2 counts the whole key alone.
            "tracestate_key_length_limit",
            vec![
                after_foo(&"z".repeat(256), true),
                after_foo(&"z".repeat(257), false),
                after_foo(&format!("{}@{}", "t".repeat(241), "v".repeat(14)), true),
                after_foo(&format!("{}@v", "t".repeat(242)), true),
                after_foo(&format!("t@{}", "v".repeat(15)), true),
                after_foo(&format!("{}@{}", "t".repeat(242), "v".repeat(14)), false),
            ],
        ),
        (
            "tracestate_value_illegal_characters",
            vec![dropped("foo=bar=baz"), dropped("foo=,bar=3")],
        ),
    ]
}

fn of_several_calls() -> Vec<(&'static str, Vec<Sent>)> {
    let zero = format!("traceparent: 00-{}-{P}-01", "0".repeat(32));
    vec![
        (
            "multiple_requests_with_valid_traceparent",
            thrice(on([parent("00", "01")], "")),
        ),
        (
            "multiple_requests_without_traceparent",
            thrice(new::<&str>([])),
        ),
        (
            "multiple_requests_with_illegal_traceparent",
            thrice(new([zero])),
        ),
    ]
}

/// Sends a request of a case, and looks at every call that it comes to.
async fn holds(harness: &mut Harness, name: &str, sent: &Sent) -> Vec<String> {
    let called = harness.ask(&sent.lines, sent.calls).await;
    let lines = &sent.lines;
    let mut spans = BTreeSet::new();
    let mut traces = BTreeSet::new();
    let mut flags = Vec::new();
    for call in &called {
        let (trace, span, flag) = traceparent(call);
        assert_eq!(trace == T, sent.is_continued, "{name}: {lines:?}");
        assert_ne!(span, P, "{name}: {lines:?}");
        let state: Vec<_> = (!sent.state.is_empty())
            .then_some(&*sent.state)
            .into_iter()
            .collect();
        assert_eq!(values(call, "tracestate"), state, "{name}: {lines:?}");
        traces.insert(trace);
        spans.insert(span);
        flags.push(flag.to_owned());
    }
    assert_eq!(traces.len(), 1, "{name}: {lines:?}");
    assert_eq!(spans.len(), sent.calls, "{name}: {lines:?}");
    flags
}

#[tokio::test]
async fn the_41_cases_of_the_suite_hold() {
    let mut harness = Harness::start().await;
    let mut names = BTreeSet::new();
    let level_1 = of_traceparent().into_iter().chain(of_tracestate());
    for (name, sent) in level_1.chain(of_several_calls()) {
        assert!(names.insert(name), "twice: {name}");
        assert!(!sent.is_empty(), "{name}");
        for sent in &sent {
            holds(&mut harness, name, sent).await;
        }
    }
    assert_eq!(names.len(), 37 + 3);
    // Level 2: who makes a trace id says that it is random, and who goes on with one repeats what was said.
    let name = "random_trace_id_flag";
    names.insert(name);
    for (sent, expected) in [("00", "00"), ("01", "01"), ("02", "02"), ("03", "03")] {
        let sent = on([parent("00", sent)], "");
        assert_eq!(holds(&mut harness, name, &sent).await, [expected], "{name}");
    }
    let flags = holds(&mut harness, name, &new::<&str>([])).await;
    assert!(matches!(&*flags[0], "02" | "03"), "{name}: {flags:?}");
    assert_eq!(names.len(), 41);
}
