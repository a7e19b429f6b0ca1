//! `tower-mesh vet`.

use std::path::Path;

use serde_json::Value;

use crate::files::Files;
use crate::program::{run, text};

const METHODS: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: clinic}
spec:
  selector: {matchLabels: {app: ward}}
  rules:
  - to:
    - operation: {methods: [get, GETT]}
";

/// Exit status and output.
fn vet(words: &[&str]) -> (i32, String) {
    let output = run(&[&["vet"], words].concat(), "");
    (output.status.code().unwrap(), text(&output.stdout))
}

#[test]
fn errors_fail_and_warnings_do_not() {
    let files = Files::new(&[("a.yaml", METHODS)]);
    let path = files.path("a.yaml");
    let (code, out) = vet(&[&path]);
    assert_eq!(code, 1);
    assert_eq!(
        out,
        format!(
            "{path}:9:29: error[method-lower-case]: `get` is no method: methods are compared with their case, and clients send `GET`\n  \
             in: AuthorizationPolicy clinic/readers\n  help: write `GET`\n\
             {path}:9:34: warning[method-unknown]: `GETT` is no registered HTTP method\n  \
             in: AuthorizationPolicy clinic/readers\n  \
             help: write the method that clients send; a gRPC method is a path, and its HTTP method is POST\n\
             1 error, 1 warning, 0 silenced\n"
        )
    );
    let (code, out) = vet(&[&path, "--allow", "method-lower-case=the old devices say so"]);
    assert_eq!(code, 0);
    assert!(out.ends_with("0 errors, 1 warning, 1 silenced\n"), "{out}");
}

#[test]
fn json_is_one_object_a_line_with_the_same_keys() {
    let files = Files::new(&[("a.yaml", METHODS), ("b.json", "{}\n")]);
    let path = files.path("a.yaml");
    let words = [
        &*path,
        "--format",
        "json",
        "--show-silenced",
        "--allow",
        "method-unknown=ours",
    ];
    let (code, out) = vet(&words);
    assert_eq!(code, 1);
    let lines: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    for (line, severity) in lines.iter().zip(["error", "silenced"]) {
        assert_eq!(line["severity"], severity);
        assert_eq!(line["file"], path);
        assert_eq!(line["line"], 9);
        assert_eq!(line["resource"], "AuthorizationPolicy clinic/readers");
        let keys: Vec<&String> = line.as_object().unwrap().keys().collect();
        assert_eq!(keys.len(), 8, "{keys:?}");
    }
    let first = out.lines().next().unwrap();
    let places = [
        "code", "severity", "resource", "file", "line", "column", "message", "help",
    ]
    .map(|key| first.find(&format!("\"{key}\":")).unwrap());
    assert!(places.is_sorted(), "{first}");
}

#[test]
fn what_cannot_be_read_is_told_on_stderr() {
    let files = Files::new(&[("a.yaml", METHODS), ("b.yaml", "kind: [")]);
    for path in [files.path("b.yaml"), files.path("c.yaml"), files.path(".")] {
        let output = run(&["vet", &path], "");
        assert_eq!(output.status.code(), Some(2), "{path}");
        assert!(
            output.stdout.is_empty() && !output.stderr.is_empty(),
            "{path}"
        );
    }
    let unknown = METHODS.replace("methods", "method");
    let files = Files::new(&[("a.yaml", &unknown)]);
    let output = run(&["vet", &files.path("a.yaml")], "");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("did you mean `methods`"));
}

#[test]
fn a_silence_needs_a_code_and_a_reason() {
    let files = Files::new(&[("a.yaml", METHODS)]);
    let path = files.path("a.yaml");
    for wrong in [
        "method-unknown",
        "method-unknown=",
        "method-unknown= ",
        "weather=rain",
    ] {
        assert_eq!(vet(&[&path, "--allow", wrong]).0, 2, "{wrong}");
    }
}

#[test]
fn labels_and_services_belong_to_the_workload_before_them() {
    let files = Files::new(&[("a.yaml", METHODS)]);
    let path = files.path("a.yaml");
    let unmatched = |words: &[&str]| {
        let (_, out) = vet(&[&[&*path][..], words].concat());
        out.contains("selector-matches-nothing")
    };
    let desk_first = [
        "--workload",
        "clinic/desk",
        "--workload",
        "clinic/ward",
        "--label",
        "app=ward",
    ];
    assert!(!unmatched(&desk_first));
    assert!(unmatched(&[
        "--workload",
        "clinic/ward",
        "--label",
        "app=desk"
    ]));
    assert!(!unmatched(&[
        "--workload",
        "office/ward",
        "--label",
        "app=desk"
    ]));
    for wrong in [
        &["--label", "app=ward", "--workload", "clinic/ward"][..],
        &["--label", "app=ward"],
        &["--workload", "clinic"],
        &["--workload", "clinic/ward", "--service", "ward"],
        &["--workload", "clinic/ward", "--service", "ward:80/"],
    ] {
        assert_eq!(vet(&[&[&*path][..], wrong].concat()).0, 2, "{wrong:?}");
    }
    let tcp = [
        "--workload",
        "clinic/ward",
        "--label",
        "app=ward",
        "--service",
        "ward:4000/tcp",
    ];
    let (_, out) = vet(&[&[&*path][..], &tcp].concat());
    assert!(out.contains("port 4000 speaks raw TCP"), "{out}");
}

