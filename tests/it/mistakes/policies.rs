//! Policies: what is refused, and what is warned of because it does nothing.

use std::fs;

use tempfile::TempDir;
use tower_mesh::source::{Directory, Fixed};
use tracing::Level;

use super::{Seen, last, pki, proven, refused, wait};
use crate::support::log::Log;
use crate::support::mesh::{build, pass_until};

const HEAD: &str =
    "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  name: reads\n";
const SELECTOR: &str = "  selector: {matchLabels: {app: patients}}\n";
const READS: &str = "  rules:\n  - to: [{operation: {methods: [GET]}}]\n";

fn reads() -> String {
    format!("{HEAD}spec:\n{SELECTOR}{READS}")
}

fn callers(principal: &str) -> String {
    format!("{HEAD}spec:\n  rules:\n  - from: [{{source: {{principals: ['{principal}']}}}}]\n")
}

pub(super) async fn make(seen: &mut Seen) {
    refusals(seen).await;
    warnings(seen).await;
    directories(seen).await;
    reloads(seen).await;
}

async fn refusals(seen: &mut Seen) {
    let pki = pki();
    let rows = [
        ("field-misspelt", reads().replace("selector", "selektor")),
        (
            "kind-misspelt",
            reads().replace("AuthorizationPolicy", "AuthorisationPolicy"),
        ),
        ("group-misspelt", reads().replace("istio.io", "istio.oi")),
        (
            "version-missing",
            reads().replace("security.istio.io/v1", "v1"),
        ),
        (
            "action-in-lower-case",
            format!("{}  action: deny\n", reads()),
        ),
        ("tab", reads().replace("  selector", "\tselector")),
        (
            "helm-template",
            reads().replace("name: reads", "name: {{ .Values.name }}"),
        ),
        (
            "deny-without-rules",
            format!("{HEAD}spec: {{action: DENY}}\n"),
        ),
        (
            "selector-with-name",
            reads().replace("matchLabels: {app: patients}", "app: patients"),
        ),
        (
            "port-by-name",
            format!("{HEAD}spec:\n  rules:\n  - to: [{{operation: {{ports: [http]}}}}]\n"),
        ),
        (
            "condition-unknown",
            format!("{HEAD}spec:\n  rules:\n  - when: [{{key: request.header, values: [a]}}]\n"),
        ),
    ];
    for (id, text) in rows {
        let builder = proven(&pki).config(Fixed::yaml("policies/reads.yaml", text));
        seen.push((id, refused(builder).await));
    }
    let text = reads().replace("app: patients", "app: patient");
    let builder = proven(&pki).config(Fixed::yaml("policies/reads.yaml", text));
    seen.push((
        "required-policy-missing",
        refused(builder.require_policy()).await,
    ));
}

async fn warnings(seen: &mut Seen) {
    let pki = pki();
    let namespace = reads().replace("name: reads", "name: reads\n  namespace: clinic");
    let near = "nearly selects";
    for (id, text, piece) in [
        ("no-policy", String::new(), "no enforced ALLOW policy"),
        (
            "label-misspelt",
            reads().replace("app: patients", "app: patient"),
            near,
        ),
        ("other-namespace", namespace, near),
        (
            "spiffe-prefix",
            callers("spiffe://cluster.local/ns/default/sa/desk"),
            "reads.yaml",
        ),
        (
            "other-trust-domain",
            callers("prod.example/ns/default/sa/desk"),
            "trust domain",
        ),
        (
            "kind-not-supported",
            reads()
                .replace("AuthorizationPolicy", "EnvoyFilter")
                .replace("security", "networking"),
            "reads.yaml",
        ),
    ] {
        let (log, _guard) = Log::listen(Level::INFO);
        let source = Fixed::yaml("policies/reads.yaml", text);
        let built = proven(&pki).config(source).build().await;
        seen.push((
            id,
            built.map_or_else(
                |error| format!("{error:?}"),
                |_| last(&log, &["tower_mesh::config", piece]),
            ),
        ));
    }
}

async fn directories(seen: &mut Seen) {
    let pki = pki();
    let directory = TempDir::new().unwrap();
    let builder = || proven(&pki).config(Directory::watch(directory.path()));
    seen.push(("directory-empty", refused(builder()).await));
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    write("reads.yaml", &reads());
    write("kustomization.yaml", "resources: [reads.yaml]\n");
    let (log, _guard) = Log::listen(Level::INFO);
    let _mesh = build(builder()).await;
    seen.push((
        "kustomization",
        last(&log, &["tower_mesh::config", "passed over"]),
    ));
    let missing = Directory::watch(directory.path().join("polices"));
    seen.push((
        "directory-missing",
        refused(proven(&pki).config(missing)).await,
    ));
}

async fn reloads(seen: &mut Seen) {
    let pki = pki();
    for id in ["reload-broken", "reload-opens"] {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("reads.yaml");
        fs::write(directory.path().join("other.yaml"), "# Nothing yet.\n").unwrap();
        fs::write(&file, reads()).unwrap();
        let (log, _guard) = Log::listen(Level::INFO);
        let mesh = build(proven(&pki).config(Directory::watch(directory.path()))).await;
        match id {
            "reload-opens" => fs::remove_file(&file).unwrap(),
            _ => fs::write(&file, reads().replace("rules", "rulse")).unwrap(),
        }
        pass_until(id, || mesh.readiness().refused.is_some()).await;
        // Of this file: others' directories are gone, which their drivers tell, too.
        let refused = ["tower_mesh::config", "configuration refused", "reads.yaml"];
        seen.push((id, wait(&log, &refused).await));
        if id == "reload-broken" {
            seen.push(("reload-broken-in-probe", mesh.readiness().to_string()));
        }
    }
}
