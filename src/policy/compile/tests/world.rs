//! Small builders for resources, so that a table row is one line.

use std::sync::Arc;

use crate::identity::Workload;
use crate::istio::{
    Action, AuthorizationPolicy, Condition, MeshConfig, Meta, Operation, Position, Problems,
    Resources, Rule, Source, Text,
};
use crate::policy::{Program, compile};

pub(super) fn texts(values: &[&str]) -> Vec<Text> {
    values.iter().map(|value| Text::from(*value)).collect()
}

pub(super) fn meta(kind: &str, namespace: &str, name: &str) -> Meta {
    Meta {
        kind: kind.to_owned(),
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        at: Position::new("test.yaml".into(), 1, 1),
        ..Meta::default()
    }
}

pub(super) fn policy(name: &str, action: Action, rules: Vec<Rule>) -> AuthorizationPolicy {
    AuthorizationPolicy {
        meta: meta("AuthorizationPolicy", "foo", name),
        action,
        rules,
        ..AuthorizationPolicy::default()
    }
}

pub(super) fn from(set: impl FnOnce(&mut Source)) -> Rule {
    let mut source = Source::default();
    set(&mut source);
    Rule {
        from: vec![source],
        ..Rule::default()
    }
}

pub(super) fn to(set: impl FnOnce(&mut Operation)) -> Rule {
    let mut operation = Operation::default();
    set(&mut operation);
    Rule {
        to: vec![operation],
        ..Rule::default()
    }
}

pub(super) fn when(key: &str, values: &[&str], not_values: &[&str]) -> Rule {
    Rule {
        when: vec![Condition {
            key: key.into(),
            values: texts(values),
            not_values: texts(not_values),
        }],
        ..Rule::default()
    }
}

pub(super) fn workload() -> Workload {
    Workload::new("foo", "httpbin").label("app", "httpbin")
}

/// Policies of the namespace `foo`, for [`workload`].
pub(super) fn compiled(policies: Vec<AuthorizationPolicy>) -> Result<Program, Problems> {
    compiled_in(&MeshConfig::default(), policies)
}

pub(super) fn compiled_in(
    mesh: &MeshConfig,
    policies: Vec<AuthorizationPolicy>,
) -> Result<Program, Problems> {
    let resources = Resources {
        authorization_policies: policies.into_iter().map(Arc::new).collect(),
        ..Resources::default()
    };
    compile(&resources, mesh, &workload())
}
