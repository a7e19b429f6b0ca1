use std::time::Duration;

use super::*;
use crate::istio::traffic::FractionalPercent;
use crate::matcher::{SafeRegex, StringMatcher};

fn on_path(path: PathMatch) -> RouteMatch {
    RouteMatch {
        path,
        ..RouteMatch::all()
    }
}

fn exact(path: &str, ignore_case: bool) -> PathMatch {
    PathMatch::Exact {
        path: path.to_owned(),
        ignore_case,
    }
}

fn prefix(prefix: &str, ignore_case: bool) -> PathMatch {
    PathMatch::Prefix {
        prefix: prefix.to_owned(),
        ignore_case,
    }
}

fn segments(prefix: &str) -> PathMatch {
    PathMatch::Segments {
        prefix: prefix.to_owned(),
        ignore_case: false,
    }
}

fn regex(pattern: &str, ignore_case: bool) -> PathMatch {
    PathMatch::Regex {
        regex: SafeRegex::new(pattern).unwrap(),
        ignore_case,
    }
}

fn header(name: &str, test: HeaderTest, without: bool) -> HeaderMatch {
    HeaderMatch {
        subject: Subject::header(name),
        missing_is_empty: without && test != HeaderTest::Present,
        test,
        invert: without,
    }
}

fn is(text: &str) -> HeaderTest {
    HeaderTest::Text(StringMatcher::exact(text))
}

#[test]
fn a_path_matches_whole_by_text_by_segment_or_by_regex() {
    let table = [
        (exact("/e", false), "/e?q=1", true),
        (exact("/e", false), "/e/", false),
        (exact("/e", false), "/E", false),
        (exact("/e", true), "/E", true),
        (prefix("/pre", false), "/prefix", true),
        (prefix("/pre", false), "/pr", false),
        (prefix("/pre", true), "/PREfix", true),
        (segments("/sep"), "/sep", true),
        (segments("/sep"), "/sep/", true),
        (segments("/sep"), "/sep/x?q", true),
        (segments("/sep"), "/separate", false),
        (regex("/re/[0-9]+", false), "/re/12?x", true),
        (regex("/re/[0-9]+", false), "/re/12/x", false),
        (regex("/RECI", true), "/reci", false),
    ];
    for (path, target, expected) in table {
        let route = on_path(path);
        assert_eq!(
            eval::matches(&route, &Call::get(target)),
            expected,
            "{route:?} {target}"
        );
    }
}

#[test]
fn headers_are_judged_line_by_line() {
    let call = Call::get("http://match:80/")
        .header("x-a", "a")
        .header("x-a", "b")
        .header("x-empty", "")
        .header("x-list", "a,b");
    let present = HeaderTest::Present;
    let table = [
        (header("X-A", is("b"), false), true),
        (header("x-a", is("a,b"), false), false),
        (header("x-list", is("a"), false), false),
        (header("x-list", is("a,b"), false), true),
        (header("x-empty", present.clone(), false), true),
        (header("x-none", present.clone(), false), false),
        (header("x-none", is(""), false), false),
        (header("x-a", is("a"), true), false),
        (header("x-a", is("q"), true), true),
        (header("x-none", is("v"), true), true),
        (header("x-none", is(""), true), false),
        (header("x-none", present.clone(), true), true),
        (header("x-empty", present, true), false),
        (header(":method", is("GET"), false), true),
        (header(":method", is("get"), false), false),
        (header(":scheme", is("http"), false), true),
        (header(":authority", is("match"), false), false),
        (header("host", is("match:80"), false), true),
    ];
    for (test, expected) in table {
        let is_match = eval::header_matches(&test, &call);
        assert_eq!(is_match, expected, "{test:?}");
    }
}

#[test]
fn the_first_value_of_a_query_parameter_counts_as_it_is_sent() {
    let table = [
        ("q", is("1"), "/?q=1&q=2", true),
        ("q", is("1"), "/?q=2&q=1", false),
        ("q", is("a%20b"), "/?q=a%20b", true),
        ("q", is("a b"), "/?q=a%20b", false),
        ("q", is("1"), "/?Q=1", false),
        ("q", HeaderTest::Present, "/?q", true),
        ("q", HeaderTest::Present, "/?q=", true),
        ("q", is(""), "/?x", false),
        ("q", HeaderTest::Present, "/", false),
    ];
    for (name, test, target, expected) in table {
        let name = name.to_owned();
        let route = RouteMatch {
            query: vec![QueryMatch { name, test }],
            ..RouteMatch::all()
        };
        let call = Call::get(target);
        assert_eq!(eval::matches(&route, &call), expected, "{route:?} {target}");
    }
}

