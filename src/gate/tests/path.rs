//! Paths.

use std::borrow::Cow;

use http::uri::PathAndQuery;
use proptest::prelude::*;

use super::*;
use crate::gate::path;
use crate::matcher::path::{Normalization, is_settled, normalize};

/// B-07. A fragment is cut off before anything can see it: the gate judges the rest, which is what
/// the application gets.
#[test]
fn a_fragment_is_cut_off_the_target() {
    for (target, seen) in [
        ("/admin#f", "/admin"),
        ("/#/../admin", "/"),
        ("/a?b#c?d", "/a?b"),
    ] {
        let mut head = get(target);
        always(&head, Ok(()));
        assert_eq!(in_front(Gate::strict(), &mut head), Ok(()));
        assert_eq!(head.uri, seen);
    }
}

/// B-08. A NUL and bad escapes are refused; an escape is decoded once at most.
#[test]
fn bad_escapes_are_refused() {
    for target in [
        "/admin%00",
        "/%00",
        "/a%zz",
        "/a%",
        "/a%2",
        "/a%2/b",
        "/%g0",
        "/%%41",
        "/a%?x",
    ] {
        always(&get(target), Err(Refusal::Escape));
    }
    for literal in [
        "/ad%c0%afmin",
        "/x/%252e%252e/admin",
        "/%2561dmin",
        "/a%2500",
        "/%e4%bd%a0",
    ] {
        let mut head = get(literal);
        always(&head, Ok(()));
        assert_eq!(in_front(Gate::istio(), &mut head), Ok(()));
        assert_eq!(head.uri, literal);
    }
    always(&get("/?a=%00&b=%"), Ok(()));
}

/// B-09. Slashes in disguise are refused by `Strict`; `Istio` does what Envoy does.
#[test]
fn slashes_in_disguise_are_refused_by_strict() {
    for target in [
        "/%2fadmin",
        "/admin%2F",
        "/p/..%2fadmin",
        "/%5cadmin",
        "/a%5C..%5cb",
    ] {
        let mut head = get(target);
        strict(&head, Err(Refusal::EscapedSlash));
        let kept = Gate::strict().keep_escaped_slashes(true);
        assert_eq!(behind(kept, &mut head.clone()), Ok(()), "{target}");
        assert_eq!(in_front(Gate::istio(), &mut head), Ok(()), "{target}");
        assert_eq!(head.uri, target);
    }
    for (target, becomes) in [
        ("/\\admin", "//admin"),
        ("/a\\b", "/a/b"),
        ("/a\\..\\b", "/b"),
    ] {
        let mut head = get(target);
        strict(&head, Err(Refusal::Backslash));
        let refused = Err(Refusal::OtherSegments);
        assert_eq!(
            behind(Gate::istio(), &mut head.clone()),
            refused,
            "{target}"
        );
        assert_eq!(in_front(Gate::istio(), &mut head), Ok(()), "{target}");
        assert_eq!(head.uri, becomes);
    }
}

/// B-10. Dot segments with parameters are refused by `Strict`, also with escaped dots.
#[test]
fn dot_segments_with_parameters_are_refused_by_strict() {
    for target in [
        "/x/..;/admin",
        "/.;/admin",
        "/..;x=1/admin",
        "/x/.;a",
        "/x/%2e%2e;/admin",
        "/x/.%2E;/admin",
        "/%2e;/admin",
        "/x/..%3b;/admin",
        "/x/..%3b/admin",
        "/%2e%3Bx/admin",
    ] {
        strict(&get(target), Err(Refusal::DotParameter));
    }
    let kept = Gate::strict().keep_escaped_slashes(true);
    let mut head = get("/x%2f..;/admin");
    assert_eq!(behind(kept, &mut head), Err(Refusal::DotParameter));
    let mut folded = get("/x/..;/admin");
    assert_eq!(in_front(Gate::istio(), &mut folded), Ok(()));
    assert_eq!(folded.uri, "/admin");
    for kept in ["/admin;x=1", "/;x/admin", "/...;/a", "/a..;/b", "/?..;/"] {
        always(&get(kept), Ok(()));
    }
}

