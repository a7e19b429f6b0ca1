//! Which policies apply, how they combine, and what they are called.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::notation;
use super::world::{compiled, compiled_in, from, meta, policy, texts, to, when, workload};
use crate::istio::{
    Action, AuthorizationPolicy, ExtensionProvider, MeshConfig, ProviderKind, Resources, Rule,
    TargetRef,
};
use crate::policy::ir::{Rbac, RbacAction};
use crate::policy::{Chain, compile};

fn names(rbac: Option<&Rbac>) -> Vec<&str> {
    let policies = rbac.iter().flat_map(|rbac| rbac.policies.keys());
    policies.map(|id| id.as_str()).collect()
}

fn lines(rbac: Option<&Rbac>) -> Vec<String> {
    notation::rbac(rbac.unwrap())
}

fn anything() -> Vec<Rule> {
    vec![Rule::default()]
}

/// Spec §1.1: root namespace and own namespace; every listed label, exactly.
#[test]
fn a_policy_is_selected_by_namespace_and_labels() {
    let labels: &[&[(&str, &str)]] = &[
        &[],
        &[("app", "httpbin")],
        &[("app", "httpbin"), ("version", "v1")],
        &[("app", "http*")],
        &[("app", "other")],
    ];
    for (namespace, applies) in [("foo", true), ("istio-system", true), ("bar", false)] {
        for (labels, fits) in labels.iter().zip([true, true, false, false, false]) {
            let mut policy = policy("p", Action::Allow, anything());
            policy.meta.namespace = namespace.to_owned();
            let labels = labels
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).into()));
            policy.selector.match_labels = labels.collect();
            let program = compiled(vec![policy]).unwrap();
            let selected = program.http.default.allow.enforced.is_some();
            assert_eq!(selected, applies && fits, "{namespace}");
        }
    }
}

#[test]
fn the_root_namespace_may_be_the_workloads_own() {
    let mesh = MeshConfig {
        root_namespace: "foo".to_owned(),
        ..MeshConfig::default()
    };
    let program = compiled_in(&mesh, vec![policy("p", Action::Allow, anything())]).unwrap();
    let allow = program.http.default.allow.enforced.as_ref();
    assert_eq!(names(allow), ["ns[foo]-policy[p]-rule[0]"]);
}

/// Spec §1.1: a policy with targetRefs is nothing to a workload that is no gateway, and is
/// reported.
#[test]
fn target_refs_reach_gateways_only() {
    let target = |kind: &str| {
        let mut policy = policy("p", Action::Deny, anything());
        policy.target_refs = vec![TargetRef {
            kind: kind.to_owned(),
            name: "gw".to_owned(),
            ..TargetRef::default()
        }];
        Resources {
            authorization_policies: vec![Arc::new(policy)],
            ..Resources::default()
        }
    };
    let gateway = workload().label("gateway.networking.k8s.io/gateway-name", "gw");
    let other = workload().label("gateway.networking.k8s.io/gateway-name", "other");
    let rows = [
        (workload(), "Gateway", false),
        (gateway.clone(), "Gateway", true),
        (gateway, "Service", false),
        (other, "Gateway", false),
    ];
    for (workload, kind, applies) in rows {
        let program = compile(&target(kind), &MeshConfig::default(), &workload).unwrap();
        assert_eq!(program.http.default.deny.enforced.is_some(), applies);
        assert_eq!(program.notes.len(), usize::from(!applies));
    }
}

/// Spec §1.6: rules are named by their place in the list, and walked in byte order of the names.
#[test]
fn rules_are_named_by_policy_and_place() {
    let rules: Vec<_> = (0..11).map(|_| Rule::default()).collect();
    let mut root = policy("aa", Action::Allow, anything());
    root.meta.namespace = "istio-system".to_owned();
    let all = vec![root, policy("zz", Action::Allow, rules)];
    let program = compiled(all).unwrap();
    let names = names(program.http.default.allow.enforced.as_ref());
    assert_eq!(names.len(), 12);
    // A bracket sorts after the digits.
    assert_eq!(
        names[..4],
        [
            "ns[foo]-policy[zz]-rule[0]",
            "ns[foo]-policy[zz]-rule[10]",
            "ns[foo]-policy[zz]-rule[1]",
            "ns[foo]-policy[zz]-rule[2]",
        ]
    );
    assert_eq!(names[11], "ns[istio-system]-policy[aa]-rule[0]");
}