#[test]
fn only_what_tests_nothing_but_any_path_is_a_catch_all() {
    let with_header = RouteMatch {
        headers: vec![header("x", is("1"), false)],
        ..RouteMatch::all()
    };
    let table = [
        (RouteMatch::all(), true),
        (on_path(regex(".*", false)), true),
        (on_path(segments("/")), true),
        (on_path(prefix("/a", false)), false),
        (on_path(regex("/.*", false)), false),
        (on_path(exact("/", false)), false),
        (with_header, false),
    ];
    for (route, expected) in table {
        assert_eq!(route.is_catch_all(), expected, "{route:?}");
    }
}

#[test]
fn a_match_is_more_specific_by_path_method_headers_and_query() {
    let headers = |names: &[&str]| RouteMatch {
        headers: names
            .iter()
            .map(|name| header(name, is("1"), false))
            .collect(),
        ..on_path(segments("/a"))
    };
    let ascending = [
        on_path(regex("/a/very/long/regex", false)),
        on_path(prefix("/", false)),
        on_path(segments("/a")),
        headers(&["x"]),
        headers(&["x", "y"]),
        headers(&[":method"]),
        on_path(segments("/a/b")),
        on_path(exact("/", false)),
    ];
    for pair in ascending.windows(2) {
        assert!(pair[0].summary() < pair[1].summary(), "{pair:?}");
    }
}

#[test]
fn a_rewrite_replaces_what_matched_and_keeps_the_query() {
    let to = |text: &str| PathRewrite::Matched(text.to_owned());
    let replace = |pattern, substitution| {
        PathRewrite::Regex(RegexSubstitution::new(pattern, substitution).unwrap())
    };
    let table = [
        (prefix("/api", false), to("/"), "/api/x", "//x"),
        (prefix("/api", false), to("/"), "/apix", "/x"),
        (prefix("/api/", false), to("/"), "/api/x", "/x"),
        (prefix("/api", true), to("/n"), "/API/x", "/n/x"),
        (exact("/e", false), to("/x"), "/e", "/x"),
        (regex("/r.*", false), to("/x"), "/r/a/b", "/x"),
        (prefix("/", false), replace("a", "Z"), "/all/a", "/Zll/Z"),
        (
            prefix("/", false),
            replace("/(a)(.)", r"/\2\1\\"),
            "/ab/ac",
            r"/ba\/ca\",
        ),
        (segments("/p"), replace("^/p(/?)(.*)", r"/\2"), "/p", "/"),
        (segments("/p"), replace("^/p(/?)(.*)", r"/\2"), "/p/x", "/x"),
        (prefix("/", false), replace("/.*", "/new"), "/a/b", "/new"),
    ];
    for (matches, rewrite, path, expected) in table {
        assert_eq!(
            rewrite.apply(&matches, path),
            expected,
            "{rewrite:?} {path}"
        );
    }
    for (pattern, substitution) in [("(", ""), ("a", r"\1"), ("a", r"\x"), ("a", "\\")] {
        assert!(RegexSubstitution::new(pattern, substitution).is_err());
    }
}

#[test]
fn a_redirect_keeps_what_it_does_not_name() {
    let all = Redirect {
        status: 301,
        ..Redirect::default()
    };
    let path = |text: &str| Redirect {
        path: Some(RedirectPath::Whole(text.to_owned())),
        ..all.clone()
    };
    let scheme = |text: &str, port| Redirect {
        scheme: Some(text.to_owned()),
        port,
        ..all.clone()
    };
    let host = |text: &str| Redirect {
        host: Some(text.to_owned()),
        ..all.clone()
    };
    let rewritten = Redirect {
        path: Some(RedirectPath::Rewritten(PathRewrite::Matched(
            "/y".to_owned(),
        ))),
        ..all.clone()
    };
    let table = [
        (path("/n?x=1"), "http://h/a?y=2", "http://h/n?x=1"),
        (path("/n"), "http://h/a?y=2", "http://h/n?y=2"),
        (rewritten, "http://h/pfxa?q", "http://h/ya?q"),
        (host("x.test"), "http://h:8080/a", "http://x.test/a"),
        (scheme("https", None), "http://rd:8080/", "https://rd:8080/"),
        (scheme("https", None), "http://rd:80/", "https://rd/"),
        (scheme("http", None), "http://rd:80/", "http://rd:80/"),
        (
            scheme("https", Some(8443)),
            "http://rd:8080/",
            "https://rd:8443/",
        ),
        (scheme("https", None), "http://[::1]:80/", "https://[::1]/"),
        (scheme("https", None), "http://[::1]/", "https://[::1]/"),
    ];
    for (redirect, call, expected) in table {
        let matched = prefix("/pfx", false);
        let location = redirect.location(&matched, &Call::get(call));
        assert_eq!(location, expected, "{redirect:?} {call}");
    }
}

fn name(subset: &str) -> Cluster {
    Cluster::Service(ClusterName {
        port: 80,
        subset: subset.to_owned(),
        host: "a.test".to_owned(),
    })
}

