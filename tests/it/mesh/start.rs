//! What a mesh says when it begins to serve, when its configuration changes, and when it ends; and
//! whom it takes for itself.

use std::time::{Duration, SystemTime};

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tower_mesh::identity::SpiffeId;
use tower_mesh::source::{Directory, Fixed};
use tower_mesh::testing::{Leaf, Pki};
use tower_mesh::tls::{Identity, NextIdentity, Source, SourceError};
use tower_mesh::{Mesh, Workload};
use tracing::Level;

use crate::support::log::Log;
use crate::support::mesh::{app, build, lines, pass_until, policy, serve, until, write};

fn pki() -> Pki {
    Pki::new("cluster.local").unwrap()
}

/// The one line with these pieces.
fn one(log: &Log, pieces: &[&str]) -> String {
    let lines = log.with(pieces);
    let [line] = lines.as_slice() else {
        panic!("{pieces:?}: {lines:?} of {}", log.text());
    };
    line.clone()
}

fn has(line: &str, pieces: &[&str]) {
    for piece in pieces {
        assert!(line.contains(piece), "{piece}: {line}");
    }
}

fn elsewhere() -> String {
    policy("others", "ALLOW", "[{}]").replace("{name: others", "{namespace: prod, name: others")
}

#[tokio::test]
async fn each_port_is_told_with_who_serves_it_and_how() {
    let (log, _guard) = Log::listen(Level::INFO);
    let pki = pki();
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let strict = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p}\nspec: {mtls: {mode: PERMISSIVE}}\n---\n";
    let text = format!(
        "{strict}{}{}{}",
        policy("one", "ALLOW", "[{}]"),
        policy(
            "two",
            "DENY",
            "[{to: [{operation: {paths: [/a]}}, {operation: {paths: [/b]}}]}, {to: [{operation: {paths: [/c]}}]}]"
        ),
        elsewhere()
    );
    let mesh = build(app(&pki).config(Fixed::yaml("p.yaml", text))).await;
    assert!(log.with(&["tower_mesh::mesh"]).is_empty(), "{}", log.text());
    let _listener = mesh.listen_on(socket).unwrap();
    let line = one(&log, &["INFO tower_mesh::mesh: serving"]);
    let address = format!("address=127.0.0.1:{port} ");
    has(
        &line,
        &[
            "id=spiffe://cluster.local/ns/default/sa/app ",
            "workload=default/app ",
            &address,
            "mode=PERMISSIVE",
            "policies=3",
            "apply=2",
            "generation=1",
        ],
    );
    let ends = line.split("certificate_ends=").nth(1).unwrap();
    let ends = ends.split(' ').next().unwrap();
    let end = mesh.credentials().unwrap().not_after();
    let end = end.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let end = end.as_secs() % 86_400;
    let time = format!("T{:02}:{:02}:{:02}Z", end / 3600, end / 60 % 60, end % 60);
    assert!(ends.starts_with("20") && ends.ends_with(&time), "{ends}");

    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("address={}", plain.local_addr().unwrap());
    let probing = mesh.clone();
    tokio::spawn(async move { probing.serve_plaintext_on(plain, probing.probe()).await });
    let plaintext = ["INFO tower_mesh::mesh", "in plaintext, without any guard"];
    until("the plaintext port", || !log.with(&plaintext).is_empty()).await;
    has(&one(&log, &plaintext), &["workload=default/app", &address]);
}

#[tokio::test]
async fn a_drain_is_told_when_it_begins_and_when_it_is_done() {
    let (log, _guard) = Log::listen(Level::INFO);
    let mesh = build(app(&pki())).await;
    let served = serve(&mesh, Router::new()).await;
    until("the port", || !log.with(&["serving"]).is_empty()).await;
    mesh.shutdown(Duration::from_secs(30));
    mesh.shutdown(Duration::from_secs(20));
    served.serving.await.unwrap().unwrap();
    let address = format!("address={}", served.address);
    let begun = one(&log, &["INFO tower_mesh::mesh: draining", &address]);
    has(
        &begun,
        &["notice_seconds=0", "grace_seconds=", "connections=0"],
    );
    let done = one(&log, &["INFO tower_mesh::mesh: drained", &address]);
    has(&done, &["cut=0", "cut_streams=0", "seconds=0"]);
}

