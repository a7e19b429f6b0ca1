//! What the engine says for itself: texts that people read, and the same as data.

use serde_json::json;
use tower_mesh::Workload;
use tower_mesh::policy::{Engine, Request};

/// An engine for policies given as (name, rest of the metadata, spec).
fn engine(policies: &[(&str, &str, &str)]) -> Engine {
    let yaml: String = policies
        .iter()
        .map(|(name, annotations, spec)| {
            format!(
                "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
                 metadata: {{name: {name}, namespace: foo, annotations: {{{annotations}}}}}\nspec: {spec}\n"
            )
        })
        .collect();
    let workload = Workload::new("foo", "httpbin");
    Engine::builder(&workload).yaml(&yaml).build().unwrap()
}

fn assert_explains(spec: &str, request: &Request, expected: &str) {
    let engine = engine(&[("p", "", spec)]);
    assert_eq!(engine.explain(request).to_string(), expected, "{spec}");
}

#[test]
fn nothing_selected_allows_and_nothing_written_refuses() {
    let request = Request::new();
    let nothing = engine(&[]).explain(&request);
    assert_eq!(nothing.to_string(), "allowed: no ALLOW policy applies\n");
    assert_explains(
        "{}",
        &request,
        "refused: no ALLOW rule matches\n  ALLOW ns[foo]-policy[p]-rule[0]: no match\n    rule never holds\n",
    );
}

#[test]
fn a_match_is_named() {
    assert_explains(
        "{rules: [{to: [{operation: {paths: [/a]}}]}]}",
        &Request::new().get("/a"),
        "allowed: ALLOW rule ns[foo]-policy[p]-rule[0] matches\n  ALLOW ns[foo]-policy[p]-rule[0]: match\n",
    );
    assert_explains(
        "{action: DENY, rules: [{to: [{operation: {notPaths: [/a]}}]}]}",
        &Request::new().get("/b"),
        "refused: DENY rule ns[foo]-policy[p]-rule[0] matches\n  DENY ns[foo]-policy[p]-rule[0]: match\n",
    );
}

#[test]
fn the_first_clause_that_fails_is_told_with_what_it_saw() {
    let alice = || Request::new().from("cluster.local/ns/foo/sa/alice");
    let user = || {
        let request = Request::new().claim("iss", "https://idp").claim("sub", "u");
        request.claim("groups", json!(["nurse", "night"]))
    };
    for (rule, request, clause) in [
        (
            "to: [{operation: {methods: [GET, HEAD], paths: [/a]}}]",
            Request::new().post("/b"),
            r#"to.operation.methods is none of [GET, HEAD]: saw "POST""#,
        ),
        (
            "to: [{operation: {paths: [\"/a/*\", \"*.txt\", \"/b/{*}\"]}}]",
            Request::new().get("/c?x=1"),
            r#"to.operation.paths is none of [/a/*, *.txt, /b/{*}]: saw "/c""#,
        ),
        (
            "to: [{operation: {notPaths: [/a]}}]",
            Request::new().get("/a"),
            r#"to.operation.paths is one of [/a]: saw "/a""#,
        ),
        (
            "to: [{operation: {hosts: [a.example]}}]",
            Request::new(),
            "to.operation.hosts is none of [a.example]: saw nothing",
        ),
        (
            "to: [{operation: {ports: [\"8080\"]}}]",
            Request::new(),
            r#"to.operation.ports is none of [8080]: saw "80""#,
        ),
        (
            "from: [{source: {principals: [cluster.local/ns/foo/sa/bob, \"*/sa/carol\"]}}]",
            alice(),
            r#"from.source.principals is none of [cluster.local/ns/foo/sa/bob, */sa/carol]: saw "cluster.local/ns/foo/sa/alice""#,
        ),
        (
            "from: [{source: {namespaces: [\"bar*\"]}}]",
            alice(),
            r#"from.source.namespaces is none of [bar*]: saw "cluster.local/ns/foo/sa/alice""#,
        ),
        (
            "from: [{source: {serviceAccounts: [bob]}}]",
            Request::new(),
            "from.source.serviceAccounts is none of [foo/bob]: saw nothing",
        ),
        (
            "from: [{source: {ipBlocks: [10.0.0.0/8]}}]",
            Request::new(),
            r#"from.source.ipBlocks is none of [10.0.0.0/8]: saw "127.0.0.1""#,
        ),
        (
            "from: [{source: {requestPrincipals: [https://idp/v]}}]",
            user(),
            r#"from.source.requestPrincipals is none of [https://idp/v (iss https://idp, sub v)]: saw "https://idp/u" (iss "https://idp", sub "u")"#,
        ),
        (
            "from: [{source: {requestPrincipals: [\"*\"]}}]",
            Request::new(),
            "from.source.requestPrincipals is none of [*/* (iss any, sub any)]: saw nothing",
        ),
        (
            "when: [{key: \"request.auth.claims[groups]\", values: [doctor]}]",
            user(),
            r#"when request.auth.claims[groups] is none of [doctor]: saw the list ["nurse","night"]"#,
        ),
        (
            "when: [{key: \"request.auth.claims[on]\", values: [\"true\"]}]",
            user().claim("on", true),
            "when request.auth.claims[on] is none of [true]: saw the boolean true",
        ),
        (
            "when: [{key: \"request.auth.claims[on]\", values: [\"yes\"]}]",
            user().claim("on", "true"),
            r#"when request.auth.claims[on] is none of [yes]: saw "true""#,
        ),
        (
            "when: [{key: \"request.auth.claims[level]\", values: [\"5\"]}]",
            user().claim("level", 5),
            "when request.auth.claims[level] is none of [5]: saw the number 5",
        ),
        (
            "from: [{source: {requestPrincipals: [\"https://idp*\", https://idp/u/x]}}]",
            Request::new().claim("iss", "https://idp").claim("sub", 7),
            r#"from.source.requestPrincipals is none of [https://idp* (iss https:/, sub idp*), https://idp/u/x (iss https://idp/u, sub x)]: saw "https://idp/" (iss "https://idp", sub the number 7)"#,
        ),
        (
            "when: [{key: \"request.headers[x-a]\", notValues: [a]}]",
            Request::new().header("x-a", "b").header("x-a", "a"),
            r#"when request.headers[x-a] is one of [a]: saw "b | a""#,
        ),
        (
            "when: [{key: connection.sni, values: [a.example]}]",
            Request::new(),
            r#"when connection.sni is none of [a.example]: saw """#,
        ),
    ] {
        let expected = format!(
            "refused: no ALLOW rule matches\n  ALLOW ns[foo]-policy[p]-rule[0]: no match\n    {clause}\n"
        );
        assert_explains(&format!("{{rules: [{{{rule}}}]}}"), &request, &expected);
    }
}

