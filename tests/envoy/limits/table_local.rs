//! control-plane.md §6.2: local limits.

use serde_json::{Value, json};

use super::scenario::{Kind, Scenario, Step, step};
use crate::stub::Call;

fn scenario(
    name: &'static str,
    more: &Value,
    actions: Value,
    steps: impl IntoIterator<Item = Step>,
) -> Scenario {
    let always = json!({"default_value": {"numerator": 100, "denominator": "HUNDRED"}});
    let mut filter = json!({
        "token_bucket": bucket(2, 1, "3600s"),
        "filter_enabled": always,
        "filter_enforced": always,
        "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
    });
    for (key, value) in more.as_object().unwrap() {
        match value {
            Value::Null => drop(filter.as_object_mut().unwrap().remove(key)),
            value => filter[key] = value.clone(),
        }
    }
    Scenario {
        name,
        kind: Kind::Local,
        filter,
        actions,
        steps: steps.into_iter().collect(),
        listed: None,
    }
}

fn bucket(max: u32, per_fill: u32, interval: &str) -> Value {
    json!({"max_tokens": max, "tokens_per_fill": per_fill, "fill_interval": interval})
}

fn descriptor(entries: &[(&str, &str)], bucket: &Value) -> Value {
    let entries = entries
        .iter()
        .map(|(key, value)| json!({"key": key, "value": value}));
    json!({"entries": entries.collect::<Value>(), "token_bucket": bucket})
}

fn header_action(header: &str, key: &str) -> Value {
    json!({"request_headers": {"header_name": header, "descriptor_key": key}})
}

fn get() -> Call {
    Call::get("/a")
}

fn as_user(user: &'static str) -> Step {
    step(get().with("x-user", user))
}

