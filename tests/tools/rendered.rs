//! Directories of kustomize and Helm, as every command reads them.

use std::fs;

use crate::program::{run, text};

const POLICY: &str = "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ours, namespace: foo}
spec: {rules: [{to: [{operation: {methods: [GET]}}]}]}
";
const PATCH: &str = "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ours, namespace: foo}
spec: {action: DENY}
";

#[test]
fn every_command_notes_each_file_that_it_passes_over() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().to_str().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    write("a.yaml", POLICY);
    write("values.yaml", "replicas: 2\n");
    write("Chart.yaml", "apiVersion: v2\nname: app\nversion: 1.0.0\n");
    write(
        "kustomization.yaml",
        "resources: [a.yaml]\npatches: [{path: patch.yaml}]\n",
    );
    write("patch.yaml", PATCH);
    let workload = ["--workload", "foo/web"];
    for (words, rest) in [
        (&["check", "GET", "/", "--config", root][..], &workload[..]),
        (&["envoy", "--config", root], &workload),
        (
            &["coverage", "--requests", "-", "--config", root],
            &workload,
        ),
        (&["convert", root], &[]),
        (&["vet", root], &workload),
    ] {
        let output = run(&[words, rest].concat(), "");
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {told}");
        for name in ["values.yaml", "Chart.yaml", "kustomization.yaml"] {
            let note = format!("note: {root}/{name}: passed over: ");
            assert_eq!(told.matches(&note).count(), 1, "{words:?} {name}: {told}");
        }
        // What would have changed a policy is a warning.
        let warning = format!("{root}/patch.yaml: passed over: a kustomization lists it");
        if words[0] == "vet" {
            let out = text(&output.stdout);
            assert!(out.contains("warning[mesh-warns]: passed over"), "{out}");
            // There is no resource to name, nor to annotate.
            assert!(!out.contains("in: \n") && !out.contains("in:  \n"), "{out}");
            assert!(out.contains("  help: vet what is rendered"), "{out}");
        } else {
            let warning = format!("warning: {warning}");
            assert_eq!(told.matches(&warning).count(), 1, "{words:?}: {told}");
        }
    }
    let output = run(&["vet", root, "--format", "github"], "");
    let notice = format!("::notice file={root}/values.yaml,title=tower-mesh vet::passed over: ");
    assert!(text(&output.stdout).contains(&notice));
    assert_eq!(text(&output.stderr), "");
}