#[test]
fn every_alternative_tells_why_it_failed_and_long_lists_are_cut() {
    assert_explains(
        "{rules: [{from: [{source: {namespaces: [a]}}, {source: {namespaces: [b], ipBlocks: [\"::1\"]}}]}]}",
        &Request::new().from("cluster.local/ns/b/sa/x"),
        "refused: no ALLOW rule matches
  ALLOW ns[foo]-policy[p]-rule[0]: no match
    from.source.namespaces is none of [a]: saw \"cluster.local/ns/b/sa/x\"
    from.source.ipBlocks is none of [::1/128]: saw \"127.0.0.1\"
",
    );
    assert_explains(
        "{rules: [{to: [{operation: {methods: [A, B, C, D, E, F, G, H, I, J]}}]}]}",
        &Request::new(),
        "refused: no ALLOW rule matches
  ALLOW ns[foo]-policy[p]-rule[0]: no match
    to.operation.methods is none of [A, B, C, D, E, F, G, H, and 2 more]: saw \"GET\"
",
    );
}

/// Rules are told in the order they are asked: AUDIT, DENY, ALLOW, trials marked.
#[test]
fn every_rule_is_told_as_text_and_as_data() {
    let everything = engine(&[
        (
            "allow",
            "",
            "{rules: [{to: [{operation: {methods: [GET]}}]}]}",
        ),
        (
            "trial",
            "istio.io/dry-run: \"true\"",
            "{action: DENY, rules: [{}]}",
        ),
        ("audit", "", "{action: AUDIT, rules: [{}]}"),
        (
            "deny",
            "",
            "{action: DENY, rules: [{to: [{operation: {paths: [/x]}}]}]}",
        ),
    ]);
    let why = everything.explain(&Request::new().get("/x"));
    assert_eq!(
        why.to_string(),
        "refused: DENY rule ns[foo]-policy[deny]-rule[0] matches
  AUDIT ns[foo]-policy[audit]-rule[0]: match
  DENY ns[foo]-policy[deny]-rule[0]: match
  DENY (dry run) ns[foo]-policy[trial]-rule[0]: match
  ALLOW ns[foo]-policy[allow]-rule[0]: match
"
    );
    let why = everything.explain(&Request::new().put("/y"));
    assert_eq!(
        serde_json::to_value(&why).unwrap(),
        json!({
            "allowed": false,
            "action": "ALLOW",
            "policy": null,
            "rules": [
                {"action": "AUDIT", "dry_run": false, "policy": "ns[foo]-policy[audit]-rule[0]", "matched": true, "failed": []},
                {"action": "DENY", "dry_run": false, "policy": "ns[foo]-policy[deny]-rule[0]", "matched": false, "failed": [
                    {"field": "to.operation.paths", "negated": false, "values": ["/x"], "saw": "/y"},
                ]},
                {"action": "DENY", "dry_run": true, "policy": "ns[foo]-policy[trial]-rule[0]", "matched": true, "failed": []},
                {"action": "ALLOW", "dry_run": false, "policy": "ns[foo]-policy[allow]-rule[0]", "matched": false, "failed": [
                    {"field": "to.operation.methods", "negated": false, "values": ["GET"], "saw": "PUT"},
                ]},
            ],
        })
    );
}

#[test]
fn a_connection_is_told_by_what_is_left_of_its_rules() {
    let engine = engine(&[(
        "p",
        "",
        "{action: DENY, rules: [{to: [{operation: {methods: [GET], ports: [\"81\"]}}]}]}",
    )]);
    assert_eq!(
        engine.explain_tcp(&Request::tcp()).to_string(),
        "allowed: no ALLOW policy applies
  DENY ns[foo]-policy[p]-rule[0]: no match
    to.operation.ports is none of [81]: saw \"80\"
"
    );
}