#[tokio::test]
async fn a_reload_is_told_with_what_it_changes_and_counted_with_its_time() {
    let (log, _guard) = Log::listen(Level::INFO);
    let (pki, directory) = (pki(), tempfile::tempdir().unwrap());
    let modes = |mode: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: p}}\nspec: {{mtls: {{mode: {mode}}}, portLevelMtls: {{8080: {{mode: DISABLE}}}}}}\n---\n"
        )
    };
    let selected = modes("STRICT").replace("spec: {", "spec: {selector: {matchLabels: {a: b}}, ");
    write(
        directory.path(),
        &(selected + &policy("one", "ALLOW", "[{}]")),
    );
    let workload = Workload::new("default", "app").label("a", "b");
    let builder = Mesh::builder(workload, pki.identity("default", "app").unwrap());
    let before = SystemTime::now() - Duration::from_secs(1);
    let watch = Directory::watch(directory.path()).on_opening(tower_mesh::source::OnOpening::Warn);
    let mesh = build(builder.config(watch)).await;
    let readiness = mesh.readiness();
    assert_eq!(readiness.generation, 1);
    assert!(readiness.configured_at >= before);
    let gauge = |name: &str| {
        let name = format!("mesh_config_last_{name}_timestamp_seconds ");
        let line = lines(&mesh, &name, &[]).pop()?;
        line.rsplit(' ').next()?.parse::<f64>().ok()
    };
    let before = before.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let first = gauge("success").unwrap();
    assert!(first >= before.as_secs_f64(), "{first}");
    assert_eq!(gauge("error"), None);

    let selected =
        modes("PERMISSIVE").replace("spec: {", "spec: {selector: {matchLabels: {a: b}}, ");
    let two = policy("one", "ALLOW", "[{}]") + &policy("two", "ALLOW", "[{}]") + &elsewhere();
    write(directory.path(), &(selected.clone() + &two));
    let replaced = ["INFO tower_mesh::config: configuration replaced"];
    pass_until("the change", || !log.with(&replaced).is_empty()).await;
    has(
        &one(&log, &replaced),
        &[
            "generation=2",
            "policies=3",
            "apply=2",
            "modes=\"STRICT, port 8080 DISABLE before, now PERMISSIVE, port 8080 DISABLE\"",
        ],
    );
    assert_eq!(mesh.readiness().generation, 2);
    assert!(gauge("success").unwrap() >= first);
    assert_eq!(gauge("error"), None);

    write(directory.path(), "kind: [\n");
    pass_until("the refusal", || mesh.readiness().refused.is_some()).await;
    assert!(gauge("error").unwrap() >= before.as_secs_f64());
    assert_eq!(mesh.readiness().generation, 2);

    write(directory.path(), &selected);
    pass_until("the loss", || log.with(&replaced).len() == 2).await;
    let line = log.with(&replaced).pop().unwrap();
    has(&line, &["generation=3", "policies=0", "apply=0"]);
    assert!(!line.contains("modes="), "{line}");
    let open = log.with(&["WARN", "no enforced ALLOW policy selects this workload"]);
    assert_eq!(open.len(), 1, "at a reload, too: {open:?}");
}

