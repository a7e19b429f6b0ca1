//! Which trust domain policies mean by ours in a mesh: the certificate's, unless MeshConfig says otherwise.

use std::fs;

use tower_mesh::identity::TrustDomain;
use tower_mesh::policy::{Engine, Request};
use tower_mesh::source::{Directory, Fixed};
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, Workload};
use tracing::Level;

use crate::support::log::Log;
use crate::support::mesh::{build, pass_until, policy};

const DESK: &str = "[{from: [{source: {principals: [cluster.local/ns/default/sa/desk]}}], to: [{operation: {paths: [/PATH]}}]}]";

fn desks(path: &str) -> String {
    policy("desks", "ALLOW", &DESK.replace("PATH", path))
}

fn lets_in(engine: &Engine, domain: &str, path: &str) -> bool {
    let caller = format!("{domain}/ns/default/sa/desk");
    let request = Request::new().get(path).from(&caller);
    engine.judge(&request).decision.allowed
}

async fn mesh(workload: Workload, domain: &str, mesh_config: Option<&str>) -> Mesh {
    let pki = Pki::new(domain).unwrap();
    let mut source = Fixed::yaml("policies.yaml", desks("x"));
    if let Some(text) = mesh_config {
        source = source.mesh_config("mesh.yaml", text);
    }
    let configuration = source.load("default").unwrap();
    let identity = pki.identity("default", "app").unwrap();
    build(Mesh::builder(workload, identity).config(configuration)).await
}

#[tokio::test]
async fn ours_is_the_certificates_unless_mesh_config_says_otherwise() {
    const DIFFERS: &str = "MeshConfig's trustDomain is not that of our identity";
    const STATES: &str = "the workload states another trust domain than its certificate";
    let app = || Workload::new("default", "app");
    let stated = |domain: &str| app().trust_domain(TrustDomain::new(domain).unwrap());
    // The workload, MeshConfig, whose desk is let in, and what is warned of.
    let table = [
        (app(), None, "clinic.example", None),
        (app(), Some("rootNamespace: root"), "clinic.example", None),
        (
            app(),
            Some("trustDomain: clinic.example"),
            "clinic.example",
            None,
        ),
        (
            app(),
            Some("trustDomain: other.example"),
            "other.example",
            Some(DIFFERS),
        ),
        (
            app(),
            Some("{trustDomain: other.example, trustDomainAliases: [clinic.example]}"),
            "other.example",
            None,
        ),
        (stated("clinic.example"), None, "clinic.example", None),
        (
            stated("other.example"),
            None,
            "clinic.example",
            Some(STATES),
        ),
    ];
    for (workload, mesh_config, ours, warning) in table {
        let (log, _guard) = Log::listen(Level::WARN);
        let mesh = mesh(workload, "clinic.example", mesh_config).await;
        assert!(lets_in(&mesh.engine(), ours, "/x"), "{mesh_config:?}");
        assert!(!lets_in(&mesh.engine(), "cluster.local", "/x"));
        for piece in [DIFFERS, STATES] {
            let count = log.with(&["WARN", piece]).len();
            let due = usize::from(warning == Some(piece));
            assert_eq!(count, due, "{mesh_config:?}: {}", log.text());
        }
        assert!(!mesh.engine().program().assumes_trust_domain);
    }
}

#[tokio::test]
async fn a_reload_keeps_the_certificates_trust_domain() {
    let pki = Pki::new("clinic.example").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("policies.yaml");
    fs::write(&file, desks("x")).unwrap();
    let mesh = build(
        Mesh::builder(
            Workload::new("default", "app"),
            pki.identity("default", "app").unwrap(),
        )
        .config(Directory::watch(directory.path())),
    )
    .await;
    fs::write(&file, desks("y")).unwrap();
    pass_until("the change to count", || {
        lets_in(&mesh.engine(), "clinic.example", "/y")
    })
    .await;
    assert!(!lets_in(&mesh.engine(), "cluster.local", "/y"));
}

