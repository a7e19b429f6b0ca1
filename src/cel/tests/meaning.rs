use super::{answer, full, names_only, plain};
use crate::cel::pattern::Pattern;
use crate::cel::{EvaluationError, Expression};

#[test]
fn every_attribute_has_its_value() {
    let request = full();
    for text in [
        "request.method == 'POST'",
        "request.path == '/charts/7?ward=3&x=a#part'",
        "request.url_path == '/charts/7'",
        "request.query == 'ward=3&x=a'",
        "request.host == 'charts.default:8080'",
        "request.scheme == 'https'",
        "request.headers['x-ward'] == '3'",
        "request.headers['X-Ward'] == '3'",
        "request.headers['x-list'] == 'a,b'",
        "request.headers[':method'] == 'POST'",
        "request.headers['host'] == 'charts.default:8080'",
        "request.headers[':authority'] == request.host",
        "request.useragent == 'curl'",
        "!has(request.referer)",
        "request.id == request.headers['x-request-id']",
        "source.ip == '10.0.0.1'",
        "source.principal == 'cluster.local/ns/web/sa/portal'",
        "source.namespace == 'web'",
        "source.service_account == 'portal'",
        "source.trust_domain == 'cluster.local'",
        "remote.ip == '203.0.113.9'",
        "destination.ip == '10.0.0.2'",
        "destination.port == 8080",
        "destination.address == '10.0.0.2:8080'",
        "connection.mtls",
        "connection.sni == 'charts.default'",
        "connection.requested_server_name == connection.sni",
        "connection.uri_san_peer_certificate == 'spiffe://cluster.local/ns/web/sa/portal'",
        "!has(connection.dns_san_peer_certificate)",
        "!has(connection.subject_peer_certificate)",
        "auth.principal == 'clinic/ada'",
        "auth.presenter == 'portal'",
        "auth.audiences == ['charts']",
        "'charts' in auth.audiences",
        "auth.claims.sub == 'ada'",
        "auth.claims['sub'] == 'ada'",
        "request.auth.claims.sub == auth.claims.sub",
        "request.auth.principal == auth.principal",
        "auth.claims.address.city == 'Bern'",
        "auth.claims['address']['zip'] == 3000",
        "auth.claims.groups == ['doctor', 'night']",
        "auth.claims.address == {'city': 'Bern', 'zip': 3000, 'tags': ['a']}",
        "auth.claims.groups[1] == 'night'",
        "auth.claims.none == null",
        "auth.claims.is_staff",
    ] {
        assert_eq!(answer(text, &request), Ok(true), "{text}");
    }
    for text in [
        "connection.uri_san_peer_certificate == 'https://a.example'",
        "connection.dns_san_peer_certificate == 'a.example'",
        "connection.subject_peer_certificate == 'CN=a'",
        "connection.mtls && !has(source.principal) && !has(source.namespace)",
    ] {
        assert_eq!(answer(text, &names_only()), Ok(true), "{text}");
    }
}

#[test]
fn an_absent_attribute_is_an_error_and_says_its_name() {
    for (text, name) in [
        (
            "request.headers['x-ward'] == '3'",
            "request.headers['x-ward']",
        ),
        (
            "request.headers['x-ward'] != '3'",
            "request.headers['x-ward']",
        ),
        (
            "!(request.headers['x-ward'] == '3')",
            "request.headers['x-ward']",
        ),
        (
            "request.headers['x-ward'] in ['3']",
            "request.headers['x-ward']",
        ),
        (
            "!request.headers['x-ward'].startsWith('3')",
            "request.headers['x-ward']",
        ),
        ("source.principal != 'a'", "source.principal"),
        ("auth.claims.sub != 'a'", "auth.claims[\"sub\"]"),
        ("has(auth.claims.sub)", "auth.claims[\"sub\"]"),
        ("!has(auth.claims.sub)", "auth.claims[\"sub\"]"),
        ("'sub' in auth.claims", "auth.claims"),
        ("size(auth.claims) == 0", "auth.claims"),
        ("auth.principal != 'a'", "auth.principal"),
        ("!('a' in auth.audiences)", "auth.audiences"),
        ("auth.audiences.all(x, x == 'a')", "auth.audiences"),
        ("'a' + source.principal != 'a'", "source.principal"),
    ] {
        let absent = EvaluationError::Absent(name.to_owned());
        assert_eq!(answer(text, &plain()), Err(absent), "{text}");
    }
    assert_eq!(answer("has(auth.claims)", &plain()), Ok(false));
    assert_eq!(
        answer("has(auth.claims) && has(auth.claims.sub)", &plain()),
        Ok(false)
    );
    assert_eq!(answer("has(auth.claims.nothing)", &full()), Ok(false));
}

