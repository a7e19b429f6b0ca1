//! control-plane.md §7.1: the gRPC provider.

use super::authorizer::Answer;
use super::row::{
    FORBIDDEN, GATE, NONE, Row, action, append, check, denied, error, header, ok, row, set,
};
use crate::stub::Call;
use crate::stub::messages::Http;

/// `@` stands for the row's number.
fn get() -> Call {
    Call::get("/case/@?a=1&b=2").with("x-one", "1")
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = questions();
    rows.extend(bodies());
    rows.extend(refused());
    rows.extend(failed());
    rows
}

fn questions() -> Vec<Row> {
    let yes = || check(0, None);
    let ask = |name, call| row(name, "grpc", call, yes());
    vec![
        ask("a GET", get()),
        ask("over HTTP/2", get().http2()),
        ask("a POST with a body", Call::post("/case/@", "hello")),
        ask(
            "a body without length",
            Call::post("/case/@", "hello").chunked(),
        ),
        ask(
            "a body without length over HTTP/2",
            Call::post("/case/@", "hello").http2().chunked(),
        ),
        ask(
            "several lines",
            get().with("x-one", "2").with("X-Other", "A"),
        ),
        ask("cookies", get().with("cookie", "a=1").with("cookie", "b=2")),
        ask(
            "cookies over HTTP/2",
            get().http2().with("cookie", "a=1").with("cookie", "b=2"),
        ),
        ask("not UTF-8", get().raw("x-raw", b"a\xff\xfeb")),
        ask("latin", get().raw("x-raw", b"\xe9")),
        ask("UTF-8", get().raw("x-raw", "é€".as_bytes())),
        ask("an empty header", get().with("x-empty", "")),
        ask("a token", get().with("authorization", "Bearer a.b.c")),
        ask(
            "its own service",
            get().with("x-envoy-downstream-service-cluster", "web"),
        )
        .passed(GATE),
        ask("a host with a port", get().host("app.example:8080")),
        ask("a method of one's own", get().method("PURGE")),
        ask("a HEAD", get().method("HEAD")),
        ask(
            "an id",
            get().with("x-request-id", "7f1e2c9a-0000-4000-8000-000000000001"),
        )
        .passed(GATE),
        ask("escapes", Call::get("/case/@/a%20b?c=%2F")),
        ask("a gRPC call", get().grpc()),
        row("who calls", "grpc-mutual", get(), yes()),
        row(
            "a claimed certificate",
            "grpc-mutual",
            get().with("x-forwarded-client-cert", "By=a;URI=spiffe://x/y"),
            yes(),
        )
        .passed(CLAIMED),
    ]
}

fn bodies() -> Vec<Row> {
    let yes = || check(0, None);
    let no = || check(7, None);
    let post = |body: &str| Call::post("/case/@", body);
    vec![
        row("no body", "grpc-whole", get(), yes()),
        row("an empty POST", "grpc-whole", post(""), yes()),
        row("a whole body", "grpc-whole", post("hello"), yes()),
        row("a whole body, denied", "grpc-whole", post("hello"), no()),
        row(
            "a body of just the bound",
            "grpc-whole",
            post("12345678"),
            yes(),
        ),
        row(
            "a body over the bound",
            "grpc-whole",
            post("123456789"),
            yes(),
        ),
        row(
            "a body over the bound, without length",
            "grpc-whole",
            post("123456789").chunked(),
            yes(),
        ),
        row(
            "a body over the bound over HTTP/2",
            "grpc-whole",
            post("123456789").http2(),
            yes(),
        )
        .refused(413, TOO_LARGE),
        row(
            "a body over the bound over HTTP/2, without length",
            "grpc-whole",
            post("123456789").http2().chunked(),
            yes(),
        ),
        row(
            "a body over the bound, gRPC",
            "grpc-whole",
            {
                let mut call = get().grpc();
                call.body = vec![0; 20];
                call
            },
            yes(),
        )
        .refused(200, TOO_LARGE),
        row(
            "a body of the bound, without length",
            "grpc-whole",
            post("12345678").chunked(),
            yes(),
        ),
        row(
            "a body over the bound, open",
            "grpc-open-whole",
            post("123456789"),
            yes(),
        ),
        row(
            "a body not UTF-8",
            "grpc-whole",
            Call::post("/case/@", b"a\xffb".to_vec()),
            yes(),
        ),
        row(
            "a body in part",
            "grpc-partial",
            post("123456789abc"),
            yes(),
        ),
        row(
            "a body in part, without length",
            "grpc-partial",
            post("123456789abc").chunked(),
            yes(),
        )
        .passed(READ),
        row(
            "a body in part, over HTTP/2",
            "grpc-partial",
            post("123456789abc").http2(),
            yes(),
        ),
        row(
            "a body in part, cut in a letter",
            "grpc-partial",
            post("1234567€89"),
            yes(),
        ),
        row(
            "a body whole where it may be partial",
            "grpc-partial",
            post("hello"),
            yes(),
        ),
        row(
            "a long body in part",
            "grpc-partial",
            Call::post("/case/@", vec![b'x'; 200_000]),
            yes(),
        ),
        row(
            "a body of the bound where it may be partial",
            "grpc-partial",
            post("12345678"),
            yes(),
        ),
        row(
            "a body as bytes",
            "grpc-bytes",
            Call::post("/case/@", b"a\xffb".to_vec()),
            yes(),
        ),
        row(
            "a claimed partial body",
            "grpc-whole",
            post("hello").with("x-envoy-auth-partial-body", "true"),
            yes(),
        )
        .passed(GATE),
    ]
}

