//! The command line: its answers, its errors, its exit codes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test may panic"
)]
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

#[path = "tools/program.rs"]
mod program;

use program::{run, text};

const READERS: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: foo}
spec:
  rules:
  - from: [{source: {principals: [cluster.local/ns/foo/sa/alice]}}]
    to: [{operation: {methods: [GET], paths: [/patients/*]}}]
  - from: [{source: {requestPrincipals: [https://idp.example/bob]}}]
    when: [{key: 'request.auth.claims[scope]', values: [read]}]
";

/// Whoever installs the command needs no C compiler, no TLS and no runtime.
#[test]
fn the_command_stays_small() {
    // Cargo names itself to the tests that it runs.
    let Some(cargo) = std::env::var_os("CARGO") else {
        return;
    };
    let output = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args([
            "tree",
            "--offline",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
        ])
        .args([
            "--format",
            "{p}",
            "--no-default-features",
            "--features",
            "cli",
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let tree = text(&output.stdout);
    let names: Vec<_> = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert!(names.contains(&"clap"), "{tree}");
    for heavy in [
        "tokio",
        "rustls",
        "aws-lc-rs",
        "aws-lc-sys",
        "ring",
        "cc",
        "hyper",
        "rcgen",
    ] {
        assert!(!names.contains(&heavy), "{heavy}: {tree}");
    }
}

#[cfg(not(feature = "pki"))]
#[test]
fn a_command_that_is_not_built_names_its_feature() {
    let output = Command::new(env!("CARGO_BIN_EXE_tower-mesh"))
        .args(["pki", "dir", "default/app", "--days", "3"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        text(&output.stderr),
        "error: this command was built without the feature pki: cargo install tower-mesh --features cli,pki\n"
    );
}

/// J-20. The request principal of a JWT-SVID is its id, in one word and in a line of a file.
#[test]
fn a_request_with_a_jwt_svid_is_asked_by_its_id() {
    let world = World::of(
        "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: accounts, namespace: foo}
spec:
  rules:
  - from: [{source: {requestPrincipals: ['spiffe://clinic.example/ns/foo/sa/*']}}]
",
    );
    for (id, status) in [
        ("spiffe://clinic.example/ns/foo/sa/desk", 0),
        ("spiffe://clinic.example/ns/bar/sa/desk", 1),
        ("clinic.example/ns/foo/sa/desk", 2),
        ("spiffe://clinic.example", 2),
    ] {
        let output = world.run("check", &["GET", "/", "--jwt-svid", id], "");
        assert_eq!(output.status.code(), Some(status), "{id}");
        let line = json!({"method": "GET", "path": "/", "jwt_svid": id}).to_string();
        let output = world.run("check", &["--requests", "-"], &line);
        let is_allowed = text(&output.stdout).contains("allowed: ALLOW");
        assert_eq!(is_allowed, status == 0, "{id}: {output:?}");
    }
}

#[test]
fn one_request_is_answered_in_a_line_and_an_exit_code() {
    let world = World::of(READERS);
    let asked = |words: &[&str]| {
        let output = world.run("check", words, "");
        (output.status.code().unwrap(), text(&output.stdout))
    };
    let alice = ["--as", "cluster.local/ns/foo/sa/alice"];
    assert_eq!(
        asked(&[&["GET", "/patients/7?x"], &alice[..]].concat()),
        (0, "allowed: ALLOW ns[foo]-policy[readers]-rule[0]\n".into())
    );
    assert_eq!(
        asked(&["GET", "/patients/7"]),
        (1, "denied 403: no ALLOW rule matches\n".into())
    );
    assert_eq!(
        asked(&["GET", "/patients/7#x"]),
        (1, "denied 400: the request target is refused\n".into())
    );
    let claims = [
        "GET",
        "/",
        "--claim",
        "iss=https://idp.example",
        "--claim",
        "sub=bob",
        "--claim",
        "scope=write read",
    ];
    assert_eq!(
        asked(&claims),
        (0, "allowed: ALLOW ns[foo]-policy[readers]-rule[1]\n".into())
    );
    let (code, explained) = asked(&["DELETE", "/patients/7", "--explain"]);
    assert_eq!(code, 1);
    assert!(explained.contains("methods"), "{explained}");
    assert_eq!(asked(&["G T", "/"]), (2, String::new()));
}

/// What the gate refuses reaches no rule; which gate is in front is for the caller to say.
#[test]
fn what_the_gate_refuses_is_told_with_its_rule() {
    let world = World::of(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: all, namespace: foo}\nspec: {rules: [{}]}\n",
    );
    let all = "allowed: ALLOW ns[foo]-policy[all]-rule[0]\n";
    let bad_escape = "denied 400: refused by the gate: the path has %00, or a '%' without two hex digits (rule B-08)\n";
    let dots = "denied 400: refused by the gate: the path has a dot segment with a parameter (rule B-10)\n";
    for (words, istio, strict, off) in [
        (&["GET", "/a"][..], all, all, all),
        (&["GET", "/a%zz"], bad_escape, bad_escape, all),
        (&["GET", "/x/..;/a"], all, dots, all),
        (
            &["GET", "/", "--header", "transfer-encoding=gzip"],
            "denied 400: refused by the gate: the transfer encoding is not chunked (rule B-13)\n",
            "denied 400: refused by the gate: the transfer encoding is not chunked (rule B-13)\n",
            all,
        ),
        (
            &["get", "/"],
            "denied 400: refused by the gate: the method has lower-case letters (rule B-01)\n",
            "denied 400: refused by the gate: the method has lower-case letters (rule B-01)\n",
            all,
        ),
    ] {
        let gates = [
            (&[][..], off),
            (&["--gate", "istio"], istio),
            (&["--gate", "strict"], strict),
            (&["--gate", "off"], off),
        ];
        for (gate, expected) in gates {
            let output = world.run("check", &[words, gate].concat(), "");
            assert_eq!(text(&output.stdout), expected, "{words:?} {gate:?}");
            let code = i32::from(expected != all);
            assert_eq!(output.status.code(), Some(code), "{words:?} {gate:?}");
            let notes = text(&output.stderr).contains("note: the gate of a mesh answers 400");
            assert_eq!(notes, gate.is_empty() && istio != all, "{words:?} {gate:?}");
        }
    }
    // There is no rule to explain.
    let words = ["GET", "/%zz", "--explain", "--gate", "istio"];
    assert_eq!(text(&world.run("check", &words, "").stdout), bad_escape);
    let lines =
        "{\"method\": \"GET\", \"path\": \"/%zz\"}\n{\"method\": \"GET\", \"path\": \"/\"}\n";
    let answers = answers(&world.judge(lines, &["--gate", "istio"]));
    let refusal = json!({"reason": "escape", "rule": "B-08"});
    assert_eq!(
        (&answers[0]["gate"], &answers[0]["status"]),
        (&refusal, &json!(400))
    );
    assert_eq!(
        (&answers[1]["gate"], &answers[1]["status"]),
        (&Value::Null, &json!(200))
    );
}

#[test]
fn each_line_gets_a_decision_with_every_key() {
    let world = World::of(READERS);
    let lines = [
        json!({"id": 1, "method": "GET", "path": "/patients/7", "source": {"principal": "spiffe://cluster.local/ns/foo/sa/alice"}}),
        json!({"id": "b", "method": "GET", "path": "/patients/7", "source": {"uri_sans": ["spiffe://x/y", "spiffe://cluster.local/ns/foo/sa/alice"]}}),
        json!({"id": null, "method": "GET", "path": "/a#b"}),
        json!({"id": [4], "protocol": "tcp"}),
        json!({"id": 5, "method": "GET", "path": "/", "claims": {"iss": "https://idp.example", "sub": "bob", "scope": "read"}}),
    ];
    let output = world.judge(&lines, &[]);
    assert_eq!(output.status.code(), Some(0));
    let answers = answers(&output);
    let expected = [
        decision(
            &json!(1),
            true,
            Some(200),
            &json!("ns[foo]-policy[readers]-rule[0]"),
            "ALLOW",
        ),
        decision(
            &json!("b"),
            true,
            Some(200),
            &json!("ns[foo]-policy[readers]-rule[0]"),
            "ALLOW",
        ),
        decision(&Value::Null, false, Some(400), &Value::Null, "NONE"),
        decision(&json!([4]), false, None, &Value::Null, "ALLOW"),
        decision(
            &json!(5),
            true,
            Some(200),
            &json!("ns[foo]-policy[readers]-rule[1]"),
            "ALLOW",
        ),
    ];
    assert_eq!(answers, expected);
}

#[test]
fn a_bad_line_is_an_error_in_its_place_and_the_rest_is_judged() {
    let world = World::of(READERS);
    for bad in [
        json!({"id": 7, "method": "GET"}),
        json!({"id": 7, "path": "/"}),
        json!({"id": 7, "method": "GET", "path": "/", "paht": "/"}),
        json!({"id": 7, "method": "GET", "path": "/", "source": {"port": 1}}),
        json!({"id": 7, "method": "GET", "path": "/", "source": {"ip": "1.2.3"}}),
        json!({"id": 7, "method": "GET", "path": "/", "headers": {"x": 5}}),
        json!({"id": 7, "method": "GET", "path": "/", "headers": {"x y": "5"}}),
        json!({"id": 7, "method": "GET", "path": "/", "destination": {"port": 70000}}),
        json!({"id": 7, "protocol": "udp"}),
        json!([7]),
        json!([7, "http", "GET", "/", null, null, null, null, null, null]),
    ] {
        let good = json!({"id": 8, "method": "GET", "path": "/"});
        let output = world.judge(&[bad.clone(), good], &[]);
        assert_eq!(output.status.code(), Some(2), "{bad}");
        let answers = answers(&output);
        assert_eq!(answers.len(), 2, "{bad}");
        assert_eq!(answers[0]["id"], *bad.get("id").unwrap_or(&Value::Null));
        assert!(answers[0]["error"].is_string() && answers[0]["allowed"] == false);
        assert_eq!(answers[0].as_object().unwrap().len(), 9);
        assert_eq!(
            (&answers[1]["id"], &answers[1]["error"]),
            (&json!(8), &Value::Null)
        );
    }
}

#[test]
fn a_key_that_is_written_twice_is_an_error() {
    let world = World::of(READERS);
    let line = "{\"id\": 7, \"method\": \"GET\", \"path\": \"/\", \"method\": \"PUT\"}\n";
    let words = ["--format", "json", "--requests", "-"];
    let output = world.run("check", &words, line);
    assert_eq!(output.status.code(), Some(2));
    let answer = &answers(&output)[0];
    let error = answer["error"].as_str().unwrap();
    assert_eq!(answer["id"], 7);
    assert!(error.contains("duplicate field `method`"), "{error}");
}

#[test]
fn audits_dry_runs_and_providers_are_told() {
    let world = World::of(
        "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: seen, namespace: foo}
spec: {action: AUDIT, rules: [{}, {to: [{operation: {paths: [/a]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: trial, namespace: foo, annotations: {istio.io/dry-run: 'true'}}
spec: {action: DENY, rules: [{to: [{operation: {paths: [/a]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: outside, namespace: foo}
spec: {action: CUSTOM, provider: {name: opa}, rules: [{to: [{operation: {paths: [/a]}}]}]}
",
    );
    std::fs::write(
        world.0.path().join("mesh.yaml"),
        "extensionProviders: [{name: opa, envoyExtAuthzHttp: {service: opa.opa.svc.cluster.local, port: 80}}]",
    )
    .unwrap();
    let mesh = world.0.path().join("mesh.yaml");
    let output = world.judge(
        &[json!({"method": "GET", "path": "/a"})],
        &["--mesh-config", mesh.to_str().unwrap(), "--explain"],
    );
    let answer = &answers(&output)[0];
    assert_eq!(
        answer["audit"],
        json!([
            "ns[foo]-policy[seen]-rule[0]",
            "ns[foo]-policy[seen]-rule[1]"
        ])
    );
    assert_eq!(
        answer["custom"],
        json!([{"provider": "opa", "policy": "istio-ext-authz-opa-ns[foo]-policy[outside]-rule[0]"}])
    );
    assert_eq!(
        answer["dry_run"],
        json!({"allow": null, "deny": {"result": "denied", "policy": "ns[foo]-policy[trial]-rule[0]"}})
    );
    assert_eq!(answer["action"], "NONE");
    assert_eq!(answer["explain"]["rules"].as_array().unwrap().len(), 4);
}

#[test]
fn what_is_wrong_with_a_configuration_is_said_line_by_line() {
    let world = World::of(
        "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers}
spec:
  action: ALOW
  rules:
  - to: [{operation: {ports: [8080]}}]
",
    );
    for command in ["check", "envoy"] {
        let words: &[&str] = if command == "check" {
            &["GET", "/"]
        } else {
            &[]
        };
        let output = world.run(command, words, "");
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stdout.is_empty());
        let said = text(&output.stderr);
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines.len(), 2, "{said}");
        assert!(
            lines[0].contains("policy.yaml:6:11: spec.action: "),
            "{said}"
        );
        assert!(
            lines[1].contains("policy.yaml:8:31: spec.rules[0].to[0].operation.ports[0]: "),
            "{said}"
        );
    }
}

#[test]
fn legacy_resources_ask_for_the_services() {
    let world = World::of(
        "
apiVersion: rbac.istio.io/v1alpha1
kind: ClusterRbacConfig
metadata: {name: default}
spec: {mode: 'ON'}
---
apiVersion: rbac.istio.io/v1alpha1
kind: ServiceRole
metadata: {name: reader, namespace: foo}
spec: {rules: [{services: [ward.foo.svc.cluster.local], methods: [GET]}]}
---
apiVersion: rbac.istio.io/v1alpha1
kind: ServiceRoleBinding
metadata: {name: everyone, namespace: foo}
spec: {subjects: [{user: '*'}], roleRef: {kind: ServiceRole, name: reader}}
",
    );
    let output = world.run("check", &["GET", "/"], "");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("service"));
    let get = json!({"method": "GET", "path": "/", "destination": {"port": 8080}});
    let other =
        json!({"method": "GET", "path": "/", "destination": {"port": 8080, "services": ["yard"]}});
    let output = world.judge(&[get, other], &["--service", "ward"]);
    let answers = answers(&output);
    assert_eq!(
        (&answers[0]["policy"], &answers[0]["status"]),
        (&json!("reader"), &json!(200))
    );
    assert_eq!(
        (&answers[1]["policy"], &answers[1]["status"]),
        (&Value::Null, &json!(403))
    );
}

#[test]
fn filters_print_as_an_array_in_chain_order() {
    let world = World::of(READERS);
    let output = world.run("envoy", &[], "");
    assert_eq!(output.status.code(), Some(0));
    let filters: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(filters[0]["name"], "envoy.filters.http.rbac");
    let output = world.run("envoy", &["--protocol", "tcp"], "");
    let filters: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(filters[0]["name"], "envoy.filters.network.rbac");

    let world = World::of("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: nothing}\n");
    let output = world.run("envoy", &[], "");
    assert_eq!(
        serde_json::from_slice::<Value>(&output.stdout).unwrap(),
        json!([])
    );
}

#[test]
fn remote_keys_come_from_files() {
    let world = World::of(
        "
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: foo}
spec: {jwtRules: [{issuer: https://idp.example, jwksUri: 'https://idp.example/keys?v=1'}]}
",
    );
    let output = world.run("envoy", &[], "");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--jwks https://idp.example/keys?v=1=FILE"));
    let keys = world.0.path().join("keys.txt");
    std::fs::write(&keys, r#"{"keys": []}"#).unwrap();
    let given = format!("https://idp.example/keys?v=1={}", keys.display());
    let output = world.run("envoy", &["--jwks", &given], "");
    let filters: Value = serde_json::from_slice(&output.stdout).unwrap();
    let provider = &filters[0]["typed_config"]["providers"]["origins-0"];
    assert_eq!(provider["local_jwks"]["inline_string"], r#"{"keys": []}"#);
}

/// A forgotten label would pass every gate.
#[test]
fn a_workload_that_no_policy_selects_does_not_pass_unless_it_is_meant() {
    let selected = READERS.replace(
        "spec:\n  rules",
        "spec:\n  selector: {matchLabels: {app: web, tier: front}}\n  rules",
    );
    // Other resources may well apply.
    let strict = "---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: istio-system}\nspec: {mtls: {mode: STRICT}}\n";
    let world = World::of(&format!("{selected}{strict}"));
    let labels = ["--label", "app=web", "--label", "tier=front"];
    for (words, input) in [
        (&["GET", "/x"][..], ""),
        (
            &["--requests", "-"],
            "{\"method\": \"GET\", \"path\": \"/x\"}\n",
        ),
    ] {
        let output = world.run("check", &[words, &["--label", "app=wbe"]].concat(), input);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stdout).contains("allowed: no ALLOW policy applies\n"));
        let told = text(&output.stderr);
        let lines: Vec<_> = told.lines().collect();
        assert_eq!(lines.len(), 2, "{told}");
        assert!(
            lines[0].starts_with("error: no authorization policy selects the workload foo/web (labels app=wbe), so everything is allowed;"),
            "{told}"
        );
        assert!(
            lines[1].starts_with("near: ") && lines[1].contains("policy.yaml:6:13: spec.selector: AuthorizationPolicy foo/readers selects app=web, tier=front; the workload has app=wbe, the workload has no label tier"),
            "{told}"
        );
        let meant = world.run("check", &[words, &["--allow-no-policy"]].concat(), input);
        assert_eq!(
            (meant.status.code(), text(&meant.stderr).as_str()),
            (Some(0), "")
        );
        let right = world.run("check", &[words, &labels].concat(), input);
        assert_ne!(right.status.code(), Some(2), "{}", text(&right.stderr));
    }
}

#[test]
fn answers_are_for_people_unless_json_is_asked_for() {
    let world = World::of(READERS);
    let lines = "{\"id\": 1, \"method\": \"GET\", \"path\": \"/x\"}\n\n{\"path\": \"\\u001b[2J\", \"x\": 1}\n{\"protocol\": \"tcp\"}\n";
    let output = world.run("check", &["--requests", "-"], lines);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        text(&output.stdout),
        "line 1: denied 403: no ALLOW rule matches\nline 4: denied: no ALLOW rule matches\n"
    );
    let told = text(&output.stderr);
    assert!(
        told.starts_with("error: line 3: unknown field `x`"),
        "{told}"
    );
    let output = world.run("check", &["GET", "/x", "--format", "json"], "");
    assert_eq!(output.status.code(), Some(1));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        answer,
        decision(&Value::Null, false, Some(403), &Value::Null, "ALLOW")
    );
}

#[test]
fn claims_have_the_type_they_are_written_in() {
    let world = World::of(
        "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: typed, namespace: foo}
spec:
  rules:
  - from: [{source: {requestPrincipals: ['*']}}]
    when: [{key: 'request.auth.claims[v]', values: ['*']}]
",
    );
    let asked = |claims: &[&str]| {
        let words = claims.iter().flat_map(|claim| ["--claim", *claim]);
        let words: Vec<_> = ["GET", "/", "--explain"].into_iter().chain(words).collect();
        let output = world.run("check", &words, "");
        (output.status.code().unwrap(), text(&output.stdout))
    };
    // A subject is a text even where it looks like a number.
    for (claim, saw) in [
        ("v=true", "the boolean true"),
        ("v=5", "the number 5"),
        ("v=1.5", "the number 1.5"),
        ("v=null", "the null null"),
        ("v={\"a\": 1}", "the object {\"a\":1}"),
        ("v=[1]", "the list [1]"),
    ] {
        let (code, told) = asked(&["iss=https://idp", "sub=42", claim]);
        assert_eq!(code, 1, "{claim}: {told}");
        assert!(told.contains(&format!("saw {saw}\n")), "{claim}: {told}");
    }
    for claim in ["v=yes", "v=\"5\"", "v=007", "v=[\"a\"]", "v=True", "v=-"] {
        let (code, told) = asked(&["iss=https://idp", "sub=42", claim]);
        assert_eq!(code, 0, "{claim}: {told}");
    }
    let (code, told) = asked(&["iss=https://idp", "v=a"]);
    assert_eq!(code, 1);
    assert!(
        told.contains(
            "[*/* (iss any, sub any)]: saw \"https://idp/\" (iss \"https://idp\", sub missing)"
        ),
        "{told}"
    );
}