#[test]
fn logic_absorbs_errors_as_cel_does() {
    const ERROR: &str = "request.headers['none'] == 'a'";
    for (text, expected) in [
        ("E || true", Some(true)),
        ("true || E", Some(true)),
        ("E || false", None),
        ("false || E", None),
        ("E && false", Some(false)),
        ("false && E", Some(false)),
        ("E && true", None),
        ("E && E", None),
        ("E || E", None),
        ("!(E)", None),
        ("E || E || true", Some(true)),
        ("(E || true) && (false || E)", None),
        ("E ? true : true", None),
        ("true ? true : E", Some(true)),
        ("false ? E : false", Some(false)),
        ("auth.claims.sub || true", Some(true)),
        ("auth.claims.sub && false", Some(false)),
        ("auth.claims.sub && true", None),
        ("!auth.claims.sub", None),
        (
            "auth.claims.groups.exists(g, auth.claims[g] == 1 || g == 'night')",
            Some(true),
        ),
        ("auth.claims.groups.exists(g, auth.claims[g] == 1)", None),
        (
            "auth.claims.groups.all(g, auth.claims[g] == 1 && g == 'day')",
            Some(false),
        ),
    ] {
        let text = text.replace('E', &format!("({ERROR})"));
        assert_eq!(answer(&text, &full()).ok(), expected, "{text}");
    }
}

#[test]
fn comparisons_are_those_of_cel() {
    for (text, expected) in [
        // Values of different types differ, and have no order.
        ("auth.claims.sub == 1", Some(false)),
        ("auth.claims.sub != 1", Some(true)),
        ("auth.claims.level == '3'", Some(false)),
        ("auth.claims.sub < 1", None),
        ("auth.claims.none < 1", None),
        ("auth.claims.groups < 'a'", None),
        // Numbers compare by value.
        ("auth.claims.level == 3", Some(true)),
        ("auth.claims.level == 3u", Some(true)),
        ("auth.claims.level == 3.0", Some(true)),
        (
            "auth.claims.level >= 3 && auth.claims.level < 3.5",
            Some(true),
        ),
        ("auth.claims.ratio < 1", Some(true)),
        ("auth.claims.huge > 9223372036854775807", Some(true)),
        ("auth.claims.huge == 18446744073709551615u", Some(true)),
        ("auth.claims.level > -1", Some(true)),
        ("destination.port in [80, 8080.0]", Some(true)),
        ("auth.claims.level in ['3', 3u]", Some(true)),
        // Texts compare byte by byte, without folding.
        ("request.method == 'post'", Some(false)),
        ("request.method < 'PUT'", Some(true)),
        ("'e\\u0301' == '\\u00e9'", Some(false)),
        (
            "request.method.startsWith('') && request.method.contains('OS')",
            Some(true),
        ),
        ("request.method.endsWith('T')", Some(true)),
        (
            "size(request.method) == 4 && request.method.size() > 3",
            Some(true),
        ),
        ("size('é') == 1", Some(true)),
        ("size(auth.claims.groups) == 2", Some(true)),
        ("size(auth.claims.level) == 2", None),
        // Presence.
        ("has(auth.claims.address.city)", Some(true)),
        ("has(auth.claims.address.street)", Some(false)),
        ("has(auth.claims.street.city)", None),
        ("has(auth.claims.sub.city)", None),
        ("auth.claims.sub.city == 'a'", None),
        (
            "'x-ward' in request.headers && 'x-raw' in request.headers",
            Some(true),
        ),
        ("'x-none' in request.headers", Some(false)),
        // Members.
        ("'doctor' in auth.claims.groups", Some(true)),
        ("'city' in auth.claims.address", Some(true)),
        ("1 in auth.claims.address", Some(false)),
        ("null in auth.claims.address", None),
        ("'d' in auth.claims.sub", None),
        ("'a' in auth.claims.none", None),
        ("3 in [1, 2, auth.claims.level]", Some(true)),
        ("request.method in []", Some(false)),
        // Types that are known only with a request.
        ("auth.claims.level", None),
        ("auth.claims.is_staff == true", Some(true)),
        ("auth.claims.level ? true : false", None),
        ("true ? auth.claims.level : true", None),
        // Arithmetic and conversions.
        (
            "auth.claims.level + 1 == 4 && auth.claims.level % 2 == 1",
            Some(true),
        ),
        ("auth.claims.level / 0 == 1", None),
        ("9223372036854775807 + auth.claims.level > 0", None),
        ("int(request.headers['x-ward']) == 3", Some(true)),
        ("int(request.method) == 3", None),
        ("auth.claims.groups[2] == 'a'", None),
        ("'/charts/' + '7' == request.url_path", Some(true)),
        // Macros.
        (
            "auth.claims.groups.exists(g, g.startsWith('doc'))",
            Some(true),
        ),
        (
            "auth.claims.groups.exists_one(g, g.matches('^(night|day)$'))",
            Some(true),
        ),
        (
            "auth.claims.groups.map(g, g + '!') == ['doctor!', 'night!']",
            Some(true),
        ),
        (
            "size(auth.claims.groups.filter(g, g == request.method)) == 0",
            Some(true),
        ),
        ("auth.claims.sub.all(x, true)", None),
        ("auth.claims.address.exists(key, key == 'city')", Some(true)),
        ("[1, 2].all(x, x < auth.claims.level)", Some(true)),
    ] {
        assert_eq!(answer(text, &full()).ok(), expected, "{text}");
    }
}

