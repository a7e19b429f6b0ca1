//! Headers, and the bounds of a request.

use http::HeaderName;

use super::*;

/// B-13. The only transfer encoding is `chunked`, once.
#[test]
fn a_transfer_encoding_is_chunked_and_nothing_else() {
    for encoding in [
        "gzip, chunked",
        "chunked, chunked",
        "chunked,",
        "identity",
        "gzip",
        "xchunked",
        "chunked;q=1",
        "\"chunked\"",
        "",
    ] {
        let mut head = get("/");
        add(&mut head, "transfer-encoding", encoding);
        always(&head, Err(Refusal::TransferEncoding));
    }
    let mut twice = get("/");
    add(&mut twice, "transfer-encoding", "chunked");
    add(&mut twice, "Transfer-Encoding", "chunked");
    always(&twice, Err(Refusal::TransferEncoding));
    for encoding in ["chunked", "Chunked", "CHUNKED", " chunked\t"] {
        let mut head = get("/");
        add(&mut head, "transfer-encoding", encoding);
        always(&head, Ok(()));
    }
}

/// B-15. A request has at most 100 headers, counted by lines.
#[test]
fn more_than_a_hundred_headers_are_refused() {
    let mut same = get("/");
    (1..100).for_each(|_| add(&mut same, "x-a", "b"));
    let mut different = get("/");
    for index in 1..100 {
        let name: HeaderName = format!("x-{index}").parse().unwrap();
        different.headers.insert(name, "b".parse().unwrap());
    }
    for mut head in [same, different] {
        assert_eq!(head.headers.len(), 100);
        always(&head, Ok(()));
        add(&mut head, "x-a", "b");
        always(&head, Err(Refusal::TooManyHeaders));
    }
}

/// B-15. Over HTTP/2, pseudo-headers count as headers.
#[test]
fn pseudo_headers_count_as_headers() {
    let mut head = over_http_2(bare("http://app/"));
    (0..96).for_each(|_| add(&mut head, "x-a", "b"));
    always(&head, Ok(()));
    add(&mut head, "x-a", "b");
    always(&head, Err(Refusal::TooManyHeaders));
}

/// B-15. Names and values of headers have at most 60 KiB together.
#[test]
fn more_than_60_kib_of_headers_are_refused() {
    for lines in [1, 2, 64] {
        let mut head = get("/");
        let mut left = 60 * 1024 - "hostapp".len();
        for line in 1..=lines {
            let size = left / (lines + 1 - line);
            left -= size;
            add(&mut head, "x-a", &"b".repeat(size - "x-a".len()));
        }
        always(&head, Ok(()));
        head.headers.insert("host", "app2".parse().unwrap());
        always(&head, Err(Refusal::HeadersTooLarge));
    }
}

/// B-15. A target has at most 8 KiB, wherever its bytes are.
#[test]
fn a_target_of_more_than_8_kib_is_refused() {
    const LONGEST: usize = 8 * 1024;
    for (start, origin) in [("/", ""), ("/?", ""), ("/a?b=", ""), ("/", "http://app")] {
        let authority = if origin.is_empty() { 0 } else { "app".len() };
        let full = "a".repeat(LONGEST - start.len() - authority);
        always(&get(&format!("{origin}{start}{full}")), Ok(()));
        let refused = Err(Refusal::TargetTooLong);
        always(&get(&format!("{origin}{start}{full}a")), refused);
    }
}

/// H-17. A `connection` that names the host wants the target's host removed.
#[test]
fn a_connection_may_not_name_the_host() {
    for connection in ["host", "close, Host"] {
        let mut head = get("/");
        add(&mut head, "connection", connection);
        always(&head, Err(Refusal::ConnectionHeader));
    }
}

/// B-37. Headers by which frameworks take another method or path are removed by `Strict`.
#[test]
fn strict_removes_headers_that_override_the_method_or_the_path() {
    for name in [
        "X-HTTP-Method-Override",
        "x-http-method",
        "X-Method-Override",
        "X-Original-URL",
        "x-rewrite-url",
    ] {
        let name: HeaderName = name.parse().unwrap();
        let mut head = get("/");
        for value in ["DELETE", "/admin"] {
            head.headers.append(&name, value.parse().unwrap());
        }
        add(&mut head, "x-original-host", "kept");
        let mut istio = head.clone();
        assert_eq!(behind(Gate::istio(), &mut istio), Ok(()));
        assert_eq!(istio.headers, head.headers);
        assert_eq!(behind(Gate::strict(), &mut head), Ok(()));
        assert!(!head.headers.contains_key(&name));
        assert_eq!(head.headers["x-original-host"], "kept");
        assert_eq!(head.headers.len(), 2);
    }
}

/// H-17. What is left of `connection` names no header that a guard may set later.
#[test]
fn a_connection_keeps_only_its_options() {
    for (sent, left) in [
        ("close", Some("close")),
        ("x-role, Upgrade", Some("upgrade")),
        ("x-role", None),
        ("keep-alive,x-role,close", Some("keep-alive, close")),
    ] {
        let mut head = get("/");
        add(&mut head, "connection", sent);
        add(&mut head, "x-role", "admin");
        let named = sent.contains("x-role");
        assert_eq!(behind(Gate::strict(), &mut head), Ok(()));
        assert_eq!(head.headers.contains_key("x-role"), !named, "{sent}");
        let connection = head.headers.get("connection");
        let connection = connection.map(|line| line.to_str().unwrap());
        assert_eq!(connection, left, "{sent}");
    }
}

/// H-09, H-17. A gate alone leaves the header by which a mesh behind it may learn its caller.
#[test]
fn a_connection_cannot_take_the_caller_away() {
    for (keeps_client_cert, is_left) in [(true, true), (false, false)] {
        let mut head = get("/");
        add(&mut head, "connection", "x-forwarded-client-cert");
        add(&mut head, "x-forwarded-client-cert", "By=a;URI=b");
        let exchange = Exchange::from_request(&mut head);
        let arrival = Arrival {
            in_front: false,
            wants_host: true,
            keeps_client_cert,
        };
        assert_eq!(
            judge(Gate::strict(), &mut head, &exchange, arrival),
            Ok(None)
        );
        assert_eq!(
            head.headers.contains_key("x-forwarded-client-cert"),
            is_left
        );
    }
}
