//! The example as a test: every row of both sets of policies, and no policy that does not matter.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::disallowed_types,
    dead_code,
    unreachable_pub,
    reason = "a test may panic; the example's modules are used in part"
)]

#[path = "../examples/patients/clinic.rs"]
mod clinic;
#[path = "../examples/patients/export.rs"]
mod export;
#[path = "../examples/patients/grpc.rs"]
mod grpc;
#[path = "../examples/patients/metrics.rs"]
mod metrics;
#[path = "../examples/patients/raw.rs"]
mod raw;
#[path = "../examples/patients/report.rs"]
mod report;
#[path = "../examples/patients/scenario.rs"]
mod scenario;
#[path = "../examples/patients/services.rs"]
mod services;
#[path = "../examples/patients/signals.rs"]
mod signals;

use std::path::Path;

use clinic::Clinic;
use export::Export;
use report::Report;
use tokio::task::JoinSet;

async fn run(policies: &Path) -> Report {
    let export = Export::default();
    clinic::install_tracing(&export);
    scenario::run(&Clinic::start(policies, &export).await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_comes_out_as_expected_on_both_sets_of_policies() {
    for set in ["v1", "v1alpha1"] {
        let report = run(&clinic::policies(set)).await;
        let wrong: Vec<_> = report.rows.iter().filter(|row| !row.is_ok()).collect();
        assert!(wrong.is_empty(), "{set}: {wrong:#?}");
        assert!(report.is_as_expected(), "{set}: a trace is not whole");
        let refused = report.rows.iter().filter(|row| row.got == raw::REFUSED);
        let reasons: Vec<_> = refused.map(|row| row.policy.as_str()).collect();
        assert_eq!(
            reasons,
            [
                "TLS handshake: plaintext_refused",
                "TLS handshake: no_certificate",
                "TLS handshake: untrusted_domain"
            ]
        );
        for reporter in ["source", "destination"] {
            assert!(
                report
                    .metrics
                    .contains(&format!("istio_requests_total{{reporter=\"{reporter}\""))
            );
        }
    }
}

/// Each edge has its golden signals, and the rows that were refused are its errors.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_metrics_are_printed_as_golden_signals() {
    let printed = run(&clinic::policies("v1")).await.to_string();
    let edges: Vec<Vec<&str>> = printed
        .lines()
        .skip_while(|line| !line.starts_with("source "))
        .skip(1)
        .take_while(|line| !line.is_empty())
        .map(|line| line.split_whitespace().collect())
        .collect();
    let edge = |source: &str, destination: &str, protocol: &str| {
        let wanted = [source, destination, protocol];
        edges.iter().find(|edge| edge[..3] == wanted).unwrap()
    };
    assert_eq!(edge("billing", "patients", "grpc")[3..5], ["1", "100.0%"]);
    assert_eq!(
        edge("lab/patient-check-in", "patients", "http")[3..5],
        ["1", "100.0%"]
    );
    assert_eq!(edge("admin", "patients", "grpc")[3..5], ["1", "0.0%"]);
    for edge in &edges {
        let quantiles: Vec<f64> = edge[5..].iter().map(|text| text.parse().unwrap()).collect();
        assert!(quantiles.len() == 3 && quantiles.is_sorted(), "{edge:?}");
    }
    assert!(
        !printed.contains("istio_requests_total{"),
        "raw text is for programs"
    );
}

#[test]
fn golden_signals_are_those_that_promql_gives() {
    let labels = |reporter: &str, more: &str| {
        format!(
            "reporter=\"{reporter}\",source_workload=\"desk\",source_principal=\"unknown\",\
             destination_service_name=\"charts\",request_protocol=\"http\"{more}"
        )
    };
    let mut text = String::new();
    for (code, count) in [("200", 97), ("404", 2), ("503", 1)] {
        let labels = labels("destination", &format!(",response_code=\"{code}\""));
        text += &format!("istio_requests_total{{{labels}}} {count}\n");
    }
    // What the caller counts of the same edge is not counted twice.
    text += &format!(
        "istio_requests_total{{{}}} 100\n",
        labels("source", ",response_code=\"200\"")
    );
    for (bound, count) in [("1", 50), ("5", 90), ("10", 99), ("+Inf", 100)] {
        let labels = labels("destination", &format!(",le=\"{bound}\""));
        text += &format!("istio_request_duration_milliseconds_bucket{{{labels}}} {count}\n");
    }
    let printed = signals::Signals::of(&text).to_string();
    let row: Vec<_> = printed.lines().nth(1).unwrap().split_whitespace().collect();
    let expected = [
        "desk", "charts", "http", "100", "3.0%", "1.00", "7.78", "10.00",
    ];
    assert_eq!(row, expected, "{printed}");

    // Of no request there is no quantile.
    let bucket = |bound: &str| {
        let name = "istio_request_duration_milliseconds_bucket";
        format!("{name}{{reporter=\"source\",le=\"{bound}\"}} 0\n")
    };
    let printed = signals::Signals::of(&(bucket("5") + &bucket("+Inf"))).to_string();
    assert_eq!(printed.matches("NaN").count(), 3, "{printed}");
    assert!(printed.contains(" 0.0%"), "{printed}");
}

/// The rows that the README shows are rows of the run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_readme_shows_what_is_printed() {
    let printed = run(&clinic::policies("v1")).await.to_string();
    let cells = |line: &str| {
        let cells = line.split("  ").map(str::trim);
        let cells: Vec<_> = cells.filter(|cell| !cell.is_empty()).collect();
        cells.join("|")
    };
    let printed: Vec<_> = printed.lines().map(cells).collect();
    let readme = include_str!("../README.md");
    let shown = readme.lines().skip_while(|line| !line.starts_with("row "));
    let shown: Vec<_> = shown.take_while(|line| *line != "...").collect();
    assert!(shown.len() > 5, "{shown:?}");
    for line in shown {
        assert!(printed.contains(&cells(line)), "{line}");
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
        [
            ("none", "403", "401"),
            ("wrong audience", "403", "401"),
            ("none", "403", "401"),
            ("none", "403", "401"),
        ]
    );
}

