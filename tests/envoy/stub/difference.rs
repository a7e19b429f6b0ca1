//! Where two values differ.

use std::collections::BTreeSet;

use serde_json::Value;

/// Each place with what is there, ours first.
pub(crate) fn difference(ours: &Value, theirs: &Value) -> Vec<String> {
    let mut found = Vec::new();
    look("", ours, theirs, &mut found);
    found
}

fn look(place: &str, ours: &Value, theirs: &Value, found: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: BTreeSet<_> = one.keys().chain(other.keys()).collect();
            for key in keys {
                let place = format!("{place}.{key}");
                look(&place, &ours[key], &theirs[key], found);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (index, (ours, theirs)) in one.iter().zip(other).enumerate() {
                look(&format!("{place}[{index}]"), ours, theirs, found);
            }
        }
        _ if ours != theirs => found.push(format!("{place}: {ours}, Envoy {theirs}")),
        _ => {}
    }
}
