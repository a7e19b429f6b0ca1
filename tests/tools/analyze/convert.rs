//! `tower-mesh convert`: what it writes, notes and refuses.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use crate::program::{run, text};

const SWITCH: &str = "
apiVersion: rbac.istio.io/v1alpha1
kind: ClusterRbacConfig
metadata: {name: default}
spec: {mode: 'ON'}
---";

/// One role with one rule, and one binding with one subject.
fn role(rule: &str, subject: &str) -> String {
    format!(
        "{SWITCH}
apiVersion: rbac.istio.io/v1alpha1
kind: ServiceRole
metadata: {{name: reader, namespace: foo}}
spec: {{rules: [{{{rule}}}]}}
---
apiVersion: rbac.istio.io/v1alpha1
kind: ServiceRoleBinding
metadata: {{name: desk, namespace: foo}}
spec:
  subjects: [{{{subject}}}]
  roleRef: {{kind: ServiceRole, name: reader}}
"
    )
}

fn policy(name: &str, spec: &str) -> String {
    format!(
        "
apiVersion: authentication.istio.io/v1alpha1
kind: Policy
metadata: {{name: {name}, namespace: foo}}
spec: {{{spec}}}
"
    )
}

/// Converts a text; `words` besides.
fn convert(old: &str, words: &[&str]) -> Output {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(file.path(), old).unwrap();
    run(
        &[&["convert", file.path().to_str().unwrap()], words].concat(),
        "",
    )
}

const KNOWN: &[&str] = &["--service", "web.foo:8080=app=web"];
const ALL: &str = "services: ['*']";

#[test]
fn what_can_be_said_exactly_is_said_without_a_note() {
    let table: &[(&str, &str, &[&str])] = &[
        (
            "services: ['*'], methods: [GET], notPaths: [/a*]",
            "user: '*'",
            &[
                "methods: [GET]",
                "key: \"request.headers[:path]\"",
                "notValues: [\"/a*\"]",
            ],
        ),
        (
            "services: [web.foo.svc.cluster.local], hosts: [A.com]",
            "user: allUsers",
            &[
                "app: web",
                "ports: [\"8080\"]",
                "key: \"request.headers[:authority]\"",
                "values: [A.com]",
            ],
        ),
        (
            "services: ['*'], constraints: [{key: 'destination.labels[v]', values: [a, b]}]",
            "user: a/b",
            &["v: a", "v: b", "principals: [a/b]"],
        ),
        (
            ALL,
            "names: [allAuthenticatedUsers], notNames: [a/b]",
            &["principals: [\"*\"]", "notPrincipals: [a/b]"],
        ),
        (
            ALL,
            "user: x*, names: [a/b]",
            &["principals: [\"x*\"]", "key: source.principal"],
        ),
        (
            ALL,
            "properties: {request.auth.principal: a/b}",
            &["principals: [a/b]", "key: \"request.headers[:method]\""],
        ),
        (
            "services: ['*'], constraints: [{key: connection.sni, values: ['*']}]",
            "user: '*'",
            &["rules:\n  - {}\n"],
        ),
    ];
    for (rule, subject, expected) in table {
        let output = convert(&role(rule, subject), KNOWN);
        let (written, said) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(
            (output.status.code(), other_notes(&said)),
            (Some(0), Vec::new()),
            "{rule} {subject}"
        );
        for part in *expected {
            assert!(
                written.contains(part),
                "{rule} {subject}: no {part} in\n{written}"
            );
        }
        assert_eq!(written.matches("NOTE").count(), 1, "{written}");
    }
}

/// What is said beside the note that every mesh with RBAC gets.
fn other_notes(said: &str) -> Vec<&str> {
    let lines = said.lines();
    lines
        .filter(|line| !line.contains("also closes gateways"))
        .collect()
}

