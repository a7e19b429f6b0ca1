//! Methods.

use http::Method;

use super::*;

/// B-01. A method in lower-case letters is another method for policy, and the same one for some
/// applications.
#[test]
fn a_method_has_no_lower_case_letters() {
    for method in ["get", "Get", "gET", "GEt", "post", "propfind", "x"] {
        let mut head = get("/");
        head.method = Method::from_bytes(method.as_bytes()).unwrap();
        always(&head, Err(Refusal::Method));
        always(&over_http_2(head), Err(Refusal::Method));
    }
    for method in [
        "GET", "HEAD", "PATCH", "PROPFIND", "M-SEARCH", "X", "QUERY1",
    ] {
        let mut head = get("/");
        head.method = Method::from_bytes(method.as_bytes()).unwrap();
        always(&head, Ok(()));
    }
}

/// B-06. A path begins with `/`; only OPTIONS asks about the whole server.
#[test]
fn a_path_is_absolute_or_the_asterisk_of_options() {
    always(&get("admin"), Err(Refusal::NotAbsolute));
    always(&get("app:80"), Err(Refusal::NotAbsolute));
    for method in [Method::GET, Method::POST, Method::HEAD, Method::OPTIONS] {
        let mut head = get("*");
        head.method = method.clone();
        let is_legal = method == Method::OPTIONS;
        always(
            &head,
            if is_legal {
                Ok(())
            } else {
                Err(Refusal::NotAbsolute)
            },
        );
    }
    let mut two = get("*");
    two.method = Method::OPTIONS;
    add(&mut two, "host", "b");
    always(&two, Err(Refusal::SeveralHosts));
}

/// B-06. CONNECT is refused in every form.
#[test]
fn connect_is_refused() {
    for target in ["app:443", "/", "*", "http://app/x"] {
        let mut head = get(target);
        head.method = Method::CONNECT;
        always(&head, Err(Refusal::Connect));
        always(&over_http_2(head), Err(Refusal::Connect));
    }
}
