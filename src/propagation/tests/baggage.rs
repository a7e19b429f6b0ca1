use super::fixture::{begin, begin_with, epoch, insider, request, shown};
use crate::context::Exchange;
use crate::propagation::Propagation;

/// Of each entry its key, its value and its properties.
fn read(sent: &str) -> String {
    let (trace, _) = begin(&[("baggage", sent)]);
    let entries = trace.baggage_entries().map(|entry| {
        let properties = entry.properties().map(|(key, value)| match value {
            None => format!(" [{key}]"),
            Some(value) => format!(" [{key}: {value}]"),
        });
        let properties: String = properties.collect();
        format!("{}: {}{properties}", entry.key(), entry.value())
    });
    entries.collect::<Vec<_>>().join(", ")
}

#[test]
fn entries_are_decoded() {
    for (sent, expected) in [
        ("a=1", "a: 1"),
        ("a=1,b=2", "a: 1, b: 2"),
        ("a = 1 , b=2", "a: 1, b: 2"),
        ("ward=S%C3%BCd%20a%2Cb%3B", "ward: S\u{fc}d a,b;"),
        ("a=1=2", "a: 1=2"),
        ("a=", "a: "),
        ("a=%FF%41", "a: \u{fffd}A"),
        ("a=%C3", "a: \u{fffd}"),
        ("a=%zz%4", "a: %zz%4"),
        ("a=1+2", "a: 1+2"),
        ("A=1,a=2", "A: 1, a: 2"),
        (
            "k=v;prop;other=1, k2=v%20w",
            "k: v [prop] [other: 1], k2: v w",
        ),
        ("k=v ; p = x%20y ;q", "k: v [p: x y] [q]"),
        ("broken,a=1", "a: 1"),
        ("", ""),
    ] {
        assert_eq!(read(sent), expected, "{sent}");
    }
    assert_eq!(begin(&[]).0.baggage_entries().count(), 0);
}

#[test]
fn a_handler_sets_entries_for_its_calls() {
    let exchange = insider();
    let sent = [("baggage", "user=anna;p=1,ward=east,user=otto")];
    let (mut trace, _) = begin_with(&Propagation::new(), &exchange, &sent);
    for (key, value, baggage) in [
        ("bed", "7", "user=anna;p=1,ward=east,user=otto,bed=7"),
        (
            "user",
            "S\u{fc}d a,b;%\\\"=",
            "ward=east,bed=7,user=S%C3%BCd%20a%2Cb%3B%25%5C%22=",
        ),
        ("ward", "", "bed=7,user=S%C3%BCd%20a%2Cb%3B%25%5C%22=,ward="),
    ] {
        assert!(trace.set_baggage(key, value), "{key}");
        assert_eq!(trace.baggage().unwrap(), baggage);
        let set = trace.baggage_entries().find(|entry| entry.key() == key);
        assert_eq!(set.unwrap().value(), value);
    }
    let before = trace.baggage().cloned();
    for (key, value) in [
        ("", "1"),
        ("a b", "1"),
        ("a=b", "1"),
        ("a,b", "1"),
        ("\u{fc}", "1"),
        ("long", &*"v".repeat(8200)),
    ] {
        assert!(!trace.set_baggage(key, value), "{key}");
    }
    assert_eq!(trace.baggage().cloned(), before);
    // A call with this trace carries it, and any other one what came.
    for (told, expected) in [
        (Some(trace), before.unwrap()),
        (None, sent[0].1.parse().unwrap()),
    ] {
        let mut call = request(&[]);
        if let Some(told) = told {
            call.extensions.insert(told);
        }
        drop(Propagation::new().begin_call(&mut call, Some(&exchange), epoch));
        assert_eq!(shown(&call.headers, "baggage"), expected.to_str().unwrap());
    }
    let (mut empty, _) = begin(&[]);
    assert!(empty.set_baggage("a", "1"));
    assert_eq!(empty.baggage().unwrap(), "a=1");
}

#[test]
fn limits_are_options() {
    let few = Propagation::new().baggage_limits(2, 10);
    for (sent, expected) in [
        ("a=1,b=2,c=3", Some("a=1,b=2")),
        ("a=1234567,b=2", Some("a=1234567")),
        ("a=123456789,b=2", Some("b=2")),
    ] {
        let (trace, _) = begin_with(&few, &Exchange::default(), &[("baggage", sent)]);
        let kept = trace.baggage().map(|baggage| baggage.to_str().unwrap());
        assert_eq!(kept, expected, "{sent}");
    }
    let none = Propagation::new().baggage_limits(0, 0);
    let (trace, _) = begin_with(&none, &Exchange::default(), &[("baggage", "a=1")]);
    assert_eq!(trace.baggage(), None);
    let more = "x".repeat(9000);
    let large = Propagation::new().baggage_limits(500, 100_000);
    let sent = format!("a={more}");
    let (trace, _) = begin_with(&large, &Exchange::default(), &[("baggage", &sent)]);
    assert_eq!(trace.baggage().unwrap(), sent.as_str());
}
