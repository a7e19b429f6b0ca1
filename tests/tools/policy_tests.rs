//! Policy tests: what passes, what fails, and what a failure says.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::json;
use tower_mesh::Workload;
use tower_mesh::gate::{Gate, Refusal};
use tower_mesh::policy::Request;
use tower_mesh::testing::policy::{
    Expectation, Matrix, Policies, Table, TableFile, connection, request,
};

const DESK: &str = "cluster.local/ns/default/sa/desk";

const WARD: &str = "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers}
spec:
  rules:
  - from: [{source: {principals: [cluster.local/ns/default/sa/desk]}}]
    to: [{operation: {methods: [GET], paths: [/patients/*]}}]
  - to: [{operation: {paths: [/health]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: closed}
spec: {action: DENY, rules: [{to: [{operation: {paths: [/patients/0]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: seen}
spec: {action: AUDIT, rules: [{to: [{operation: {paths: [/patients/*]}}]}]}
";

fn ward() -> Policies {
    Policies::parse(&Workload::new("default", "ward"), WARD)
}

fn desk() -> Request {
    request().from(DESK)
}

/// What a failing assertion says.
pub(crate) fn said(assertion: impl FnOnce()) -> String {
    let failed = catch_unwind(AssertUnwindSafe(assertion));
    let payload = failed.expect_err("the assertion held");
    payload.downcast_ref::<String>().unwrap().clone()
}

#[test]
fn sentences_hold_when_the_answer_is_the_expected_one() {
    let ward = ward();
    let reads = desk().get("/patients/7?full");
    ward.expect(reads.clone())
        .to_be_allowed()
        .by("readers/0")
        .by("default/readers/0")
        .by("readers")
        .by("ns[default]-policy[readers]-rule[0]");
    ward.expect(reads.clone()).to_be_audited_by("seen/0");
    ward.expect(reads).to_be_answered(200).by("readers/0");
    ward.expect(request().get("/health"))
        .to_be_allowed()
        .by("readers/1");
    ward.expect(desk().get("/patients/0"))
        .to_be_denied()
        .by("closed/0");
    ward.expect(desk().post("/patients/7"))
        .to_be_answered(403)
        .by("none");
    ward.expect(request().get("/patients/7#x"))
        .to_be_answered(400);
    // To raw TCP the rules that ask for HTTP are lost, and a DENY that asks for nothing else refuses everything.
    ward.expect(connection()).to_be_denied().by("closed/0");
}

#[test]
fn a_failure_says_what_was_asked_what_came_and_which_clause_decided() {
    let why = said(|| {
        let asked = desk().user("https://idp", "ann").delete("/patients/7");
        ward().expect(asked).to_be_allowed();
    });
    assert_eq!(
        why,
        "\
DELETE /patients/7 as cluster.local/ns/default/sa/desk, user https://idp/ann
  expected: allowed
  got:      denied 403: no ALLOW rule matches
what the rules say:
  AUDIT ns[default]-policy[seen]-rule[0] (yaml:18:31): matches
  DENY ns[default]-policy[closed]-rule[0] (yaml:13:30): does not match
    to.operation.paths is none of [/patients/0]: saw \"/patients/7\" (yaml:13:57)
  ALLOW ns[default]-policy[readers]-rule[0] (yaml:6:5): does not match
    to.operation.methods is none of [GET]: saw \"DELETE\" (yaml:7:33)
  ALLOW ns[default]-policy[readers]-rule[1] (yaml:8:5): does not match
    to.operation.paths is none of [/health]: saw \"/patients/7\" (yaml:8:31)"
    );
}

#[test]
fn every_kind_of_sentence_can_fail() {
    let ward = ward();
    let reads = || ward.expect(desk().get("/patients/7"));
    let begins = |why: String, expected: &str, got: &str| {
        let lines: Vec<_> = why.lines().take(3).collect();
        assert_eq!(lines[1], format!("  expected: {expected}"), "{why}");
        assert_eq!(lines[2], format!("  got:      {got}"), "{why}");
    };
    let allowed = "allowed by ns[default]-policy[readers]-rule[0] (yaml:6:5)";
    begins(said(|| drop(reads().to_be_denied())), "denied", allowed);
    begins(
        said(|| drop(reads().to_be_answered(403))),
        "answered 403",
        allowed,
    );
    begins(
        said(|| drop(reads().to_be_allowed().by("readers/1"))),
        "allowed by readers/1",
        allowed,
    );
    begins(
        said(|| drop(reads().by("none"))),
        "allowed by none",
        allowed,
    );
    begins(
        said(|| drop(reads().to_be_audited_by("seen/1"))),
        "audited by seen/1",
        &format!("ns[default]-policy[seen]-rule[0]; {allowed}"),
    );
    begins(
        said(|| drop(reads().to_be_sent_to("opa"))),
        "sent to opa",
        &format!("none; {allowed}"),
    );
    let refused = |request: Request| said(|| drop(ward.expect(request).to_be_allowed()));
    begins(
        refused(request().get("/#")),
        "allowed",
        "denied 400 by the gate: the target has a fragment (rule B-07)",
    );
    begins(
        refused(request().method("CONNECT", "/")),
        "allowed",
        "denied 403 by the gate: the method is CONNECT (rule B-06)",
    );
    assert!(said(|| drop(reads().by("readers/x"))).contains("POLICY/RULE"));
    assert!(
        said(|| drop(Policies::read(&Workload::new("a", "b"), "no/such/file")))
            .contains("no/such/file")
    );
    let misspelt = WARD.replace("methods", "method");
    let why = said(|| drop(Policies::parse(&Workload::new("a", "b"), &misspelt)));
    assert!(
        why.starts_with("yaml:7:23: spec.rules[0].to[0].operation.method: "),
        "{why}"
    );
}

#[test]
fn a_provider_that_is_asked_is_told() {
    let policies = Policies::parse(
        &Workload::new("default", "ward"),
        "
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    extensionProviders: [{name: opa, envoyExtAuthzHttp: {service: opa.opa.svc.cluster.local, port: 80}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: outside}
spec: {action: CUSTOM, provider: {name: opa}, rules: [{to: [{operation: {paths: [/a]}}]}]}
",
    );
    policies
        .expect(request().get("/a"))
        .to_be_sent_to("opa")
        .to_be_allowed();
    assert!(said(|| drop(policies.expect(request()).to_be_sent_to("opa"))).contains("none"));
}

#[test]
fn a_table_tells_every_row_that_failed_and_what_it_covers() {
    let table = Table::new()
        .row("reads", desk().get("/patients/7"), Expectation::allowed())
        .row("writes", desk().put("/patients/7"), Expectation::allowed())
        .row("probes", request().get("/"), Expectation::answered(200));
    let run = table.run(&ward());
    assert_eq!(run.passed, ["reads"]);
    let failed: Vec<_> = run
        .failures
        .iter()
        .map(|failure| failure.row.as_str())
        .collect();
    assert_eq!(failed, ["writes", "probes"]);
    let why = said(|| run.assert());
    assert!(
        why.starts_with("writes: PUT /patients/7 as ") && why.ends_with("2 of 3 rows failed\n"),
        "{why}"
    );
    assert!(!run.coverage.is_at_least(100.0));
    let why = said(|| run.assert_covers(100.0));
    assert!(
        why.contains("policy[closed]") && why.contains("no request made it match"),
        "{why}"
    );
    run.assert_covers(run.coverage.percent.unwrap());
}

#[test]
fn an_access_table_that_differs_shows_the_lines() {
    let matrix = || {
        Matrix::new()
            .caller("desk", desk())
            .caller("anyone", request())
            .operation("GET /patients/7")
            .operation_with("health on 8080", |request| {
                request.get("/health").port(8080)
            })
            .operation("GET /#")
    };
    let access = matrix().ask(&ward());
    assert_eq!(
        access.to_string(),
        "
        GET /patients/7  health on 8080  GET /#
desk    allowed          allowed         400
anyone  denied           allowed         400
"
        .trim_start_matches('\n')
    );
    access.assert_is(&access.to_string());
    let why = said(|| access.assert_is(&access.to_string().replace("denied", "allowed")));
    assert!(
        why.contains("expected: anyone allowed allowed 400\n"),
        "{why}"
    );
    assert!(
        why.contains("got:      anyone denied allowed 400\n"),
        "{why}"
    );
    assert!(access.coverage().requests == 4 && access.coverage().points > 0);
    assert!(said(|| drop(matrix().operation("GET"))).contains("no operation"));
}

/// What the gate refuses is reported as such, and can be demanded; the profile is that of `Policies::gate`.
#[test]
fn a_request_that_the_gate_refuses_reaches_no_rule() {
    let bad_escape = || desk().get("/patients/%zz");
    let dots = || desk().get("/patients/1/..;/7");
    for policies in [ward(), ward().gate(Gate::strict())] {
        policies
            .expect(bad_escape())
            .to_be_refused_by_the_gate()
            .to_be_denied()
            .by("none")
            .to_be_answered(400)
            .to_be(Expectation::refused_by_the_gate_for(Refusal::Escape));
    }
    ward().expect(dots()).to_be_allowed();
    let strict = ward().gate(Gate::strict());
    strict.expect(dots()).to_be_refused_by_the_gate();
    let why = said(|| drop(strict.expect(dots()).to_be_allowed()));
    assert_eq!(
        why,
        "\
GET /patients/1/..;/7 as cluster.local/ns/default/sa/desk
  expected: allowed
  got:      denied 400 by the gate: the path has a dot segment with a parameter (rule B-10)
no rule is asked"
    );
    let other = Expectation::refused_by_the_gate_for(Refusal::Method);
    let why = said(|| drop(strict.expect(dots()).to_be(other)));
    assert!(
        why.contains("expected: refused by the gate: method\n"),
        "{why}"
    );
    let why = said(|| drop(ward().expect(request()).to_be_refused_by_the_gate()));
    assert!(why.contains("expected: refused by the gate\n"), "{why}");
    // Rules that only refused requests would meet are not put to the test.
    let row = |policies: Policies| {
        let table = Table::new().row("dots", dots(), Expectation::denied());
        table.run(&policies).coverage.requests
    };
    assert_eq!((row(ward()), row(strict)), (1, 0));
}

/// A table demands it in the same words.
#[test]
fn a_row_can_demand_that_the_gate_refuses() {
    let row = |expect: &str| {
        let row = format!("{{request: GET /%zz, expect: {expect}}}");
        let table = format!("workload: default/ward\nconfig: [p]\ntests:\n- {row}\n");
        TableFile::parse("ward.yaml", &table)
    };
    for (expect, holds) in [
        ("refused by the gate", true),
        ("'refused by the gate: escape'", true),
        ("'refused by the gate: method'", false),
        ("400", true),
        ("414", false),
        ("denied", true),
        ("allowed", false),
    ] {
        let run = row(expect).unwrap().table().run(&ward());
        assert_eq!(run.failures.is_empty(), holds, "{expect}: {run}");
    }
    for wrong in ["'refused by the gate: %zz'", "refused by the gates"] {
        let said = row(wrong).unwrap_err().to_string();
        assert!(said.contains("one of method, several_hosts"), "{said}");
    }
}

const TABLE: &str = "\
workload: default/ward
labels: {app: ward}
services: ['ward:8443']
config: [policies]
meshConfig: mesh.yaml
coverage: 12.5
callers: {desk: cluster.local/ns/default/sa/desk}
users:
  ann: {iss: https://idp, sub: ann, groups: [a, b], level: 3, on_call: true, none: null}
tests:
- {as: desk, user: ann, request: GET /patients/7, expect: allowed, by: readers/0}
";

/// The problems of a table, as a person reads them.
fn problems(table: &str) -> String {
    TableFile::parse("tests/ward.yaml", table)
        .unwrap_err()
        .to_string()
}

#[test]
fn a_row_can_say_all_that_policies_ask_for() {
    let table = TABLE.replace(
        "expect: allowed, by: readers/0",
        "expect: 200, claims: {scope: read, level: 4}, host: ward.example, headers: {x-a: '1', x-b: [c, d]}, \
         ip: 10.0.0.7, remote_ip: 192.0.2.1, destinationIp: '::1', sni: Ward.example",
    );
    let file = TableFile::parse("ward.yaml", &table).unwrap();
    assert_eq!(file.least_coverage(), Some(12.5));
    let conditions = [
        ("request.headers[x-a]", "'1'"),
        ("request.headers[x-b]", "d"),
        ("request.headers[:authority]", "ward.example"),
        ("request.auth.claims[scope]", "read"),
        ("request.auth.claims[groups]", "b"),
        ("request.auth.principal", "https://idp/ann"),
        ("source.principal", DESK),
        ("source.ip", "10.0.0.7"),
        ("remote.ip", "192.0.2.1"),
        ("destination.ip", "'::1'"),
        ("destination.port", "'8443'"),
        ("connection.sni", "ward.example"),
    ];
    let policy = |when: &str| {
        let yaml = format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: p}}\nspec: {{rules: [{{when: [{when}]}}]}}\n"
        );
        Policies::parse(&Workload::new("default", "ward"), &yaml)
    };
    for (key, value) in conditions {
        let run = file
            .table()
            .run(&policy(&format!("{{key: '{key}', values: [{value}]}}")));
        assert_eq!(run.passed.len(), 1, "{key}: {run}");
        let run = file
            .table()
            .run(&policy(&format!("{{key: '{key}', notValues: [{value}]}}")));
        assert_eq!(run.failures.len(), 1, "{key}: {run}");
    }
    // A number is no text, and a row's claim stands over the user's.
    let run = file.table().run(&policy(
        "{key: 'request.auth.claims[level]', values: ['4']}",
    ));
    assert_eq!(run.failures.len(), 1);
}

#[test]
fn a_mistake_in_a_table_is_told_with_its_place() {
    let row = "{as: desk, user: ann, request: GET /patients/7, expect: allowed, by: readers/0}";
    let with = |changed: &str| problems(&TABLE.replace(row, changed));
    for (row, place, word) in [
        (
            "{as: dest, request: GET /, expect: allowed}",
            "11:8: tests[0].as",
            "desk",
        ),
        (
            "{as: desk, user: bob, request: GET /, expect: allowed}",
            "11:20: tests[0].user",
            "ann",
        ),
        (
            "{request: GET, expect: allowed}",
            "11:13: tests[0].request",
            "TCP",
        ),
        (
            "{request: 'G@T /', expect: allowed}",
            "11:13: tests[0].request",
            "GET /patients/7",
        ),
        (
            "{request: GET /, expect: alowed}",
            "11:28: tests[0].expect",
            "denied",
        ),
        (
            "{request: GET /, expect: 404}",
            "11:28: tests[0].expect",
            "403",
        ),
        ("{request: GET /}", "11:3: tests[0].expect", "allowed"),
        ("{expect: allowed}", "11:3: tests[0].request", "GET"),
        (
            "{request: GET /, expect: denied, by: readers/first}",
            "11:40: tests[0].by",
            "POLICY/RULE",
        ),
        (
            "{request: GET /, expect: denied, header: {}}",
            "11:36: tests[0].header",
            "headers",
        ),
        (
            "{request: GET /, expect: denied, headers: {x: 5}}",
            "11:49: tests[0].headers[x]",
            "quotes",
        ),
        (
            "{request: GET /, expect: denied, headers: {x y: a}}",
            "11:51: tests[0].headers[x y]",
            "header name",
        ),
        (
            "{request: GET /, expect: denied, ip: 10.0.0}",
            "11:40: tests[0].ip",
            "IP address",
        ),
        (
            "{request: GET /, expect: denied, port: 70000}",
            "11:42: tests[0].port",
            "port",
        ),
        (
            "{request: TCP, user: ann, expect: denied}",
            "11:24: tests[0].user",
            "TCP",
        ),
    ] {
        let said = with(row);
        assert!(
            said.starts_with(&format!("tests/ward.yaml:{place}: ")),
            "{row}: {said}"
        );
        assert!(said.contains(word), "{row}: {said}");
        assert_eq!(
            said.lines()
                .filter(|line| line.contains("tests[0]"))
                .count(),
            1,
            "{row}: {said}"
        );
    }
    let twice = TABLE.replace(row, &format!("{row}\n- {row}"));
    assert!(
        problems(&twice).starts_with("tests/ward.yaml:12:3: tests[1]: "),
        "{}",
        problems(&twice)
    );
    for (from, to, place) in [
        (
            "workload: default/ward",
            "workload: ward",
            "1:11: workload: ",
        ),
        (
            "workload: default/ward",
            "workload: a/b/c",
            "1:11: workload: ",
        ),
        (
            "services: ['ward:8443']",
            "services: [':80']",
            "3:12: services[0]: ",
        ),
        ("config: [policies]", "config: []", "1:1: config: "),
        ("coverage: 12.5", "coverage: all", "6:11: coverage: "),
        (
            "services: ['ward:8443']",
            "services: [ward]",
            "3:12: services[0]: ",
        ),
        (
            "tests:\n- {as: desk, user: ann, request: GET /patients/7, expect: allowed, by: readers/0}",
            "tests: []",
            "1:1: tests: ",
        ),
        ("callers:", "caller:", "7:1: caller: "),
    ] {
        let said = problems(&TABLE.replace(from, to));
        assert!(
            said.contains(&format!("tests/ward.yaml:{place}")),
            "{to}: {said}"
        );
    }
    assert!(problems("").contains("holds no table"));
    assert!(problems(&format!("{TABLE}---\n{TABLE}")).contains("a second document"));
    assert!(problems("tests: [").starts_with("tests/ward.yaml:"));
    let missing = TableFile::read("no/such/table.yaml")
        .unwrap_err()
        .to_string();
    assert!(
        missing.starts_with("no/such/table.yaml: cannot be read: "),
        "{missing}"
    );
}

#[test]
fn no_key_material_is_needed_for_claims_of_any_kind() {
    let policies = Policies::parse(
        &Workload::new("default", "ward"),
        "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: night}
spec:
  rules:
  - from: [{source: {requestPrincipals: ['https://idp/*']}}]
    when: [{key: 'request.auth.claims[shift][groups]', values: [night]}]
",
    );
    let token = request().user("https://idp", "ann");
    let shift = json!({"groups": ["day", "night"]});
    policies
        .expect(token.clone().claim("shift", shift))
        .to_be_allowed();
    policies.expect(token).to_be_denied();
}
