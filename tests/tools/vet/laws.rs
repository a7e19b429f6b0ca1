//! What is told of a rule holds for every request.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use tower_mesh::Workload;
use tower_mesh::policy::{Engine, Request};
use tower_mesh::vet::{Code, Report, Vet};

const FROM: &[&str] = &[
    "principals: [cluster.local/ns/foo/sa/a]",
    "principals: [\"cluster.local/ns/foo/*\"]",
    "principals: [\"*\"]",
    "notPrincipals: [\"*\"]",
    "notPrincipals: [\"*/sa/b\"]",
    "namespaces: [foo]",
    "namespaces: [\"f*\"]",
    "notNamespaces: [bar]",
    "serviceAccounts: [a, bar/b]",
    "trustDomains: [cluster.local]",
    "requestPrincipals: [\"*\"]",
    "requestPrincipals: [\"idp/*\"]",
    "requestPrincipals: [idp/u]",
    "notRequestPrincipals: [idp/u]",
    "ipBlocks: [127.0.0.0/8]",
    "ipBlocks: [127.0.0.1, 10.0.0.0/8]",
    "ipBlocks: [0.0.0.0/0, \"::/0\"]",
    "notIpBlocks: [127.0.0.1]",
    "notRemoteIpBlocks: [9.9.9.9]",
];
const TO: &[&str] = &[
    "methods: [GET]",
    "methods: [\"*\"]",
    "methods: [\"P*\", GET]",
    "notMethods: [POST]",
    "notMethods: [\"*\"]",
    "paths: [\"/a*\", /b]",
    "paths: [\"*\"]",
    "paths: [\"/*\"]",
    "paths: [a, /b/../a]",
    "paths: [/a/b]",
    "paths: [\"*/b\"]",
    "notPaths: [\"/a/{*}\"]",
    "paths: [\"/a/{**}\"], notPaths: [/a/b]",
    "hosts: [\"*.example\"]",
    "hosts: [A.example]",
    "ports: [\"80\"]",
    "ports: [\"80\", \"81\"]",
    "notPorts: [\"80\"]",
];
const WHEN: &[&str] = &[
    "{key: \"request.headers[x-a]\", values: [\"1*\"]}",
    "{key: \"request.headers[x-a]\", values: [\"13\"]}",
    "{key: \"request.headers[x-a]\", notValues: [\"2\"]}",
    "{key: \"request.headers[x-a]\", values: [\"*\"], notValues: [\"1\"]}",
    "{key: \"request.auth.claims[g]\", values: [x, \"*y\"]}",
    "{key: \"request.auth.claims[g]\", notValues: [x]}",
    "{key: \"request.auth.claims[g]\", values: [\"*\"]}",
    "{key: source.ip, values: [\"::/0\"]}",
    "{key: destination.port, values: [\"81\"]}",
    "{key: connection.sni, values: [a.example]}",
    "{key: connection.sni, values: [A.example]}",
    "{key: connection.sni, notValues: [\"*\"]}",
];

fn rule() -> impl Strategy<Value = String> {
    let list = |texts, most| proptest::collection::vec(select(texts), 0..=most);
    (list(FROM, 2), list(TO, 2), list(WHEN, 1)).prop_map(|(from, to, when)| {
        let entries = |inner: &str, texts: &[&str]| -> Vec<String> {
            let entry = |text: &&str| format!("{{{inner}: {{{text}}}}}");
            texts.iter().map(entry).collect()
        };
        let mut fields = Vec::new();
        if !from.is_empty() {
            fields.push(format!("from: [{}]", entries("source", &from).join(", ")));
        }
        if !to.is_empty() {
            fields.push(format!("to: [{}]", entries("operation", &to).join(", ")));
        }
        if !when.is_empty() {
            fields.push(format!("when: [{}]", when.join(", ")));
        }
        format!("{{{}}}", fields.join(", "))
    })
}

#[derive(Clone, Debug)]
struct Written {
    action: &'static str,
    namespace: &'static str,
    selector: &'static str,
    rules: Vec<String>,
}

fn policies() -> impl Strategy<Value = Vec<Written>> {
    let policy = (
        select(&["ALLOW", "DENY"][..]),
        select(&["foo", "foo", "istio-system"][..]),
        select(&["", "", "selector: {matchLabels: {app: p}}, "][..]),
        proptest::collection::vec(rule(), 1..=3),
    );
    let policy = policy.prop_map(|(action, namespace, selector, rules)| Written {
        action,
        namespace,
        selector,
        rules,
    });
    proptest::collection::vec(policy, 1..=4)
}

