//! Hosts.

use http::header::HOST;

use super::*;

/// B-02. Several `Host` lines are refused, also equal ones.
#[test]
fn several_hosts_are_refused() {
    for (first, second) in [("app", "b"), ("app", "app"), ("b", "app"), ("", "app")] {
        let mut head = bare("/");
        add(&mut head, "host", first);
        add(&mut head, "Host", second);
        always(&head, Err(Refusal::SeveralHosts));
        always(&over_http_2(head), Err(Refusal::SeveralHosts));
    }
    let mut with_target = get("http://app/");
    add(&mut with_target, "host", "app");
    always(&with_target, Err(Refusal::SeveralHosts));
    always(&over_http_2(with_target), Err(Refusal::SeveralHosts));
}

/// B-03. A request names a host, in any version.
#[test]
fn a_request_names_a_host() {
    for target in ["/", "/admin?x"] {
        always(&bare(target), Err(Refusal::NoHost));
        always(&over_http_2(bare(target)), Err(Refusal::NoHost));
    }
    let mut old = bare("/");
    old.version = Version::HTTP_10;
    assert_eq!(in_front(Gate::istio(), &mut old), Err(Refusal::NoHost));
    let mut empty = bare("/");
    add(&mut empty, "host", "");
    strict(&empty, Err(Refusal::NoHost));
    always(&over_http_2(bare("http://app/")), Ok(()));
    for target in ["/", "http://app/"] {
        let mut empty = bare(target);
        add(&mut empty, "host", "");
        let named = over_http_2(empty);
        assert_eq!(
            in_front(Gate::istio(), &mut named.clone()),
            Err(Refusal::Host)
        );
        assert_eq!(
            behind(Gate::istio(), &mut named.clone()),
            Err(Refusal::Host)
        );
    }
}

/// B-05. A target names one user at most: with two, it is unclear where the host begins.
#[test]
fn a_target_with_two_users_is_refused() {
    for target in ["http://x@y@app/", "http://x:y@z@app/"] {
        always(&bare(target), Err(Refusal::Host));
        always(&over_http_2(bare(target)), Err(Refusal::Host));
    }
}

/// B-03. HTTP/1.0 is for `Istio`, or by a knob; where `Istio` refuses it, the status is Envoy's.
#[test]
fn http_1_0_is_refused_by_strict() {
    for version in [Version::HTTP_10, Version::HTTP_09] {
        let mut head = get("/");
        head.version = version;
        strict(&head, Err(Refusal::Http10));
        assert_eq!(behind(Gate::istio(), &mut head.clone()), Ok(()));
        let gate = Gate::strict().accept_http_10(true);
        assert_eq!(behind(gate, &mut head.clone()), Ok(()));
        let gate = Gate::istio().accept_http_10(false);
        assert_eq!(behind(gate, &mut head), Err(Refusal::Http10));
    }
    let status = |profile| {
        Refusal::Http10
            .reply(profile, Version::HTTP_10)
            .status()
            .as_u16()
    };
    assert_eq!(status(Profile::Istio), 426);
    assert_eq!(status(Profile::Strict), 400);
}

/// B-04. The target and `Host` name one host; in `Istio` the target wins in front of routers.
#[test]
fn the_target_and_the_header_name_one_host() {
    for (target, host) in [
        ("http://public/", "secret"),
        ("http://app:80/", "app"),
        ("http://app/", "app:80"),
        ("http://app/", "app."),
    ] {
        for over in [std::convert::identity as fn(Parts) -> Parts, over_http_2] {
            let mut head = bare(target);
            add(&mut head, "host", host);
            let head = over(head);
            strict(&head, Err(Refusal::OtherHost));
            let mut istio = head.clone();
            assert_eq!(behind(Gate::istio(), &mut istio), Err(Refusal::OtherHost));
            assert_eq!(in_front(Gate::istio(), &mut istio), Ok(()));
            let authority = head.uri.authority().unwrap().as_str();
            assert_eq!(istio.headers[HOST], authority, "{target} {host}");
        }
    }
    // In front of routers, case alone makes no second host; the application sees one spelling.
    let mut head = bare("http://app/");
    add(&mut head, "host", "APP");
    assert_eq!(in_front(Gate::strict(), &mut head), Ok(()));
    assert_eq!(head.headers[HOST], "app");
    always(&get("http://app/"), Ok(()));
}

/// B-05. `Strict` takes a name or an address with an optional port, and nothing else.
#[test]
fn odd_hosts_are_refused_by_strict() {
    for host in [
        "x@secret.com",
        "x:y@secret.com",
        "@secret.com",
        "secret.com:",
        "secret.com:80:80",
        "secret.com:http",
        "secret.com:65536",
        "a,b",
        "a b",
        "a%41",
        "a;b",
        "a*",
        "[fe80::1%25x]",
        "[::1",
        "[]",
        "::1",
        ":80",
    ] {
        let mut head = bare("/");
        add(&mut head, "host", host);
        strict(&head, Err(Refusal::Host));
        strict(&over_http_2(head), Err(Refusal::Host));
    }
    let mut beyond_ascii = bare("/");
    let value = http::HeaderValue::from_bytes("é".as_bytes()).unwrap();
    beyond_ascii.headers.insert(HOST, value);
    always(&beyond_ascii, Err(Refusal::Host));
    strict(&bare("http://x@secret.com/"), Err(Refusal::Host));
    strict(&over_http_2(bare("http://a,b/")), Err(Refusal::Host));
    for host in [
        "a.b-c",
        "A_b",
        "secret.com.",
        "a:8080",
        "10.0.0.1",
        "[::1]",
        "[::1]:80",
    ] {
        let mut head = bare("/");
        add(&mut head, "host", host);
        always(&head, Ok(()));
    }
}

/// B-05. `Istio` is literal; a user is removed where that is possible.
#[test]
fn odd_hosts_are_literal_in_istio() {
    for host in ["secret.com:", "a,b", "a*", "[fe80::1%25x]"] {
        let mut head = bare("/");
        add(&mut head, "host", host);
        assert_eq!(in_front(Gate::istio(), &mut head), Ok(()));
        assert_eq!(head.headers[HOST], host);
        assert_eq!(behind(Gate::istio(), &mut head), Ok(()));
    }
    for bad in ["a b", "a/b", "a\\b", "a\"b"] {
        let mut head = bare("/");
        add(&mut head, "host", bad);
        always(&head, Err(Refusal::Host));
    }
    let mut user = bare("/");
    add(&mut user, "host", "x@secret.com");
    let refused = Err(Refusal::Host);
    assert_eq!(behind(Gate::istio(), &mut user), refused);
    assert_eq!(
        in_front(Gate::istio(), &mut over_http_2(user.clone())),
        refused
    );
    assert_eq!(in_front(Gate::istio(), &mut user), Ok(()));
    assert_eq!(user.headers[HOST], "secret.com");
}