fn weighted(subset: &str, weight: u32) -> WeightedCluster {
    WeightedCluster {
        cluster: name(subset),
        weight,
        request_headers: HeaderChanges::default(),
        response_headers: HeaderChanges::default(),
        host_rewrite: None,
    }
}

#[test]
fn a_draw_takes_each_cluster_by_its_share_of_the_sum() {
    let split = Split::Weighted(vec![weighted("v1", 300), weighted("v2", 100)]);
    let drawn = |random| split.draw(random).unwrap().0.to_string();
    let first = (0..400).filter(|random| drawn(*random) == "outbound|80|v1|a.test");
    assert_eq!(first.count(), 300);
    assert_eq!(drawn(299), "outbound|80|v1|a.test");
    assert_eq!(drawn(u64::MAX), drawn(u64::MAX % 400));
    assert!(Split::Weighted(vec![]).draw(1).is_none());
    assert!(Split::Weighted(vec![weighted("v1", 0)]).draw(1).is_none());
    let one = Split::One(name(""));
    assert_eq!(one.draw(7).unwrap().0.to_string(), "outbound|80||a.test");
}

#[test]
fn integers_among_retry_conditions_are_status_codes() {
    let mut policy = RetryPolicy::standard();
    assert!(policy.conditions.contains(Condition::Unavailable));
    assert!(!policy.conditions.contains(Condition::FiveXx));
    let table: [(&[&str], &str, &[u16]); 4] = [
        (&["503"], ",retriable-status-codes", &[503]),
        (&["5xx"], "5xx", &[]),
        (
            &["reset", "500", "501"],
            "reset,retriable-status-codes",
            &[500, 501],
        ),
        (
            &["retriable-status-codes", "503"],
            "retriable-status-codes",
            &[503],
        ),
    ];
    for (tokens, retry_on, codes) in table {
        policy.set_conditions(tokens.iter().copied());
        assert_eq!(policy.retry_on, retry_on);
        assert_eq!(policy.status_codes, codes);
        let has_codes = policy.conditions.contains(Condition::RetriableStatusCodes);
        assert_eq!(has_codes, !codes.is_empty());
    }
}

#[test]
fn faults_draw_by_themselves_and_never_at_nothing() {
    let share = FractionalPercent::from_millionths;
    let fault = Fault {
        delay: Some((Duration::from_secs(5), share(1))),
        abort: Some((Abort::Http(555), share(0))),
    };
    assert_eq!(fault.delay(0), Some(Duration::from_secs(5)));
    assert_eq!(fault.delay(1_000_000), Some(Duration::from_secs(5)));
    assert_eq!(fault.delay(1), None);
    assert!((0..1_000_000).all(|random| fault.abort(random).is_none()));
    assert!((0..1_000).all(|random| holds(FractionalPercent::ALL, random * 1_234_567)));
}

#[test]
fn removals_come_before_values_whatever_they_name() {
    #[derive(Default)]
    struct Lines(Vec<(String, String)>);
    impl HeaderEdit for Lines {
        fn remove(&mut self, name: &str) {
            self.0.retain(|(of_line, _)| of_line != name);
        }

        fn set(&mut self, name: &str, value: &str) {
            self.remove(name);
            self.add(name, value);
        }

        fn add(&mut self, name: &str, value: &str) {
            self.0.push((name.to_owned(), value.to_owned()));
        }
    }
    let add = |name: &str, value: &str, overwrite| HeaderAdd {
        name: name.to_owned(),
        value: value.to_owned(),
        overwrite,
    };
    let mut changes = HeaderChanges {
        remove: vec!["z".to_owned()],
        add: vec![add("d", "route", false)],
    };
    changes.extend(HeaderChanges {
        remove: vec!["gone".to_owned()],
        add: vec![add("z", "dest", true), add("d", "dest", false)],
    });
    let mut lines = Lines::default();
    lines.add("z", "call");
    lines.add("gone", "call");
    changes.apply(&mut lines);
    let line = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        lines.0,
        [line("d", "route"), line("z", "dest"), line("d", "dest")]
    );
}

#[test]
fn the_shorter_of_route_and_grpc_timeout_counts() {
    let seconds = |text: Option<u64>| text.map(Duration::from_secs);
    let table = [
        (None, None, None),
        (Some(1), None, Some(1)),
        (Some(1), Some(5), Some(1)),
        (Some(5), Some(1), Some(1)),
        (None, Some(1), Some(1)),
        (Some(0), Some(1), Some(1)),
        (Some(1), Some(0), Some(1)),
    ];
    for (route, grpc, expected) in table {
        let limit = overall_timeout(seconds(route), seconds(grpc));
        assert_eq!(limit, seconds(expected));
    }
}
