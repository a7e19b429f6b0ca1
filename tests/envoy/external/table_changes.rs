//! control-plane.md §7.1: what a gRPC provider may change.

use super::authorizer::Answer;
use super::row::{
    FORBIDDEN, NONE, Row, action, append, check, header, ok, query, refusal, remove, reply, row,
    set,
};
use crate::stub::Call;
use crate::stub::messages::{Allowed, CheckResponse, HeaderOption, Http, Struct, Value};

fn get() -> Call {
    Call::get("/case/@?a=1&b=2").with("x-one", "1")
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = allowed();
    rows.extend(mutations());
    rows
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
        )
        .passed(QUERY),
        answer(
            "a query parameter with a space",
            ok(query(&[("c", "x y")], &[])),
        )
        .passed(QUERY),
        answer(
            "a query parameter set and removed",
            ok(query(&[("c", "x")], &["c", "a"])),
        ),
        row(
            "a query parameter that is there twice, set",
            "grpc",
            Call::get("/case/@?a=1&a=2&b"),
            ok(query(&[("a", "9")], &[])),
        )
        .passed(QUERY),
        row(
            "a query parameter that is there twice, removed",
            "grpc",
            Call::get("/case/@?a=1&a=2&b"),
            ok(query(&[], &["a"])),
        )
        .passed(QUERY),
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
        )
        .passed(QUERY),
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
        answer("a bad value", set([header("x-new", "a\nb")])).refused(403, NONE),
        answer("a bad name", set([header("x new", "a")])).refused(403, NONE),
        answer("an empty name", set([header("", "a")])).refused(403, NONE),
        answer(
            "a bad value to the reply",
            reply([header("x-new", "a\r\nx-evil: 1")]),
        )
        .refused(403, NONE),
        answer(":status to the reply", reply([header(":status", "500")])).refused(403, NONE),
    ]
}

const QUERY: &str = "parameters keep their places and forms, and values are escaped; Envoy sorts and writes them raw";