/// B-11. Bytes that RFC 3986 does not allow are refused in a path.
#[test]
fn raw_bytes_outside_of_the_rfc_are_refused() {
    let mut seen = 0;
    for target in [
        "/a\"b",
        "/a{b",
        "/a}b",
        "/a|b",
        "/a^b",
        "/a[b",
        "/a]b",
        "/é",
        "/\u{1f600}",
    ] {
        // What the type of targets refuses reaches no layer.
        let Ok(path) = target.parse::<PathAndQuery>() else {
            continue;
        };
        let mut head = get("/");
        head.uri = Uri::from(path);
        always(&head, Err(Refusal::IllegalByte));
        seen += 1;
    }
    assert!(seen > 5, "{seen}");
    for byte in (0..=0x20).chain(0x7f..=0xff) {
        let target = [b"/a".as_slice(), &[byte], b"b"].concat();
        if let Ok(path) = PathAndQuery::try_from(target.as_slice()) {
            let mut head = get("/");
            head.uri = Uri::from(path);
            always(&head, Err(Refusal::IllegalByte));
        }
    }
}

/// B-30. Behind a router nothing may change that a router has read as other segments; in front of
/// one the request is rewritten.
#[test]
fn behind_a_router_no_segment_changes() {
    for (target, becomes) in [
        ("/x/../admin", "/admin"),
        ("/x/%2e%2e/admin", "/admin"),
        ("/x/.%2E/admin", "/admin"),
        ("/./admin", "/admin"),
        ("/admin/.", "/admin/"),
        ("/../admin?a=/../", "/admin?a=/../"),
    ] {
        for gate in both() {
            let mut head = get(target);
            assert_eq!(
                behind(gate, &mut head),
                Err(Refusal::OtherSegments),
                "{target}"
            );
            assert_eq!(head.uri, target);
            assert_eq!(in_front(gate, &mut head), Ok(()), "{target}");
            assert_eq!(head.uri, becomes);
        }
    }
    let merging = Gate::strict().normalization(Normalization::MergeSlashes);
    let refused = Err(Refusal::OtherSegments);
    assert_eq!(behind(merging, &mut get("//admin")), refused);
    always(&get("//admin"), Ok(()));
    // Escapes of single characters make no other segments.
    for gate in both() {
        let mut head = get("/%61dmi%6E");
        assert_eq!(behind(gate, &mut head), Ok(()));
        assert_eq!(head.uri, "/%61dmi%6E");
        assert_eq!(in_front(gate, &mut head), Ok(()));
        assert_eq!(head.uri, "/admin");
    }
}

/// B-31. Inside nested routers the whole path is judged, not what a router has left of it.
#[test]
fn the_whole_path_is_judged() {
    for gate in both() {
        let mut head = get("/api%zz/admin");
        let exchange = Exchange::from_request(&mut head);
        head.uri = "/admin".parse().unwrap();
        for rewrites in [true, false] {
            let arrival = Arrival {
                in_front: rewrites,
                wants_host: true,
                keeps_client_cert: false,
            };
            let verdict = judge(gate, &mut head.clone(), &exchange, arrival);
            assert_eq!(verdict, Err(Refusal::Escape));
        }
    }
}

proptest! {
    /// What the gate takes for settled at a glance passes the longer look, unchanged.
    #[test]
    fn a_settled_target_passes_every_look(target in "/[a./;%2\\[\\]\\\\?#'{é]{0,6}") {
        for how in [
            Normalization::None,
            Normalization::Base,
            Normalization::MergeSlashes,
            Normalization::DecodeAndMergeSlashes,
        ] {
            if is_settled(&target, how) {
                let raw = target.split('?').next().unwrap();
                for gate in both() {
                    prop_assert_eq!(path::check(gate, raw), Ok(()));
                }
                prop_assert_eq!(normalize(&target, how), Ok(Cow::Borrowed(&*target)));
            }
        }
    }
}