#[test]
fn patterns_match_anywhere() {
    for (text, expected) in [
        ("request.url_path.matches('chart')", true),
        ("request.url_path.matches('^/charts/[0-9]+$')", true),
        ("matches(request.url_path, '^chart')", false),
        ("request.url_path.matches('(?i)CHARTS')", true),
        ("request.url_path.matches('')", true),
    ] {
        assert_eq!(answer(text, &full()), Ok(expected), "{text}");
    }
}

/// What RE2 finds, where the crate `regex` alone would find another thing.
#[test]
fn patterns_are_those_of_re2() {
    for (pattern, text, expected) in [
        (r"^\d$", "7", true),
        (r"^\d$", "\u{667}", false),
        (r"^\w$", "\u{e9}", false),
        (r"^\W$", "\u{e9}", true),
        (r"^[\w-]+$", "a-b", true),
        (r"^[\w-]+$", "a\u{e9}", false),
        (r"^[^\d]$", "\u{667}", true),
        (r"^[\D]$", "7", false),
        (r"^[\D]$", "\u{667}", true),
        (r"^\s$", "\u{a0}", false),
        (r"^[\s]$", " ", true),
        (r"a\b", "a\u{e9}", true),
        (r"\Ba", "\u{e9}a", false),
        (r"^\<a\>$", "<a>", true),
        (r"^[a&&b]+$", "a&b", true),
        (r"^[a~~b]+$", "~", true),
        (r"^[[a]+$", "[a", true),
        (r"^[]a]+$", "]a", true),
        (r"^[^]a]$", "]", false),
        (r"^[[:digit:]x]+$", "7x", true),
        (r"^[[:digit:]x]\d$", "x7", true),
        (r"^[\]a]\d$", "]7", true),
        (r"^\\d$", "\\d", true),
        (r"^[^^]\d$", "a0-9", false),
        (r"^[^^]\d$", "a1", true),
        (r"^[^^]\d$", "^1", false),
        (r"^[a^]+$", "a^", true),
        (r"^[\w-z]+$", "a-", true),
        (r"^[\w-z]+$", "`", false),
        (r"^[\s-z]$", "A", false),
        (r"^[-\w]+$", "-a", true),
        (r"^[+-]+$", "+-", true),
        (r"^[+-]$", ",", false),
        (r"^[[:x]]$", ":]", true),
        (r"^[A-[]$", "[", true),
        (r"^[[:^digit:]]$", "7", false),
        (r"(?i)^\w$", "\u{212a}", false),
        (r"(?i)^k$", "\u{212a}", true),
        (r"^a{0,2}$", "aa", true),
        (r"^.$", "\u{e9}", true),
        (r"^.$", "\n", false),
        (r"^a$", "a\n", false),
    ] {
        let rule = format!("request.headers['x-a'].matches(r'{pattern}')");
        let found = Pattern::new(pattern).unwrap().matches(text);
        assert_eq!(found, expected, "{pattern} in {text:?}");
        assert!(Expression::compile(&rule).is_ok(), "{rule}");
    }
    for pattern in [
        "[+--]",
        "[--/]",
        "[a-z--m]",
        r"[A-\w]",
        "[A-[:digit:]]",
        "a{,2}",
        r"\Qa\E",
        "(?<=a)b",
        r"(a)\1",
        "[",
        r"a\",
    ] {
        assert!(Pattern::new(pattern).is_err(), "{pattern}");
    }
}