/// What stood in the root namespace was for that namespace alone, and would be for the whole mesh.
#[test]
fn nothing_of_the_root_namespace_becomes_the_meshs() {
    let of_root = |text: String| text.replace("namespace: foo", "namespace: istio-system");
    let switch = |mode: &str, list: &str| {
        role(ALL, "user: a").replace(
            "spec: {mode: 'ON'}",
            &format!("spec: {{mode: {mode}, {list}}}"),
        )
    };
    let table = [
        switch(
            "ON_WITH_EXCLUSION",
            "exclusion: {namespaces: [istio-system]}",
        ),
        switch(
            "ON_WITH_EXCLUSION",
            "exclusion: {services: [web.istio-system.svc.cluster.local]}",
        ),
        switch(
            "ON_WITH_INCLUSION",
            "inclusion: {namespaces: [foo, istio-system]}",
        ),
        switch(
            "ON_WITH_INCLUSION",
            "inclusion: {services: [web.istio-system.svc.cluster.local]}",
        ),
        of_root(role(ALL, "user: a")),
        of_root(policy("default", "peers: [{mtls: {}}]")),
        of_root(policy("web", "targets: [{name: web}], peers: [{mtls: {}}]")),
    ];
    let mesh = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(mesh.path(), "rootNamespace: mesh\n").unwrap();
    for old in table {
        let output = convert(&old, &[]);
        let said = text(&output.stderr);
        assert_eq!(
            (output.status.code(), output.stdout.len()),
            (Some(2), 0),
            "{old}\n{said}"
        );
        assert!(
            said.contains("`istio-system`, the root namespace"),
            "{said}"
        );
        let words = ["--mesh-config", mesh.path().to_str().unwrap()];
        assert_eq!(convert(&old, &words).status.code(), Some(0), "{old}");
    }
}

/// What one ALLOW leaves open, another cannot close.
#[test]
fn two_included_services_of_one_workload_close_the_ports_of_both() {
    let old = role(ALL, "user: a").replace(
        "spec: {mode: 'ON'}",
        "spec: {mode: ON_WITH_INCLUSION, inclusion: {services: [web.foo.svc.cluster.local, admin.foo.svc.cluster.local]}}",
    );
    let written = |admin: &str| {
        let output = convert(&old, &[KNOWN, &["--service", admin]].concat());
        (text(&output.stdout), text(&output.stderr))
    };
    let (shared, said) = written("admin.foo:9090=app=web");
    let both = "notPorts: [\"8080\", \"9090\"]";
    assert_eq!(shared.matches(both).count(), 2, "{shared}");
    assert!(!said.contains("may be behind"), "{said}");

    let (overlapping, said) = written("admin.foo:9090=tier=back");
    assert_eq!(overlapping.matches(both).count(), 2, "{overlapping}");
    assert!(said.contains("`admin`, too"), "{said}");

    let (apart, said) = written("admin.foo:9090=app=admin");
    assert!(
        !apart.contains(both) && apart.contains("notPorts: [\"9090\"]"),
        "{apart}"
    );
    assert!(!said.contains("may be behind"), "{said}");

    // Its port is not known: nothing may be left open.
    let (unknown, _) = written("admin.foo=app=web");
    assert!(!unknown.contains("notPorts"), "{unknown}");
}

