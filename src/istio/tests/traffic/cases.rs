//! Recorded cases of the real istiod: which documents it refuses.

use std::fs;
use std::path::Path;

use super::*;

/// Cases in which the two differ, and why.
const DIFFERENT: &[(&str, &str)] = &[
    ("direct-1mib", "its body is cut from the recorded text"),
    ("direct-600", "Envoy would refuse the whole table"),
    ("dr-pl-retrybudget", "proxyProtocol is not supported"),
    ("dr-selector-two", "YAML reads a bare `n` as a boolean"),
    ("fault-600", "Envoy would refuse the whole table"),
    ("gw-names", "Gateway is not read"),
    ("gw-tls-istio-cred", "Gateway is not read"),
    ("gw-tls-none", "Gateway is not read"),
    (
        "loc-zoneaware-force",
        "an unknown field, which istiod drops",
    ),
    ("redir-badcode", "Envoy would refuse the whole table"),
];

/// Reads a folder of cases, `NAME/in.yaml` and `NAME/want.json`, that the variable
/// `TOWER_MESH_TRAFFIC_CASES` names. Of two versions the newer counts.
#[test]
#[ignore = "reads a folder that TOWER_MESH_TRAFFIC_CASES names"]
fn istiod_refuses_the_same() {
    let Some(folder) = std::env::var_os("TOWER_MESH_TRAFFIC_CASES") else {
        panic!("set TOWER_MESH_TRAFFIC_CASES to a folder of cases")
    };
    let mut agreed = 0;
    let mut differing = Vec::new();
    for case in fs::read_dir(folder).unwrap() {
        let case = case.unwrap().path();
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let problems = problems_of(&case.join("in.yaml"));
        let want = fs::read_to_string(case.join("want.json")).unwrap();
        let want: serde_json::Value = serde_json::from_str(&want).unwrap();
        let newest = want.get("want_master").or_else(|| want.get("want"));
        let refused = newest.and_then(|want| want.get("refused"));
        let is_known = DIFFERENT.iter().any(|(known, _)| *known == name);
        if problems.is_some() == refused.is_some() {
            agreed += 1;
        } else if !is_known {
            differing.push(format!("{name}: istiod {refused:?}, here {problems:?}"));
        }
    }
    assert!(
        differing.is_empty(),
        "{agreed} agree\n{}",
        differing.join("\n")
    );
}

fn problems_of(file: &Path) -> Option<String> {
    let text = fs::read_to_string(file).unwrap();
    let problems = parse("in.yaml", &text, "default").err()?;
    Some(problems.to_string())
}