pub(crate) fn scenarios() -> Vec<Scenario> {
    let by_user = || json!([{"actions": [header_action("x-user", "user")]}]);
    let percent = |numerator: u32| json!({"default_value": {"numerator": numerator, "denominator": "HUNDRED"}});
    let many = |count: usize| std::iter::repeat_with(|| step(get())).take(count);
    let added = json!([{"header": {"key": "x-limit", "value": "hit"}}]);
    let two = || {
        let both = || step(get().with("x-user", "ann").with("x-place", "x"));
        [
            both(),
            both(),
            both(),
            as_user("ann"),
            as_user("ann"),
            as_user("ann"),
        ]
    };
    vec![
        scenario("three of two", &json!({}), json!([]), many(3)),
        scenario(
            "without headers",
            &json!({"enable_x_ratelimit_headers": null}),
            json!([]),
            many(3),
        ),
        // A token comes in three seconds, two in six.
        scenario(
            "refill",
            &json!({"token_bucket": bucket(2, 2, "6s"), "enable_x_ratelimit_headers": null}),
            json!([]),
            many(3).chain([step(get()).after(3200), step(get())]),
        ),
        scenario(
            "never above the most",
            &json!({"token_bucket": bucket(2, 2, "2s"), "enable_x_ratelimit_headers": null}),
            json!([]),
            many(2).chain([step(get()).after(3200)]).chain(many(2)),
        ),
        scenario(
            "the reset",
            &json!({"token_bucket": bucket(2, 1, "10s")}),
            json!([]),
            many(3),
        ),
        scenario(
            "the reset of several",
            &json!({"token_bucket": bucket(4, 4, "40s")}),
            json!([]),
            many(5),
        ),
        scenario(
            "enabled, not enforced",
            &json!({
                "filter_enforced": percent(0),
                "request_headers_to_add_when_not_enforced": added,
                "response_headers_to_add": added,
            }),
            json!([]),
            many(3),
        ),
        scenario(
            "headers to add",
            &json!({"response_headers_to_add": added}),
            json!([]),
            many(3),
        ),
        scenario(
            "a status",
            &json!({"status": {"code": 503}}),
            json!([]),
            many(3),
        ),
        scenario(
            "a status below 400",
            &json!({"status": {"code": 202}}),
            json!([]),
            many(3),
        ),
        scenario(
            "HEAD",
            &json!({}),
            json!([]),
            many(2).chain([step(get().method("HEAD"))]),
        ),
        scenario(
            "gRPC",
            &json!({}),
            json!([]),
            many(2).chain([step(get().grpc()).on_another()]),
        ),
        scenario(
            "gRPC, exhausted",
            &json!({"rate_limited_as_resource_exhausted": true}),
            json!([]),
            many(2).chain([step(get().grpc()).on_another()]),
        ),
        scenario(
            "per connection",
            &json!({"local_rate_limit_per_downstream_connection": true}),
            json!([]),
            many(3).chain([step(get()).on_another(), step(get())]),
        ),
        scenario(
            "a descriptor",
            &json!({"descriptors": [descriptor(&[("user", "ann")], &bucket(1, 1, "3600s"))]}),
            by_user(),
            [
                as_user("ann"),
                as_user("ann"),
                as_user("bob"),
                as_user("bob"),
                step(get()),
            ],
        ),
        scenario(
            "a descriptor with more than the default",
            &json!({"descriptors": [descriptor(&[("user", "ann")], &bucket(5, 1, "3600s"))]}),
            by_user(),
            [
                as_user("ann"),
                as_user("ann"),
                as_user("ann"),
                as_user("bob"),
            ],
        ),
        scenario(
            "a descriptor, default spared",
            &json!({
                "always_consume_default_token_bucket": false,
                "descriptors": [descriptor(&[("user", "ann")], &bucket(3, 1, "3600s"))],
            }),
            by_user(),
            [
                as_user("ann"),
                as_user("ann"),
                as_user("ann"),
                as_user("ann"),
                as_user("bob"),
                as_user("bob"),
                as_user("bob"),
            ],
        ),
        scenario(
            "a refused descriptor and the default",
            &json!({
                "token_bucket": bucket(3, 1, "3600s"),
                "descriptors": [descriptor(&[("user", "ann")], &bucket(1, 1, "3600s"))],
            }),
            by_user(),
            [
                as_user("ann"),
                as_user("ann"),
                as_user("ann"),
                step(get()),
                step(get()),
                step(get()),
            ],
        ),
        scenario(
            "any value",
            &json!({
                "token_bucket": bucket(100, 1, "3600s"),
                "max_dynamic_descriptors": 2,
                "descriptors": [descriptor(&[("user", "")], &bucket(1, 1, "3600s"))],
            }),
            by_user(),
            [
                as_user("a"),
                as_user("a"),
                as_user("b"),
                as_user("b"),
                as_user("c"),
                as_user("a"),
                as_user("b"),
                as_user("c"),
            ],
        ).listed(
"values beyond the bound share one bucket; Envoy forgets the oldest, which starts full again",
[200, 429, 200, 429, 200, 429, 429, 429]),
        scenario(
            "any value, one of its own",
            &json!({
                "token_bucket": bucket(100, 1, "3600s"),
                "descriptors": [
                    descriptor(&[("user", "")], &bucket(1, 1, "3600s")),
                    descriptor(&[("user", "ann")], &bucket(2, 1, "3600s")),
                ],
            }),
            by_user(),
            [
                as_user("ann"),
                as_user("ann"),
                as_user("ann"),
                as_user("b"),
                as_user("b"),
            ],
        ),
        scenario(
            "two entries",
            &json!({
                "token_bucket": bucket(100, 1, "3600s"),
                "descriptors": [
                    descriptor(&[("user", "ann"), ("place", "x")], &bucket(1, 1, "3600s")),
                ],
            }),
            json!([{"actions": [header_action("x-user", "user"), header_action("x-place", "place")]}]),
            [
                as_user("ann"),
                step(get().with("x-user", "ann").with("x-place", "x")),
                step(get().with("x-user", "ann").with("x-place", "x")),
                step(get().with("x-user", "ann").with("x-place", "y")),
                step(get().with("x-place", "x")),
            ],
        ),
        scenario(
            "entries in another order",
            &json!({
                "descriptors": [descriptor(&[("place", "x"), ("user", "ann")], &bucket(1, 1, "3600s"))],
                "token_bucket": bucket(100, 1, "3600s"),
            }),
            json!([{"actions": [header_action("x-user", "user"), header_action("x-place", "place")]}]),
            [
                step(get().with("x-user", "ann").with("x-place", "x")),
                step(get().with("x-user", "ann").with("x-place", "x")),
            ],
        ),
        scenario(
            "two descriptors",
            &json!({
                "token_bucket": bucket(100, 1, "3600s"),
                "descriptors": [
                    descriptor(&[("user", "ann")], &bucket(3, 1, "3600s")),
                    descriptor(&[("place", "x")], &bucket(1, 1, "3600s")),
                ],
            }),
            json!([{"actions": [header_action("x-user", "user")]}, {"actions": [header_action("x-place", "place")]}]),
            [
                step(get().with("x-user", "ann").with("x-place", "x")),
                step(get().with("x-user", "ann").with("x-place", "x")),
                step(get().with("x-user", "ann").with("x-place", "x")),
                as_user("ann"),
                as_user("ann"),
                as_user("ann"),
            ],
        ),
        scenario(
            "two descriptors, the refusing one first",
            &json!({
                "token_bucket": bucket(100, 1, "3600s"),
                "descriptors": [
                    descriptor(&[("user", "ann")], &bucket(3, 1, "3600s")),
                    descriptor(&[("place", "x")], &bucket(1, 1, "3600s")),
                ],
            }),
            json!([{"actions": [header_action("x-place", "place")]}, {"actions": [header_action("x-user", "user")]}]),
            two(),
        ),
        scenario(
            "two descriptors, the refusing one slower",
            &json!({
                "token_bucket": bucket(100, 1, "3600s"),
                "descriptors": [
                    descriptor(&[("user", "ann")], &bucket(3, 1, "3600s")),
                    descriptor(&[("place", "x")], &bucket(1, 1, "7200s")),
                ],
            }),
            json!([{"actions": [header_action("x-user", "user")]}, {"actions": [header_action("x-place", "place")]}]),
            two(),
        ),
        scenario(
            "two descriptors, the refusing one faster",
            &json!({
                "token_bucket": bucket(100, 1, "1800s"),
                "descriptors": [
                    descriptor(&[("user", "ann")], &bucket(3, 1, "7200s")),
                    descriptor(&[("place", "x")], &bucket(1, 1, "3600s")),
                ],
            }),
            json!([{"actions": [header_action("x-place", "place")]}, {"actions": [header_action("x-user", "user")]}]),
            two(),
        ),
        scenario(
            "a default slower than the descriptor",
            &json!({
                "token_bucket": bucket(10, 1, "3600s"),
                "descriptors": [descriptor(&[("user", "ann")], &bucket(3, 2, "3600s"))],
            }),
            by_user(),
            [
                as_user("ann"),
                as_user("ann"),
                as_user("ann"),
                as_user("ann"),
                step(get()),
            ],
        ),
        scenario(
            "the same descriptor twice",
            &json!({
                "token_bucket": bucket(100, 1, "3600s"),
                "descriptors": [descriptor(&[("user", "ann")], &bucket(3, 1, "3600s"))],
            }),
            json!([{"actions": [header_action("x-user", "user")]}, {"actions": [header_action("x-user", "user")]}]),
            [as_user("ann"), as_user("ann"), as_user("ann")],
        ).listed("the headers show what the first question left", [200, 429, 429]),
        scenario(
            "several lines",
            &json!({
                "token_bucket": bucket(100, 1, "3600s"),
                "descriptors": [descriptor(&[("user", "ann,bob")], &bucket(1, 1, "3600s"))],
            }),
            by_user(),
            [
                step(get().with("x-user", "ann").with("x-user", "bob")),
                step(get().with("x-user", "ann").with("x-user", "bob")),
            ],
        ),
        scenario(
            "an address",
            &json!({
                "token_bucket": bucket(100, 1, "3600s"),
                "descriptors": [descriptor(&[("remote_address", "127.0.0.1")], &bucket(1, 1, "3600s"))],
            }),
            json!([{"actions": [{"remote_address": {}}]}]),
            many(2),
        ),
        scenario(
            "an interval that is no multiple",
            &json!({
                "token_bucket": bucket(100, 1, "3600s"),
                "descriptors": [descriptor(&[("user", "ann")], &bucket(1, 1, "5000s"))],
            }),
            by_user(),
            [as_user("ann"), as_user("ann")],
        ),
        scenario(
            "an interval shorter than the default's",
            &json!({
                "token_bucket": bucket(100, 1, "3600s"),
                "descriptors": [descriptor(&[("user", "ann")], &bucket(1, 1, "60s"))],
            }),
            by_user(),
            [as_user("ann"), as_user("ann")],
        ),
    ]
}
