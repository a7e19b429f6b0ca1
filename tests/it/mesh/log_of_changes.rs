//! What a mesh says of its configuration: in its log, in its metrics, and when it is built.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tower_mesh::mesh::RefusalReason;
use tower_mesh::source::{Directory, Fixed, OnOpening};
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, MeshBuilder, Workload};
use tracing::Level;

use crate::support::log::Log;
use crate::support::mesh::{build, lines, pass, pass_until, policy, write};

/// Lets time pass until the log has so many lines with these pieces.
async fn wait(log: &Log, count: usize, pieces: &[&str]) {
    pass_until(&format!("{pieces:?}"), || log.with(pieces).len() >= count).await;
}

fn workload() -> Workload {
    Workload::new("default", "app")
        .label("app", "app")
        .label("tier", "one")
}

fn app(pki: &Pki) -> MeshBuilder {
    Mesh::builder(workload(), pki.identity("default", "app").unwrap())
}

fn selecting(labels: &str, action: &str) -> String {
    let spec = format!("spec: {{selector: {{matchLabels: {{{labels}}}}}, ");
    policy("readers", action, "[{}]").replace("spec: {", &spec)
}

async fn watching(pki: &Pki, directory: &Path, on_opening: OnOpening) -> Mesh {
    let watch = Directory::watch(directory).on_opening(on_opening);
    build(app(pki).config(watch)).await
}

#[tokio::test]
async fn a_refusal_is_told_each_minute_and_says_how_to_go_on() {
    let (log, _guard) = Log::listen(Level::INFO);
    let pki = Pki::new("cluster.local").unwrap();
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), &selecting("app: app", "ALLOW"));
    let mesh = watching(&pki, directory.path(), OnOpening::Refuse).await;
    write(directory.path(), &selecting("app: ap", "ALLOW"));
    let refused = ["ERROR", "configuration refused; the one before stays"];
    wait(&log, 1, &refused).await;
    let begun = tokio::time::Instant::now();
    wait(&log, 3, &refused).await;
    assert!(begun.elapsed() >= Duration::from_secs(119));
    for line in log.with(&refused) {
        for piece in [
            "reason=\"opening\"",
            "restart",
            "OnOpening::Warn",
            "put back",
        ] {
            assert!(line.contains(piece), "{piece}: {line}");
        }
    }
    let lasts = mesh.readiness().refused.unwrap().lasts;
    assert!(lasts >= Duration::from_secs(119), "{lasts:?}");
    let metric = |name, labels: &[&str]| lines(&mesh, name, labels).join("");
    let counted = metric("mesh_config_refusals_total", &["reason=\"opening\""]);
    assert!(counted.ends_with(" 1"), "once, not each minute: {counted}");
    assert!(metric("mesh_config_refused ", &[]).ends_with(" 1"));
    assert!(metric("mesh_config_generation ", &[]).ends_with(" 1"));

    write(directory.path(), &selecting("app: app", "ALLOW"));
    wait(&log, 1, &["INFO", "configuration replaced"]).await;
    assert_eq!(mesh.readiness().refused, None);
    let metric = |name| lines(&mesh, name, &[]).join("");
    assert!(metric("mesh_config_refused ").ends_with(" 0"));
    assert!(metric("mesh_config_generation ").ends_with(" 2"));
    let told = log.with(&refused).len();
    for _ in 0..200 {
        pass(Duration::from_secs(1)).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(
        log.with(&refused).len(),
        told,
        "nothing is refused any more"
    );
}

#[tokio::test]
async fn what_opens_and_counts_is_told_and_counted() {
    let (log, _guard) = Log::listen(Level::INFO);
    let pki = Pki::new("cluster.local").unwrap();
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), &selecting("app: app", "ALLOW"));
    let mesh = watching(&pki, directory.path(), OnOpening::Warn).await;
    write(directory.path(), "# Nothing.\n");
    wait(&log, 1, &["INFO", "configuration replaced"]).await;
    let told = log.with(&["WARN", "damaged or opens this workload"]);
    assert_eq!(told.len(), 1, "{told:?}");
    let counted = lines(&mesh, "mesh_config_openings_total ", &[]).join("");
    assert!(counted.ends_with(" 1"), "{counted}");
}

