//! Compares the metrics of the mesh with what Envoy's log says.

use std::collections::BTreeMap;

use serde_json::Value;

use super::record::Record;

/// How many figures were compared, and the differences.
pub(crate) fn compare(told: &str, ours: &[Record], theirs: &[Record]) -> (usize, Vec<String>) {
    let mut differences = Vec::new();
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for (ours, theirs) in ours.iter().zip(theirs) {
        let text = |record: &Record, field: &str| match record.get(field) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) | None => String::new(),
            Some(value) => value.to_string(),
        };
        // Where the lines differ, the comparison of lines has said so.
        let code = text(ours, "json.response_code");
        let flags = text(ours, "json.response_flags");
        let is_grpc = text(ours, "json.path").starts_with("/pkg.Svc/");
        let grpc = if is_grpc {
            text(theirs, "more.grpc_number")
        } else {
            String::new()
        };
        let protocol = if is_grpc { "grpc" } else { "http" };
        *expected
            .entry(format!("{protocol} {code} {flags} {grpc}"))
            .or_default() += 1;
    }
    // The last request, which only ends the test.
    *expected.entry("http 200 - ".to_owned()).or_default() += 1;
    let mut counted: BTreeMap<String, u64> = BTreeMap::new();
    let mut durations = 0;
    for line in told.lines() {
        if let Some(series) = line.strip_prefix("istio_requests_total{") {
            let (labels, value) = series.rsplit_once("} ").unwrap();
            let labels = labels_of(labels);
            let names: Vec<_> = labels.iter().map(|(name, _)| name.as_str()).collect();
            if names != LABELS {
                differences.push(format!("metrics: the labels are {names:?}"));
            }
            let label = |wanted: &str| {
                let found = labels.iter().find(|(name, _)| name == wanted);
                found.map_or("", |(_, value)| value.as_str())
            };
            let key = format!(
                "{} {} {} {}",
                label("request_protocol"),
                label("response_code"),
                label("response_flags"),
                label("grpc_response_status"),
            );
            *counted.entry(key).or_default() += value.parse::<u64>().unwrap();
            for (name, value) in FIXED {
                if label(name) != *value {
                    differences.push(format!("metrics: {name} is {:?}", label(name)));
                }
            }
        }
        if line.starts_with("istio_request_duration_milliseconds_count{") {
            durations += line.rsplit_once("} ").unwrap().1.parse::<u64>().unwrap();
        }
    }
    if counted != expected {
        differences.push(format!("metrics: {counted:?}, by Envoy's log {expected:?}"));
    }
    if durations != expected.values().sum::<u64>() {
        differences.push(format!("metrics: {durations} durations"));
    }
    (expected.len() + 1, differences)
}

pub(crate) fn labels_of(text: &str) -> Vec<(String, String)> {
    let labels = text.trim_end_matches('"').split("\",");
    let label = |label: &str| {
        let (name, value) = label.split_once("=\"").unwrap();
        (name.to_owned(), value.to_owned())
    };
    labels.map(label).collect()
}

/// Labels that are the same for every request.
const FIXED: &[(&str, &str)] = &[
    ("reporter", "destination"),
    ("source_principal", "spiffe://cluster.local/ns/foo/sa/desk"),
    ("source_workload_namespace", "foo"),
    (
        "destination_principal",
        "spiffe://cluster.local/ns/foo/sa/web",
    ),
    ("destination_service", "web.foo.svc.cluster.local"),
    ("destination_service_name", "web"),
    ("destination_service_namespace", "foo"),
    ("destination_canonical_service", "web"),
    ("destination_canonical_revision", "latest"),
    ("destination_cluster", "Kubernetes"),
    ("connection_security_policy", "mutual_tls"),
];

/// §3.2 of Istio's standard metrics, in its order.
pub(crate) const LABELS: [&str; 25] = [
    "reporter",
    "source_workload",
    "source_canonical_service",
    "source_canonical_revision",
    "source_workload_namespace",
    "source_principal",
    "source_app",
    "source_version",
    "source_cluster",
    "destination_workload",
    "destination_workload_namespace",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_service",
    "destination_canonical_service",
    "destination_canonical_revision",
    "destination_service_name",
    "destination_service_namespace",
    "destination_cluster",
    "request_protocol",
    "response_code",
    "grpc_response_status",
    "response_flags",
    "connection_security_policy",
];
