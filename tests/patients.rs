//! The example as a test: every row of both sets of policies, and no policy that does not matter.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_types,
    dead_code,
    unreachable_pub,
    reason = "a test may panic; the example's modules are used in part"
)]

#[path = "../examples/patients/clinic.rs"]
mod clinic;
#[path = "../examples/patients/grpc.rs"]
mod grpc;
#[path = "../examples/patients/raw.rs"]
mod raw;
#[path = "../examples/patients/report.rs"]
mod report;
#[path = "../examples/patients/scenario.rs"]
mod scenario;
#[path = "../examples/patients/services.rs"]
mod services;

use std::path::Path;

use clinic::Clinic;
use report::Report;

async fn run(policies: &Path) -> Report {
    clinic::install_tracing();
    scenario::run(&Clinic::start(policies).await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_comes_out_as_expected_on_both_sets_of_policies() {
    for set in ["v1", "v1alpha1"] {
        let report = run(&clinic::policies(set)).await;
        let wrong: Vec<_> = report.rows.iter().filter(|row| !row.is_ok()).collect();
        assert!(wrong.is_empty(), "{set}: {wrong:#?}");
        assert!(report.is_as_expected(), "{set}: a trace is not whole");
        for reporter in ["source", "destination"] {
            assert!(
                report
                    .metrics
                    .contains(&format!("istio_requests_total{{reporter=\"{reporter}\""))
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_lines_hold_their_keys_in_the_documented_order() {
    let lines = run(&clinic::policies("v1")).await.json_lines();
    let in_order = |line: &str, keys: &[&str]| {
        let places: Vec<_> = keys
            .iter()
            .map(|key| line.find(&format!("\"{key}\":")))
            .collect();
        assert!(places.iter().all(Option::is_some), "{line}");
        assert!(places.is_sorted(), "{line}");
    };
    let (metrics, rows) = lines.split_last().unwrap();
    let (trace, rows) = rows.split_last().unwrap();
    for row in rows {
        let keys = "row caller target protocol method path token expected got policy ok";
        in_order(row, &keys.split(' ').collect::<Vec<_>>());
    }
    let keys = "trace name kind trace_id span_id parent_id service";
    in_order(trace, &keys.split(' ').collect::<Vec<_>>());
    in_order(metrics, &["metrics"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v1_and_v1alpha1_differ_in_missing_tokens_and_audiences_only() {
    let (v1, legacy) = (
        run(&clinic::policies("v1")).await,
        run(&clinic::policies("v1alpha1")).await,
    );
    let differ: Vec<_> = v1
        .rows
        .iter()
        .zip(&legacy.rows)
        .filter(|(v1, legacy)| v1.got != legacy.got)
        .map(|(v1, legacy)| (v1.token.as_str(), v1.got.as_str(), legacy.got.as_str()))
        .collect();
    assert_eq!(
        differ,
        [("none", "403", "401"), ("wrong audience", "403", "401")]
    );
}

/// Each change turns one policy into its opposite.
const INVERSIONS: &[(&str, &str, &str)] = &[
    ("v1/mesh.yaml", "mode: STRICT", "mode: DISABLE"),
    (
        "v1/patients.yaml",
        "issuer: https://idp.clinic.example",
        "issuer: https://idp.elsewhere.example",
    ),
    (
        "v1/patients.yaml",
        "sa/patient-check-in\"]",
        "sa/billing\"]",
    ),
    ("v1/patients.yaml", "sa/admin\"]", "sa/billing\"]"),
    (
        "v1/patients.yaml",
        "name: check-in\n  namespace: default\nspec:\n  selector:\n    matchLabels:\n      app: patients\n  action: ALLOW",
        "name: check-in\n  namespace: default\nspec:\n  selector:\n    matchLabels:\n      app: patients\n  action: DENY",
    ),
    (
        "v1/check-in.yaml",
        "issuer: https://idp.clinic.example",
        "issuer: https://idp.elsewhere.example",
    ),
    ("v1/check-in.yaml", "action: ALLOW", "action: DENY"),
    (
        "v1alpha1/authentication.yaml",
        "- mtls: {}",
        "- mtls: {mode: PERMISSIVE}",
    ),
    (
        "v1alpha1/authentication.yaml",
        "audiences: [\"patients\"]",
        "audiences: [\"billing\"]",
    ),
    (
        "v1alpha1/rbac.yaml",
        "mode: ON_WITH_INCLUSION\n  inclusion:",
        "mode: ON_WITH_EXCLUSION\n  exclusion:",
    ),
    (
        "v1alpha1/rbac.yaml",
        "user: cluster.local/ns/default/sa/patient-check-in",
        "user: cluster.local/ns/default/sa/billing",
    ),
    (
        "v1alpha1/rbac.yaml",
        "user: cluster.local/ns/default/sa/admin",
        "user: cluster.local/ns/default/sa/billing",
    ),
    (
        "v1alpha1/rbac.yaml",
        "user: cluster.local/ns/default/sa/*",
        "user: cluster.local/ns/lab/sa/*",
    ),
    (
        "v1alpha1/rbac.yaml",
        "methods: [\"GET\", \"POST\", \"PUT\"]\n",
        "methods: [\"DELETE\"]\n",
    ),
];

/// A table that came out right whatever the policies say would prove nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inverting_any_policy_makes_a_row_differ() {
    for (file, from, to) in INVERSIONS {
        let (set, name) = file.split_once('/').unwrap();
        let directory = tempfile::tempdir().unwrap();
        let mut changed = false;
        for entry in std::fs::read_dir(clinic::policies(set)).unwrap() {
            let entry = entry.unwrap();
            let mut text = std::fs::read_to_string(entry.path()).unwrap();
            if entry.file_name() == name {
                changed = text.contains(from);
                text = text.replacen(from, to, 1);
            }
            std::fs::write(directory.path().join(entry.file_name()), text).unwrap();
        }
        assert!(changed, "{file} does not hold {from:?}");
        let report = run(directory.path()).await;
        assert!(
            !report.is_as_expected(),
            "{file}: {from:?} -> {to:?} went unnoticed"
        );
    }
}