/// What would turn a rule into its opposite or make it ask somebody else. Each is done wherever the text stands, one place at a time.
const INVERSIONS: &[(&str, &str)] = &[
    ("mode: STRICT", "mode: DISABLE"),
    ("mode: STRICT", "mode: PERMISSIVE"),
    ("- mtls: {}", "- mtls: {mode: PERMISSIVE}"),
    (
        "issuer: https://idp.clinic",
        "issuer: https://idp.elsewhere",
    ),
    ("audiences: [\"patients\"]", "audiences: [\"billing\"]"),
    ("action: ALLOW", "action: DENY"),
    ("  principals: [\"cluster", "  notPrincipals: [\"cluster"),
    ("requestPrincipals: [", "notRequestPrincipals: ["),
    (REQUEST_PRINCIPALS, ""),
    ("sa/patient-check-in\"]", "sa/billing\"]"),
    ("sa/admin\"]", "sa/billing\"]"),
    ("methods: [", "notMethods: ["),
    ("methods: [\"GET\", \"POST\", \"PUT\"]", "methods: [\"*\"]"),
    ("paths: [", "notPaths: ["),
    ("\"/patients\", ", ""),
    ("\"/patients/*\", ", ""),
    (", \"/clinic.v1.Patients/*\"", ""),
    ("principalBinding: USE_ORIGIN", "principalBinding: USE_PEER"),
    ("- name: patient", "- name: nobody-"),
    (
        "WITH_INCLUSION\n  inclusion:",
        "WITH_EXCLUSION\n  exclusion:",
    ),
    ("      - patients.default.svc.cluster.local\n", ""),
    ("      - patient-check-in.default.svc.cluster.local\n", ""),
    (
        "user: cluster.local/ns/default/sa/",
        "user: cluster.local/ns/lab/sa/",
    ),
    ("user: cluster.local/ns/default/sa/*", "user: \"*\""),
    ("  name: patients-", "  name: nobodys-"),
    ("  name: desk-caller", "  name: nobodys-caller"),
];
const REQUEST_PRINCIPALS: &str =
    "            requestPrincipals: [\"https://idp.clinic.example/*\"]\n";

/// A table that came out right whatever the policies say would prove nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inverting_any_rule_of_any_policy_makes_a_row_differ() {
    let mut untouched = INVERSIONS.to_vec();
    let mut changes = Vec::new();
    for set in ["v1", "v1alpha1"] {
        for entry in std::fs::read_dir(clinic::policies(set)).unwrap() {
            let (file, text) = read(&entry.unwrap().path());
            for &(from, to) in INVERSIONS {
                for (at, _) in text.match_indices(from) {
                    let changed = [&text[..at], to, &text[at + from.len()..]].concat();
                    let line = text[..at].lines().count() + 1;
                    changes.push(Change {
                        set,
                        file: file.clone(),
                        text: changed,
                        what: format!("{line}: {from:?} -> {to:?}"),
                    });
                    untouched.retain(|inversion| *inversion != (from, to));
                }
            }
        }
    }
    assert_eq!(untouched, [], "these occur nowhere");
    must_differ(changes).await;
}

/// STRICT is what a mesh does without being told, so its policy is the only one that may be absent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_policy_is_missed_when_it_is_not_there() {
    let mut changes = Vec::new();
    for set in ["v1", "v1alpha1"] {
        for entry in std::fs::read_dir(clinic::policies(set)).unwrap() {
            let (file, text) = read(&entry.unwrap().path());
            let documents: Vec<_> = text.split("\n---\n").collect();
            for left_out in 0..documents.len() {
                let mut rest = documents.clone();
                let policy = rest.remove(left_out);
                if !policy.contains("mode: STRICT") {
                    changes.push(Change {
                        set,
                        file: file.clone(),
                        text: rest.join("\n---\n"),
                        what: policy.to_owned(),
                    });
                }
            }
        }
    }
    must_differ(changes).await;
}

fn read(path: &Path) -> (String, String) {
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    (name, std::fs::read_to_string(path).unwrap())
}

/// A set of policies with one file changed.
struct Change {
    set: &'static str,
    file: String,
    text: String,
    what: String,
}

/// Runs the scenario with each of these changes, a few at once: a run waits for sockets more than it
/// works.
async fn must_differ(changes: Vec<Change>) {
    const AT_ONCE: usize = 4;
    let mut running = JoinSet::new();
    for change in changes {
        if running.len() == AT_ONCE {
            running.join_next().await.unwrap().unwrap();
        }
        running.spawn(change.must_differ());
    }
    while let Some(run) = running.join_next().await {
        run.unwrap();
    }
}

impl Change {
    async fn must_differ(self) {
        let Self {
            set,
            file,
            text,
            what,
        } = self;
        let directory = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(clinic::policies(set)).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, directory.path().join(path.file_name().unwrap())).unwrap();
        }
        std::fs::write(directory.path().join(&file), text).unwrap();
        let report = run(directory.path()).await;
        let differs = report.rows.iter().any(|row| !row.is_ok());
        assert!(differs, "{set}/{file} {what}: went unnoticed");
    }
}
