//! control-plane.md §7.2: the HTTP provider.

use super::authorizer::Answer;
use super::row::{FORBIDDEN, GATE, Row, http, row};
use crate::stub::Call;

fn get() -> Call {
    Call::get("/case/@?a=1&b=2").with("x-one", "1")
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = questions();
    rows.extend(answers());
    rows.extend(lists());
    rows.extend(failed());
    rows
}

fn questions() -> Vec<Row> {
    let yes = || http(200, &[], "");
    let ask = |name, call| row(name, "http", call, yes());
    let post = |body: &str| Call::post("/case/@", body);
    let many = || {
        get()
            .with("x-one", "2")
            .with("x-pre-a", "p")
            .with("X-PRE-B", "q")
            .with("a-end", "e")
            .with("x-other", "o")
            .with("cookie", "a=1")
            .with("cookie", "b=2")
    };
    vec![
        ask("a GET", get()),
        ask("over HTTP/2", get().http2()),
        ask("a POST", Call::post("/case/@", "hello")),
        ask(
            "a body without length",
            Call::post("/case/@", "hello").chunked(),
        ),
        ask("a HEAD", get().method("HEAD")),
        ask("a token", get().with("authorization", "Bearer a.b.c")),
        ask(
            "two tokens",
            get().with("authorization", "a").with("authorization", "b"),
        ),
        ask("a host with a port", get().host("app.example:8080")),
        ask("a gRPC call", get().grpc()),
        ask(
            "a client's forwarding",
            get()
                .with("x-forwarded-for", "10.0.0.1")
                .with("x-request-id", "7"),
        )
        .passed(GATE),
        row("a prefix", "http-prefix", get(), yes()),
        row("a prefix with a slash", "http-slash", get(), yes()),
        row(
            "headers by name, prefix and suffix",
            "http-lists",
            many(),
            yes(),
        )
        .passed(COOKIES),
        row("headers over HTTP/2", "http-lists", many().http2(), yes()),
        row(
            "headers that are not there",
            "http-lists",
            Call::get("/case/@"),
            yes(),
        ),
        row(
            "not UTF-8",
            "http-lists",
            get().raw("x-pre-raw", b"a\xffb"),
            yes(),
        ),
        row("no body", "http-whole", get(), yes()),
        row("a whole body", "http-whole", post("hello"), yes()),
        row(
            "a whole body without length",
            "http-whole",
            post("hello").chunked(),
            yes(),
        ),
        row(
            "a whole body, denied",
            "http-whole",
            post("hello"),
            http(403, &[], "no"),
        ),
        row(
            "a body over the bound",
            "http-whole",
            post("123456789"),
            yes(),
        ),
        row(
            "a body over the bound, open",
            "http-open-whole",
            post("123456789"),
            yes(),
        ),
        row(
            "a body in part",
            "http-partial",
            post("123456789abc"),
            yes(),
        ),
        row(
            "a body in part without length",
            "http-partial",
            post("123456789abc").chunked(),
            yes(),
        ),
        row(
            "a body whole where it may be partial",
            "http-partial",
            post("hello"),
            yes(),
        ),
    ]
}

