//! control-plane.md §6.1: the rate limit service.

use serde_json::{Value, json};

use super::scenario::{Kind, Scenario, Step, step};
use super::service::Answer;
use crate::stub::Call;
use crate::stub::messages::{CurrentLimit, DescriptorStatus, Header, RateLimitResponse, Timestamp};

fn scenario(
    name: &'static str,
    more: &Value,
    actions: Value,
    steps: impl IntoIterator<Item = Step>,
) -> Scenario {
    let mut filter = json!({"domain": "d", "timeout": "5s"});
    for (key, value) in more.as_object().unwrap() {
        match value {
            Value::Null => drop(filter.as_object_mut().unwrap().remove(key)),
            value => filter[key] = value.clone(),
        }
    }
    Scenario {
        name,
        kind: Kind::Global,
        filter,
        actions,
        steps: steps.into_iter().collect(),
        listed: None,
    }
}

fn get() -> Call {
    Call::get("/a?q=1&u=ann")
        .with("x-user", "ann")
        .with("x-user", "bob")
        .with("x-forwarded-for", "10.1.2.3")
}

fn answer(code: i32) -> RateLimitResponse {
    RateLimitResponse {
        overall_code: code,
        ..RateLimitResponse::default()
    }
}

fn says(response: RateLimitResponse) -> Answer {
    Answer::Says(Box::new(response))
}

fn ok() -> Answer {
    says(answer(1))
}

fn over() -> Answer {
    says(answer(2))
}

fn header(key: &str, value: &str) -> Header {
    Header {
        key: key.to_owned(),
        value: value.to_owned(),
        raw_value: Vec::new(),
    }
}

fn status(limit: Option<(u32, i32, &str)>, remaining: u32, reset: i64) -> DescriptorStatus {
    DescriptorStatus {
        code: if remaining == 0 { 2 } else { 1 },
        current_limit: limit.map(|(requests_per_unit, unit, name)| CurrentLimit {
            requests_per_unit,
            unit,
            name: name.to_owned(),
            unit_multiplier: None,
        }),
        limit_remaining: remaining,
        duration_until_reset: Some(Timestamp {
            seconds: reset,
            nanos: 400_000_000,
        }),
    }
}

