//! Whatever is written, compiling it ends in a program or in problems.

use proptest::prelude::*;

use super::world::{compiled, compiled_in, from, policy, texts, to, when};
use crate::istio::{Action, MeshConfig};

/// Texts near the ones that mean something.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a*/.:\\[\\]{}()+?|^$\\\\-]{0,12}",
        "\\PC{0,8}",
        "(\\*|td|cluster\\.local)/ns/[a*]{0,3}/sa/[a*]{0,3}",
        "/[a{}*/]{0,12}",
        "[0-9:./]{0,12}",
    ]
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        text(),
        "(request\\.headers|request\\.auth\\.claims|experimental\\.envoy\\.filters\\.a)[\\[\\]a.]{0,8}",
        Just("source.trustDomain".to_owned()),
        Just("source.serviceAccount".to_owned()),
        Just("request.auth.principal".to_owned()),
        Just("connection.sni".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_in_any_field_compiles_or_is_refused(
        values in proptest::collection::vec(text(), 1..3),
        key in key(),
        domain in text(),
    ) {
        let values: Vec<_> = values.iter().map(String::as_str).collect();
        let list = || texts(&values);
        let rules = [
            from(|source| {
                source.principals = list();
                source.not_request_principals = list();
                source.namespaces = list();
                source.not_service_accounts = list();
                source.trust_domains = list();
            }),
            from(|source| source.ip_blocks = list()),
            to(|operation| {
                operation.hosts = list();
                operation.methods = list();
            }),
            to(|operation| operation.not_paths = list()),
            to(|operation| operation.ports = list()),
            when(&key, &values, &[]),
        ];
        let mesh = MeshConfig {
            trust_domain_aliases: vec![domain],
            ..MeshConfig::default()
        };
        for rule in rules {
            let _ = compiled(vec![policy("p", Action::Allow, vec![rule.clone()])]);
            let _ = compiled_in(&mesh, vec![policy("p", Action::Deny, vec![rule])]);
        }
    }

    /// Addresses, ports, templates and keys can be wrong by their text; names and patterns always
    /// mean something.
    #[test]
    fn names_and_patterns_are_never_refused(value in text()) {
        let list = || texts(&[&value]);
        let rules = [
            from(|source| {
                source.principals = list();
                source.request_principals = list();
                source.namespaces = list();
                source.trust_domains = list();
            }),
            from(|source| source.service_accounts = list()),
            to(|operation| {
                operation.hosts = list();
                operation.methods = list();
            }),
            when("connection.sni", &[&value], &[]),
            when("request.auth.claims[a]", &[&value], &[]),
            when("request.headers[a]", &[&value], &[]),
        ];
        for rule in rules {
            let program = compiled(vec![policy("p", Action::Allow, vec![rule])]);
            prop_assert!(program.is_ok(), "{program:?}");
        }
    }
}
