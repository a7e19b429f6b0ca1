//! Coverage of rules: what is covered by which request, and the command that tells.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use tower_mesh::Workload;
use tower_mesh::coverage::{Coverage, Report};
use tower_mesh::policy::{Engine, Request, eval};

use crate::files::Files;
use crate::program::{run, text};

const ALICE: &str = "cluster.local/ns/foo/sa/alice";

fn engine(yaml: &str) -> Engine {
    let workload = Workload::new("foo", "web").service("web", 80);
    let built = Engine::builder(&workload)
        .named_yaml("ward.yaml", yaml)
        .build();
    built.unwrap_or_else(|problems| panic!("{problems}"))
}

fn covered(engine: &Engine, requests: &[Request]) -> Report {
    let mut coverage = Coverage::new(engine);
    requests
        .iter()
        .for_each(|request| coverage.observe(request));
    coverage.report()
}

/// The fields that were decisive.
fn decisive(report: &Report) -> Vec<&str> {
    let rules = report.files.iter().flat_map(|file| &file.rules);
    let clauses = rules.flat_map(|rule| &rule.clauses);
    let decisive = clauses.filter(|clause| clause.decisive);
    decisive.map(|clause| clause.field.as_str()).collect()
}

const READERS: &str = "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers}
spec:
  rules:
  - from: [{source: {principals: [cluster.local/ns/foo/sa/alice]}}]
    to: [{operation: {methods: [GET], paths: [/a/*]}}]
";

const FROM: &str = "spec.rules[0].from[0].source.principals";
const METHODS: &str = "spec.rules[0].to[0].operation.methods";
const PATHS: &str = "spec.rules[0].to[0].operation.paths";

#[test]
fn each_point_is_covered_by_the_request_that_shows_it() {
    let engine = engine(READERS);
    let good = Request::new().get("/a/1").from(ALICE);
    let nothing = covered(&engine, &[]);
    assert_eq!((nothing.covered, nothing.points), (0, 5));
    // All three clauses are needed to let it in.
    let one = covered(&engine, std::slice::from_ref(&good));
    assert_eq!((one.covered, one.points), (4, 5));
    assert_eq!(decisive(&one), [FROM, METHODS, PATHS]);
    // Two clauses keep it out, so that neither alone turns the answer.
    let twice_wrong = covered(&engine, &[Request::new().post("/b").from(ALICE)]);
    assert_eq!(decisive(&twice_wrong), [""; 0]);
    assert_eq!(twice_wrong.covered, 1);
    let wrong_method = covered(&engine, &[Request::new().post("/a/1").from(ALICE)]);
    assert_eq!(decisive(&wrong_method), [METHODS]);
    assert_eq!(
        covered(&engine, &[good, Request::new()]).percent,
        Some(100.0)
    );
}

#[test]
fn taking_away_the_only_request_of_a_rule_lowers_the_figure() {
    let engine = engine(
        "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: both}
spec:
  rules:
  - to: [{operation: {methods: [GET]}}]
  - to: [{operation: {methods: [PUT]}}]
",
    );
    let [get, put] = [Request::new(), Request::new().put("/")];
    let both = covered(&engine, &[get.clone(), put.clone()]);
    assert_eq!(both.percent, Some(100.0));
    for only in [get, put] {
        let one = covered(&engine, &[only]);
        assert!(
            one.percent < both.percent && one.percent > Some(0.0),
            "{one}"
        );
        assert!(
            one.to_string().contains("no request made it match"),
            "{one}"
        );
        assert!(
            one.to_string().contains("no request made it fail to match"),
            "{one}"
        );
    }
}

#[test]
fn an_alternative_that_would_have_done_as_well_is_not_decisive() {
    let engine = engine(
        "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: either}
spec:
  rules:
  - from:
    - source: {principals: [cluster.local/ns/foo/sa/alice]}
    - source: {namespaces: [foo]}
    when: [{key: 'request.headers[x]', values: ['1']}]
",
    );
    let alice = Request::new().from(ALICE).header("x", "1");
    // Either `from` lets her in; the condition stands in both of them and is one clause.
    let report = covered(&engine, std::slice::from_ref(&alice));
    assert_eq!(decisive(&report), ["spec.rules[0].when[0].values"]);
    assert_eq!(report.points, 5);
    let bob = Request::new()
        .from("cluster.local/ns/foo/sa/bob")
        .header("x", "1");
    let report = covered(&engine, &[alice, bob]);
    assert_eq!(
        decisive(&report),
        [
            "spec.rules[0].from[1].source.namespaces",
            "spec.rules[0].when[0].values"
        ]
    );
}

#[test]
fn positive_and_negative_lists_are_clauses_of_their_own() {
    let engine = engine(
        "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: some}
spec: {rules: [{to: [{operation: {paths: [/a/*], notPaths: [/a/b]}}]}]}
",
    );
    let report = covered(&engine, &[Request::new().get("/a/b")]);
    assert_eq!(
        decisive(&report),
        ["spec.rules[0].to[0].operation.notPaths"]
    );
}

#[test]
fn a_rule_for_everything_has_one_point_and_one_that_nobody_wrote_none() {
    let all = engine(
        "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: all}
spec: {rules: [{}]}
",
    );
    assert_eq!(
        covered(&all, &[]).to_string(),
        "\
ward.yaml: 0.0% (0 of 1)
  5:16 ALLOW ns[foo]-policy[all]-rule[0]
    no request made it match
total: 0.0% (0 of 1) by 0 requests
"
    );
    assert_eq!(covered(&all, &[Request::new()]).percent, Some(100.0));
    let nobody = engine(
        "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: nobody}
spec: {}
",
    );
    let report = covered(&nobody, &[Request::new()]);
    assert_eq!((report.points, report.percent), (0, None));
    assert!(!report.is_at_least(0.0));
}

const STAGES: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: seen}
spec: {action: AUDIT, rules: [{to: [{operation: {paths: [/a]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no}
spec: {action: DENY, rules: [{to: [{operation: {paths: [/a]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: trial, annotations: {istio.io/dry-run: 'true'}}
spec: {action: DENY, rules: [{to: [{operation: {paths: [/a]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: yes}
spec: {rules: [{to: [{operation: {paths: [/a]}}]}]}
";

#[test]
fn what_a_deny_refuses_never_reaches_the_allow_rules() {
    let engine = engine(
        &STAGES
            .replace("name: yes", "name: good")
            .replace("name: no}", "name: bad}"),
    );
    let report = covered(&engine, &[Request::new().get("/a")]);
    let seen = |name: &str| {
        let mut rules = report.files[0].rules.iter();
        let rule = rules.find(|rule| rule.policy.contains(name)).unwrap();
        (rule.matched, rule.unmatched, rule.dry_run)
    };
    assert_eq!(seen("seen"), (1, 0, false));
    assert_eq!(seen("bad"), (1, 0, false));
    assert_eq!(seen("trial"), (1, 0, true));
    assert_eq!(seen("good"), (0, 0, false));
    // A path that a server refuses reaches no rule.
    let refused = covered(
        &engine,
        &[
            Request::new().get("/a#b"),
            Request::new().method("CONNECT", "/"),
        ],
    );
    assert_eq!((refused.covered, refused.requests), (0, 2));
}

#[test]
fn a_connection_tests_what_is_left_of_a_rule() {
    let engine = engine(
        "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ports}
spec:
  action: DENY
  rules: [{to: [{operation: {methods: [GET], ports: ['80']}}]}]
",
    );
    let report = covered(&engine, &[Request::tcp()]);
    assert_eq!(decisive(&report), ["spec.rules[0].to[0].operation.ports"]);
    assert_eq!(report.points, 4);
}

#[test]
fn legacy_roles_are_rules_and_what_they_ask_for_are_clauses() {
    let engine = engine(
        "
apiVersion: rbac.istio.io/v1alpha1
kind: ClusterRbacConfig
metadata: {name: default}
spec: {mode: 'ON'}
---
apiVersion: rbac.istio.io/v1alpha1
kind: ServiceRole
metadata: {name: reader}
spec: {rules: [{services: [web.foo.svc.cluster.local], methods: [GET]}]}
---
apiVersion: rbac.istio.io/v1alpha1
kind: ServiceRoleBinding
metadata: {name: alice}
spec: {subjects: [{user: cluster.local/ns/foo/sa/alice}], roleRef: {kind: ServiceRole, name: reader}}
",
    );
    let report = covered(&engine, &[Request::new().from(ALICE)]);
    let rule = &report.files[0].rules[0];
    assert_eq!(
        (rule.policy.as_str(), rule.line, rule.matched),
        ("reader", 7, 1)
    );
    assert_eq!(
        decisive(&report),
        [
            "from.source.principals [cluster.local/ns/foo/sa/alice]",
            "to.operation.methods [GET]"
        ]
    );
}

/// A list of a rule: its name in the resource, whether it is the negative one, its value.
type List = (&'static str, bool, &'static str);

/// The lists of two `from`, two `to` and one condition; an empty entry is left out.
#[derive(Clone, Debug)]
struct Lists([Vec<List>; 5]);

fn lists() -> impl Strategy<Value = Lists> {
    let list = |name: &'static str, values: &'static [&'static str]| {
        let list = (Just(name), any::<bool>(), select(values));
        proptest::option::of(list)
    };
    let entry = |one, other| {
        (one, other)
            .prop_map(|(one, other)| [one, other].into_iter().flatten().collect::<Vec<List>>())
    };
    let from = || {
        entry(
            list("principals", &[ALICE, "*"][..]),
            list("namespaces", &["foo", "bar"][..]),
        )
    };
    let to = || {
        entry(
            list("methods", &["GET", "PUT"][..]),
            list("paths", &["/a", "/*"][..]),
        )
    };
    let when = list("values", &["1", "*"][..]).prop_map(|list| list.into_iter().collect());
    (from(), from(), to(), to(), when).prop_map(|(a, b, c, d, e)| Lists([a, b, c, d, e]))
}

impl Lists {
    /// The rule, with the list number `turned` (if any) turned into its opposite.
    fn yaml(&self, turned: Option<usize>) -> String {
        let mut number = 0;
        let [from, more_from, to, more_to, when] = &self.0.clone().map(|entry| {
            let lists = entry.into_iter().map(|(name, negative, value)| {
                let negative = negative != (turned == Some(number));
                number += 1;
                let (first, rest) = name.split_at(1);
                let name = if negative {
                    format!("not{}{rest}", first.to_uppercase())
                } else {
                    name.to_owned()
                };
                format!("{name}: ['{value}']")
            });
            lists.collect::<Vec<_>>().join(", ")
        });
        let entries = |field: &str, inner: &str, entries: [&String; 2]| {
            let entries: Vec<_> = entries
                .into_iter()
                .filter(|entry| !entry.is_empty())
                .map(|entry| format!("{{{inner}: {{{entry}}}}}"))
                .collect();
            if entries.is_empty() {
                String::new()
            } else {
                format!("{field}: [{}], ", entries.join(", "))
            }
        };
        let from = entries("from", "source", [from, more_from]);
        let to = entries("to", "operation", [to, more_to]);
        let when = if when.is_empty() {
            String::new()
        } else {
            format!("when: [{{key: 'request.headers[x]', {when}}}]")
        };
        format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: p}}\nspec: {{rules: [{{{from}{to}{when}}}]}}\n"
        )
    }

    fn count(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }
}

/// Whether the only rule matches.
fn matches(engine: &Engine, request: &Request) -> bool {
    let allow = engine
        .program()
        .http
        .default
        .allow
        .enforced
        .as_ref()
        .unwrap();
    let rule = &allow.policies["ns[foo]-policy[p]-rule[0]"];
    eval::policy_matches(rule, request)
}

fn request() -> impl Strategy<Value = Request> {
    let principal = select(&["", ALICE, "cluster.local/ns/bar/sa/bob"][..]);
    (
        select(&["GET", "PUT"][..]),
        select(&["/a", "/b"][..]),
        principal,
    )
        .prop_map(|(method, path, principal)| {
            let request = Request::new().method(method, path);
            if principal.is_empty() {
                request
            } else {
                request.from(principal)
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A clause is decisive exactly when the rule with its opposite in that place (`notMethods` for `methods`) answers some request
    /// otherwise; that rule is compiled anew.
    #[test]
    fn a_clause_is_decisive_iff_its_opposite_answers_otherwise(
        lists in lists(),
        requests in proptest::collection::vec(request(), 0..=4),
    ) {
        let engine = engine(&lists.yaml(None));
        let report = covered(&engine, &requests);
        let clauses = &report.files[0].rules[0].clauses;
        prop_assert_eq!(clauses.len(), lists.count());
        // Both are in the order in which they are written.
        for (number, clause) in clauses.iter().enumerate() {
            let opposite = self::engine(&lists.yaml(Some(number)));
            let turns = requests.iter().any(|request| matches(&engine, request) != matches(&opposite, request));
            prop_assert_eq!(clause.decisive, turns, "{} in {}", &clause.field, lists.yaml(None));
        }
    }

    /// Matches are the engine's, more requests cover more, and parts that are measured apart add up to the whole.
    #[test]
    fn more_requests_cover_more_and_parts_add_up(
        lists in lists(),
        requests in proptest::collection::vec(request(), 0..=6),
    ) {
        let engine = engine(&lists.yaml(None));
        let mut coverage = Coverage::new(&engine);
        let mut before = coverage.report();
        for request in &requests {
            coverage.observe(request);
            let after = coverage.report();
            prop_assert!(after.covered >= before.covered && after.points == before.points);
            before = after;
        }
        let rule = &before.files[0].rules[0];
        let matched = requests.iter().filter(|request| matches(&engine, request)).count() as u64;
        prop_assert_eq!((rule.matched, rule.unmatched), (matched, requests.len() as u64 - matched));
        let (one, other) = requests.split_at(requests.len() / 2);
        let [mut halves, mut rest] = [Coverage::new(&engine), Coverage::new(&engine)];
        one.iter().for_each(|request| halves.observe(request));
        other.iter().for_each(|request| rest.observe(request));
        halves.merge(rest);
        prop_assert_eq!(halves.report(), before);
    }
}

fn ask(lines: &[Value], more: &[&str]) -> (Option<i32>, String, String) {
    let files = Files::new(&[("ward.yaml", READERS)]);
    let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let file = files.path("ward.yaml");
    let config = file.trim_end_matches("/ward.yaml");
    let words = [
        "coverage",
        "--config",
        config,
        "--workload",
        "foo/web",
        "--requests",
        "-",
    ];
    let output = run(&[&words, more].concat(), &lines);
    let said = text(&output.stdout).replace(config, "policies");
    (output.status.code(), said, text(&output.stderr))
}

#[test]
fn the_command_says_what_is_not_covered() {
    let get = json!({"method": "GET", "path": "/a/1", "source": {"principal": ALICE}});
    let post = json!({"method": "POST", "path": "/a/1"});
    let (code, said, _) = ask(&[post], &["--fail-under", "80"]);
    assert_eq!(code, Some(1));
    assert_eq!(
        said,
        "\
policies/ward.yaml: 20.0% (1 of 5)
  6:5 ALLOW ns[foo]-policy[readers]-rule[0]
    no request made it match
    6:35 spec.rules[0].from[0].source.principals was never decisive
    7:33 spec.rules[0].to[0].operation.methods was never decisive
    7:47 spec.rules[0].to[0].operation.paths was never decisive
total: 20.0% (1 of 5) by 1 request
"
    );
    let (code, said, warned) = ask(std::slice::from_ref(&get), &["--fail-under", "81"]);
    assert_eq!(
        (code, warned.as_str()),
        (Some(1), "80.0% is covered, less than 81%\n"),
        "{said}"
    );
    assert_eq!(
        ask(std::slice::from_ref(&get), &["--fail-under", "80"]).0,
        Some(0)
    );
    // On another port the same rules are asked.
    let elsewhere = json!({"method": "GET", "path": "/", "destination": {"port": 8080}});
    let (code, said, _) = ask(
        &[get, elsewhere],
        &["--format", "json", "--fail-under", "100"],
    );
    assert_eq!(code, Some(0));
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&report["percent"], &report["requests"]),
        (&json!(100.0), &json!(2))
    );
    let rule = &report["files"][0]["rules"][0];
    assert_eq!(rule["policy"], "ns[foo]-policy[readers]-rule[0]");
    assert_eq!(
        rule["clauses"][1],
        json!({"field": METHODS, "line": 7, "column": 33, "decisive": true})
    );
}

/// Legacy resources select by service, so that other services and ports mean other rules.
#[test]
fn requests_for_other_services_count_for_the_rules_that_stand_there() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("roles.yaml");
    let role = |name: &str, service: &str| {
        format!(
            "---\napiVersion: rbac.istio.io/v1alpha1\nkind: ServiceRole\nmetadata: {{name: {name}}}\n\
             spec: {{rules: [{{services: [{service}.foo.svc.cluster.local], methods: [GET]}}]}}\n\
             ---\napiVersion: rbac.istio.io/v1alpha1\nkind: ServiceRoleBinding\nmetadata: {{name: {name}}}\n\
             spec: {{subjects: [{{user: '*'}}], roleRef: {{kind: ServiceRole, name: {name}}}}}\n"
        )
    };
    let switch = "apiVersion: rbac.istio.io/v1alpha1\nkind: ClusterRbacConfig\nmetadata: {name: default}\nspec: {mode: 'ON'}\n";
    let yaml = [switch, &role("reader", "ward"), &role("gardener", "yard")].concat();
    std::fs::write(&file, yaml).unwrap();
    let get = |services: &[&str]| json!({"method": "GET", "path": "/", "destination": {"port": 8080, "services": services}});
    let lines = format!("{}\n{}\n", get(&["ward"]), get(&["yard"]));
    let config = file.to_str().unwrap();
    let words = [
        "coverage",
        "--config",
        config,
        "--workload",
        "foo/web",
        "--service",
        "ward",
        "--requests",
        "-",
        "--format",
        "json",
    ];
    let output = run(&words, &lines);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rules = report["files"][0]["rules"].as_array().unwrap();
    let seen: Vec<_> = rules
        .iter()
        .map(|rule| (rule["policy"].as_str().unwrap(), &rule["matched"]))
        .collect();
    assert_eq!(seen, [("reader", &json!(1)), ("gardener", &json!(1))]);
}

#[test]
fn bad_lines_and_workloads_without_rules_do_not_pass() {
    let (code, said, why) = ask(
        &[json!({"method": "GET", "path": "/"}), json!({"path": "/"})],
        &[],
    );
    assert_eq!((code, said.as_str()), (Some(2), ""));
    assert_eq!(why, "error: line 2: the key `method` is missing\n");
    let list = json!([null, "http", "GET", "/", null, null, null, null, null, null]);
    let (code, said, why) = ask(&[list], &[]);
    assert_eq!((code, said.as_str()), (Some(2), ""));
    assert_eq!(why, "error: line 1: no JSON object\n");
    let (code, said, why) = ask(&[], &["--workload", "bar/web", "--fail-under", "0"]);
    assert_eq!(code, Some(2), "{said}{why}");
    assert_eq!(ask(&[], &["--fail-under", "101"]).0, Some(2));
    let named = READERS.replace("readers}", "readers, namespace: foo}");
    let files = Files::new(&[("ward.yaml", named)]);
    let config = &*files.path("ward.yaml");
    let words = [
        "coverage",
        "--config",
        config,
        "--workload",
        "bar/web",
        "--requests",
        "-",
        "--fail-under",
        "0",
    ];
    let output = run(&words, "");
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        text(&output.stdout),
        "total: no rule applies to this workload\n"
    );
    let told = text(&output.stderr);
    assert!(
        told.starts_with("error: no authorization policy selects the workload bar/web (no labels)"),
        "{told}"
    );
    assert!(
        told.contains("AuthorizationPolicy foo/readers selects the workloads of namespace foo; the workload is in namespace bar"),
        "{told}"
    );
    let accepted = run(&[&words[..], &["--allow-no-policy"]].concat(), "");
    assert_eq!(accepted.status.code(), Some(1));
    assert!(text(&accepted.stderr).starts_with("no rule applies to this workload: is its name"));
}
