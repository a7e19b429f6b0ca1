//! control-plane.md §7.1: the gRPC provider.

use super::authorizer::Answer;
use super::row::{
    Row, action, append, check, denied, error, header, ok, query, refusal, remove, reply, row, set,
};
use crate::stub::Call;
use crate::stub::messages::{Allowed, CheckResponse, HeaderOption, Http, Struct, Value};

/// `@` stands for the row's number.
fn get() -> Call {
    Call::get("/case/@?a=1&b=2").with("x-one", "1")
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = questions();
    rows.extend(bodies());
    rows.extend(allowed());
    rows.extend(mutations());
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
        ),
        ask("a host with a port", get().host("app.example:8080")),
        ask("a method of one's own", get().method("PURGE")),
        ask("a HEAD", get().method("HEAD")),
        ask(
            "an id",
            get().with("x-request-id", "7f1e2c9a-0000-4000-8000-000000000001"),
        ),
        ask("escapes", Call::get("/case/@/a%20b?c=%2F")),
        ask("a gRPC call", get().grpc()),
        row("who calls", "grpc-mutual", get(), yes()),
        row(
            "a claimed certificate",
            "grpc-mutual",
            get().with("x-forwarded-client-cert", "By=a;URI=spiffe://x/y"),
            yes(),
        ),
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
        ),
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
        ),
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
        ),
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
        ),
    ]
}

fn allowed() -> Vec<Row> {
    let answer = |name, answer| row(name, "grpc", get(), answer);
    let metadata = || {
        let value = Value {
            string: Some("gold".to_owned()),
        };
        Struct {
            fields: [("tier".to_owned(), value)].into(),
        }
    };
    let with_metadata = |code| {
        let Answer::Check(mut response) = check(code, None) else {
            panic!()
        };
        response.dynamic_metadata = Some(metadata());
        Answer::Check(response)
    };
    vec![
        answer("no status", Answer::Check(Box::default())),
        answer(
            "no status, but a refusal",
            Answer::Check(Box::new(CheckResponse {
                http: Some(Http::Denied(refusal(401, vec![], "no"))),
                ..CheckResponse::default()
            })),
        ),
        answer(
            "OK beside a refusal",
            check(0, Some(Http::Denied(refusal(401, vec![], "no")))),
        ),
        answer(
            "OK beside an error",
            check(0, Some(Http::Error(refusal(500, vec![], "no")))),
        ),
        answer("an empty OK", ok(Allowed::default())),
        answer("a header added", ok(set([header("x-new", "n")]))),
        answer("a header replaced", ok(set([header("x-one", "n")]))),
        row(
            "two lines replaced",
            "grpc",
            get().with("x-one", "2"),
            ok(set([header("x-one", "n")])),
        ),
        answer("a name in capitals", ok(set([header("X-New", "n")]))),
        answer(
            "the same header twice",
            ok(set([header("x-new", "a"), header("x-new", "b")])),
        ),
        answer("append where it is", ok(set([append("x-one", "n", true)]))),
        answer(
            "append where it is not",
            ok(set([append("x-new", "n", true)])),
        ),
        row(
            "append to two lines",
            "grpc",
            get().with("x-one", "2"),
            ok(set([append("x-one", "n", true)])),
        ),
        answer("append: false", ok(set([append("x-one", "n", false)]))),
        answer(
            "append_action: if absent, there",
            ok(set([action("x-one", "n", 1)])),
        ),
        answer(
            "append_action: if absent, absent",
            ok(set([action("x-new", "n", 1)])),
        ),
        answer(
            "append_action: overwrite or add",
            ok(set([action("x-one", "n", 2)])),
        ),
        answer(
            "append_action: overwrite if there, absent",
            ok(set([action("x-new", "n", 3)])),
        ),
        answer("an empty value", ok(set([header("x-one", "")]))),
        answer(
            "an empty value kept",
            ok(set([HeaderOption {
                keep_empty_value: true,
                ..header("x-new", "")
            }])),
        ),
        answer(
            "a raw value",
            ok(set([{
                let mut option = header("x-new", "");
                option.header.as_mut().unwrap().raw_value = b"raw\xe9".to_vec();
                option
            }])),
        ),
        answer("removed", ok(remove(&["x-one"]))),
        answer("removed, in capitals", ok(remove(&["X-One"]))),
        answer("removed what is not there", ok(remove(&["x-none"]))),
        answer(
            "set and removed",
            ok(Allowed {
                headers_to_remove: vec!["x-new".to_owned()],
                ..set([header("x-new", "n")])
            }),
        ),
        answer("to the reply", ok(reply([header("x-new", "n")]))),
        answer(
            "to the reply, beside the application's",
            ok(reply([header("x-both", "n")])),
        ),
        answer(
            "to the reply, append: false",
            ok(reply([append("x-both", "n", false)])),
        ),
        answer(
            "to the reply, append: true",
            ok(reply([append("x-both", "n", true)])),
        ),
        answer(
            "to the reply, if absent, there",
            ok(reply([action("x-both", "n", 1)])),
        ),
        answer(
            "to the reply, overwrite or add",
            ok(reply([action("x-both", "n", 2)])),
        ),
        answer(
            "to the reply, overwrite if there",
            ok(reply([action("x-both", "n", 3)])),
        ),
        answer(
            "to the reply, overwrite if there, absent",
            ok(reply([action("x-new", "n", 3)])),
        ),
        answer(
            "to the reply, a cookie",
            ok(reply([header("set-cookie", "s=1")])),
        ),
        answer(
            "to the reply, two cookies",
            ok(reply([
                header("set-cookie", "s=1"),
                header("set-cookie", "t=1"),
            ])),
        ),
        answer("a query parameter set", ok(query(&[("a", "9")], &[]))),
        answer("a query parameter added", ok(query(&[("c", "x")], &[]))),
        answer(
            "a query parameter with signs",
            ok(query(&[("c", "x%20y&z")], &[])),
        ),
        answer(
            "a query parameter with a space",
            ok(query(&[("c", "x y")], &[])),
        ),
        answer(
            "a query parameter set and removed",
            ok(query(&[("c", "x")], &["c", "a"])),
        ),
        row(
            "a query parameter that is there twice, set",
            "grpc",
            Call::get("/case/@?a=1&a=2&b"),
            ok(query(&[("a", "9")], &[])),
        ),
        row(
            "a query parameter that is there twice, removed",
            "grpc",
            Call::get("/case/@?a=1&a=2&b"),
            ok(query(&[], &["a"])),
        ),
        row(
            "a query parameter where there is none",
            "grpc",
            Call::get("/case/@"),
            ok(query(&[("a", "1"), ("b", "2")], &[])),
        ),
        row(
            "escapes around a query parameter",
            "grpc",
            Call::get("/case/@/a%20b?x=%2F+&a=1"),
            ok(query(&[("b", "2")], &["a"])),
        ),
        answer("a query parameter removed", ok(query(&[], &["a"]))),
        answer("every query parameter removed", ok(query(&[], &["a", "b"]))),
        answer("metadata", with_metadata(0)),
        answer("metadata with a refusal", with_metadata(7)),
        row(
            "a gRPC call allowed",
            "grpc",
            get().grpc(),
            ok(set([header("x-new", "n")])),
        ),
    ]
}

