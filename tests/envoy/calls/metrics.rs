//! Compares the metrics of the mesh with what Istio's tables say of the calls.

use std::collections::BTreeMap;

use serde_json::Value;

use super::call::Call;
use crate::telemetry::metrics::{LABELS, labels_of};
use crate::telemetry::record::Record;

/// How many figures were compared, and the differences. Envoy without Istio's filter has no such
/// metrics; what it logs says which server a call has reached.
pub(super) fn compare(
    told: &str,
    calls: &[Call],
    ours: &[Record],
    theirs: &[Record],
) -> (usize, Vec<String>) {
    let mut differences = Vec::new();
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for ((call, ours), theirs) in calls.iter().zip(ours).zip(theirs) {
        *expected.entry(expectation(call, ours, theirs)).or_default() += 1;
    }
    // The last call, which only ends the test.
    let last = Call::get("the last", "/last");
    let mesh = Record::from_iter([
        ("json.response_code".to_owned(), 200.into()),
        ("json.response_flags".to_owned(), "-".into()),
        ("more.san".to_owned(), super::servers::WEB.into()),
    ]);
    *expected
        .entry(expectation(&last, &mesh, &mesh))
        .or_default() += 1;

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
            let shown = SHOWN.map(|name| {
                let found = labels.iter().find(|(known, _)| known == name);
                found.map_or("", |(_, value)| value.as_str())
            });
            *counted.entry(shown.join(" ")).or_default() += value.parse::<u64>().unwrap();
            for (name, value) in FIXED {
                let found = labels.iter().find(|(known, _)| known == name);
                if found.is_none_or(|(_, found)| found != value) {
                    differences.push(format!("metrics: {name} is {found:?}"));
                }
            }
        }
        if line.starts_with("istio_request_duration_milliseconds_count{") {
            durations += line.rsplit_once("} ").unwrap().1.parse::<u64>().unwrap();
        }
    }
    for (key, value) in &counted {
        if expected.get(key) != Some(value) {
            differences.push(format!(
                "metrics: {key}: {value}, {:?} by the table",
                expected.get(key)
            ));
        }
    }
    for key in expected.keys().filter(|key| !counted.contains_key(*key)) {
        differences.push(format!("metrics: {key}: missing"));
    }
    if durations != expected.values().sum::<u64>() {
        differences.push(format!("metrics: {durations} durations"));
    }
    (expected.len() * SHOWN.len() + FIXED.len(), differences)
}

/// The labels of [`SHOWN`], as the table says.
fn expectation(call: &Call, ours: &Record, theirs: &Record) -> String {
    let text = |record: &Record, field: &str| match record.get(field) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(value) => value.to_string(),
    };
    // Where the lines differ, the comparison of lines has said so.
    let code = text(ours, "json.response_code");
    let flags = text(ours, "json.response_flags");
    // Logs show the HTTP status in place of one that is missing.
    let grpc = match call.is_grpc() && !WITHOUT_STATUS.contains(&call.name) {
        true => text(ours, "more.grpc_number"),
        false => String::new(),
    };
    let protocol = if call.is_grpc() { "grpc" } else { "http" };
    let principal = match text(theirs, "more.san") {
        san if san.starts_with("spiffe://") => san,
        _ => "unknown".to_owned(),
    };
    let is_reached = principal != "unknown";
    // Of the connection's certificates, as the other.
    let own = match is_reached {
        true => "spiffe://cluster.local/ns/foo/sa/desk",
        false => "unknown",
    };
    let (workload, canonical, cluster) = match call.name {
        "described" => ("w", "c", "Kubernetes"),
        _ => ("unknown", "unknown", "unknown"),
    };
    let is_known = !call.host.starts_with("unknown.");
    let (service, namespace) = match call.host.split_once(".foo.svc") {
        Some((name, _)) if is_known => (name, "foo"),
        Some(_) => ("BlackHoleCluster", "unknown"),
        None if call.host == "legacy.example" => ("PassthroughCluster", "unknown"),
        None => ("BlackHoleCluster", "unknown"),
    };
    let found = if is_reached { "foo" } else { "unknown" };
    [
        call.host, service, namespace, workload, canonical, cluster, &principal, own, found,
        protocol, &code, &grpc, &flags,
    ]
    .join(" ")
}

/// Calls of gRPC whose response has no status of gRPC.
const WITHOUT_STATUS: [&str; 3] = ["grpc, status 503", "grpc, status 404", "grpc broken"];

const SHOWN: [&str; 13] = [
    "destination_service",
    "destination_service_name",
    "destination_service_namespace",
    "destination_workload",
    "destination_canonical_service",
    "destination_cluster",
    "destination_principal",
    "source_principal",
    "destination_workload_namespace",
    "request_protocol",
    "response_code",
    "grpc_response_status",
    "response_flags",
];

/// Labels that are the same for every call.
const FIXED: [(&str, &str); 8] = [
    ("reporter", "source"),
    ("source_workload", "desk"),
    ("source_workload_namespace", "foo"),
    ("source_canonical_service", "desk"),
    ("source_canonical_revision", "latest"),
    ("source_app", "desk"),
    ("source_cluster", "Kubernetes"),
    ("connection_security_policy", "unknown"),
];
