//! A watched configuration that is damaged, or that opens the workload: refused, while the one before serves; or let in, where that is asked
//! for. Judged over real connections.

use std::fs;
use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use http::StatusCode;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower_mesh::mesh::{RefusalReason, RefusedReload};
use tower_mesh::source::{Directory, OnOpening, Watch};
use tower_mesh::testing::{Issuer, Pki};
use tower_mesh::tls::Mode;
use tower_mesh::{Mesh, MeshBuilder, Workload};

use crate::support::mesh::{
    ISSUER, authentication, build, empty, get2, http2, pass, pass_until, policy, until,
    until_status,
};

/// What somebody does who has no business here.
#[derive(Clone, Copy, Debug)]
enum Ask {
    /// Calls `/a` with an identity that no policy names.
    Stranger,
    /// Calls with a token of nobody's.
    BadToken,
    /// Calls without TLS.
    Plaintext,
}

/// A configuration, and a change of it after which less is guarded.
struct Row {
    name: &'static str,
    before: Vec<(&'static str, String)>,
    after: Vec<(&'static str, Option<String>)>,
    ask: Ask,
    reason: RefusalReason,
}

fn row(
    name: &'static str,
    before: &[(&'static str, String)],
    after: &[(&'static str, Option<String>)],
    ask: Ask,
    reason: RefusalReason,
) -> Row {
    Row {
        name,
        before: before.to_vec(),
        after: after.to_vec(),
        ask,
        reason,
    }
}

/// A workload that serves by watched files.
struct Ward {
    pki: Pki,
    directory: TempDir,
    mesh: Mesh,
    address: std::net::SocketAddr,
}

impl Ward {
    async fn new(before: &[(&'static str, String)], on_opening: OnOpening) -> Self {
        let with = |builder: MeshBuilder| builder;
        Self::built(before, |watch| watch.on_opening(on_opening), with).await
    }

    async fn built(
        before: &[(&'static str, String)],
        watch: impl FnOnce(Watch) -> Watch,
        with: impl FnOnce(MeshBuilder) -> MeshBuilder,
    ) -> Self {
        let pki = Pki::new("cluster.local").unwrap();
        let directory = tempfile::tempdir().unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let port = address.port().to_string();
        for (name, text) in before {
            put(directory.path(), name, &text.replace("PORT", &port));
        }
        let mut policies = Directory::new(directory.path());
        if before.iter().any(|(name, _)| *name == SETTINGS) {
            policies = policies.mesh_config(directory.path().join(SETTINGS));
        }
        let workload = Workload::new("default", "app")
            .label("app", "app")
            .service("app", address.port());
        let builder = Mesh::builder(workload, pki.identity("default", "app").unwrap())
            .config(watch(Watch::new(policies)));
        let mesh = build(with(builder)).await;
        let app = Router::new().fallback(any(|| async { "hello" }));
        let serving = mesh.clone();
        tokio::spawn(async move { serving.serve_on(socket, app).await });
        Self {
            pki,
            directory,
            mesh,
            address,
        }
    }

    fn change(&self, after: &[(&'static str, Option<String>)]) {
        let port = self.address.port().to_string();
        for (name, text) in after {
            match text {
                Some(text) => put(self.directory.path(), name, &text.replace("PORT", &port)),
                None => fs::remove_file(self.directory.path().join(name)).unwrap(),
            }
        }
    }

    async fn ask(&self, ask: Ask) -> StatusCode {
        let request = match ask {
            Ask::Plaintext => return self.ask_in_plaintext().await,
            Ask::Stranger => get2("/a"),
            Ask::BadToken => get2("/a").header("authorization", "Bearer e30.e30.e30"),
        };
        let mut sender = http2(&self.pki, "stranger", self.address).await;
        sender.send_request(empty(request)).await.unwrap().status()
    }

    async fn ask_in_plaintext(&self) -> StatusCode {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = b"GET /a HTTP/1.1\r\nhost: app\r\nconnection: close\r\n\r\n";
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        match String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 200") {
            true => StatusCode::OK,
            false => StatusCode::FORBIDDEN,
        }
    }

    /// Waits for the refusal of what the files hold now.
    async fn refused(&self, reason: RefusalReason) -> RefusedReload {
        let refused = || self.mesh.readiness().refused;
        pass_until(reason.as_str(), || {
            refused().is_some_and(|refused| refused.reason == reason)
        })
        .await;
        refused().unwrap()
    }

    async fn accepted(&self) {
        let is_accepted = || self.mesh.readiness().refused.is_none();
        pass_until("a good configuration", is_accepted).await;
    }
}

/// Moved into place whole: the clock of these tests runs ahead of whoever writes.
fn put(directory: &Path, name: &str, text: &str) {
    let mut file = tempfile::NamedTempFile::new_in(directory).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    file.persist(directory.join(name)).unwrap();
}

/// Refused where it is not asked for, let in where it is.
async fn holds(row: Row) {
    let name = row.name;
    let ward = Ward::new(&row.before, OnOpening::Refuse).await;
    let closed = ward.ask(row.ask).await;
    assert!(
        closed == 403 || closed == 401,
        "{name}: open from the start"
    );
    assert_eq!(ward.mesh.readiness().refused, None, "{name}");
    ward.change(&row.after);
    let refused = ward.refused(row.reason).await;
    assert_eq!(ward.ask(row.ask).await, closed, "{name}");
    assert_eq!(ward.ask(Ask::Plaintext).await, 403, "{name}");
    assert!(!refused.problems.as_slice().is_empty(), "{name}");
    let readiness = ward.mesh.readiness();
    assert!(readiness.is_ready(), "{name}: what served before serves on");
    assert!(
        readiness.to_string().contains(row.reason.as_str()),
        "{name}: {readiness}"
    );
    let before = row.before.iter().cloned();
    let before: Vec<_> = before.map(|(name, text)| (name, Some(text))).collect();
    ward.change(&before);
    ward.accepted().await;
    assert_eq!(ward.ask(row.ask).await, closed, "{name}: put back");
    assert_eq!(ward.mesh.readiness().to_string(), "ready", "{name}");

    let ward = Ward::new(&row.before, OnOpening::Warn).await;
    assert_eq!(ward.ask(row.ask).await, closed, "{name}");
    ward.change(&row.after);
    until_status(name, 200, async || {
        pass(Duration::from_secs(1)).await;
        ward.ask(row.ask).await
    })
    .await;
    assert_eq!(ward.mesh.readiness().refused, None, "{name}");
}

fn readers() -> String {
    policy(
        "readers",
        "ALLOW",
        "[{from: [{source: {principals: [cluster.local/ns/default/sa/desk]}}]}]",
    )
    .replace("spec: {", "spec: {selector: {matchLabels: {app: app}}, ")
}

fn closes_a(action: &str) -> String {
    policy("closes-a", action, "[{to: [{operation: {paths: [/a]}}]}]")
}

/// A policy that is there, and for somebody else.
fn for_others() -> String {
    policy("others", "ALLOW", "[{}]")
        .replace("spec: {", "spec: {selector: {matchLabels: {app: lab}}, ")
}

fn resource(api_version: &str, kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n---\n"
    )
}

fn legacy_rbac(spec: &str) -> String {
    resource(
        "rbac.istio.io/v1alpha1",
        "ClusterRbacConfig",
        "default",
        spec,
    )
}

fn legacy_policy(spec: &str) -> String {
    resource(
        "authentication.istio.io/v1alpha1",
        "Policy",
        "default",
        spec,
    )
}

fn peers(spec: &str) -> String {
    resource("security.istio.io/v1", "PeerAuthentication", "app", spec)
}

/// A file that held documents and holds none is damaged, whatever was left in it.
#[tokio::test]
async fn a_file_that_is_cut_to_nothing_is_refused() {
    for left in [
        "",
        "\n\n",
        "# all gone\n",
        "---\n",
        "---\n---\n# gone\n...\n",
        "null\n",
        "~",
        "{apiVersion: v1, kind: List, items: []}",
        "apiVersion: v1\nkind: List\nitems: null\n",
        "\u{FEFF}",
    ] {
        holds(row(
            left,
            &[(POLICIES, readers())],
            &[(POLICIES, Some(left.to_owned()))],
            Ask::Stranger,
            RefusalReason::Damage,
        ))
        .await;
    }
    // One file of several; and all, the new one empty.
    holds(row(
        "one of several",
        &[(POLICIES, readers()), (OTHERS, for_others())],
        &[(POLICIES, Some(String::new()))],
        Ask::Stranger,
        RefusalReason::Damage,
    ))
    .await;
    holds(row(
        "renamed and cut",
        &[(POLICIES, readers())],
        &[(POLICIES, None), (OTHERS, Some("# empty\n".to_owned()))],
        Ask::Stranger,
        RefusalReason::Damage,
    ))
    .await;
}

#[tokio::test]
async fn the_settings_cut_to_nothing_are_refused() {
    let in_root = readers().replace("metadata: {", "metadata: {namespace: clinic-system, ");
    let settings = "rootNamespace: clinic-system\n";
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio}\ndata:\n  mesh: |\n    rootNamespace: clinic-system\n";
    for (before, after) in [
        (settings, ""),
        (settings, "# nothing\n"),
        (settings, "{}"),
        (map, ""),
        (
            map,
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio}\ndata: {mesh: ''}\n",
        ),
    ] {
        holds(row(
            after,
            &[(POLICIES, in_root.clone()), (SETTINGS, before.to_owned())],
            &[(SETTINGS, Some(after.to_owned()))],
            Ask::Stranger,
            RefusalReason::Damage,
        ))
        .await;
    }
    holds(row(
        "another root namespace",
        &[(POLICIES, in_root), (SETTINGS, settings.to_owned())],
        &[(SETTINGS, Some("rootNamespace: clinic-sytem\n".to_owned()))],
        Ask::Stranger,
        RefusalReason::Opening,
    ))
    .await;
}

#[tokio::test]
async fn the_last_allow_policy_does_not_go_by_accident() {
    let own = readers();
    let edits = [
        ("misspelt value", own.replace("{app: app}", "{app: ap}")),
        ("misspelt label", own.replace("{app: app}", "{ap: app}")),
        (
            "one label more",
            own.replace("{app: app}", "{app: app, tier: two}"),
        ),
        ("AUDIT", own.replace("action: ALLOW", "action: AUDIT")),
        (
            "dry run",
            own.replace(
                "metadata: {",
                "metadata: {annotations: {istio.io/dry-run: 'true'}, ",
            ),
        ),
        (
            "another namespace",
            own.replace("metadata: {", "metadata: {namespace: defualt, "),
        ),
        (
            "a target",
            own.replace(
                "selector: {matchLabels: {app: app}}",
                "targetRefs: [{kind: Service, name: app}]",
            ),
        ),
        ("gone beside others", String::new()),
    ];
    for (name, edited) in edits {
        holds(row(
            name,
            &[(POLICIES, format!("{own}{}", for_others()))],
            &[(POLICIES, Some(format!("{edited}{}", for_others())))],
            Ask::Stranger,
            RefusalReason::Opening,
        ))
        .await;
    }
    holds(row(
        "a file deleted beside others",
        &[(POLICIES, own), (OTHERS, for_others())],
        &[(POLICIES, None)],
        Ask::Stranger,
        RefusalReason::Opening,
    ))
    .await;
}

#[tokio::test]
async fn the_last_deny_or_custom_policy_does_not_go_by_accident() {
    let custom = closes_a("CUSTOM, provider: {name: opa}");
    for (name, own, edited) in [
        ("DENY to AUDIT", closes_a("DENY"), closes_a("AUDIT")),
        ("DENY gone", closes_a("DENY"), String::new()),
        (
            "DENY to dry run",
            closes_a("DENY"),
            closes_a("DENY").replace(
                "metadata: {",
                "metadata: {annotations: {istio.io/dry-run: 'true'}, ",
            ),
        ),
        (
            "DENY of another",
            closes_a("DENY"),
            closes_a("DENY").replace("spec: {", "spec: {selector: {matchLabels: {app: ap}}, "),
        ),
        ("CUSTOM gone", custom.clone(), String::new()),
        ("CUSTOM to AUDIT", custom, closes_a("AUDIT")),
    ] {
        holds(row(
            name,
            &[(POLICIES, format!("{own}{}", for_others()))],
            &[(POLICIES, Some(format!("{edited}{}", for_others())))],
            Ask::Stranger,
            RefusalReason::Opening,
        ))
        .await;
    }
}

#[tokio::test]
async fn the_last_request_authentication_does_not_go_by_accident() {
    let own = authentication(&Issuer::es256(ISSUER));
    let none = resource(
        "security.istio.io/v1",
        "RequestAuthentication",
        "users",
        "{jwtRules: []}",
    );
    for (name, edited) in [
        ("gone", String::new()),
        ("without rules", none),
        (
            "of another",
            own.replace("spec:\n", "spec:\n  selector: {matchLabels: {app: ap}}\n"),
        ),
    ] {
        holds(row(
            name,
            &[(POLICIES, format!("{own}{}", for_others()))],
            &[(POLICIES, Some(format!("{edited}{}", for_others())))],
            Ask::BadToken,
            RefusalReason::Opening,
        ))
        .await;
    }
}

#[tokio::test]
async fn strict_does_not_go_by_accident_on_any_port() {
    let strict = "{mtls: {mode: STRICT}}";
    let on_port = "{selector: {matchLabels: {app: app}}, mtls: {mode: PERMISSIVE}, portLevelMtls: {PORT: {mode: STRICT}}}";
    for (name, before, after) in [
        ("PERMISSIVE", strict, "{mtls: {mode: PERMISSIVE}}"),
        (
            "one port PERMISSIVE",
            "{selector: {matchLabels: {app: app}}, mtls: {mode: STRICT}}",
            "{selector: {matchLabels: {app: app}}, mtls: {mode: STRICT}, portLevelMtls: {PORT: {mode: PERMISSIVE}}}",
        ),
        ("unset", strict, "{}"),
        (
            "the port's own mode lost",
            on_port,
            "{selector: {matchLabels: {app: app}}, mtls: {mode: PERMISSIVE}}",
        ),
        (
            "the mode of another port",
            on_port,
            "{selector: {matchLabels: {app: app}}, mtls: {mode: PERMISSIVE}, portLevelMtls: {1: {mode: STRICT}}}",
        ),
    ] {
        holds(row(
            name,
            &[(POLICIES, format!("{}{}", peers(before), for_others()))],
            &[(POLICIES, Some(format!("{}{}", peers(after), for_others())))],
            Ask::Plaintext,
            RefusalReason::Opening,
        ))
        .await;
    }
}

/// Where nothing said is PERMISSIVE, a STRICT that goes is missed; where it is STRICT, as it is by default, nothing opens.
#[tokio::test]
async fn strict_that_goes_counts_by_what_then_holds() {
    let before = [(
        POLICIES,
        format!("{}{}", peers("{mtls: {mode: STRICT}}"), for_others()),
    )];
    let after = [(POLICIES, Some(for_others()))];
    let otherwise = |builder: MeshBuilder| builder.mode_otherwise(Mode::Permissive);
    let ward = Ward::built(&before, |watch| watch, otherwise).await;
    ward.change(&after);
    let refused = ward.refused(RefusalReason::Opening).await;
    assert!(
        refused.problems.to_string().contains("STRICT"),
        "{}",
        refused.problems
    );
    assert_eq!(ward.ask(Ask::Plaintext).await, 403);

    let ward = Ward::new(&before, OnOpening::Refuse).await;
    ward.change(&after);
    until("the change", || ward.mesh.engine().mtls(1).is_none()).await;
    assert_eq!(ward.ask(Ask::Plaintext).await, 403);
    assert_eq!(ward.mesh.readiness().refused, None);
}

#[tokio::test]
async fn the_resources_of_2018_count_by_their_effect() {
    let on = legacy_rbac("{mode: 'ON'}");
    for (name, after) in [
        ("OFF", legacy_rbac("{mode: 'OFF'}")),
        (
            "on trial",
            legacy_rbac("{mode: 'ON', enforcementMode: PERMISSIVE}"),
        ),
        (
            "our namespace excluded",
            legacy_rbac("{mode: ON_WITH_EXCLUSION, exclusion: {namespaces: [default]}}"),
        ),
        (
            "our service excluded",
            legacy_rbac(
                "{mode: ON_WITH_EXCLUSION, exclusion: {services: [app.default.svc.cluster.local]}}",
            ),
        ),
        (
            "another namespace included",
            legacy_rbac("{mode: ON_WITH_INCLUSION, inclusion: {namespaces: [defualt]}}"),
        ),
        ("gone", String::new()),
        // A policy of today that selects us replaces all of it, even if it decides nothing.
        ("replaced", format!("{on}{}", closes_a("AUDIT"))),
    ] {
        holds(row(
            name,
            &[(POLICIES, format!("{on}{}", for_others()))],
            &[(POLICIES, Some(format!("{after}{}", for_others())))],
            Ask::Stranger,
            RefusalReason::Opening,
        ))
        .await;
    }
    let issuer = Issuer::es256(ISSUER);
    let origins = format!(
        "origins: [{{jwt: {{issuer: {ISSUER}, jwks: '{}'}}}}]",
        issuer.jwks()
    );
    let demanding = format!("{{peers: [{{mtls: {{}}}}], {origins}}}");
    for (name, after) in [
        ("origins dropped", legacy_policy("{peers: [{mtls: {}}]}")),
        (
            "origins optional",
            legacy_policy(&demanding.replace("origins:", "originIsOptional: true, origins:")),
        ),
        (
            "replaced by what demands none",
            format!("{}{}", legacy_policy(&demanding), authentication(&issuer)),
        ),
        (
            "for another service",
            legacy_policy(&demanding.replace("{peers", "{targets: [{name: ap}], peers"))
                .replace("name: default", "name: ap"),
        ),
    ] {
        holds(row(
            name,
            &[(
                POLICIES,
                format!("{}{}", legacy_policy(&demanding), for_others()),
            )],
            &[(POLICIES, Some(format!("{after}{}", for_others())))],
            Ask::Stranger,
            RefusalReason::Opening,
        ))
        .await;
    }
    for (name, after) in [
        ("PERMISSIVE", "{peers: [{mtls: {mode: PERMISSIVE}}]}"),
        ("peers dropped", "{}"),
    ] {
        holds(row(
            name,
            &[(
                POLICIES,
                format!("{}{}", legacy_policy("{peers: [{mtls: {}}]}"), for_others()),
            )],
            &[(
                POLICIES,
                Some(format!("{}{}", legacy_policy(after), for_others())),
            )],
            Ask::Plaintext,
            RefusalReason::Opening,
        ))
        .await;
    }
}

/// Nothing to read is never a configuration, whoever asks for openings.
#[tokio::test]
async fn a_directory_that_is_emptied_or_gone_is_refused() {
    for on_opening in [OnOpening::Refuse, OnOpening::Warn] {
        let before = [(POLICIES, readers())];
        let ward = Ward::new(&before, on_opening).await;
        ward.change(&[(POLICIES, None)]);
        let refused = ward.refused(RefusalReason::Invalid).await;
        assert!(
            refused.problems.to_string().contains("holds no file"),
            "{}",
            refused.problems
        );
        assert_eq!(ward.ask(Ask::Stranger).await, 403);
        ward.change(&[(POLICIES, Some("apiVersion: [".to_owned()))]);
        until("the other problem", || {
            let refused = ward.mesh.readiness().refused;
            refused.is_some_and(|refused| refused.problems.to_string().contains("not YAML"))
        })
        .await;
        assert_eq!(ward.ask(Ask::Stranger).await, 403);
        ward.change(&[(POLICIES, Some(readers()))]);
        ward.accepted().await;
        assert_eq!(ward.ask(Ask::Stranger).await, 403);
    }
}

/// Compared is always with what serves, and each change is judged anew.
#[tokio::test]
async fn a_refused_change_is_judged_again_when_the_files_change() {
    let ward = Ward::new(&[(POLICIES, readers())], OnOpening::Refuse).await;
    let change = |text: String| ward.change(&[(POLICIES, Some(text))]);
    change(readers().replace("{app: app}", "{app: ap}"));
    let refused = ward.refused(RefusalReason::Opening).await;
    let told = refused.problems.to_string();
    for piece in [
        "no enforced ALLOW policy is left for this workload",
        "ns[default]-policy[readers]",
        "AuthorizationPolicy default/readers selects app=ap; the workload has app=app",
    ] {
        assert!(told.contains(piece), "{piece}: {told}");
    }
    change(format!(
        "# As before.\n{}",
        readers().replace("{app: app}", "{app: pa}")
    ));
    until("the other slip", || {
        let refused = ward.mesh.readiness().refused;
        refused.is_some_and(|refused| refused.problems.to_string().contains("app=pa"))
    })
    .await;
    assert_eq!(ward.ask(Ask::Stranger).await, 403);
    change("# Nothing.\n".to_owned());
    ward.refused(RefusalReason::Damage).await;
    assert_eq!(ward.ask(Ask::Stranger).await, 403);
    change(for_others());
    ward.refused(RefusalReason::Opening).await;
    assert_eq!(ward.ask(Ask::Stranger).await, 403);
    // Another policy, and a good one.
    change(readers().replace("sa/desk", "sa/stranger"));
    ward.accepted().await;
    assert_eq!(ward.ask(Ask::Stranger).await, 200);
}

/// What restricts is no accident, and what is one of several may go.
#[tokio::test]
async fn what_does_not_open_counts_at_once() {
    let second = policy(
        "second",
        "ALLOW",
        "[{from: [{source: {principals: [cluster.local/ns/default/sa/stranger]}}]}]",
    );
    let before = [(POLICIES, readers()), (OTHERS, second)];
    let ward = Ward::new(&before, OnOpening::Refuse).await;
    assert_eq!(ward.ask(Ask::Stranger).await, 200);
    ward.change(&[(OTHERS, None)]);
    until_status("one policy less", 403, async || {
        pass(Duration::from_secs(1)).await;
        ward.ask(Ask::Stranger).await
    })
    .await;
    assert_eq!(ward.mesh.readiness().refused, None);
    // A file of nobody's documents may be deleted, and one may be empty that always was.
    ward.change(&[(OTHERS, Some("# to come\n".to_owned()))]);
    ward.change(&[(POLICIES, Some(readers().replace("sa/desk", "sa/stranger")))]);
    until_status("another rule", 200, async || {
        pass(Duration::from_secs(1)).await;
        ward.ask(Ask::Stranger).await
    })
    .await;
    assert_eq!(ward.mesh.readiness().refused, None);
}

const POLICIES: &str = "policies.yaml";
const OTHERS: &str = "others.yaml";
/// Not read as a policy, by its name.
const SETTINGS: &str = "mesh-config.txt";