#[test]
fn what_is_not_quite_the_same_is_noted_with_its_place() {
    let jwt = "origins: [{jwt: {issuer: 'https://a.example', jwksUri: 'https://a.example/keys'}}]";
    let table: Vec<(String, &str)> = vec![
        (
            role("services: [desk.foo.svc.cluster.local]", "user: a"),
            "label app=desk",
        ),
        (
            role("services: [desk.foo.svc.cluster.local]", "user: a"),
            "all ports of the workloads",
        ),
        (
            role("services: [w*]", "user: a"),
            "stands for the services known here",
        ),
        (
            role("services: [web]", "user: a"),
            "is no service of the role's namespace",
        ),
        (
            role(
                "services: ['*'], constraints: [{key: destination.namespace, values: [bar]}]",
                "user: a",
            ),
            "another namespace than the role's",
        ),
        (
            role(
                "services: ['*'], constraints: [{key: 'experimental.envoy.filters.x[y]', values: ['*']}]",
                "user: a",
            ),
            "took the empty text",
        ),
        (role(ALL, "notNames: [allUsers]"), "shuts everyone out"),
        (
            role(ALL, "user: a, properties: {nobody.has: x}"),
            "a property that nobody has",
        ),
        (role(ALL, "ips: [10.0.0.0/8]"), "PROXY protocol"),
        (role(ALL, "groups: [a]"), "a list of anything but texts"),
        (
            role(ALL, "properties: {'request.auth.claims[x]': a}"),
            "a list of anything but texts",
        ),
        (
            role(ALL, "properties: {request.auth.audiences: a}"),
            "first audience only",
        ),
        (
            role(ALL, "properties: {request.auth.presenter: a}"),
            "first word of the claim azp",
        ),
        (
            role(ALL, "user: a").replace("mode: 'ON'", "mode: 'OFF'"),
            "RBAC is off",
        ),
        (
            role(ALL, "user: a").replace("name: reader}\n", "name: raeder}\n"),
            "names a role that its namespace does not have",
        ),
        (
            role(ALL, "user: a").replace("name: reader}\n", "name: raeder}\n"),
            "has no binding",
        ),
        (policy("default", jwt), "answered with 401, and is with 403"),
        (
            policy(
                "default",
                &jwt.replace(
                    "}}]",
                    ", triggerRules: [{includedPaths: [{prefix: /a}]}]}}]",
                ),
            ),
            "outside of its paths no token was looked at",
        ),
        (
            policy(
                "web",
                "targets: [{name: web, ports: [{number: 8080}]}], peers: [{mtls: {}}]",
            ),
            "was the Service's port",
        ),
        (policy("default", jwt), "refuses raw TCP"),
        (policy("default", jwt), "preflight"),
        (
            policy("default", &format!("{jwt}, originIsOptional: true")),
            "a bad token passed as no token",
        ),
        (
            policy("default", "peers: [{mtls: {}}], peerIsOptional: true"),
            "the handshake fails",
        ),
        (
            policy(
                "web",
                &format!("targets: [{{name: web, ports: [{{number: 8080}}]}}], {jwt}"),
            ),
            "was for single ports",
        ),
        (
            format!(
                "{}---{}",
                policy("default", jwt),
                policy("web", &format!("targets: [{{name: web}}], {jwt}"))
            ),
            "whose tokens are now good here, too",
        ),
        (
            format!(
                "{}---{}",
                policy("default", &format!("{jwt}, principalBinding: USE_ORIGIN")),
                role(ALL, "properties: {request.auth.principal: 'https://a*'}")
            ),
            "split at its last slash",
        ),
    ];
    for (old, expected) in table {
        let output = convert(&old, KNOWN);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}");
        let note = said.lines().find(|line| line.contains(expected));
        let note = note.unwrap_or_else(|| panic!("no {expected} in\n{said}\n{old}"));
        let place = note.strip_prefix("note: ").unwrap();
        let place: Vec<_> = place.splitn(4, ':').collect();
        assert!(place[0].ends_with(".yaml"), "{note}");
        let line: usize = place[1].parse().unwrap();
        assert!(line > 0 && line <= old.lines().count(), "{note}");
        assert_eq!(
            convert(&old, &[KNOWN, &["--strict"]].concat())
                .status
                .code(),
            Some(1)
        );
    }
}

/// Names were never exchanged for the mesh's aliases; principals are.
#[test]
fn names_are_noted_where_the_mesh_has_another_trust_domain() {
    let mesh = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(mesh.path(), "trustDomain: td2\n").unwrap();
    let words = ["--mesh-config", mesh.path().to_str().unwrap()];
    let old = role(ALL, "names: [cluster.local/ns/foo/sa/a]");
    let exchanged = "its trust domain is exchanged";
    assert!(text(&convert(&old, &words).stderr).contains(exchanged));
    assert!(!text(&convert(&old, &[]).stderr).contains(exchanged));
    let stated = convert(&old, &["--trust-domain", "td2"]);
    assert!(text(&stated.stderr).contains(exchanged));
    let assumed = "which is taken for cluster.local";
    assert!(text(&convert(&old, &[]).stderr).contains(assumed));
    assert!(!text(&stated.stderr).contains(assumed));
}

