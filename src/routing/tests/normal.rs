//! Brings what we print, and what was recorded, to one form.

use serde_json::{Map, Value, json};

/// Without what says nothing, with shares as millionths and sets sorted.
pub(super) fn normal(value: &Value) -> Value {
    match value {
        Value::Array(list) => list.iter().map(normal).collect(),
        Value::Object(fields) => object(fields),
        other => other.clone(),
    }
}

fn object(fields: &Map<String, Value>) -> Value {
    if let Some(share) = share(fields) {
        return share;
    }
    let mut normal_fields = Map::new();
    for (key, value) in fields {
        let value = normal(value);
        let says_nothing = match key.as_str() {
            "decorator" | "metadata" | "max_grpc_timeout" | "validate_clusters" => true,
            "timeout" => value == "0s" || value == "ABSENT",
            "case_sensitive" | "include_request_attempt_count" => value == true,
            "percentage" => value == json!({}) || value == json!({"millionths": 0}),
            _ => value.is_null(),
        };
        if !says_nothing {
            normal_fields.insert(key.clone(), value);
        }
    }
    if let Some(Value::Array(list)) = normal_fields.get_mut("query_parameters") {
        list.sort_by_key(|test| test["name"].to_string());
    }
    if let Some(Value::Array(list)) = normal_fields.get_mut("domains") {
        list.sort_by_key(Value::to_string);
    }
    if let Some(hosts) = normal_fields.get_mut("retry_host_predicate")
        && hosts.is_array()
    {
        *hosts = "previous_hosts".into();
    }
    if let Some(policy) = normal_fields.get_mut("retry_policy")
        && *policy == standard()
    {
        *policy = "STD".into();
    }
    Value::Object(normal_fields)
}

pub(super) fn standard() -> Value {
    json!({
        "retry_on": crate::routing::route::RetryPolicy::BUILT_IN,
        "num_retries": 2,
        "retry_host_predicate": "previous_hosts",
        "host_selection_retry_max_attempts": "5",
    })
}

fn share(fields: &Map<String, Value>) -> Option<Value> {
    let only = |key: &String| key == "numerator" || key == "denominator";
    if fields.is_empty() || !fields.keys().all(only) {
        return None;
    }
    let numerator = fields.get("numerator").and_then(Value::as_u64)?;
    let scale = match fields.get("denominator").and_then(Value::as_str) {
        Some("MILLION") => 1,
        Some("TEN_THOUSAND") => 100,
        _ => 10_000,
    };
    Some(json!({"millionths": numerator * scale}))
}

/// `NAME | match -> action`, as an object.
pub(super) fn parse_short(text: &str) -> Option<Value> {
    let (name, rest) = text.split_once(" | ")?;
    let (mut matches, action) = rest.rsplit_once(" -> ")?;
    let mut fields = Map::new();
    while let Some((key, rest)) = matches.split_once('=') {
        let (value, rest) = match rest.starts_with(['{', '[']) {
            true => {
                let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
                let value = values.next()?.ok()?;
                (value, &rest[values.byte_offset()..])
            }
            false => {
                let end = rest.find(',').unwrap_or(rest.len());
                (Value::from(&rest[..end]), &rest[end..])
            }
        };
        fields.insert(key.to_owned(), value);
        matches = rest.strip_prefix(',').unwrap_or(rest);
    }
    let matches = without_case(normal(&Value::Object(fields)));
    Some(json!({"name": name, "match": matches, "action": action}))
}

/// The same of a route that we print.
pub(super) fn short(route: &Value) -> Value {
    let action = match &route["route"] {
        Value::Null if route.get("redirect").is_some() => "redirect".to_owned(),
        Value::Null => format!("direct {}", route["direct_response"]["status"]),
        to => match to["cluster"].as_str() {
            Some(cluster) => cluster.to_owned(),
            None => {
                let all = to["weighted_clusters"]["clusters"].as_array().unwrap();
                let all = all
                    .iter()
                    .map(|each| format!("{}={}", each["name"].as_str().unwrap(), each["weight"]));
                format!("weighted {}", all.collect::<Vec<_>>().join(" "))
            }
        },
    };
    let name = route["name"].as_str().unwrap_or("None");
    let matches = without_case(normal(&route["match"]));
    json!({"name": name, "match": matches, "action": action})
}

/// The short form does not say whether case counts.
fn without_case(mut matches: Value) -> Value {
    if let Some(fields) = matches.as_object_mut() {
        fields.remove("case_sensitive");
    }
    matches
}