/// Spec §1.4.
#[test]
fn an_empty_rule_list_never_matches_and_an_empty_rule_always_does() {
    for action in [Action::Allow, Action::Audit] {
        let chain = |rules| {
            let program = compiled(vec![policy("p", action, rules)]).unwrap();
            assert_eq!(program.http.default, program.tcp.default);
            let chain: Chain = (*program.http.default).clone();
            chain.allow.enforced.or(chain.audit).unwrap()
        };
        assert_eq!(
            lines(Some(&chain(vec![]))),
            ["ns[foo]-policy[p]-rule[0]: not(any) => not(any)"]
        );
        assert_eq!(
            lines(Some(&chain(anything()))),
            ["ns[foo]-policy[p]-rule[0]: and[any] => and[any]"]
        );
    }
    for action in [Action::Deny, Action::Custom] {
        let mut policy = policy("p", action, vec![]);
        policy.provider = (action == Action::Custom).then(|| "ext".into());
        let problems = compiled(vec![policy]).unwrap_err();
        assert_eq!(problems.as_slice()[0].field, "spec.rules");
    }
}

#[test]
fn each_action_has_its_set_and_dry_runs_a_set_apart() {
    let named = |name: &str, action, dry_run| AuthorizationPolicy {
        dry_run,
        ..policy(name, action, anything())
    };
    let program = compiled(vec![
        named("a", Action::Allow, false),
        named("a-try", Action::Allow, true),
        named("d", Action::Deny, false),
        named("d-try", Action::Deny, true),
        named("l", Action::Audit, false),
    ])
    .unwrap();
    for chain in [&program.http.default, &program.tcp.default] {
        let sets = [
            (chain.allow.enforced.as_ref(), RbacAction::Allow, "a"),
            (chain.allow.shadow.as_ref(), RbacAction::Allow, "a-try"),
            (chain.deny.enforced.as_ref(), RbacAction::Deny, "d"),
            (chain.deny.shadow.as_ref(), RbacAction::Deny, "d-try"),
            (chain.audit.as_ref(), RbacAction::Log, "l"),
        ];
        for (set, action, name) in sets {
            assert_eq!(set.unwrap().action, action);
            assert_eq!(names(set), [format!("ns[foo]-policy[{name}]-rule[0]")]);
        }
    }
    let alone = compiled(vec![named("a", Action::Allow, true)]).unwrap();
    assert_eq!(alone.http.default.allow.enforced, None);
    assert!(compiled(vec![named("l", Action::Audit, true)]).is_err());
}

#[test]
fn without_policies_nothing_is_enforced() {
    let program = compiled(vec![]).unwrap();
    assert_eq!(*program.http.default, Chain::default());
    assert_eq!(*program.tcp.default, Chain::default());
}

#[test]
fn two_policies_of_one_name_are_refused() {
    let problems = compiled(vec![
        policy("p", Action::Allow, anything()),
        policy("p", Action::Deny, anything()),
    ])
    .unwrap_err();
    assert!(
        problems.to_string().contains("defined more than once"),
        "{problems}"
    );
}

/// Spec §2.8; rows 49 to 51 of §8.
#[test]
fn on_tcp_allow_drops_rules_that_ask_for_http_and_the_others_widen() {
    let two_operations = || {
        let mut rule = to(|operation| operation.ports = texts(&["80"]));
        rule.to
            .extend(to(|operation| operation.methods = texts(&["GET"])).to);
        rule
    };
    let two_sources = || {
        let mut rule = from(|source| source.request_principals = texts(&["x"]));
        rule.from
            .extend(from(|source| source.namespaces = texts(&["y"])).from);
        rule
    };
    let port_and_method = || {
        to(|operation| {
            operation.ports = texts(&["80"]);
            operation.not_methods = texts(&["GET"]);
        })
    };
    let rows: [(Rule, &str); 6] = [
        (two_operations(), "and[or[port 80]], and[any] => and[any]"),
        (
            two_sources(),
            "and[any] => and[any], and[or[authenticated regex .*/ns/y/.*]]",
        ),
        (port_and_method(), "and[or[port 80]] => and[any]"),
        (
            when("request.headers[x]", &["a"], &[]),
            "and[any] => and[any]",
        ),
        (
            when("request.auth.claims[x]", &[], &["a"]),
            "and[any] => and[any]",
        ),
        (
            to(|operation| operation.not_hosts = texts(&["a"])),
            "and[any] => and[any]",
        ),
    ];
    for (rule, widened) in rows {
        let allow = compiled(vec![policy("p", Action::Allow, vec![rule.clone()])]).unwrap();
        assert_eq!(names(allow.tcp.default.allow.enforced.as_ref()), [""; 0]);
        assert!(allow.tcp.default.allow.enforced.is_some());
        for action in [Action::Deny, Action::Audit] {
            let program = compiled(vec![policy("p", action, vec![rule.clone()])]).unwrap();
            let chain = &program.tcp.default;
            let set = chain.deny.enforced.as_ref().or(chain.audit.as_ref());
            assert_eq!(
                lines(set),
                [format!("ns[foo]-policy[p]-rule[0]: {widened}")]
            );
        }
    }
    let tcp_only = policy(
        "p",
        Action::Allow,
        vec![when("connection.sni", &["a"], &[])],
    );
    let program = compiled(vec![tcp_only]).unwrap();
    assert_eq!(
        program.tcp.default.allow.enforced,
        program.http.default.allow.enforced
    );
}

