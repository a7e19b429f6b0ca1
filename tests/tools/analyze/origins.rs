//! Where rules and their lists were written, beside what they compile to.

use std::path::Path;

use tower_mesh::Workload;
use tower_mesh::istio;
use tower_mesh::policy::ir::{Permission, Principal};
use tower_mesh::policy::{Program, compile};

fn program(file: &str, text: &str, workload: &Workload) -> Program {
    let resources = istio::parse(file, text, "foo").unwrap();
    let mesh = resources.mesh_config.as_deref().cloned();
    compile(&resources, &mesh.unwrap_or_default(), workload).unwrap()
}

/// How many tests an entry is the `And` of; the `Any` of an empty one is none.
fn permission_tests(node: &Permission) -> usize {
    match node {
        Permission::And(all) if *all == [Permission::Any] => 0,
        Permission::And(all) => all.len(),
        other => panic!("{other:?} is no And"),
    }
}

fn principal_tests(node: &Principal) -> usize {
    match node {
        Principal::And(all) if *all == [Principal::Any] => 0,
        Principal::And(all) => all.len(),
        other => panic!("{other:?} is no And"),
    }
}

#[test]
fn each_test_of_a_rule_has_its_place_in_the_same_order() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut compared = 0;
    for name in [
        "every_field",
        "every_action",
        "custom",
        "custom_several",
        "aliases",
    ] {
        let text = std::fs::read_to_string(golden.join(format!("{name}.yaml"))).unwrap();
        let program = program(
            name,
            &text,
            &Workload::new("foo", "web").label("app", "web"),
        );
        for (chain, is_http) in [(&program.http.default, true), (&program.tcp.default, false)] {
            for (id, policy) in chain.sets().flat_map(|(.., set)| &set.policies) {
                let Some(origin) = program.origins.get(id) else {
                    assert_eq!(
                        policy.permissions,
                        [Permission::Not(Box::new(Permission::Any))]
                    );
                    continue;
                };
                let places = |of_principal, entry| {
                    let mut clauses = origin.clauses.iter();
                    clauses
                        .by_ref()
                        .filter(|clause| {
                            clause.of_principal == of_principal && clause.entry == entry
                        })
                        .filter(|clause| is_http || !clause.http_only)
                        .count()
                };
                for (entry, node) in policy.permissions.iter().enumerate() {
                    assert_eq!(
                        permission_tests(node),
                        places(false, entry),
                        "{name} {id} {entry}"
                    );
                    compared += 1;
                }
                for (entry, node) in policy.principals.iter().enumerate() {
                    assert_eq!(
                        principal_tests(node),
                        places(true, entry),
                        "{name} {id} {entry}"
                    );
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 20, "{compared}");
}

#[test]
fn places_are_those_of_the_text() {
    let text = "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers}
spec:
  rules:
  - from:
    - source: {principals: [a, b], notNamespaces: [c]}
    - source: {principals: [d]}
    to:
    - operation: {methods: [GET]}
    when:
    - {key: 'request.headers[x]', notValues: [blue]}
";
    let program = program("ward.yaml", text, &Workload::new("foo", "web"));
    let origin = &program.origins["ns[foo]-policy[readers]-rule[0]"];
    assert_eq!(origin.at.to_string(), "ward.yaml:6:5");
    let places = origin.clauses.iter().map(|clause| {
        let side = if clause.of_principal { "who" } else { "what" };
        format!("{side} {} {} {}", clause.entry, clause.at, clause.field)
    });
    assert_eq!(
        places.collect::<Vec<_>>(),
        [
            "what 0 ward.yaml:10:29 spec.rules[0].to[0].operation.methods",
            "who 0 ward.yaml:7:29 spec.rules[0].from[0].source.principals",
            "who 0 ward.yaml:7:52 spec.rules[0].from[0].source.notNamespaces",
            "who 0 ward.yaml:12:47 spec.rules[0].when[0].notValues",
            "who 1 ward.yaml:8:29 spec.rules[0].from[1].source.principals",
            "who 1 ward.yaml:12:47 spec.rules[0].when[0].notValues",
        ]
    );
}

#[test]
fn what_nobody_wrote_has_no_place_and_a_role_has_its_own() {
    let nobody = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: nobody}
spec: {}
";
    let empty = program("nobody.yaml", nobody, &Workload::new("foo", "web"));
    assert!(empty.origins.is_empty());
    let legacy = "
apiVersion: rbac.istio.io/v1alpha1
kind: ServiceRole
metadata: {name: reader}
spec: {rules: [{services: ['*'], methods: [GET]}]}
";
    let workload = Workload::new("foo", "web").service("web", 80);
    let program = program("role.yaml", legacy, &workload);
    assert_eq!(program.origins["reader"].at.to_string(), "role.yaml:2:1");
}