#[test]
fn what_has_no_counterpart_is_refused_and_nothing_is_written() {
    let jwt = |rest: &str| {
        format!(
            "origins: [{{jwt: {{issuer: 'https://a.example', jwksUri: 'https://a.example/keys'{rest}}}}}]"
        )
    };
    let table: Vec<(String, &str)> = vec![
        (role(ALL, "namespaces: [b.r]"), "was a regular expression"),
        (
            role(
                "services: ['*'], constraints: [{key: destination.user, values: [x]}]",
                "user: a",
            ),
            "service account",
        ),
        (
            role(
                "services: ['*'], constraints: [{key: 'destination.labels[x]', values: ['a*']}]",
                "user: a",
            ),
            "a selector takes no pattern",
        ),
        (
            policy("web", "targets: [{name: web, ports: [{name: http}]}]"),
            "a port's name means nothing",
        ),
        (
            policy(
                "default",
                &jwt(", triggerRules: [{includedPaths: [{regex: '/a|/b'}]}]"),
            ),
            "today's paths can say",
        ),
        (
            policy(
                "default",
                &jwt(", triggerRules: [{includedPaths: [{exact: '/a*'}]}]"),
            ),
            "today's paths can say",
        ),
        (
            policy(
                "default",
                "origins: [{jwt: {issuer: 'https://a.example', jwksUri: 'https://a.example/keys'}}, {jwt: {issuer: 'https://b.example', jwksUri: 'https://b.example/keys', triggerRules: [{includedPaths: [{prefix: /b}]}]}}]",
            ),
            "differ in their triggerRules",
        ),
        (
            format!(
                "{}---{}",
                policy("default", &jwt("")),
                policy("web", "targets: [{name: web}]")
            ),
            "a DENY for all cannot be taken back for some",
        ),
        (
            format!(
                "{}---{}---{}",
                policy(
                    "default",
                    &format!("{}, principalBinding: USE_ORIGIN", jwt(""))
                ),
                policy("web", &format!("targets: [{{name: web}}], {}", jwt(""))),
                role(ALL, "properties: {request.auth.principal: a/b}")
            ),
            "write a role for each",
        ),
        (
            format!(
                "{}---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: x, namespace: foo}}\nspec: {{}}\n",
                role(ALL, "user: a")
            ),
            "replaces all of rbac.istio.io",
        ),
        (
            format!(
                "{}---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: x, namespace: foo}}\nspec: {{}}\n",
                policy("default", "")
            ),
            "replaces parts of the Policies",
        ),
        (
            role(ALL, "user: a").replace("subjects", "subejcts"),
            "did you mean `subjects`",
        ),
    ];
    for (old, expected) in table {
        let output = convert(&old, KNOWN);
        let said = text(&output.stderr);
        assert_eq!(
            (output.status.code(), output.stdout.len()),
            (Some(2), 0),
            "{said}"
        );
        assert!(said.contains(expected), "no {expected} in\n{said}");
    }
}

/// The clinic's old resources: converted ones load, and each request that can come in is decided alike.
#[test]
fn the_clinic_decides_alike_when_converted() {
    let old = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/examples/patients/policies/v1alpha1"
    );
    let directory = tempfile::tempdir().unwrap();
    let new = directory.path().join("new");
    let new = new.to_str().unwrap();
    let services = [
        "--service",
        "patients:8443",
        "--service",
        "patient-check-in:8443",
    ];
    let output = run(&[&["convert", old, "-o", new], &services[..]].concat(), "");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));

    let mut lines = String::new();
    for method in ["GET", "POST", "DELETE"] {
        for path in [
            "/patients/7",
            "/patients",
            "/patients/7?x=1",
            "/clinic.v1.Patients/Read",
            "/x",
        ] {
            for caller in ["patient-check-in", "admin", "billing", ""] {
                for claims in [
                    Value::Null,
                    json!({"iss": "https://idp.clinic.example", "sub": "receptionist"}),
                ] {
                    let mut line = json!({"id": lines.len(), "method": method, "path": path, "claims": claims});
                    if !caller.is_empty() {
                        let principal = format!("cluster.local/ns/default/sa/{caller}");
                        line["source"] = json!({"principal": principal});
                    }
                    lines += &format!("{line}\n");
                }
            }
        }
    }
    for service in ["patients", "patient-check-in"] {
        let workload = format!("default/{service}");
        let label = format!("app={service}");
        let words = [
            "--workload",
            &workload,
            "--label",
            &label,
            "--service",
            service,
            "--port",
            "8443",
        ];
        let compared = run(
            &[
                &[
                    "diff",
                    old,
                    new,
                    "--format",
                    "json",
                    "--access-only",
                    "--requests",
                    "-",
                ],
                &words[..],
            ]
            .concat(),
            &lines,
        );
        assert_eq!(text(&compared.stdout), "");
        assert_eq!(
            compared.status.code(),
            Some(0),
            "{}",
            text(&compared.stderr)
        );
        let allowed = |config: &str| {
            let checked = run(
                &[
                    &[
                        "check",
                        "--config",
                        config,
                        "--format",
                        "json",
                        "--requests",
                        "-",
                    ],
                    &words[..],
                ]
                .concat(),
                &lines,
            );
            text(&checked.stdout).matches("\"allowed\":true").count()
        };
        assert_eq!(allowed(old), allowed(new));
        assert!(allowed(new) > 5, "{service}");
    }
}

