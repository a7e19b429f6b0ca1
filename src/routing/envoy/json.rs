//! Pieces of JSON.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::istio::traffic::FractionalPercent;
use crate::matcher::{StringMatcher, StringPattern};

/// The object without fields that are null or empty.
pub(super) fn sparse(value: Value) -> Value {
    let Value::Object(fields) = value else {
        return value;
    };
    let is_there = |value: &Value| match value {
        Value::Null => false,
        Value::Array(list) => !list.is_empty(),
        _ => true,
    };
    let fields = fields.into_iter().filter(|(_, value)| is_there(value));
    Value::Object(fields.collect::<Map<_, _>>())
}

/// A duration, as proto3 writes it.
pub(super) fn seconds(duration: Duration) -> String {
    let (whole, nanos) = (duration.as_secs(), duration.subsec_nanos());
    match nanos {
        0 => format!("{whole}s"),
        _ if nanos % 1_000_000 == 0 => format!("{whole}.{:03}s", nanos / 1_000_000),
        _ if nanos % 1_000 == 0 => format!("{whole}.{:06}s", nanos / 1_000),
        _ => format!("{whole}.{nanos:09}s"),
    }
}

/// A `FractionalPercent`, in whole percents where that is enough.
pub(super) fn fraction(share: FractionalPercent) -> Value {
    let millionths = share.millionths();
    match (millionths, millionths % 10_000) {
        (0, _) => json!({}),
        (_, 0) => json!({"numerator": millionths / 10_000}),
        _ => json!({"numerator": millionths, "denominator": "MILLION"}),
    }
}

/// A `StringMatcher`.
pub(super) fn string_matcher(matcher: &StringMatcher) -> Value {
    let (field, value) = match &matcher.pattern {
        StringPattern::Exact(text) => ("exact", json!(text)),
        StringPattern::Prefix(text) => ("prefix", json!(text)),
        StringPattern::Suffix(text) => ("suffix", json!(text)),
        StringPattern::Contains(text) => ("contains", json!(text)),
        StringPattern::Regex(regex) => ("safe_regex", json!({"regex": regex.as_str()})),
    };
    let mut printed = json!({ field: value });
    if matcher.ignore_case
        && let Some(fields) = printed.as_object_mut()
    {
        fields.insert("ignore_case".to_owned(), true.into());
    }
    printed
}