fn refused() -> Vec<Row> {
    let answer = |name, answer| row(name, "grpc", get(), answer);
    vec![
        answer("denied", check(7, None)),
        answer("unauthenticated", check(16, None)),
        answer("an odd code", check(-3, None)),
        answer(
            "a code beside OK",
            check(7, Some(Http::Ok(set([header("x-new", "n")])))),
        ),
        answer(
            "a refusal",
            denied(
                401,
                vec![header("www-authenticate", "Bearer"), header("x-why", "a")],
                "who are you?",
            ),
        ),
        answer("a refusal without body", denied(401, vec![], "")),
        answer(
            "a refusal without status",
            denied(0, vec![header("x-why", "a")], "no"),
        ),
        answer(
            "a redirect",
            denied(302, vec![header("location", "https://login.example/")], ""),
        ),
        answer(
            "a refusal of 200",
            denied(200, vec![header("x-why", "a")], "fine"),
        ),
        answer("a refusal of 503", denied(503, vec![], "busy")),
        answer("a refusal of 99", denied(99, vec![], "no")).refused(403, NONE),
        answer("a refusal of 999", denied(999, vec![], "no")).refused(403, NONE),
        answer(
            "two cookies",
            denied(
                403,
                vec![header("set-cookie", "a=1"), header("set-cookie", "b=2")],
                "no",
            ),
        ),
        answer(
            "the same header, append",
            denied(
                403,
                vec![header("x-why", "a"), append("x-why", "b", true)],
                "no",
            ),
        ),
        answer(
            "append: true alone",
            denied(403, vec![append("x-why", "b", true)], "no"),
        ),
        answer(
            "append_action: overwrite",
            denied(
                403,
                vec![header("x-why", "a"), action("x-why", "b", 2)],
                "no",
            ),
        ),
        answer(
            "append_action: if absent",
            denied(
                403,
                vec![header("x-why", "a"), action("x-why", "b", 1)],
                "no",
            ),
        ),
        answer(
            "the same header, append: false",
            denied(
                403,
                vec![header("x-why", "a"), append("x-why", "b", false)],
                "no",
            ),
        ),
        answer(
            "a type of its own",
            denied(403, vec![header("content-type", "application/json")], "{}"),
        ),
        answer(
            "a length of its own",
            denied(403, vec![header("content-length", "99")], "no"),
        ),
        answer(
            "a bad header",
            denied(403, vec![header("x-why", "a\nb")], "no"),
        )
        .refused(403, NONE),
        answer(
            "a pseudo header",
            denied(403, vec![header(":status", "200")], "no"),
        ),
        answer(
            "connection",
            denied(403, vec![header("connection", "close")], "no"),
        ),
        row(
            "a HEAD refused",
            "grpc",
            get().method("HEAD"),
            denied(403, vec![header("x-why", "a")], "no"),
        ),
        row(
            "a POST refused",
            "grpc",
            Call::post("/case/@", "hello"),
            denied(403, vec![], "no"),
        ),
        row("a gRPC call, denied", "grpc", get().grpc(), check(7, None)),
        row(
            "a gRPC call, 401",
            "grpc",
            get().grpc(),
            denied(401, vec![header("x-why", "a")], "who are you?"),
        ),
        row(
            "a gRPC call, 403 with percent",
            "grpc",
            get().grpc(),
            denied(403, vec![], "no: 100 % é\n"),
        ),
        row(
            "a gRPC call, 429",
            "grpc",
            get().grpc(),
            denied(429, vec![], "slower"),
        ),
        row(
            "a gRPC call, 503",
            "grpc",
            get().grpc(),
            denied(503, vec![], "busy"),
        ),
        row(
            "a gRPC call, 400",
            "grpc",
            get().grpc(),
            denied(400, vec![], ""),
        ),
        row(
            "a gRPC call, 409",
            "grpc",
            get().grpc(),
            denied(409, vec![], ""),
        ),
        row(
            "a gRPC call, 413",
            "grpc",
            get().grpc(),
            denied(413, vec![], ""),
        ),
        row(
            "a gRPC call, 502",
            "grpc",
            get().grpc(),
            denied(502, vec![], ""),
        ),
        row(
            "a gRPC call, 504",
            "grpc",
            get().grpc(),
            denied(504, vec![], ""),
        ),
        row(
            "a gRPC call, 302",
            "grpc",
            get().grpc(),
            denied(302, vec![header("location", "/a")], ""),
        ),
        row(
            "a gRPC call, 200",
            "grpc",
            get().grpc(),
            denied(200, vec![], "fine"),
        ),
        row(
            "a gRPC call, 404",
            "grpc",
            get().grpc(),
            denied(404, vec![], ""),
        ),
    ]
}