#[tokio::test]
async fn one_of_several_that_goes_is_told_by_name() {
    let (log, _guard) = Log::listen(Level::INFO);
    let pki = Pki::new("cluster.local").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let denies = |name| policy(name, "DENY", "[{to: [{operation: {paths: [/a]}}]}]");
    write(
        directory.path(),
        &format!("{}{}", denies("one"), denies("two")),
    );
    let _mesh = watching(&pki, directory.path(), OnOpening::Refuse).await;
    write(directory.path(), &denies("one"));
    wait(&log, 1, &["INFO", "configuration replaced"]).await;
    let told = log.with(&["WARN", "fewer policies", "DENY", "ns[default]-policy[two]"]);
    assert_eq!(told.len(), 1, "{told:?}");
}

/// A start has nothing to compare with.
#[tokio::test]
async fn a_start_without_an_allow_policy_is_warned_of_with_what_nearly_matches() {
    let pki = Pki::new("cluster.local").unwrap();
    let elsewhere =
        selecting("app: app", "ALLOW").replace("{name: readers", "{namespace: prod, name: readers");
    let misspelt =
        policy("all", "ALLOW", "[{}]").replace("{name: all", "{namespace: defualt, name: all");
    for (text, near) in [
        (
            selecting("app: pap", "ALLOW"),
            Some("selects app=pap; the workload has app=app"),
        ),
        (elsewhere, Some("the workload is in namespace default")),
        (misspelt, Some("the workload is in namespace default")),
        (
            selecting("app: ap, tier: noe", "ALLOW"),
            Some("the workload has app=app"),
        ),
        // Nothing near: other labels, other workloads.
        (selecting("tier: two, role: lab", "ALLOW"), None),
        (selecting("app: pap", "DENY"), None),
        (String::new(), None),
    ] {
        let (log, _guard) = Log::listen(Level::INFO);
        let _mesh = build(app(&pki).config(Fixed::yaml("p.yaml", text.as_str()))).await;
        let told = log.with(&["WARN", "no enforced ALLOW policy selects this workload"]);
        assert_eq!(told.len(), 1, "{text}: {told:?}");
        let nearly = log.with(&["WARN", "nearly selects"]);
        match near {
            Some(piece) => assert!(
                nearly.len() == 1 && nearly[0].contains(piece),
                "{text}: {nearly:?}"
            ),
            None => assert!(nearly.is_empty(), "{text}: {nearly:?}"),
        }
    }
    let (log, _guard) = Log::listen(Level::INFO);
    let _mesh =
        build(app(&pki).config(Fixed::yaml("p.yaml", selecting("app: app", "ALLOW")))).await;
    assert!(log.with(&["no enforced ALLOW policy"]).is_empty());
}

#[tokio::test]
async fn a_mesh_that_requires_a_policy_does_not_start_without() {
    let pki = Pki::new("cluster.local").unwrap();
    let dry = selecting("app: app", "ALLOW").replace(
        "{name: readers",
        "{annotations: {istio.io/dry-run: 'true'}, name: readers",
    );
    for (text, piece) in [
        (
            selecting("app: pap", "ALLOW"),
            "selects app=pap; the workload has app=app",
        ),
        (selecting("app: app", "DENY"), "require_policy"),
        (selecting("app: app", "AUDIT"), "require_policy"),
        (dry, "require_policy"),
        (String::new(), "require_policy"),
    ] {
        let builder = app(&pki).require_policy();
        let built = builder
            .config(Fixed::yaml("p.yaml", text.as_str()))
            .build()
            .await;
        let error = built.unwrap_err();
        assert!(error.problems().is_some());
        let error = format!("{error:?}");
        for piece in [piece, "no enforced ALLOW policy selects this workload"] {
            assert!(error.contains(piece), "{piece}: {error}");
        }
    }
    let error = app(&pki).require_policy().build().await.unwrap_err();
    let error = format!("{error:?}");
    assert!(error.contains("no enforced ALLOW policy"), "{error}");
    let text = selecting("app: app", "ALLOW");
    build(
        app(&pki)
            .require_policy()
            .config(Fixed::yaml("p.yaml", text)),
    )
    .await;
    // In 2018 it is the switch that refuses what no role allows.
    let switch = |mode: &str| {
        format!(
            "apiVersion: rbac.istio.io/v1alpha1\nkind: ClusterRbacConfig\nmetadata: {{name: default}}\nspec: {mode}\n"
        )
    };
    let legacy = |mode: &str| {
        let workload = workload().service("app", 8443);
        let builder = Mesh::builder(workload, pki.identity("default", "app").unwrap());
        builder
            .require_policy()
            .config(Fixed::yaml("p.yaml", switch(mode)))
    };
    build(legacy("{mode: 'ON'}")).await;
    let error = legacy("{mode: 'OFF'}").build().await.unwrap_err();
    let error = format!("{error:?}");
    assert!(error.contains("no enforced ALLOW policy"), "{error}");
    // Ports without a service of ours are not on the list, and open.
    let listed =
        "{mode: ON_WITH_INCLUSION, inclusion: {services: [app.default.svc.cluster.local]}}";
    let error = format!("{:?}", legacy(listed).build().await.unwrap_err());
    assert!(
        error.contains("on ports that no service of it names"),
        "{error}"
    );
}