const FORBIDDEN: &str = "a reply that touches what the provider may not counts as an error";

fn mutations() -> Vec<Row> {
    let answer = |name, answer: Allowed| row(name, "grpc", get(), ok(answer));
    let forbidden = |name, allowed| answer(name, allowed).refused(403, FORBIDDEN);
    vec![
        forbidden("host set", set([header("host", "other.example")])),
        forbidden(":path set", set([header(":path", "/case/@/other")])),
        forbidden(":method set", set([header(":method", "DELETE")])),
        forbidden(
            ":authority set",
            set([header(":authority", "other.example")]),
        ),
        forbidden(":scheme set", set([header(":scheme", "https")])),
        forbidden(
            "x-forwarded-client-cert set",
            set([header("x-forwarded-client-cert", "URI=spiffe://a/b")]),
        ),
        forbidden(
            "peer metadata set",
            set([header("x-envoy-peer-metadata-id", "a")]),
        ),
        forbidden(
            "an Envoy header set",
            set([header("x-envoy-retry-on", "5xx")]),
        ),
        forbidden("connection set", set([header("connection", "close")])),
        forbidden(
            "transfer-encoding set",
            set([header("transfer-encoding", "chunked")]),
        ),
        forbidden("content-length set", set([header("content-length", "7")])),
        answer(":path removed", remove(&[":path"])),
        answer("host removed", remove(&["host"])),
        forbidden(
            "x-forwarded-client-cert removed",
            remove(&["x-forwarded-client-cert"]),
        ),
        answer("a bad value", set([header("x-new", "a\nb")])),
        answer("a bad name", set([header("x new", "a")])),
        answer("an empty name", set([header("", "a")])),
        answer(
            "a bad value to the reply",
            reply([header("x-new", "a\r\nx-evil: 1")]),
        ),
        answer(":status to the reply", reply([header(":status", "500")])),
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
        answer("a refusal of 99", denied(99, vec![], "no")),
        answer("a refusal of 999", denied(999, vec![], "no")),
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
        ),
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
        ),
        row(
            "a claimed failure",
            "grpc-open",
            get().with("x-envoy-auth-failure-mode-allowed", "true"),
            Answer::Grpc(14),
        ),
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
