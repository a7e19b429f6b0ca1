//! The mistakes of docs/mistakes.md on the command line, made, with the words that a user sees.

use std::fs;

use crate::program::{run, text};

#[path = "../support/mistakes.rs"]
mod page;

const READS: &str = "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: reads, namespace: default}
spec:
  selector: {matchLabels: {app: patients}}
  rules:
  - from: [{source: {principals: [cluster.local/ns/default/sa/desk]}}]
    to: [{operation: {methods: [GET]}}]
";

/// What comes with the feature `pki`, and what is told without it.
const PKI: [&str; 2] = ["command-not-built", "account-without-namespace"];

#[test]
fn each_mistake_is_told_in_the_words_of_the_page() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    for (folder, file, content) in [
        ("policies", "reads.yaml", READS),
        ("kustomized", "reads.yaml", READS),
        (
            "kustomized",
            "kustomization.yaml",
            "resources: [reads.yaml]\n",
        ),
        ("lower", "reads.yaml", &READS.replace("GET", "get")),
    ] {
        fs::create_dir_all(directory.path().join(folder)).unwrap();
        fs::write(directory.path().join(folder).join(file), content).unwrap();
    }
    fs::create_dir(directory.path().join("empty")).unwrap();
    let check = |config: &str, words: &[&str]| -> Vec<String> {
        let config = at(config);
        let first = [
            "check",
            "--config",
            &config,
            "--workload",
            "default/patients",
        ];
        first.iter().chain(words).map(ToString::to_string).collect()
    };
    let own = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let label = "--label=app=patients";
    let rows = [
        (
            "check-without-caller",
            check("policies", &[label, "GET", "/7"]),
        ),
        (
            "check-short-caller",
            check("policies", &[label, "GET", "/7", "--as", "desk"]),
        ),
        ("check-without-label", check("policies", &["GET", "/7"])),
        ("check-wrong-folder", check("polices", &["GET", "/7"])),
        ("vet-empty-folder", own(&["vet", &at("empty")])),
        ("vet-lower-case", own(&["vet", &at("lower")])),
        (
            "vet-unknown-code",
            own(&["vet", "--explain", "method-lowercase"]),
        ),
        (
            "vet-silence-without-reason",
            own(&["vet", &at("policies"), "--allow", "method-unknown"]),
        ),
        ("folder-of-kustomize", own(&["vet", &at("kustomized")])),
        (
            "account-without-namespace",
            own(&["pki", &at("certs"), "patients"]),
        ),
        (
            "command-not-built",
            own(&["pki", &at("certs"), "default/patients"]),
        ),
    ];
    let built = if cfg!(feature = "pki") {
        PKI[0]
    } else {
        PKI[1]
    };
    let rows = rows.into_iter().filter(|(id, _)| *id != built);
    let seen: Vec<_> = rows
        .map(|(id, words)| {
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            let output = run(&words, "");
            (id, text(&output.stdout) + &text(&output.stderr))
        })
        .collect();
    page::compare(&seen, |row| row.place == "command" && row.id != built);
}