/// Whatever else is let in.
#[tokio::test]
async fn a_mesh_that_requires_a_policy_does_not_lose_it() {
    let pki = Pki::new("cluster.local").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (log, _guard) = Log::listen(Level::INFO);
    write(directory.path(), &selecting("app: app", "ALLOW"));
    let watch = Directory::watch(directory.path()).on_opening(OnOpening::Warn);
    let mesh = build(app(&pki).require_policy().config(watch)).await;
    write(directory.path(), &selecting("app: app", "DENY"));
    wait(&log, 1, &["configuration refused", "no_policy"]).await;
    let refused = mesh.readiness().refused.unwrap();
    assert_eq!(refused.reason, RefusalReason::NoPolicy);
    assert!(mesh.readiness().is_ready());
    assert!(mesh.engine().program().http.get(1).allow.enforced.is_some());
}

/// Others' documents are passed over, and that is said: one of ours that is taken for another's would be missed otherwise.
#[tokio::test]
async fn documents_that_are_skipped_are_listed() {
    let (log, _guard) = Log::listen(Level::INFO);
    let pki = Pki::new("cluster.local").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let linkerd = "apiVersion: policy.linkerd.io/v1alpha1\nkind: AuthorizationPolicy\nmetadata: {name: theirs}\n---\n";
    let own = selecting("app: app", "ALLOW");
    write(directory.path(), &format!("{own}{linkerd}"));
    let _mesh = watching(&pki, directory.path(), OnOpening::Refuse).await;
    let skipped = ["INFO", "document skipped"];
    let told = log.with(&skipped);
    assert_eq!(told.len(), 1, "{told:?}");
    for piece in [
        "policies.yaml:6:1",
        "policy.linkerd.io/v1alpha1",
        "AuthorizationPolicy",
        "theirs",
    ] {
        assert!(told[0].contains(piece), "{piece}: {}", told[0]);
    }
    let noted = log.with(&["WARN", "policies.yaml:6:13", "passed over"]);
    assert_eq!(noted.len(), 1, "{noted:?}");

    // Bounded, and in words that cannot forge a line.
    let mut many = own;
    for index in 0..1000 {
        let kind = format!("\"Kind\\n{}\"", "x".repeat(index));
        many.push_str(&format!(
            "{{apiVersion: example.com/v1, kind: {kind}, metadata: {{name: n}}}}\n---\n"
        ));
    }
    write(directory.path(), &many);
    wait(&log, 1, &["configuration replaced"]).await;
    let told = log.with(&skipped).len();
    assert!((10..=101).contains(&told), "{told}");
    assert_eq!(log.with(&["more documents skipped"]).len(), 1);
    assert!(
        log.with(&["document skipped"])
            .iter()
            .all(|line| line.len() < 1000)
    );
}

/// What never rests never counts, be it a DENY policy that somebody waits for.
#[tokio::test]
async fn files_that_never_rest_are_warned_of() {
    let (log, _guard) = Log::listen(Level::INFO);
    let pki = Pki::new("cluster.local").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let own = selecting("app: app", "ALLOW");
    write(directory.path(), &own);
    let _mesh = watching(&pki, directory.path(), OnOpening::Refuse).await;
    let (path, stop) = (
        directory.path().to_owned(),
        Arc::new(AtomicBool::new(false)),
    );
    let stopped = Arc::clone(&stop);
    let writing = std::thread::spawn(move || {
        for number in 0.. {
            if stopped.load(Ordering::Relaxed) {
                return;
            }
            write(&path, &format!("{own}# {number}\n"));
        }
    });
    wait(&log, 2, &["WARN", "different at every look"]).await;
    stop.store(true, Ordering::Relaxed);
    writing.join().unwrap();
    wait(&log, 1, &["INFO", "configuration replaced"]).await;
}