fn provider(name: &str, http: bool) -> ExtensionProvider {
    let service = "ext.foo".to_owned();
    let kind = if http {
        ProviderKind::ExtAuthzHttp {
            service,
            port: 80,
            timeout: None,
            fail_open: false,
            status_on_error: None,
            path_prefix: String::new(),
            include_request_body: None,
            clear_route_cache: false,
            include_request_headers_in_check: Vec::new(),
            include_additional_headers_in_check: BTreeMap::new(),
            headers_to_upstream_on_allow: Vec::new(),
            headers_to_downstream_on_allow: Vec::new(),
            headers_to_downstream_on_deny: Vec::new(),
        }
    } else {
        ProviderKind::ExtAuthzGrpc {
            service,
            port: 80,
            timeout: None,
            fail_open: false,
            status_on_error: None,
            include_request_body: None,
            clear_route_cache: false,
        }
    };
    ExtensionProvider::new(name.into(), kind)
}

fn custom(name: &str, provider: &str) -> AuthorizationPolicy {
    AuthorizationPolicy {
        provider: Some(provider.into()),
        ..policy(name, Action::Custom, anything())
    }
}

/// Spec §2.10.
#[test]
fn custom_rules_are_grouped_by_provider() {
    let mesh = MeshConfig {
        extension_providers: vec![
            provider("grpc", false),
            provider("http", true),
            ExtensionProvider::new("zipkin".into(), ProviderKind::Other),
        ],
        ..MeshConfig::default()
    };
    let bad = "-deny-due-to-bad-CUSTOM-action";
    let rows: &[(&[&str], &[&str], &str, bool)] = &[
        (&["grpc"], &["grpc"], "", true),
        (&["http"], &["http"], "", false),
        (&["zipkin"], &["zipkin"], bad, true),
        (&["nobody"], &["nobody"], bad, true),
        (&["http", "grpc"], &["grpc", "http"], bad, true),
    ];
    for (written, filters, suffix, on_tcp) in rows {
        let policies = written.iter().map(|provider| custom(provider, provider));
        let program = compiled_in(&mesh, policies.collect()).unwrap();
        let http = &program.http.default.custom;
        assert_eq!(http.len(), filters.len());
        for (filter, name) in http.iter().zip(*filters) {
            assert_eq!(filter.provider, *name);
            assert_eq!(filter.rules.action, RbacAction::Deny);
            assert_eq!(filter.usable.is_some(), suffix.is_empty());
            assert_eq!(
                names(Some(&filter.rules)),
                [format!(
                    "istio-ext-authz-{name}-ns[foo]-policy[{name}]-rule[0]{suffix}"
                )]
            );
        }
        assert_eq!(
            program.notes.len(),
            if suffix.is_empty() { 0 } else { filters.len() }
        );
        let tcp = if *on_tcp { http.as_slice() } else { &[] };
        assert_eq!(program.tcp.default.custom, tcp);
    }
}

#[test]
fn another_namespaces_mistakes_are_not_ours() {
    let mut elsewhere = policy("p", Action::Allow, vec![when("nonsense", &["a"], &[])]);
    elsewhere.meta = meta("AuthorizationPolicy", "bar", "p");
    assert!(compiled(vec![elsewhere]).is_ok());
}
