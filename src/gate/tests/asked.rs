//! Requests in words are judged as requests of a server are.

use super::*;
use crate::policy::{Attributes, Request as InWords};

/// The words say what the gate of a server says, rule by rule.
#[test]
fn a_request_in_words_is_judged_as_one_of_a_server() {
    for target in [
        "/",
        "/a%zz",
        "/a%00",
        "/a%2fb",
        "/a\\b",
        "/x/..;/a",
        "/x/../a",
        "/[a]",
        "*",
        "http://h/a",
        "http://u@h/a",
        "http://h:/a",
        "http://other/a",
    ] {
        for method in ["GET", "get", "CONNECT", "OPTIONS"] {
            for host in ["h", "u@h", "a,b", "h:80", "a b"] {
                for header in [None, Some("chunked"), Some("gzip, chunked")] {
                    let mut head = bare(target);
                    head.method = method.parse().unwrap();
                    add(&mut head, "host", host);
                    let mut words = InWords::new().method(method, target).authority(host);
                    if let Some(value) = header {
                        add(&mut head, "transfer-encoding", value);
                        words = words.header("Transfer-Encoding", value);
                    }
                    for gate in both() {
                        let expected = in_front(gate, &mut head.clone());
                        let judged = gate.judge(&words).map(drop);
                        assert_eq!(judged, expected, "{gate:?} {words:?}");
                    }
                }
            }
        }
    }
}

/// What no type of a server can hold is refused before it is one.
#[test]
fn what_is_no_request_at_all_is_refused() {
    for (target, refusal) in [
        ("", Refusal::NotAbsolute),
        ("a b", Refusal::NotAbsolute),
        ("\\admin", Refusal::NotAbsolute),
        ("/a b", Refusal::IllegalByte),
        ("/a\0", Refusal::IllegalByte),
        ("/é", Refusal::IllegalByte),
        ("/a#f", Refusal::Fragment),
        ("http://a b/", Refusal::Host),
    ] {
        for gate in both() {
            let judged = gate.judge(&InWords::new().get(target));
            assert_eq!(judged.unwrap_err(), refusal, "{target:?}");
        }
    }
    let no_method = InWords::new().method("G T", "/");
    assert_eq!(
        Gate::istio().judge(&no_method).unwrap_err(),
        Refusal::Method
    );
    assert!(Gate::strict().judge(&InWords::tcp()).is_ok());
}

/// Policy then sees what the gate has left: no user in the host, and no header that overrides.
#[test]
fn policy_sees_what_the_gate_has_left() {
    let request = InWords::new()
        .authority("user@secret.example")
        .header("x-original-url", "/admin")
        .header("x-role", "nurse");
    let istio = Gate::istio().judge(&request).unwrap();
    assert_eq!(Attributes::authority(&istio), Some("secret.example"));
    let has = |request: &InWords, name: &str| request.any_header(name, &mut |_| true);
    assert!(has(&istio, "x-original-url") && has(&istio, "x-role"));
    let request = request.authority("secret.example");
    let strict = Gate::strict().judge(&request).unwrap();
    assert!(!has(&strict, "x-original-url") && has(&strict, "x-role"));
    // A request in words need not name a host.
    let bare = Gate::strict().judge(&InWords::new()).unwrap();
    assert_eq!(Attributes::authority(&bare), None);
}