/// Each row is a rule's source, and the domain that is warned of.
#[tokio::test]
async fn policies_that_name_a_trust_domain_that_nobody_has_are_warned_of() {
    let pki = pki();
    let other = Pki::new("partner.example").unwrap();
    let partner = other.bundles().unwrap();
    let own = pki.identity("default", "app").unwrap();
    let bundles = own.bundles().clone();
    let roots = partner.roots(other.trust_domain());
    let bundles = bundles
        .with(other.trust_domain().clone(), roots.to_vec())
        .unwrap();
    let identity = Identity::new(own.svid().clone(), bundles);
    let from = |field: &str| format!("[{{from: [{{source: {{{field}}}}}]}}]");
    let when =
        |value: &str| format!("[{{when: [{{key: source.principal, values: ['{value}']}}]}}]");
    for (rules, foreign) in [
        (
            from("principals: [clster.local/ns/a/sa/b]"),
            Some("clster.local"),
        ),
        (
            from("notPrincipals: [old.example/ns/a/sa/b]"),
            Some("old.example"),
        ),
        (from("principals: [prod.example/*]"), Some("prod.example")),
        (from("trustDomains: [prod.example]"), Some("prod.example")),
        (when("prod.example/ns/a/sa/b"), Some("prod.example")),
        (from("principals: [cluster.local/ns/a/sa/b]"), None),
        (from("principals: [partner.example/ns/a/sa/b]"), None),
        (from("principals: [alias.example/ns/a/sa/b]"), None),
        (from("principals: ['*/ns/a/sa/b', '*']"), None),
        (from("trustDomains: [partner.example, alias.example]"), None),
        (from("namespaces: [a]"), None),
    ] {
        let (log, _guard) = Log::listen(Level::INFO);
        // The same of another namespace is none of ours.
        let others = policy(
            "others",
            "DENY",
            &from("principals: [far.example/ns/a/sa/b]"),
        );
        let others = others.replace("{name: others", "{namespace: prod, name: others");
        let text = others + &policy("callers", "ALLOW", &rules);
        let source = Fixed::yaml("p.yaml", text);
        let source = source.mesh_config("mesh.yaml", "trustDomainAliases: [alias.example]");
        let builder = Mesh::builder(Workload::new("default", "app"), identity.clone());
        let _mesh = build(builder.config(source)).await;
        let told = log.with(&["WARN tower_mesh::config", "trust domain"]);
        match foreign {
            None => assert!(told.is_empty(), "{rules}: {told:?}"),
            Some(domain) => {
                assert_eq!(told.len(), 1, "{rules}: {told:?}");
                let domain = format!("domain=\"{domain}\"");
                let pieces = [
                    "at=p.yaml:9:",
                    "policy=default/callers",
                    "action=\"ALLOW\"",
                    &domain,
                    "ours=cluster.local, alias.example",
                ];
                has(&told[0], &pieces);
            }
        }
    }
}

#[tokio::test]
async fn kinds_and_fields_that_are_not_supported_are_warned_of() {
    let (log, _guard) = Log::listen(Level::INFO);
    let foreign = |group: &str, kind: &str, name: &str| {
        format!("apiVersion: {group}\nkind: {kind}\nmetadata: {{name: {name}}}\n---\n")
    };
    let networking = "networking.istio.io/v1";
    let rule = |name: &str| {
        format!(
            "apiVersion: {networking}\nkind: DestinationRule\nmetadata: {{name: {name}}}\nspec: {{host: a}}\n---\n"
        )
    };
    let text = [
        rule("one"),
        rule("two"),
        foreign("networking.istio.io/v1alpha3", "EnvoyFilter", "three"),
        foreign("extensions.istio.io/v1alpha1", "WasmPlugin", "four"),
        foreign("apps/v1", "Deployment", "five"),
        policy("all", "ALLOW", "[{}]"),
    ];
    let source = Fixed::yaml("p.yaml", text.concat());
    let source = source.mesh_config(
        "mesh.yaml",
        "enablePrometheusMerge: true\nrootNamespace: r\n",
    );
    let _mesh = build(app(&pki()).config(source)).await;
    let warned = log.with(&["WARN tower_mesh::config", "documents of Istio"]);
    assert_eq!(warned.len(), 3, "{warned:?}");
    let line = one(&log, &["documents of Istio", "DestinationRule"]);
    has(&line, &["at=p.yaml:1:1", "name=\"one\"", "documents=2"]);
    one(&log, &["WARN", "EnvoyFilter", "documents=1"]);
    one(&log, &["WARN", "WasmPlugin"]);
    one(&log, &["INFO", "document skipped", "Deployment"]);
    has(
        &one(&log, &["WARN", "fields of the MeshConfig"]),
        &["fields=\"enablePrometheusMerge\""],
    );
}

