//! RequestAuthentication.

use std::sync::Arc;

use super::world::{meta, workload};
use crate::istio::{JwtRule, MeshConfig, RequestAuthentication, Resources};
use crate::policy::compile;

#[test]
fn rules_are_concatenated_own_namespace_first_then_sorted_by_issuer() {
    let resource = |namespace: &str, name: &str, created: Option<&str>, issuers: &[&str]| {
        let rule = |issuer: &&str| JwtRule {
            issuer: Some((*issuer).into()),
            jwks_uri: Some(format!("https://{namespace}.{name}").as_str().into()),
            ..JwtRule::default()
        };
        let mut resource = RequestAuthentication {
            meta: meta("RequestAuthentication", namespace, name),
            jwt_rules: issuers.iter().map(rule).collect(),
            ..RequestAuthentication::default()
        };
        resource.meta.created = created.map(str::to_owned);
        Arc::new(resource)
    };
    let resources = Resources {
        request_authentications: vec![
            resource("istio-system", "root", Some("2020"), &["b", "a"]),
            resource("foo", "young", Some("2026"), &["b", "c"]),
            resource("foo", "old", Some("2025"), &["b"]),
            resource("bar", "other", None, &["a"]),
        ],
        ..Resources::default()
    };
    let program = compile(&resources, &MeshConfig::default(), &workload()).unwrap();
    let rules = &program.authentication.get(8080).rules;
    let printed: Vec<_> = rules
        .iter()
        .map(|rule| {
            format!(
                "{}@{}",
                rule.issuer.as_deref().unwrap(),
                rule.jwks_uri.as_deref().unwrap()
            )
        })
        .collect();
    assert_eq!(
        printed,
        [
            "a@https://istio-system.root",
            "b@https://foo.old",
            "b@https://foo.young",
            "b@https://istio-system.root",
            "c@https://foo.young"
        ]
    );
}