fn answers() -> Vec<Row> {
    let answer = |name, answer| row(name, "http", get(), answer);
    let headers = &[
        ("x-why", "a"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("www-authenticate", "Bearer"),
        ("x-both", "s"),
    ];
    vec![
        answer("200 with headers and body", http(200, headers, "fine")),
        answer("201", http(201, &[], "")),
        answer("204", http(204, &[], "")),
        answer("301", http(301, &[("location", "/a")], "")),
        answer(
            "302",
            http(302, &[("location", "https://login.example/")], "over there"),
        ),
        answer(
            "401 with headers and body",
            http(401, headers, "who are you?"),
        ),
        answer("403", http(403, &[], "")),
        answer(
            "403 with a type",
            http(403, &[("content-type", "application/json")], "{}"),
        ),
        answer("404", http(404, &[], "none")),
        answer("418", http(418, &[], "")),
        answer("429", http(429, &[("retry-after", "1")], "slower")),
        answer("499", http(499, &[], "no")),
        answer(
            "a host in the answer",
            http(
                403,
                &[("host", "h.example"), ("server", "s"), ("x-envoy-a", "b")],
                "no",
            ),
        )
        .refused(403, HOST),
        answer(
            "removed by the answer",
            http(
                200,
                &[("x-envoy-auth-headers-to-remove", "x-one, x-none")],
                "",
            ),
        ),
        row(
            "removed by the answer, in capitals",
            "http",
            get().with("x-two", "2"),
            http(
                200,
                &[("x-envoy-auth-headers-to-remove", "X-One,X-TWO")],
                "",
            ),
        ),
        answer(
            "host removed by the answer",
            http(
                200,
                &[("x-envoy-auth-headers-to-remove", "host, :path")],
                "",
            ),
        ),
        answer(
            "removal told with a refusal",
            http(403, &[("x-envoy-auth-headers-to-remove", "x-one")], "no"),
        ),
        row(
            "a HEAD refused",
            "http",
            get().method("HEAD"),
            http(403, &[("x-why", "a")], ""),
        ),
        row(
            "a gRPC call, 403",
            "http",
            get().grpc(),
            http(403, &[("x-why", "a")], "no"),
        ),
        row(
            "a gRPC call, 401",
            "http",
            get().grpc(),
            http(401, &[], "who are you?"),
        ),
        row(
            "a gRPC call, 302",
            "http",
            get().grpc(),
            http(302, &[("location", "/a")], ""),
        ),
    ]
}

fn lists() -> Vec<Row> {
    let answer = |name, answer| row(name, "http-lists", get().with("x-up", "client's"), answer);
    let up = &[
        ("x-up", "a"),
        ("X-Up-Two", "b"),
        ("other-up", "c"),
        ("x-none", "d"),
        ("x-both", "s"),
        ("x-down-a", "e"),
        ("set-cookie", "s=1"),
        ("set-cookie", "t=1"),
        ("location", "/l"),
        ("www-authenticate", "Bearer"),
        ("a-down", "f"),
        ("X-DOWN", "g"),
    ];
    vec![
        answer("allowed, with lists", http(200, up, "fine")),
        answer("refused, with lists", http(401, up, "no")),
        answer(
            "refused, with lists and a type",
            http(
                403,
                &[("content-type", "application/json"), ("set-cookie", "a=1")],
                "{}",
            ),
        ),
        answer("a redirect, with lists", http(302, up, "")),
        answer(
            "the same header twice, up",
            http(200, &[("x-up", "a"), ("x-up", "b")], ""),
        ),
        answer(
            "the same header twice, down",
            http(200, &[("x-down-a", "a"), ("x-down-a", "b")], ""),
        ),
        answer("an empty header, up", http(200, &[("x-up", "")], "")),
        answer(
            "removed and set",
            http(
                200,
                &[("x-envoy-auth-headers-to-remove", "x-up"), ("x-up", "new")],
                "",
            ),
        ),
        answer(
            "xfcc removed",
            http(
                200,
                &[("x-envoy-auth-headers-to-remove", "x-forwarded-client-cert")],
                "",
            ),
        )
        .refused(403, FORBIDDEN),
        answer("a peer's header, up", http(200, &[("x-envoy-up", "a")], ""))
            .refused(403, FORBIDDEN),
    ]
}

fn failed() -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, answer) in [
        ("500", http(500, &[("x-why", "a")], "broken")),
        ("503", http(503, &[], "busy")),
        ("599", http(599, &[], "odd")),
        ("a closed connection", Answer::Close),
    ] {
        rows.push(row(name, "http", get(), answer.clone()));
        rows.push(row(name, "http-open", get(), answer.clone()));
        rows.push(row(name, "http-status", get(), answer));
    }
    let yes = || http(200, &[], "");
    rows.extend([
        row("late", "http-open", get(), Answer::Hang),
        row("late", "http-status", get(), Answer::Hang),
        row("down", "http-down", get(), yes()),
        row("down", "http-down-open", get(), yes()),
        row("down", "http-down-status", get(), yes()),
        row("down, gRPC", "http-down", get().grpc(), yes()),
        row(
            "denied where it is open",
            "http-open",
            get(),
            http(403, &[], "no"),
        ),
    ]);
    rows
}

const COOKIES: &str = "cookies are joined as RFC 6265 has it";
const HOST: &str = "a refusal has no host";