fn failed() -> Vec<Row> {
    let mut rows = Vec::new();
    for (closed, open, status) in [("grpc", "grpc-open", "grpc-status")] {
        for (name, answer) in [
            ("PERMISSION_DENIED", Answer::Grpc(7)),
            ("UNAVAILABLE", Answer::Grpc(14)),
            (
                "an error with a body",
                error(500, vec![header("x-why", "a")], "broken"),
            ),
            ("an error without status", error(0, vec![], "broken")),
            ("an error without anything", error(0, vec![], "")),
            ("503 in place of gRPC", Answer::Http(503, vec![], "busy")),
            ("200 in place of gRPC", Answer::Http(200, vec![], "fine")),
            (
                "a message cut short",
                Answer::Http(
                    200,
                    vec![("content-type", "application/grpc"), ("grpc-status", "0")],
                    "",
                ),
            ),
            (
                "nonsense",
                Answer::Http(
                    200,
                    vec![("content-type", "application/grpc")],
                    "\0\0\0\0\x03abc",
                ),
            ),
            ("a closed stream", Answer::Close),
        ] {
            rows.push(row(name, closed, get(), answer.clone()));
            rows.push(row(name, open, get(), answer.clone()));
            rows.push(row(name, status, get(), answer));
        }
    }
    let yes = || check(0, None);
    rows.extend([
        row("late", "grpc-open", get(), Answer::Hang),
        row("late", "grpc-status", get(), Answer::Hang),
        row("down", "grpc-down", get(), yes()),
        row("down", "grpc-down-open", get(), yes()),
        row("down", "grpc-down-status", get(), yes()),
        row("down, gRPC", "grpc-down", get().grpc(), yes()),
        row("down, gRPC", "grpc-down-open", get().grpc(), yes()),
        row("down, gRPC", "grpc-down-status", get().grpc(), yes()),
        row(
            "a bad header where it is open",
            "grpc-open",
            get(),
            denied(403, vec![header("x-why", "a\nb")], "no"),
        )
        .refused(403, NONE),
        row(
            "a refusal of 999 where it is open",
            "grpc-open",
            get(),
            denied(999, vec![], "no"),
        )
        .refused(403, NONE),
        row(
            "denied where it is open",
            "grpc-open",
            get(),
            check(7, None),
        ),
        row(
            "an error, gRPC",
            "grpc",
            get().grpc(),
            error(500, vec![], "broken"),
        ),
        row(
            "a bad mutation where it is open",
            "grpc-open",
            get(),
            ok(set([header("x-new", "a\nb")])),
        )
        .passed(NONE),
        row(
            "a claimed failure",
            "grpc-open",
            get().with("x-envoy-auth-failure-mode-allowed", "true"),
            Answer::Grpc(14),
        )
        .passed(GATE),
        row(
            "host set where it is open",
            "grpc-open",
            get(),
            ok(set([header("host", "other.example")])),
        )
        .passed(FORBIDDEN),
    ]);
    rows
}

const TOO_LARGE: &str = "a body over the bound is refused, however it comes; Envoy asks about its beginning where it ends in the frame that exceeds";
const READ: &str = "the size of a body without length is what was read of it, not what had come";
const CLAIMED: &str = "what a caller says of its own certificate is dropped; Envoy appends to it";