/// Whatever a line says, it is answered by a line, and the process lives. A thousand lines from a fixed seed.
#[test]
fn any_line_is_answered() {
    let words = [
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "method",
        "path",
        "GET",
        "/a",
        "headers",
        "claims",
        "source",
        "ip",
        "::1",
        "null",
        "1e999",
        "destination",
        "port",
        "70000",
        "protocol",
        "tcp",
        "\\u0000",
        "\u{e9}",
        "{\"method\":\"GET\",\"path\":\"/",
        "\"}",
        " ",
    ];
    let mut seed = 7_u64;
    let mut below = |bound: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(seed >> 33).unwrap() % bound
    };
    let line = |below: &mut dyn FnMut(usize) -> usize| {
        let count = 1 + below(12);
        (0..count)
            .map(|_| words[below(words.len())])
            .collect::<String>()
    };
    let mut lines: Vec<String> = (0..1000).map(|_| line(&mut below)).collect();
    lines.push("[".repeat(10_000));
    lines.retain(|line| !line.trim().is_empty());
    let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let words = ["--format", "json", "--requests", "-"];
    let output = World::of(READERS).run("check", &words, &input);
    assert_eq!(output.status.code(), Some(2));
    let answers = answers(&output);
    assert_eq!(answers.len(), lines.len());
    assert!(answers.iter().any(|answer| answer["error"].is_string()));
}

/// A directory with one policy file.
struct World(tempfile::TempDir);

impl World {
    fn of(policy: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("config")).unwrap();
        std::fs::write(directory.path().join("config/policy.yaml"), policy).unwrap();
        Self(directory)
    }

    fn run(&self, command: &str, words: &[&str], input: &str) -> Output {
        let config: &Path = &self.0.path().join("config");
        let config = config.to_str().unwrap();
        let first = [command, "--config", config, "--workload", "foo/web"];
        run(&[&first[..], words].concat(), input)
    }

    fn judge(&self, requests: &[Value], words: &[&str]) -> Output {
        let lines: String = requests.iter().map(|line| format!("{line}\n")).collect();
        let json = ["--format", "json", "--requests", "-"];
        self.run("check", &[&json[..], words].concat(), &lines)
    }
}

fn answers(output: &Output) -> Vec<Value> {
    let lines = text(&output.stdout);
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn decision(id: &Value, allowed: bool, status: Option<u16>, policy: &Value, action: &str) -> Value {
    json!({
        "id": id, "allowed": allowed, "status": status, "policy": policy, "action": action,
        "audit": [], "custom": [], "dry_run": {"allow": null, "deny": null}, "error": null,
    })
}
