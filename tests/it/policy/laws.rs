//! What holds for all policies and requests, whatever they say.

use proptest::prelude::*;
use proptest::sample::select;
use tower_mesh::Workload;
use tower_mesh::policy::{Decision, Engine, Request};

const FROM: &[&str] = &[
    "principals: [cluster.local/ns/foo/sa/a]",
    "principals: [\"*\"]",
    "notPrincipals: [\"*/sa/b\"]",
    "namespaces: [foo]",
    "notNamespaces: [bar]",
    "serviceAccounts: [a, bar/b]",
    "requestPrincipals: [\"*\"]",
    "notRequestPrincipals: [idp/u]",
    "ipBlocks: [127.0.0.0/8]",
    "notRemoteIpBlocks: [9.9.9.9]",
];
const TO: &[&str] = &[
    "methods: [GET]",
    "notMethods: [POST]",
    "paths: [\"/a*\", /b]",
    "notPaths: [\"/a/{*}\"]",
    "paths: [\"/a/{**}\"], notPaths: [/a/b]",
    "hosts: [\"*.example\"]",
    "ports: [\"80\"]",
    "notPorts: [\"80\"]",
];
const WHEN: &[&str] = &[
    "{key: \"request.headers[x-a]\", values: [\"1*\"]}",
    "{key: \"request.headers[x-a]\", notValues: [\"2\"]}",
    "{key: \"request.auth.claims[g]\", values: [x, \"*y\"]}",
    "{key: \"request.auth.claims[g]\", notValues: [x]}",
    "{key: source.ip, values: [\"::/0\"]}",
];

fn rule() -> impl Strategy<Value = String> {
    let list = |texts, most| proptest::collection::vec(select(texts), 0..=most);
    let one_in = |field: &str, inner: &str, texts: &[&str]| match texts {
        [] => String::new(),
        _ => {
            let entries: Vec<_> = texts
                .iter()
                .map(|text| format!("{{{inner}: {{{text}}}}}"))
                .collect();
            format!("{field}: [{}], ", entries.join(", "))
        }
    };
    (list(FROM, 2), list(TO, 2), list(WHEN, 2)).prop_map(move |(from, to, when)| {
        let mut rule = one_in("from", "source", &from) + &one_in("to", "operation", &to);
        if !when.is_empty() {
            rule += &format!("when: [{}]", when.join(", "));
        }
        format!("{{{rule}}}")
    })
}

#[derive(Clone, Debug)]
struct Written {
    action: &'static str,
    rules: Vec<String>,
}

fn policy(actions: &'static [&'static str]) -> impl Strategy<Value = Written> {
    let rules = proptest::collection::vec(rule(), 1..=3);
    (select(actions), rules).prop_map(|(action, rules)| Written { action, rules })
}

fn policies() -> impl Strategy<Value = Vec<Written>> {
    proptest::collection::vec(policy(&["ALLOW", "ALLOW", "DENY", "AUDIT"]), 0..=4)
}

fn request() -> impl Strategy<Value = Request> {
    (
        select(&["GET", "POST"][..]),
        select(&["/", "/a", "/a/b", "/a/b/c", "/b?q"][..]),
        select(&["", "cluster.local/ns/foo/sa/a", "cluster.local/ns/bar/sa/b"][..]),
        headers(),
        proptest::option::of(select(&["x", "zy", "z"][..])),
    )
        .prop_map(|(method, path, principal, headers, claim)| {
            let mut request = Request::new().method(method, path).authority("a.example");
            if !principal.is_empty() {
                request = request.from(principal);
            }
            if let Some(claim) = claim {
                request = request.claim("iss", "idp").claim("sub", "u");
                request = request.claim("g", claim);
            }
            with_headers(request, &headers)
        })
}

type Header = (&'static str, &'static str);

fn headers() -> impl Strategy<Value = Vec<Header>> {
    let header = select(&[("x-a", "1"), ("x-a", "2"), ("x-a", "13"), ("x-b", "1")][..]);
    proptest::collection::vec(header, 0..=3)
}

fn with_headers(request: Request, headers: &[Header]) -> Request {
    let add = |request: Request, (name, value): &Header| request.header(name, value);
    headers.iter().fold(request, add)
}