fn request() -> impl Strategy<Value = Request> {
    (
        (any::<bool>(), select(&["GET", "POST", "HEAD"][..])),
        select(&["/", "/a", "/a/b", "/a/b/c", "/b?q", "/ab", "/c/b"][..]),
        select(
            &[
                "",
                "cluster.local/ns/foo/sa/a",
                "cluster.local/ns/bar/sa/b",
                "td/ns/foo/sa/c",
            ][..],
        ),
        proptest::collection::vec(
            select(&[("x-a", "1"), ("x-a", "2"), ("x-a", "13")][..]),
            0..=2,
        ),
        proptest::option::of(select(&["x", "zy", "z"][..])),
        select(&["127.0.0.1", "10.1.1.1", "9.9.9.9", "::1"][..]),
        (select(&[80, 81, 82][..]), select(&["", "a.example"][..])),
        select(&["a.example", "A.EXAMPLE", "b", "a.example:80"][..]),
    )
        .prop_map(
            |((http, method), path, principal, headers, claim, ip, (port, sni), host)| {
                let mut request = match http {
                    true => Request::new().method(method, path).authority(host),
                    false => Request::tcp(),
                };
                request = request.source_ip(ip.parse().unwrap()).port(port);
                if !principal.is_empty() {
                    request = request.from(principal).sni(sni);
                }
                if let Some(claim) = claim.filter(|_| http) {
                    request = request.claim("iss", "idp").claim("sub", "u");
                    request = request.claim("g", claim);
                }
                let headers = headers.into_iter().filter(|_| http);
                headers.fold(request, |request, (name, value)| {
                    request.header(name, value)
                })
            },
        )
}