/// Each of these makes one descriptor, or none.
fn actions() -> Vec<(&'static str, Value)> {
    let one = |action: Value| json!([{"actions": [action]}]);
    let two = |first: Value, second: Value| json!([{"actions": [first, second]}]);
    let key = || json!({"generic_key": {"descriptor_value": "v"}});
    let exact = |name: &str, value: &str| json!({"name": name, "string_match": {"exact": value}});
    vec![
        ("source_cluster", one(json!({"source_cluster": {}}))),
        (
            "destination_cluster",
            one(json!({"destination_cluster": {}})),
        ),
        ("generic_key", one(key())),
        (
            "generic_key with key",
            one(json!({"generic_key": {"descriptor_key": "k", "descriptor_value": "v"}})),
        ),
        (
            "request_headers",
            one(json!({"request_headers": {"header_name": "x-user", "descriptor_key": "user"}})),
        ),
        (
            "request_headers, pseudo",
            one(json!({"request_headers": {"header_name": ":path", "descriptor_key": "path"}})),
        ),
        (
            "request_headers, method",
            one(json!({"request_headers": {"header_name": ":method", "descriptor_key": "method"}})),
        ),
        (
            "request_headers, authority",
            one(
                json!({"request_headers": {"header_name": ":authority", "descriptor_key": "host"}}),
            ),
        ),
        (
            "request_headers, absent",
            two(
                key(),
                json!({"request_headers": {"header_name": "x-none", "descriptor_key": "none"}}),
            ),
        ),
        (
            "request_headers, skipped",
            two(
                key(),
                json!({"request_headers": {"header_name": "x-none", "descriptor_key": "none", "skip_if_absent": true}}),
            ),
        ),
        (
            "request_headers, only skipped",
            one(
                json!({"request_headers": {"header_name": "x-none", "descriptor_key": "none", "skip_if_absent": true}}),
            ),
        ),
        (
            "query_parameters",
            one(
                json!({"query_parameters": {"query_parameter_name": "u", "descriptor_key": "user"}}),
            ),
        ),
        (
            "query_parameters, absent",
            one(
                json!({"query_parameters": {"query_parameter_name": "none", "descriptor_key": "user"}}),
            ),
        ),
        (
            "query_parameters, skipped",
            two(
                key(),
                json!({"query_parameters": {"query_parameter_name": "none", "descriptor_key": "user", "skip_if_absent": true}}),
            ),
        ),
        (
            "query_parameter_value_match",
            one(
                json!({"query_parameter_value_match": {"descriptor_value": "v", "query_parameters": [{"name": "u", "string_match": {"exact": "ann"}}]}}),
            ),
        ),
        (
            "query_parameter_value_match, not",
            one(
                json!({"query_parameter_value_match": {"descriptor_value": "v", "query_parameters": [{"name": "u", "string_match": {"exact": "bob"}}]}}),
            ),
        ),
        (
            "query_parameter_value_match, expect_match false",
            one(
                json!({"query_parameter_value_match": {"descriptor_key": "k", "descriptor_value": "v", "expect_match": false, "query_parameters": [{"name": "u", "string_match": {"exact": "bob"}}]}}),
            ),
        ),
        ("remote_address", one(json!({"remote_address": {}}))),
        (
            "masked_remote_address",
            one(json!({"masked_remote_address": {"v4_prefix_mask_len": 24}})),
        ),
        (
            "masked_remote_address, default",
            one(json!({"masked_remote_address": {}})),
        ),
        (
            "header_value_match",
            one(
                json!({"header_value_match": {"descriptor_value": "v", "headers": [exact("x-user", "ann,bob")]}}),
            ),
        ),
        (
            "header_value_match, one of the lines",
            one(
                json!({"header_value_match": {"descriptor_value": "v", "headers": [exact("x-user", "ann")]}}),
            ),
        ),
        (
            "header_value_match, the second line",
            one(
                json!({"header_value_match": {"descriptor_value": "v", "headers": [exact("x-user", "bob")]}}),
            ),
        ),
        (
            "header_value_match, contains",
            one(
                json!({"header_value_match": {"descriptor_value": "v", "headers": [{"name": "x-user", "string_match": {"contains": "n,b"}}]}}),
            ),
        ),
        (
            "header_value_match, present",
            one(
                json!({"header_value_match": {"descriptor_value": "v", "headers": [{"name": "x-user", "present_match": true}]}}),
            ),
        ),
        (
            "header_value_match, all",
            one(
                json!({"header_value_match": {"descriptor_key": "k", "descriptor_value": "v", "headers": [exact(":method", "GET"), exact("x-forwarded-for", "10.1.2.3")]}}),
            ),
        ),
        (
            "header_value_match, expect_match false",
            one(
                json!({"header_value_match": {"descriptor_value": "v", "expect_match": false, "headers": [exact("x-user", "carl")]}}),
            ),
        ),
        (
            "header_value_match, expect_match false, agrees",
            one(
                json!({"header_value_match": {"descriptor_value": "v", "expect_match": false, "headers": [exact(":method", "GET")]}}),
            ),
        ),
        (
            "metadata, default",
            one(
                json!({"metadata": {"descriptor_key": "m", "metadata_key": {"key": "a", "path": [{"key": "b"}]}, "default_value": "d"}}),
            ),
        ),
        (
            "metadata, absent",
            two(
                key(),
                json!({"metadata": {"descriptor_key": "m", "metadata_key": {"key": "a", "path": [{"key": "b"}]}}}),
            ),
        ),
        (
            "metadata, skipped",
            two(
                key(),
                json!({"metadata": {"descriptor_key": "m", "metadata_key": {"key": "a", "path": [{"key": "b"}]}, "skip_if_absent": true}}),
            ),
        ),
        (
            "two entries",
            two(key(), json!({"destination_cluster": {}})),
        ),
        (
            "two descriptors",
            json!([{"actions": [key()]}, {"actions": [{"destination_cluster": {}}]}]),
        ),
        (
            "one of two descriptors fails",
            json!([{"actions": [key()]}, {"actions": [{"request_headers": {"header_name": "x-none", "descriptor_key": "n"}}]}]),
        ),
        (
            "the same descriptor twice",
            json!([{"actions": [key()]}, {"actions": [key()]}]),
        ),
    ]
}