#[test]
fn a_header_that_is_no_text_equals_nothing() {
    for text in [
        "request.headers['x-raw'] == '!'",
        "request.headers['x-raw'] != 'a'",
        "request.headers['x-raw'] == '\\ufffd\\ufffd'",
        "request.headers['x-raw'].matches('.*')",
        "size(request.headers['x-raw']) > 0",
        "'a' + request.headers['x-raw'] != 'a'",
    ] {
        let name = "request.headers['x-raw']".to_owned();
        assert_eq!(
            answer(text, &full()),
            Err(EvaluationError::NotText(name)),
            "{text}"
        );
    }
}

#[test]
fn reasons_hold_no_values_of_the_request() {
    let secret = plain().header("x-key", "s3cret").claim("key", "s3cret");
    for text in [
        "request.headers['x-key'] + 1 == 2 || int(request.headers['x-key']) == 1",
        "int(auth.claims.key) == 1",
        "auth.claims.key < 1",
        "auth.claims.key - 1 == 1",
        "{'a': 1}[auth.claims.key] == 1",
        "auth.claims.key[0] == 'a'",
        "-auth.claims.key == 1",
        "auth.claims[auth.claims.key] == 1",
        "auth.claims.key ? true : false",
        "[1][auth.claims.key] == 1",
        "auth.claims.key.all(x, true)",
    ] {
        let Ok(rule) = Expression::compile(text) else {
            continue;
        };
        let error = rule.evaluate(&secret).unwrap_err();
        assert!(
            !format!("{error} {error:?}").contains("s3cret"),
            "{text}: {error}"
        );
    }
}

#[test]
fn a_rule_says_what_it_needs() {
    for (text, is_interpreted, reads_claims) in [
        ("request.method == 'GET'", false, false),
        (
            "request.method == 'GET' && !('a' in auth.claims.groups)",
            false,
            true,
        ),
        (
            "auth.principal in ['a/b'] ? true : has(auth.claims)",
            false,
            true,
        ),
        ("request.method + 'a' == 'b'", true, false),
        (
            "request.method == 'GET' || auth.claims.groups.exists(g, g == 'a')",
            true,
            true,
        ),
    ] {
        let rule = Expression::compile(text).unwrap();
        assert_eq!(rule.is_interpreted(), is_interpreted, "{text}");
        assert_eq!(rule.reads_claims(), reads_claims, "{text}");
        assert_eq!(rule.to_string(), text);
    }
}

#[test]
fn constants_are_folded_and_what_a_request_decides_is_none() {
    let constant = |text: &str| Expression::compile(text).unwrap().constant();
    for text in [
        "true",
        "1 == 1",
        "!(false)",
        "request.path == '/' || true",
        "'a'.startsWith('a') && 2 > 1 && 'ab'.matches('^a')",
        "'a' in ['a', 'b'] && size('ab') == 2",
        "false ? connection.mtls : true",
        "1 + 1 == 2",
        "has(request.headers)",
    ] {
        assert_eq!(constant(text), Some(true), "{text}");
        assert_eq!(answer(text, &plain()), Ok(true), "{text}");
    }
    for text in [
        "false",
        "1 == 2",
        "!(true || connection.mtls)",
        "request.headers['x-ward'] == '3' && false",
        "[1, 2].exists(x, x == 3)",
    ] {
        assert_eq!(constant(text), Some(false), "{text}");
        assert_eq!(answer(text, &plain()), Ok(false), "{text}");
    }
    for text in [
        "connection.mtls",
        "connection.mtls && true",
        "connection.mtls || false",
        "connection.mtls ? true : true",
        "request.path == request.path",
        "[1, 2].exists(x, x == size(request.path))",
    ] {
        assert_eq!(constant(text), None, "{text}");
    }
}