/// Each rule stands on a line of its own, so that notes say which one they mean.
fn yaml(
    policies: &[Written],
    without: &BTreeSet<(usize, usize)>,
) -> (String, Vec<(u32, usize, usize)>) {
    let mut text = String::new();
    let mut lines = Vec::new();
    for (place, policy) in policies.iter().enumerate() {
        let Written {
            action,
            namespace,
            selector,
            rules,
        } = policy;
        let kept: Vec<_> = rules
            .iter()
            .enumerate()
            .filter(|(rule, _)| !without.contains(&(place, *rule)))
            .collect();
        // A DENY without rules is none; an ALLOW without rules allows nothing, and still counts.
        if kept.is_empty() && *action == "DENY" {
            continue;
        }
        text += &format!(
            "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
             metadata: {{name: p{place}, namespace: {namespace}}}\nspec: {{action: {action}, {selector}rules: [\n"
        );
        for (rule, written) in kept {
            let line = text.matches('\n').count() + 1;
            lines.push((u32::try_from(line).unwrap(), place, rule));
            text += &format!("  {written},\n");
        }
        text += "  ]}\n";
    }
    (text, lines)
}

fn engine(text: &str) -> Engine {
    let workload = Workload::new("foo", "p").label("app", "p");
    let built = Engine::builder(&workload).yaml(text).build();
    built.unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

fn vet(text: &str) -> Report {
    let report = Vet::new().yaml("p.yaml", text, "foo");
    report.unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

/// The rules that notes of these codes are about.
fn told(
    report: &Report,
    lines: &[(u32, usize, usize)],
    codes: &[Code],
) -> BTreeSet<(usize, usize)> {
    let notes = report
        .notes
        .iter()
        .filter(|note| codes.contains(&note.code));
    // Parts of a rule stand on its line, too; what is meant is the rule.
    let notes =
        notes.filter(|note| note.message.starts_with("this") && note.message.contains("rule "));
    notes
        .filter(|note| {
            !note.message.starts_with("this source") && !note.message.starts_with("this operation")
        })
        .map(|note| {
            let found = lines.iter().find(|(line, _, _)| *line == note.at.line);
            let (_, policy, rule) = found.unwrap();
            (*policy, *rule)
        })
        .collect()
}

proptest! {
    // Each case compiles several policy sets and asks some fifty requests.
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn superfluous_rules_change_no_decision(
        policies in policies(),
        requests in proptest::collection::vec(request(), 50),
    ) {
        let (text, lines) = yaml(&policies, &BTreeSet::new());
        let codes = [
            Code::ShadowedRule,
            Code::DuplicateRule,
            Code::AllowAlwaysDenied,
        ];
        let superfluous = told(&vet(&text), &lines, &codes);
        let whole = engine(&text);
        let reduced = engine(&yaml(&policies, &superfluous).0);
        for request in &requests {
            let (before, after) = (whole.judge(request), reduced.judge(request));
            prop_assert_eq!(
                before.decision.allowed, after.decision.allowed,
                "{:?} {:?}\n{}", superfluous, request, text
            );
        }
    }

    #[test]
    fn what_never_matches_never_does_and_what_denies_everything_does(
        policies in policies(),
        requests in proptest::collection::vec(request(), 50),
    ) {
        let (text, lines) = yaml(&policies, &BTreeSet::new());
        let report = vet(&text);
        let alone = |(policy, rule): &(usize, usize), action| {
            let mut one = policies[*policy].clone();
            one.rules = vec![one.rules[*rule].clone()];
            one.action = action;
            engine(&yaml(&[one], &BTreeSet::new()).0)
        };
        for dead in &told(&report, &lines, &[Code::RuleNeverMatches]) {
            let engine = alone(dead, "ALLOW");
            for request in &requests {
                prop_assert!(!engine.judge(request).decision.allowed, "{:?}\n{}", request, text);
            }
        }
        for total in &told(&report, &lines, &[Code::DeniesEverything]) {
            let engine = alone(total, "DENY");
            for request in &requests {
                prop_assert!(!engine.judge(request).decision.allowed, "{:?}\n{}", request, text);
            }
        }
    }
}

/// One value of some list, put together of what such values are made of, well and badly.
fn value() -> impl Strategy<Value = String> {
    let part = select(
        &[
            "cluster.local",
            "td",
            "ns",
            "foo",
            "bar",
            "sa",
            "a",
            "b",
            "",
            "*",
            "Foo",
            "foo*",
            "spiffe:",
        ][..],
    );
    let principal = proptest::collection::vec(part, 1..=6).prop_map(|parts| parts.join("/"));
    let name = "[*]?[a-cfoFor*/ ]{1,4}[*]?";
    let host = "[*]?(a|A)[.]?(example|EXAMPLE)?(:80|:[*]|:8x)?[*]?";
    prop_oneof![
        principal.prop_map(|value| format!("from: [{{source: {{principals: ['{value}']}}}}]")),
        name.prop_map(|value| format!("from: [{{source: {{namespaces: ['{value}']}}}}]")),
        "[a-bfo/A ]{1,4}"
            .prop_map(|value| format!("from: [{{source: {{serviceAccounts: ['{value}']}}}}]")),
        "[*]?(td|cluster[.]local|local|TD| )[*]?"
            .prop_map(|value| format!("from: [{{source: {{trustDomains: ['{value}']}}}}]")),
        host.prop_map(|value| format!("to: [{{operation: {{hosts: ['{value}']}}}}]")),
        "[*]?(a|A)[.]?(example)?[*.:]?"
            .prop_map(|value| format!("when: [{{key: connection.sni, values: ['{value}']}}]")),
        "[*]?[ 13]{1,3}[*]?".prop_map(|value| format!(
            "when: [{{key: 'request.headers[x-a]', values: ['{value}']}}]"
        )),
        select(&["idp", "idp/", "idp/u", "idp/*", "*/u", "*/", "idp*"][..])
            .prop_map(|value| format!("from: [{{source: {{requestPrincipals: ['{value}']}}}}]")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn values_that_nothing_carries_match_no_request(
        rule in value(),
        requests in proptest::collection::vec(request(), 20),
    ) {
        let policy = Written {
            action: "ALLOW",
            namespace: "foo",
            selector: "",
            rules: vec![format!("{{{rule}}}")],
        };
        let (text, _) = yaml(&[policy], &BTreeSet::new());
        let Ok(report) = Vet::new().yaml("p.yaml", &text, "foo") else {
            return Ok(());
        };
        let is_never = report.notes.iter().any(|note| note.code == Code::ValueNeverMatches);
        if is_never {
            let engine = engine(&text);
            for request in &requests {
                prop_assert!(!engine.judge(request).decision.allowed, "{:?}\n{}\n{:?}", request, text, report);
            }
        }
    }
}

/// The laws would hold for a vet that says nothing.
#[test]
fn the_laws_are_about_something() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut found = BTreeSet::new();
    for _ in 0..300 {
        let policies = policies().new_tree(&mut runner).unwrap().current();
        let (text, _) = yaml(&policies, &BTreeSet::new());
        found.extend(vet(&text).notes.into_iter().map(|note| note.code));
    }
    for code in [
        Code::AllowAlwaysDenied,
        Code::DeniesEverything,
        Code::DuplicateRule,
        Code::RuleNeverMatches,
        Code::ShadowedRule,
    ] {
        assert!(found.contains(&code), "{code}");
    }
}