#[tokio::test]
async fn each_file_that_is_passed_over_is_in_the_log_and_is_no_loss() {
    let (log, _guard) = Log::listen(Level::INFO);
    let pki = Pki::new("cluster.local").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    write("policies.yaml", &desks("x"));
    write("kustomization.yaml", "resources: [policies.yaml]\n");
    write("values.yaml", "replicas: 2\n");
    let mesh = build(
        Mesh::builder(
            Workload::new("default", "app"),
            pki.identity("default", "app").unwrap(),
        )
        .config(Directory::watch(directory.path())),
    )
    .await;
    for name in [
        "kustomization.yaml: passed over",
        "values.yaml: passed over",
    ] {
        assert_eq!(log.with(&["INFO", name]).len(), 1, "{}", log.text());
    }
    write("values.yaml", "");
    write("kustomization.yaml", "resources: []\n");
    write("policies.yaml", &desks("y"));
    pass_until("the change to count", || {
        lets_in(&mesh.engine(), "cluster.local", "/y")
    })
    .await;
    // Its rules are gone from what is read, and a patch is no reason for that.
    write("other.yaml", &policy("others", "ALLOW", "[{}]"));
    write("kustomization.yaml", "patches: [{path: policies.yaml}]\n");
    pass_until("the refusal", || mesh.readiness().refused.is_some()).await;
    let refused = mesh.readiness().refused.unwrap().problems.to_string();
    assert!(
        refused.contains("held documents and holds none now"),
        "{refused}"
    );
}

/// What tools answer for a workload that states its trust domain, the mesh answers that has such a certificate.
#[tokio::test]
async fn tools_answer_as_the_mesh_with_such_a_certificate() {
    let sources = [
        "principals: [cluster.local/ns/default/sa/desk]",
        "principals: ['cluster.local/*']",
        "principals: ['*/ns/default/sa/desk']",
        "principals: [clinic.example/ns/default/sa/desk]",
        "principals: [old.example/ns/default/sa/desk]",
        "notPrincipals: [cluster.local/ns/default/sa/desk]",
        "notPrincipals: ['old.example/*']",
        "namespaces: [default]",
    ];
    let rules = sources.iter().enumerate().map(|(index, source)| {
        format!("{{from: [{{source: {{{source}}}}}], to: [{{operation: {{paths: [/{index}]}}}}]}}")
    });
    let mut rules: Vec<_> = rules.collect();
    for (index, value) in ["cluster.local/ns/default/sa/desk", "cluster.local/*"]
        .iter()
        .enumerate()
    {
        let path = sources.len() + index;
        rules.push(format!(
            "{{when: [{{key: source.principal, values: ['{value}']}}], to: [{{operation: {{paths: [/{path}]}}}}]}}"
        ));
    }
    let policies = policy("rows", "ALLOW", &format!("[{}]", rules.join(", ")));
    let settings = [
        None,
        Some("rootNamespace: root"),
        Some("trustDomain: other.example"),
        Some("trustDomainAliases: [old.example]"),
        Some("{trustDomain: other.example, trustDomainAliases: [old.example, cluster.local]}"),
    ];
    let domains = [
        "clinic.example",
        "cluster.local",
        "other.example",
        "old.example",
        "far.example",
    ];
    let mut allowed = 0;
    for own in ["clinic.example", "cluster.local", "other.example"] {
        let pki = Pki::new(own).unwrap();
        for settings in settings {
            let mut source = Fixed::yaml("policies.yaml", policies.as_str());
            if let Some(text) = settings {
                source = source.mesh_config("mesh.yaml", text);
            }
            let configuration = source.load("default").unwrap();
            let stated = Workload::new("default", "app");
            let stated = stated.trust_domain(TrustDomain::new(own).unwrap());
            let tool = Engine::builder(&stated)
                .configuration(&configuration)
                .build()
                .unwrap();
            let mesh = Mesh::builder(
                Workload::new("default", "app"),
                pki.identity("default", "app").unwrap(),
            )
            .config(configuration);
            let mesh = build(mesh).await.engine();
            for caller in domains {
                for path in 0..rules.len() {
                    let path = format!("/{path}");
                    let by_tool = lets_in(&tool, caller, &path);
                    let by_mesh = lets_in(&mesh, caller, &path);
                    assert_eq!(by_tool, by_mesh, "{own} {settings:?} {caller} {path}");
                    allowed += usize::from(by_mesh);
                }
            }
        }
    }
    assert!(allowed > 100, "{allowed}");
}