#[test]
fn comments_stay_with_what_they_speak_of() {
    let old = role(ALL, "user: a") // as people write them
        .replace("apiVersion: rbac.istio.io/v1alpha1\nkind: ServiceRole\n", "# Who may read.\napiVersion: rbac.istio.io/v1alpha1\nkind: ServiceRole # not the binding\n")
        .replace("  subjects", "  # the desk only\n  subjects")
        .replacen("apiVersion", "# On, since May.\napiVersion", 1);
    let output = convert(&old, &[]);
    let written = text(&output.stdout);
    let parts: Vec<_> = written.split("---\n").collect();
    assert!(
        parts[0].starts_with("# On, since May.\n# NOTE "),
        "{written}"
    );
    let head =
        "# Who may read.\n# not the binding\n# the desk only\napiVersion: security.istio.io/v1\n";
    assert!(parts[1].starts_with(head), "{written}");
}

#[test]
fn a_directory_keeps_its_files_and_nothing_is_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (directory.path().join("old"), directory.path().join("new"));
    std::fs::create_dir_all(old.join("ward")).unwrap();
    std::fs::write(
        old.join("peers.yml"),
        policy("default", "peers: [{mtls: {}}]"),
    )
    .unwrap();
    std::fs::write(old.join("ward/roles.json"), json_of(&role(ALL, "user: a"))).unwrap();
    let convert = || {
        run(
            &[
                "convert",
                old.to_str().unwrap(),
                "-o",
                new.to_str().unwrap(),
            ],
            "",
        )
    };
    assert_eq!(convert().status.code(), Some(0));
    let read = |name: &str| std::fs::read_to_string(new.join(Path::new(name))).unwrap();
    assert!(read("peers.yaml").contains("mode: STRICT"));
    assert_eq!(
        read("ward/roles.yaml")
            .matches("kind: AuthorizationPolicy")
            .count(),
        2
    );
    let again = convert();
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("is there already"));
}

/// JSON is YAML, too; a list of documents as one of Kubernetes' lists.
fn json_of(yaml: &str) -> String {
    let documents = yaml.split("---\n").map(|document| {
        if document.contains("kind: ClusterRbacConfig") {
            json!({"apiVersion": "rbac.istio.io/v1alpha1", "kind": "ClusterRbacConfig", "metadata": {"name": "default"}, "spec": {"mode": "ON"}})
        } else if document.contains("kind: ServiceRoleBinding") {
            json!({"apiVersion": "rbac.istio.io/v1alpha1", "kind": "ServiceRoleBinding", "metadata": {"name": "desk", "namespace": "foo"},
                   "spec": {"subjects": [{"user": "a"}], "roleRef": {"kind": "ServiceRole", "name": "reader"}}})
        } else {
            json!({"apiVersion": "rbac.istio.io/v1alpha1", "kind": "ServiceRole", "metadata": {"name": "reader", "namespace": "foo"},
                   "spec": {"rules": [{"services": ["*"]}]}})
        }
    });
    json!({"apiVersion": "v1", "kind": "List", "items": documents.collect::<Vec<_>>()}).to_string()
}

#[test]
fn bad_words_are_errors() {
    for words in [
        &["--service", "a.b.c"][..],
        &["--service", "web:http"],
        &["--service", "web=app"],
        &["--service", ":80"],
    ] {
        assert_eq!(
            convert(&role(ALL, "user: a"), words).status.code(),
            Some(2),
            "{words:?}"
        );
    }
    assert_eq!(run(&["convert", "/nowhere"], "").status.code(), Some(2));
}

/// Every row of the page says what happens to it, and the words are those that the page explains.
#[test]
fn the_page_gives_every_row_a_verdict() {
    let page = include_str!("../../../docs/convert.md");
    let rows = page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| Old"));
    let mut count = 0;
    for row in rows {
        let verdict = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let verdict = verdict.trim_start_matches("| ").trim();
        let known = ["exact", "noted", "refused"];
        assert!(known.iter().any(|word| verdict.starts_with(word)), "{row}");
        count += 1;
    }
    assert!(count > 45, "{count}");
}
