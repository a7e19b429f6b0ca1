//! `tower-mesh diff`: its lines, its table, its exit codes.

use std::process::Output;

use serde_json::{Value, json};

use crate::files::Files;
use crate::program::{run, text};

const OLD: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: foo}
spec:
  rules:
  - from: [{source: {principals: [cluster.local/ns/foo/sa/desk]}}]
    to: [{operation: {methods: [GET], paths: [/patients/*], notPaths: [/patients/secret]}}]
";

/// Two configurations in files.
struct Pair(Files);

impl Pair {
    fn new(old: &str, new: &str) -> Self {
        Self(Files::new(&[("old.yaml", old), ("new.yaml", new)]))
    }

    fn run(&self, words: &[&str], input: &str) -> Output {
        let (old, new) = (self.0.path("old.yaml"), self.0.path("new.yaml"));
        let fixed = ["diff", &old, &new, "--workload", "foo/web"];
        let format = if words.contains(&"--format") {
            &[][..]
        } else {
            &["--format", "json"]
        };
        run(&[&fixed[..], format, words].concat(), input)
    }
}

fn lines(output: &Output) -> Vec<Value> {
    let text = text(&output.stdout);
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

#[test]
fn recorded_requests_whose_answers_changed_are_printed_with_both() {
    let pair = Pair::new(OLD, &OLD.replace("[GET]", "[GET, DELETE]"));
    let desk = json!({"principal": "cluster.local/ns/foo/sa/desk"});
    let requests = [
        json!({"id": "kept", "method": "GET", "path": "/patients/7", "source": desk}),
        json!({"id": "gained", "method": "DELETE", "path": "/patients/7", "source": desk}),
        json!({"id": "refused", "method": "DELETE", "path": "/patients/7"}),
    ];
    let input: String = requests.iter().map(|line| format!("{line}\n")).collect();
    let output = pair.run(&["--requests", "-"], &input);
    assert_eq!(code(&output), 1);
    let lines = lines(&output);
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].as_object().unwrap().len(), 3);
    assert_eq!(lines[0]["id"], "gained");
    assert_eq!(
        lines[0]["old"],
        json!({
            "id": "gained", "allowed": false, "status": 403, "policy": null, "action": "ALLOW",
            "audit": [], "custom": [], "dry_run": {"allow": null, "deny": null}, "error": null,
        })
    );
    assert_eq!(lines[0]["new"]["policy"], "ns[foo]-policy[readers]-rule[0]");

    let output = pair.run(&["--requests", "-"], &format!("{}\n", requests[0]));
    assert_eq!((code(&output), output.stdout.len()), (0, 0));
}

#[test]
fn a_bad_line_is_an_error_and_the_others_are_compared() {
    let pair = Pair::new(OLD, &OLD.replace("[GET]", "['*']"));
    let good = json!({"id": 2, "method": "PUT", "path": "/patients/7", "source": {"principal": "cluster.local/ns/foo/sa/desk"}});
    let input = format!("{{\"id\": 1, \"method\": \"GET\"}}\n\n{good}\n");
    let output = pair.run(&["--requests", "-"], &input);
    assert_eq!(code(&output), 2);
    assert_eq!(lines(&output)[0]["id"], 2);
    assert_eq!(
        text(&output.stderr),
        "error: line 1: the key `path` is missing\n"
    );
}

#[test]
fn without_requests_what_is_derived_shows_every_kind_of_change() {
    let same = Pair::new(OLD, &format!("# only a comment\n{OLD}"));
    assert_eq!(code(&same.run(&[], "")), 0);
    for (from, to) in [
        ("[GET]", "[GET, DELETE]"),
        ("[GET]", "[GET, HEAD]"),
        (", notPaths: [/patients/secret]", ""),
        ("/patients/secret", "/patients/secrets"),
        ("/patients/*", "/patients*"),
        ("/patients/*", "'*'"),
        ("sa/desk", "sa/desk*"),
        ("sa/desk]", "sa/desk, cluster.local/ns/foo/sa/ward]"),
        (
            "- from: [{source: {principals: [cluster.local/ns/foo/sa/desk]}}]\n    to",
            "- to",
        ),
        ("spec:", "spec:\n  action: DENY"),
        ("spec:", "spec:\n  selector: {matchLabels: {app: none}}"),
        ("methods: [GET]", "methods: [GET], ports: ['8080']"),
        ("methods: [GET]", "methods: [GET], hosts: ['*.example']"),
        (
            "    to:",
            "    when: [{key: 'request.headers[x-ward]', values: ['3']}]\n    to:",
        ),
        (
            "    to:",
            "    when: [{key: 'request.auth.claims[g]', notValues: [x]}]\n    to:",
        ),
        (
            "    to:",
            "    when: [{key: source.ip, notValues: [10.0.0.0/8]}]\n    to:",
        ),
    ] {
        assert!(OLD.contains(from), "{from}");
        let pair = Pair::new(OLD, &OLD.replace(from, to));
        for flags in [&[][..], &["--access-only"]] {
            let output = pair.run(&[flags, &["--limit", "2000"]].concat(), "");
            assert_eq!(code(&output), 1, "{from} {to}: {}", text(&output.stderr));
            let lines = lines(&output);
            let access = |line: &Value| line["old"]["allowed"] != line["new"]["allowed"];
            assert!(lines.iter().any(access), "{from} {to}: {lines:?}");
        }
    }
}

#[test]
fn a_derived_request_is_a_line_for_check() {
    let pair = Pair::new(OLD, &OLD.replace("[GET]", "[GET, DELETE]"));
    let output = pair.run(&[], "");
    let lines = lines(&output);
    let config = pair.0.path("new.yaml");
    let input: String = lines
        .iter()
        .map(|line| format!("{}\n", line["request"]))
        .collect();
    let words = ["check", "--config", &config, "--workload", "foo/web"];
    let json = ["--format", "json", "--requests", "-"];
    let checked = run(&[&words[..], &json].concat(), &input);
    let answers = text(&checked.stdout);
    assert_eq!(answers.lines().count(), lines.len());
    for (answer, line) in answers.lines().zip(&lines) {
        let mut answer: Value = serde_json::from_str(answer).unwrap();
        answer["id"] = line["id"].clone();
        assert_eq!(answer, line["new"]);
    }
}

#[test]
fn the_table_says_who_gains_and_who_loses() {
    let pair = Pair::new(OLD, &OLD.replace("[GET]", "[DELETE]"));
    let output = pair.run(&["--format", "table", "--access-only"], "");
    assert_eq!(code(&output), 1);
    let table = text(&output.stdout);
    let desk = "cluster.local/ns/foo/sa/desk  ";
    let sections: Vec<_> = table.split("\n\n").collect();
    assert!(sections[0].starts_with("Gains access ("), "{table}");
    let gains = |line: &str| line.trim().starts_with(&format!("{desk}DELETE /patients/"));
    assert!(sections[0].lines().any(gains), "{table}");
    assert!(sections[1].starts_with("Loses access ("), "{table}");
    let loses = |line: &str| line.trim().starts_with(&format!("{desk}GET /patients/"));
    assert!(sections[1].lines().any(loses), "{table}");
    assert!(sections[2].starts_with("Answers that differ: "), "{table}");

    let same = Pair::new(OLD, OLD);
    let output = same.run(&["--format", "table"], "");
    assert_eq!(
        text(&output.stdout),
        "No answer differs.\n0 derived requests were asked about.\n"
    );
}

#[test]
fn a_request_cannot_command_the_terminal() {
    let pair = Pair::new(OLD, &OLD.replace("[GET]", "['*']"));
    let tricky = json!({"id": 1, "method": "PUT", "path": "/patients/7", "claims": {"sub": "\u{1b}[2J"}, "source": {"principal": "cluster.local/ns/foo/sa/desk"}});
    let output = pair.run(
        &["--requests", "-", "--format", "table"],
        &format!("{tricky}\n"),
    );
    assert_eq!(code(&output), 1);
    assert!(!output.stdout.contains(&0x1b));
    assert!(text(&output.stdout).contains(r"user -/\u{1b}[2J"));
}

#[test]
fn a_rule_that_only_got_another_name_changes_no_access() {
    let pair = Pair::new(OLD, &OLD.replace("name: readers", "name: lectors"));
    let output = pair.run(&[], "");
    assert_eq!(code(&output), 1);
    assert!(
        lines(&output)
            .iter()
            .all(|line| line["old"]["allowed"] == line["new"]["allowed"])
    );
    assert_eq!(code(&pair.run(&["--access-only"], "")), 0);
}

#[test]
fn what_no_answer_shows_is_told() {
    let strict = "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: foo}
spec: {mtls: {mode: STRICT}}
";
    let pair = Pair::new(
        &format!("{OLD}---{strict}"),
        &format!("{OLD}---{}", strict.replace("STRICT", "DISABLE")),
    );
    let output = pair.run(&[], "");
    assert_eq!((code(&output), output.stdout.len()), (1, 0));
    assert_eq!(
        text(&output.stderr),
        "note: mutual TLS of port 80: STRICT, now DISABLE\n"
    );
    let input = "{\"id\": 1, \"method\": \"GET\", \"path\": \"/\"}\n";
    assert_eq!(code(&pair.run(&["--requests", "-"], input)), 0);
}

#[test]
fn paths_that_are_written_otherwise_are_derived_too() {
    let mesh = |mode: &str| {
        format!(
            "{OLD}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  mesh: |\n    pathNormalization: {{normalization: {mode}}}\n"
        )
    };
    let pair = Pair::new(&mesh("BASE"), &mesh("DECODE_AND_MERGE_SLASHES"));
    let output = pair.run(&["--access-only"], "");
    assert_eq!(code(&output), 1);
    assert!(!lines(&output).is_empty());
}

#[test]
fn a_template_that_becomes_a_prefix_is_told() {
    let with = |path: &str| OLD.replace("paths: [/patients/*]", &format!("paths: ['{path}']"));
    let pair = Pair::new(&with("/patients/{**}"), &with("/patients/*"));
    let output = pair.run(&["--access-only"], "");
    assert_eq!(code(&output), 1);
    assert_eq!(lines(&output)[0]["new"]["allowed"], true);
}

/// A higher `--limit` would find no more.
#[test]
fn what_is_left_out_of_very_many_changes_is_told() {
    let rules = |method: &str| {
        let rule = |number: u32| {
            format!("  - to: [{{operation: {{methods: [{method}], paths: [/p{number}]}}}}]\n")
        };
        let start = OLD.find("  - from").unwrap();
        let policy = |part: u32| {
            let rules: Vec<String> = (part * 400..part * 400 + 400).map(rule).collect();
            let head = OLD[..start].replace("readers", &format!("readers-{part}"));
            format!("{head}{}", rules.concat())
        };
        let policies: Vec<String> = (0..3).map(policy).collect();
        policies.join("---")
    };
    let pair = Pair::new(&rules("GET"), &rules("PUT"));
    let output = pair.run(&["--access-only"], "");
    let told = text(&output.stderr);
    assert_eq!(told, "note: only the first 1000 changes are shown\n");
    assert_eq!(lines(&output).len(), 1000);
}

#[test]
fn a_configuration_that_does_not_load_is_an_error() {
    let pair = Pair::new(OLD, &OLD.replace("methods", "mehtods"));
    let output = pair.run(&[], "");
    assert_eq!((code(&output), output.stdout.len()), (2, 0));
    assert!(
        text(&output.stderr).contains("new.yaml:8:"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(code(&pair.run(&["--requests", "/nowhere"], "")), 2);
}

#[test]
fn raw_connections_are_compared_on_demand() {
    let deny = OLD.replace("spec:", "spec:\n  action: DENY");
    let pair = Pair::new(&deny, &deny.replace("cluster.local/ns/foo/sa/desk", "'*'"));
    let output = pair.run(&["--protocol", "tcp"], "");
    assert_eq!(code(&output), 1);
    assert!(
        lines(&output)
            .iter()
            .all(|line| line["request"]["protocol"] == "tcp")
    );
}

/// Tokens of others are refused before any rule is asked.
#[test]
fn derived_tokens_are_of_issuers_whose_tokens_are_good() {
    let tokens = "---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: foo}
spec: {jwtRules: [{issuer: 'https://idp.example', jwksUri: 'https://idp.example/keys'}]}
";
    let rule = "  - from: [{source: {requestPrincipals: [https://idp.example/*]}}]\n";
    let old = format!("{OLD}{rule}{tokens}");
    let pair = Pair::new(&old, &old.replace("[https://idp.example/*]", "['*']"));
    assert_eq!(code(&pair.run(&["--access-only"], "")), 0);
    let pair = Pair::new(&old, &format!("{OLD}{tokens}"));
    let output = pair.run(&["--access-only"], "");
    assert_eq!(code(&output), 1);
    let lines = lines(&output);
    let issuer = |line: &Value| line["request"]["claims"]["iss"] == "https://idp.example";
    assert!(!lines.is_empty() && lines.iter().all(issuer), "{lines:?}");
}

/// A forgotten label would compare nothing.
#[test]
fn a_workload_that_no_policy_of_either_side_selects_does_not_pass() {
    let old = OLD.replace("spec:", "spec:\n  selector: {matchLabels: {app: web}}");
    let pair = Pair::new(&old, &old.replace("[GET]", "[GET, DELETE]"));
    let output = pair.run(&[], "");
    assert_eq!((code(&output), output.stdout.len()), (2, 0));
    let told = text(&output.stderr);
    assert!(
        told.starts_with("error: no authorization policy selects the workload foo/web (no labels)"),
        "{told}"
    );
    assert!(
        told.contains(
            "AuthorizationPolicy foo/readers selects app=web; the workload has no label app\n"
        ),
        "{told}"
    );
    assert_eq!(code(&pair.run(&["--allow-no-policy"], "")), 0);
    assert_eq!(code(&pair.run(&["--label", "app=web"], "")), 1);
    // One side is enough: what the other loses is shown.
    assert_eq!(code(&Pair::new(&old, OLD).run(&[], "")), 1);
    // Also where the other side alone has what nearly selects.
    let strict = "---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: foo}\nspec: {mtls: {mode: STRICT}}\n";
    for pair in [Pair::new(&old, strict), Pair::new(strict, &old)] {
        let output = pair.run(&[], "");
        assert_eq!(code(&output), 2);
        let told = text(&output.stderr);
        let near = "readers selects app=web; the workload has no label app\n";
        assert!(told.contains(near), "{told}");
    }
    // Rules for tokens can be missed in the same way, whatever else applies.
    let users = USERS.replace("spec:", "spec:\n  selector: {matchLabels: {app: web}}");
    let users = format!("{strict}{users}");
    let pair = Pair::new(
        &users,
        &users.replace("audiences: [b, https://a/]", "audiences: [b]"),
    );
    assert_eq!(code(&pair.run(&[], "")), 2);
    assert_eq!(code(&pair.run(&["--allow-no-policy"], "")), 0);
    assert_eq!(code(&pair.run(&["--label", "app=web"], "")), 1);
    // Nothing for anybody.
    let nothing = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: nothing}\n";
    assert_eq!(code(&Pair::new(nothing, nothing).run(&[], "")), 2);
}

#[test]
fn the_table_comes_through_a_pipe_too() {
    let pair = Pair::new(OLD, &OLD.replace("[GET]", "[DELETE]"));
    for words in [&["--format", "text"][..], &["--format", "table"]] {
        assert!(text(&pair.run(words, "").stdout).starts_with("Gains access ("));
    }
    let path = |name| pair.0.path(name);
    let (old, new) = (path("old.yaml"), path("new.yaml"));
    let output = run(&["diff", &old, &new, "--workload", "foo/web"], "");
    assert!(text(&output.stdout).starts_with("Gains access ("));
}

const USERS: &str = "---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: foo}
spec:
  jwtRules:
  - issuer: https://idp.example
    audiences: [b, https://a/]
    jwks: '{\"keys\": [{\"kty\": \"OKP\", \"crv\": \"Ed25519\", \"x\": \"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}'
";

/// In which order a set lists its keys says nothing; how many it has, does.
#[test]
fn the_order_of_keys_is_no_difference() {
    let (one, two) = (
        "{\"kty\": \"OKP\", \"crv\": \"Ed25519\", \"x\": \"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
        "{\"crv\": \"Ed25519\", \"kid\": \"b\", \"kty\": \"OKP\", \"x\": \"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
    );
    let with = |keys: &str| format!("{OLD}{}", USERS.replace(one, keys));
    let old = with(&format!("{one}, {two}"));
    for (keys, expected) in [
        (format!("{two}, {one}"), 0),
        (format!("{two},{one},{one}"), 1),
        (one.to_owned(), 1),
    ] {
        let pair = Pair::new(&old, &with(&keys));
        assert_eq!(code(&pair.run(&["--access-only"], "")), expected, "{keys}");
    }
}

/// The same meaning in other words is no difference; another meaning is.
#[test]
fn tokens_are_compared_by_what_the_rules_come_to() {
    let old = format!("{OLD}{USERS}");
    for (from, to) in [
        ("audiences: [b, https://a/]", "audiences: [a, b, a]"),
        ("\"kty\": \"OKP\", ", "\"kty\":\"OKP\","),
        (
            "audiences:",
            "fromHeaders: [{name: authorization, prefix: 'Bearer '}]\n    fromParams: [access_token]\n    audiences:",
        ),
        (
            "audiences:",
            "spaceDelimitedClaims: [scope]\n    audiences:",
        ),
        ("audiences:", "forwardOriginalToken: false\n    audiences:"),
    ] {
        let pair = Pair::new(&old, &old.replace(from, to));
        let output = pair.run(&[], "");
        assert_eq!(
            (code(&output), text(&output.stderr).as_str()),
            (0, ""),
            "{to}"
        );
    }
    for (from, to, told) in [
        ("audiences: [b, https://a/]", "audiences: [b]", "audiences"),
        ("11qY", "21qY", "keys"),
        (
            "audiences:",
            "fromCookies: [t]\n    audiences:",
            "places to find tokens in",
        ),
        (
            "audiences:",
            "spaceDelimitedClaims: [groups]\n    audiences:",
            "claims that are split on spaces",
        ),
        (
            "audiences:",
            "forwardOriginalToken: true\n    audiences:",
            "forwarding of tokens",
        ),
        (
            "audiences:",
            "outputPayloadToHeader: x-p\n    audiences:",
            "headers for claims",
        ),
    ] {
        let pair = Pair::new(&old, &old.replace(from, to));
        let output = pair.run(&[], "");
        assert_eq!(code(&output), 1, "{to}");
        assert_eq!(
            text(&output.stderr),
            format!(
                "note: end-user tokens on port 80: of the issuer https://idp.example other {told}\n"
            )
        );
    }
    let output = Pair::new(OLD, &old).run(&[], "");
    assert_eq!(
        text(&output.stderr),
        "note: end-user tokens on port 80: issuers none, now https://idp.example\n"
    );
}

/// What `convert` writes for a Policy of peers, or of peers and mandatory tokens, lets the same in.
#[test]
fn a_policy_of_2018_and_what_replaces_it_let_the_same_in() {
    let policy = |spec: &str| {
        format!(
            "apiVersion: authentication.istio.io/v1alpha1\nkind: Policy\nmetadata: {{name: default, namespace: foo}}\nspec: {{{spec}}}\n"
        )
    };
    let mode = |mode: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: default, namespace: foo}}\nspec: {{mtls: {{mode: {mode}}}}}\n"
        )
    };
    let words = ["--access-only", "--service", "web"];
    let old = policy("peers: [{mtls: {}}]");
    let output = Pair::new(&old, &mode("STRICT")).run(&words, "");
    assert_eq!((code(&output), text(&output.stderr).as_str()), (0, ""));
    let output = Pair::new(&old, &mode("PERMISSIVE")).run(&words, "");
    assert_eq!(code(&output), 1);
    assert_eq!(
        text(&output.stderr),
        "note: mutual TLS of port 80: STRICT, now PERMISSIVE\n"
    );
    // Nobody can be the end user that it binds to: everything is refused.
    let nobody = policy("peers: [{mtls: {}}], principalBinding: USE_ORIGIN");
    assert_eq!(code(&Pair::new(&old, &nobody).run(&words, "")), 1);
    let optional =
        policy("peers: [{mtls: {}}], originIsOptional: true, principalBinding: USE_ORIGIN");
    assert_eq!(code(&Pair::new(&old, &optional).run(&words, "")), 0);

    let jwt = "issuer: 'https://idp.example', jwksUri: 'https://idp.example/keys', audiences: [a]";
    let old = policy(&format!(
        "peers: [{{mtls: {{}}}}], origins: [{{jwt: {{{jwt}}}}}]"
    ));
    let files = Files::new(&[("old.yaml", &old)]);
    let written = run(&["convert", &files.path("old.yaml")], "");
    let output = Pair::new(&old, &text(&written.stdout)).run(&words, "");
    assert!(!text(&output.stderr).contains("note:"));
    // Today's resources cannot tell an empty header from one with a value, by which a preflight is known.
    let is_preflight = |line: &Value| line["request"]["method"] == "OPTIONS";
    assert!(lines(&output).iter().all(is_preflight));
    // An optional token that is bad passed, and does no more.
    let lenient = old.replace("peers:", "originIsOptional: true, peers:");
    let file = files.write("old.yaml", &lenient);
    let written = run(&["convert", &file], "");
    let output = Pair::new(&lenient, &text(&written.stdout)).run(&words, "");
    assert_eq!(code(&output), 1);
    assert!(text(&output.stderr).contains("other answers to bad tokens"));
}