/// Policies named by what `name` makes of their places.
fn engine(policies: &[Written], name: impl Fn(usize) -> String) -> Engine {
    let yaml: String = policies
        .iter()
        .enumerate()
        .map(|(place, Written { action, rules })| {
            format!(
                "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
                 metadata: {{name: {}, namespace: foo}}\n\
                 spec: {{action: {action}, rules: [{}]}}\n",
                name(place),
                rules.join(", ")
            )
        })
        .collect();
    let built = Engine::builder(&Workload::new("foo", "p"))
        .yaml(&yaml)
        .build();
    built.unwrap_or_else(|problems| panic!("{problems}\n{yaml}"))
}

fn decide(policies: &[Written], request: &Request) -> Decision {
    engine(policies, |place| format!("p{place}")).decide(request)
}

fn and(policies: &[Written], more: &Written) -> Vec<Written> {
    [policies, std::slice::from_ref(more)].concat()
}

proptest! {
    // Each case compiles up to two policy sets.
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn one_more_deny_allows_nothing_more(
        policies in policies(),
        deny in policy(&["DENY"]),
        request in request(),
    ) {
        let before = decide(&policies, &request);
        let after = decide(&and(&policies, &deny), &request);
        prop_assert!(before.allowed || !after.allowed);
    }

    #[test]
    fn one_more_allow_refuses_nothing_more_once_there_is_one(
        policies in policies(),
        first in policy(&["ALLOW"]),
        second in policy(&["ALLOW"]),
        request in request(),
    ) {
        let policies = and(&policies, &first);
        let before = decide(&policies, &request);
        let after = decide(&and(&policies, &second), &request);
        prop_assert!(!before.allowed || after.allowed);
    }

    #[test]
    fn an_audit_decides_nothing(
        policies in policies(),
        audit in policy(&["AUDIT"]),
        request in request(),
    ) {
        let before = decide(&policies, &request);
        let after = decide(&and(&policies, &audit), &request);
        prop_assert_eq!((before.allowed, before.policy), (after.allowed, after.policy));
    }

    #[test]
    fn names_change_what_is_reported_and_nothing_else(
        policies in policies(),
        request in request(),
    ) {
        let before = engine(&policies, |place| format!("p{place}")).decide(&request);
        let after = engine(&policies, |place| format!("p{}", 9 - place)).decide(&request);
        prop_assert_eq!((before.allowed, before.action), (after.allowed, after.action));
        prop_assert_eq!(before.policy.is_some(), after.policy.is_some());
        let audited = |decision: &Decision| decision.marks.as_ref().map(|marks| marks.audit.len());
        prop_assert_eq!(audited(&before), audited(&after));
    }

    #[test]
    fn the_order_of_policies_and_of_headers_is_irrelevant(
        policies in policies(),
        request in request(),
        headers in headers(),
    ) {
        let there = engine(&policies, |place| format!("p{place}"));
        let turned: Vec<_> = policies.iter().rev().cloned().collect();
        let back = engine(&turned, |place| format!("p{}", policies.len() - 1 - place));
        let reversed: Vec<_> = headers.iter().rev().copied().collect();
        let before = there.decide(&with_headers(request.clone(), &headers));
        let after = back.decide(&with_headers(request, &reversed));
        prop_assert_eq!(before, after);
    }

    /// The explanation walks every rule on its own: it must not tell another story than the decision.
    #[test]
    fn the_explanation_agrees_with_the_decision(policies in policies(), request in request()) {
        let engine = engine(&policies, |place| format!("p{place}"));
        let (decision, why) = (engine.decide(&request), engine.explain(&request));
        prop_assert_eq!(decision.allowed, why.allowed);
        for rule in &why.rules {
            prop_assert_eq!(rule.matched, rule.failed.is_empty(), "{}", why);
        }
        let matched = |action: &str| {
            let mut rules = why.rules.iter();
            rules.find(|rule| rule.matched && rule.action == action)
        };
        if let Some(policy) = decision.policy {
            let action = decision.action.unwrap();
            prop_assert_eq!(&matched(action.as_str()).unwrap().policy, policy.as_str());
        } else {
            prop_assert!(matched("DENY").is_none() && matched("ALLOW").is_none());
        }
    }
}
