//! Documents of other people's kinds among ours: every command says that it passed them over, and of which it speaks.

use serde_json::Value;

use crate::files::Files;
use crate::program::{run, text};

const OURS: &str = "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: ours
  namespace: foo
  annotations: {tower-mesh.io/vet-ignore: 'mesh-warns: this is about ours'}
spec: {rules: [{}]}
";
const LEGACY: &str = "apiVersion: rbac.istio.io/v1alpha1
kind: ClusterRbacConfig
metadata: {name: default}
spec: {mode: 'ON'}
";
const THEIRS: &str = "---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: theirs, namespace: foo}
spec: {}
---
apiVersion: example.com/v1
kind: \"Other\\e[2J\"
metadata: {name: other}
";

#[test]
fn what_is_passed_over_is_told_of_by_its_own_name() {
    for (name, before) in [("alone.yaml", ""), ("behind.yaml", OURS)] {
        let files = Files::new(&[(name, format!("{before}{THEIRS}"))]);
        let file = files.path(name);
        let output = run(&["vet", &file, "--format", "json"], "");
        let notes: Vec<Value> = text(&output.stdout)
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .filter(|note: &Value| note["message"].to_string().contains("passed over"))
            .collect();
        assert_eq!(notes.len(), 1, "{name}: {}", text(&output.stdout));
        assert_eq!(notes[0]["code"], "mesh-warns");
        assert_eq!(notes[0]["resource"], "AuthorizationPolicy theirs");
    }
}

#[test]
fn every_command_lists_what_it_passes_over() {
    let files = Files::new(&[
        ("a.yaml", format!("{OURS}{THEIRS}")),
        ("b.yaml", format!("{LEGACY}{THEIRS}")),
    ]);
    let (file, legacy) = (files.path("a.yaml"), files.path("b.yaml"));
    let workload = ["--workload", "foo/web"];
    for words in [
        &["check", "--config", &file, "GET", "/"][..],
        &["coverage", "--config", &file, "--requests", "-"],
        &["diff", &file, &file],
        &["envoy", "--config", &file],
        &["convert", &legacy],
    ] {
        let rest = if words[0] == "convert" {
            &[][..]
        } else {
            &workload
        };
        let output = run(&[words, rest].concat(), "");
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {told}");
        for piece in [
            "the AuthorizationPolicy of policy.linkerd.io is not Istio's and is passed over",
            "note: not used: 1 of policy.linkerd.io/v1alpha1 AuthorizationPolicy\n",
            "note: not used: 1 of example.com/v1 Other\\u{1b}[2J\n",
        ] {
            assert!(told.contains(piece), "{words:?}: {piece}: {told}");
        }
    }
}

/// The ConfigMap of the mesh's settings is used, though it is no resource of ours, unless a file of its own wins.
#[test]
fn the_config_map_of_the_settings_is_not_told_as_unused() {
    let map = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio}\ndata: {mesh: 'trustDomain: a.example'}\n";
    let files = Files::new(&[
        ("a.yaml", &*format!("{OURS}{map}")),
        ("mesh.yaml", "trustDomain: b.example\n"),
    ]);
    let (file, own) = (files.path("a.yaml"), files.path("mesh.yaml"));
    let words = [
        "check",
        "--config",
        &file,
        "--workload",
        "foo/web",
        "GET",
        "/",
    ];
    for (more, is_told) in [(&[][..], false), (&["--mesh-config", &own][..], true)] {
        let told = text(&run(&[&words[..], more].concat(), "").stderr);
        let is_there = told.contains("note: not used: 1 of v1 ConfigMap\n");
        assert_eq!(is_there, is_told, "{told}");
    }
}