/// Without labels there is no slip of the pen to find.
#[tokio::test]
async fn policies_of_another_namespace_are_told_where_none_is_ours() {
    let (log, _guard) = Log::listen(Level::INFO);
    let _mesh = build(app(&pki()).config(Fixed::yaml("p.yaml", elsewhere()))).await;
    one(
        &log,
        &["WARN", "no enforced ALLOW policy selects this workload"],
    );
    has(
        &one(&log, &["WARN", "of other namespaces"]),
        &["namespaces=\"prod\"", "ours=\"default\""],
    );
}

#[tokio::test]
async fn the_certificate_of_another_workload_is_refused_unless_it_is_named() {
    let pki = pki();
    let issue = |uri: &str| {
        let issued = pki.issue(&Leaf::workload(uri)).unwrap();
        Identity::new(issued.svid().unwrap(), pki.bundles().unwrap())
    };
    let other = "spiffe://cluster.local/ns/prod/sa/app";
    for (uri, allowed, is_good) in [
        ("spiffe://cluster.local/ns/default/sa/app", None, true),
        (other, None, false),
        ("spiffe://cluster.local/ns/default/sa/web", None, false),
        (other, Some(other), true),
        ("spiffe://cluster.local/ns/prod/sa/web", Some(other), false),
        // No namespace and no account to compare.
        ("spiffe://cluster.local/vm/web", None, true),
    ] {
        let builder = Mesh::builder(Workload::new("default", "app"), issue(uri));
        let builder = match allowed {
            Some(id) => builder.allow_identity(SpiffeId::new(id).unwrap()),
            None => builder,
        };
        match builder.build().await {
            Ok((mesh, _)) => assert!(is_good && mesh.spiffe_id().as_str() == uri, "{uri}"),
            Err(error) => {
                let text = error.to_string();
                assert!(!is_good, "{uri}: {text}");
                let id = SpiffeId::new(uri).unwrap();
                let remedy = format!(
                    "Workload::new({:?}, {:?})",
                    id.namespace().unwrap(),
                    id.service_account().unwrap()
                );
                let ours = "namespace \"default\", service account \"app\"";
                has(&text, &[uri, ours, &remedy, "MeshBuilder::allow_identity"]);
            }
        }
    }
}

/// Yields what the test sends.
struct Told(mpsc::UnboundedReceiver<Identity>);

impl Source for Told {
    fn next(&mut self) -> NextIdentity<'_> {
        Box::pin(async {
            let said = self.0.recv().await;
            said.ok_or_else(|| SourceError::new("no more"))
        })
    }
}

#[tokio::test]
async fn a_rotation_to_another_workload_is_refused_and_the_last_good_identity_stays() {
    let (log, _guard) = Log::listen(Level::INFO);
    let pki = pki();
    let (say, told) = mpsc::unbounded_channel();
    say.send(pki.identity("default", "app").unwrap()).unwrap();
    let other = SpiffeId::new("spiffe://cluster.local/ns/default/sa/web").unwrap();
    let builder = Mesh::builder(Workload::new("default", "app"), Told(told));
    let mesh = build(builder.allow_identity(other)).await;
    say.send(pki.identity("default", "web").unwrap()).unwrap();
    let refused = ["WARN", "identity not rotated, the one in use stays"];
    until("the refusal", || !log.with(&refused).is_empty()).await;
    assert_eq!(mesh.credentials().unwrap().generation(), 1);
    assert_eq!(mesh.spiffe_id().service_account(), Some("app"));
    assert!(mesh.readiness().is_ready());
    let counted = lines(
        &mesh,
        "mesh_identity_rotation_errors_total",
        &["id_not_allowed"],
    );
    assert!(counted.join("").ends_with(" 1"), "{counted:?}");
    say.send(pki.identity("default", "app").unwrap()).unwrap();
    until("a good one", || {
        mesh.credentials().unwrap().generation() == 2
    })
    .await;
}