pub(crate) fn scenarios() -> Vec<Scenario> {
    let mut all: Vec<_> = actions()
        .into_iter()
        .map(|(name, actions)| {
            let played = scenario(name, &json!({}), actions, [step(get()).answer(ok())]);
            match name {
                "request_headers, only skipped" => {
                    played.listed("no descriptor without entries is sent", [200])
                }
                _ => played,
            }
        })
        .collect();
    let key = || json!([{"actions": [{"generic_key": {"descriptor_value": "v"}}]}]);
    let ask = |answer: Answer| step(get()).answer(answer);
    let case = |name, more: Value, steps: Vec<Step>| scenario(name, &more, key(), steps);
    let with = |code, body: &str| {
        let mut response = answer(code);
        response.response_headers_to_add = vec![
            header("x-reply", "r"),
            header("x-both", "s"),
            header("set-cookie", "s=1"),
        ];
        response.request_headers_to_add = vec![header("x-request", "q"), header("x-user", "carl")];
        response.raw_body = body.as_bytes().to_vec();
        says(response)
    };
    let statuses = |code, statuses: Vec<DescriptorStatus>| {
        says(RateLimitResponse {
            statuses,
            ..answer(code)
        })
    };
    let two = || {
        vec![
            status(Some((10, 1, "")), 4, 1),
            status(Some((1000, 3, "perh")), 2, 7),
        ]
    };
    let shown = || json!({"enable_x_ratelimit_headers": "DRAFT_VERSION_03"});
    // Five in a row, at most: the breaker opens then.
    let fails = || {
        vec![
            ask(Answer::Grpc(14)),
            ask(Answer::Grpc(8)),
            ask(Answer::Http(503)),
            ask(Answer::Http(200)),
            step(get().grpc()).answer(Answer::Grpc(14)).on_another(),
        ]
    };
    let breaks = || vec![ask(Answer::Close), ask(Answer::Hang)];
    all.extend([
        case(
            "the answers",
            json!({}),
            vec![
                ask(ok()),
                ask(over()),
                ask(says(answer(0))),
                ask(says(answer(7))),
            ],
        ),
        case(
            "with headers and body",
            json!({}),
            vec![
                ask(with(1, "fine")),
                ask(with(2, "slower")),
                ask(with(0, "what")),
            ],
        )
        .listed("an unknown code counts as an error", [200, 429, 200]),
        case(
            "gRPC",
            json!({}),
            vec![
                step(get().grpc()).answer(over()),
                step(get().grpc()).answer(with(2, "slower 100 %")),
                step(get().grpc()).answer(ok()),
            ],
        ),
        case(
            "gRPC, exhausted",
            json!({"rate_limited_as_resource_exhausted": true}),
            vec![step(get().grpc()).answer(over())],
        ),
        case(
            "HEAD",
            json!({}),
            vec![step(get().method("HEAD")).answer(with(2, "slower"))],
        ),
        case(
            "a status",
            json!({"rate_limited_status": {"code": 503}}),
            vec![ask(over())],
        ),
        case(
            "a status below 400",
            json!({"rate_limited_status": {"code": 302}}),
            vec![ask(over())],
        ),
        case(
            "gRPC, a status",
            json!({"rate_limited_status": {"code": 403}}),
            vec![step(get().grpc()).answer(over())],
        ),
        case(
            "no x-envoy-ratelimited",
            json!({"disable_x_envoy_ratelimited_header": true}),
            vec![ask(over())],
        ),
        case(
            "headers to add",
            json!({"response_headers_to_add": [{"header": {"key": "x-limit", "value": "hit"}}]}),
            vec![ask(ok()), ask(over())],
        ),
        case(
            "x-ratelimit",
            shown(),
            vec![
                ask(statuses(1, two())),
                ask(statuses(2, two())),
                ask(statuses(1, vec![])),
                ask(statuses(1, vec![status(None, 5, 3)])),
                ask(statuses(
                    1,
                    vec![status(None, 0, 3), status(Some((10, 2, "")), 5, 3)],
                )),
                ask(statuses(1, vec![status(Some((10, 4, "a b")), 5, 3)])),
                ask(statuses(1, vec![status(Some((10, 5, "m")), 5, 3)])),
                ask(statuses(1, vec![status(Some((10, 6, "y")), 5, 3)])),
                ask(statuses(1, vec![status(Some((10, 7, "w")), 5, 3)])),
                ask(statuses(1, vec![status(Some((10, 0, "u")), 5, 3)])),
                ask(statuses(1, vec![status(Some((10, 9, "?")), 5, 3)])),
                ask(statuses(
                    1,
                    vec![
                        status(Some((10, 2, "a")), 5, 3),
                        status(Some((20, 2, "b")), 5, 9),
                    ],
                )),
            ],
        ),
        case(
            "a name with a quote",
            shown(),
            vec![ask(statuses(
                1,
                vec![status(Some((10, 4, "a b\"c")), 5, 3)],
            ))],
        )
        .listed("a name that would end its quotes is left out", [200]),
        case("no x-ratelimit", json!({}), vec![ask(statuses(1, two()))]),
        case("failures, open", json!({"timeout": "0.3s"}), fails()),
        case("breaks, open", json!({"timeout": "0.3s"}), breaks()),
        case(
            "failures, closed",
            json!({"timeout": "0.3s", "failure_mode_deny": true}),
            fails(),
        ),
        case(
            "breaks, closed",
            json!({"timeout": "0.3s", "failure_mode_deny": true}),
            breaks(),
        ),
        case(
            "failures, with status",
            json!({"timeout": "0.3s", "failure_mode_deny": true, "status_on_error": {"code": 503}}),
            fails(),
        ),
        case(
            "breaks, with status",
            json!({"timeout": "0.3s", "failure_mode_deny": true, "status_on_error": {"code": 503}}),
            breaks(),
        ),
        case(
            "the default timeout",
            json!({"timeout": null, "failure_mode_deny": true}),
            vec![ask(Answer::Hang)],
        ),
        case(
            "six errors in a row",
            json!({"failure_mode_deny": true}),
            vec![ask(Answer::Grpc(14)); 6],
        )
        .listed(
            "after five errors in a row the service is left alone for a second",
            [500; 6],
        ),
        case("down", json!({"cluster": "down"}), vec![ask(ok())]),
        case(
            "down, closed",
            json!({"cluster": "down", "failure_mode_deny": true}),
            vec![ask(ok()), step(get().grpc()).answer(ok()).on_another()],
        ),
        case(
            "a bad header",
            json!({}),
            vec![
                {
                    let mut response = answer(1);
                    response.request_headers_to_add = vec![header("x-bad", "a\nb")];
                    ask(says(response))
                },
                {
                    let mut response = answer(2);
                    response.response_headers_to_add = vec![header("x-bad", "a\r\nx-evil: 1")];
                    ask(says(response))
                },
                {
                    let mut response = answer(1);
                    response.request_headers_to_add =
                        vec![header("host", "other.example"), header(":path", "/b")];
                    ask(says(response))
                },
            ],
        )
        .listed(
            "what is no header, and what no guard may change, counts as an error",
            [200, 429, 200],
        ),
    ]);
    all
}
