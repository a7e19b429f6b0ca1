//! Rules that only requests could meet which the gate refuses.

use tower_mesh::gate::Gate;
use tower_mesh::vet::{Code, Note, Vet};

const RULES: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: odd, namespace: clinic}
spec:
  rules:
  - to:
    - operation:
        methods: [PURGE, purge]
        paths: [/a%zz, /a%2Fb, /x/..%3b*, /ok]
        hosts: ['[fe80::1%25x]', 'a,b', 'c.example:*', '*:8443']
    - operation: {paths: ['*%2F', '/{*}/%5c', '/b%2*', '/c/%4*']}
  - when: [{key: 'request.headers[X-Original-Url]', values: [/admin]}]
";

/// Code and value of each note about a value that no request has.
fn told(vet: &Vet) -> Vec<(Code, String)> {
    let report = vet.yaml("odd.yaml", RULES, "clinic").unwrap();
    let about = |note: &&Note| {
        matches!(
            note.code,
            Code::MethodLowerCase | Code::PathNotNormalized | Code::ValueNeverMatches
        )
    };
    let notes = report.notes.iter().filter(about);
    let quoted = |note: &Note| note.message.split('`').nth(1).unwrap().to_owned();
    notes.map(|note| (note.code, quoted(note))).collect()
}

/// The profile is what a mesh has unless another is stated; a sidecar has none.
#[test]
fn the_profile_of_the_gate_says_which_values_no_request_has() {
    let lower = (Code::MethodLowerCase, "purge".to_owned());
    let path = |path: &str| (Code::PathNotNormalized, path.to_owned());
    let value = |value: &str| (Code::ValueNeverMatches, value.to_owned());
    let istio = vec![lower.clone(), path("/a%zz")];
    assert_eq!(told(&Vet::new()), istio);
    assert_eq!(told(&Vet::new().gate(Gate::istio())), istio);
    assert_eq!(told(&Vet::new().gate(None)), []);
    let strict = vec![
        lower,
        path("/a%zz"),
        path("/a%2Fb"),
        path("/x/..%3b*"),
        value("[fe80::1%25x]"),
        value("a,b"),
        path("*%2F"),
        path("/{*}/%5c"),
        value("x-original-url"),
    ];
    assert_eq!(told(&Vet::new().gate(Gate::strict())), strict);
}

/// The note says which rule of the gate it is.
#[test]
fn a_note_names_the_rule_of_the_gate() {
    let report = Vet::new().yaml("odd.yaml", RULES, "clinic").unwrap();
    let messages: Vec<_> = report
        .notes
        .iter()
        .map(|note| note.message.as_str())
        .collect();
    for said in [
        "`purge` is no method: the gate refuses such a request: the method has lower-case letters (rule B-01)",
        "`/a%zz` matches no path: the gate refuses such a request: the path has %00, or a '%' without two hex digits (rule B-08)",
    ] {
        assert!(messages.contains(&said), "{messages:#?}");
    }
}