#[test]
fn several_paths_are_judged_together() {
    let role = "apiVersion: rbac.istio.io/v1alpha1\nkind: ServiceRole\nmetadata: {name: reader}\n\
                spec: {rules: [{services: ['*'], methods: [GET]}]}\n";
    let binding = "apiVersion: rbac.istio.io/v1alpha1\nkind: ServiceRoleBinding\nmetadata: {name: desk}\n\
                   spec: {subjects: [{user: cluster.local/ns/default/sa/desk}], roleRef: {kind: ServiceRole, name: reader}}\n";
    let config = "apiVersion: rbac.istio.io/v1alpha1\nkind: ClusterRbacConfig\nmetadata: {name: default}\nspec: {mode: 'ON'}\n";
    let files = Files::new(&[
        ("role.yaml", role),
        ("binding.yaml", binding),
        ("config.yaml", config),
    ]);
    let [role, binding, config] =
        ["role.yaml", "binding.yaml", "config.yaml"].map(|name| files.path(name));
    assert_eq!(
        vet(&[&role, &binding, &config]),
        (0, "0 errors, 0 warnings, 0 silenced\n".into())
    );
    assert_eq!(vet(&[&binding, &config]).0, 1);
}

#[test]
fn the_clinics_policies_have_no_errors() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/patients/policies");
    for set in ["v1", "v1alpha1"] {
        let (code, out) = vet(&[folder.join(set).to_str().unwrap()]);
        assert_eq!(
            (code, &*out),
            (0, "0 errors, 0 warnings, 0 silenced\n"),
            "{set}"
        );
    }
}

/// Each of these loads, and a mesh of the workload refuses it, warns of it or lets someone through.
#[test]
fn what_a_mesh_says_of_a_workload_the_command_says_too() {
    let peers = "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: scrape, namespace: shop}
spec: {selector: {matchLabels: {app: till}}, portLevelMtls: {'9000': {mode: PERMISSIVE}}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: scrape-again, namespace: shop}
spec: {selector: {matchLabels: {app: till}}, portLevelMtls: {'8000': {mode: PERMISSIVE}}}
";
    let keys = "
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: shop}
spec:
  jwtRules:
  - {issuer: 'https://idp.example', audiences: [till], jwks: '{\"keys\":[{\"kty\":\"RSA\",\"use\":\"enc\",\"n\":\"AAAA\",\"e\":\"AQAB\"}]}'}
";
    let attached = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: clerks, namespace: shop}
spec:
  targetRefs: [{kind: Service, group: '', name: till}]
  rules: [{from: [{source: {namespaces: [desk]}}]}]
";
    let ports = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: clerks, namespace: shop}
spec:
  rules:
  - to:
    - operation: {ports: ['8080'], methods: [GET]}
    - operation: {ports: ['9000']}
";
    let hosts = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: edge, namespace: shop}
spec:
  rules:
  - to: [{operation: {hosts: ['*.shop.example:*']}}]
";
    let refused = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: edge, namespace: shop}
spec:
  action: DENY
  rules:
  - to: [{operation: {hosts: ['*.admin.shop.example'], ports: ['8080']}}]
";
    for (text, exit, note) in [
        (peers, 1, "7:1: error[ageless-peer-authentication]"),
        (keys, 1, "error[jwks-unusable]"),
        (attached, 0, "6:16: warning[target-refs-elsewhere]"),
        (
            ports,
            0,
            "8:46: warning[http-on-tcp-port]: port 9000 speaks raw TCP",
        ),
        (
            hosts,
            1,
            "7:31: error[value-never-matches]: no host ends in `:*`",
        ),
        (refused, 0, "8:31: warning[host-without-port]"),
    ] {
        let files = Files::new(&[("a.yaml", text)]);
        let path = files.path("a.yaml");
        let (code, out) = vet(&[
            &path,
            "--workload",
            "shop/till",
            "--label",
            "app=till",
            "--service",
            "till:8080",
            "--service",
            "till:9000/tcp",
        ]);
        assert_eq!(code, exit, "{out}");
        assert!(out.contains(note), "{note}\n{out}");
    }
}
