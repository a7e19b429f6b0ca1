//! Files as they are changed in the field: a mounted ConfigMap whose `..data` is swapped, a single file that is followed through links, an
//! editor that moves into place; and what a refusal outlives.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tower_mesh::mesh::RefusalReason;
use tower_mesh::source::Directory;
use tower_mesh::testing::Pki;
use tower_mesh::tls::Files;
use tower_mesh::{Mesh, Workload};

use crate::support::mesh::{app, build, lines, pass, policy};

/// A ConfigMap as the kubelet mounts it.
struct Mount {
    directory: tempfile::TempDir,
    versions: u32,
}

impl Mount {
    fn new(files: &[(&str, &str)]) -> Self {
        let mut mount = Self {
            directory: tempfile::tempdir().unwrap(),
            versions: 0,
        };
        mount.swap(files);
        mount
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A directory of its own for the new files, then `..data` moved over, then the links of the keys.
    fn swap(&mut self, files: &[(&str, &str)]) {
        let before = format!("..version_{}", self.versions);
        self.versions += 1;
        let version = format!("..version_{}", self.versions);
        let folder = self.path().join(&version);
        fs::create_dir(&folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
        let fresh = self.path().join("..data_tmp");
        symlink(&version, &fresh).unwrap();
        fs::rename(&fresh, self.path().join("..data")).unwrap();
        for (name, _) in files {
            let link = self.path().join(name);
            if fs::symlink_metadata(&link).is_err() {
                symlink(Path::new("..data").join(name), link).unwrap();
            }
        }
        for entry in fs::read_dir(self.path()).unwrap() {
            let name = entry.unwrap().file_name();
            let name = name.to_str().unwrap();
            if !name.starts_with("..") && files.iter().all(|(known, _)| *known != name) {
                fs::remove_file(self.path().join(name)).unwrap();
            }
        }
        let _ = fs::remove_dir_all(self.path().join(before));
    }
}

/// Allows whoever this is.
fn caller(name: &str) -> String {
    policy(
        "callers",
        "ALLOW",
        &format!("[{{from: [{{source: {{principals: [cluster.local/ns/default/sa/{name}]}}}}]}}]"),
    )
}

fn generation(mesh: &Mesh) -> String {
    let line = lines(mesh, "mesh_config_generation ", &[]).join("");
    line.rsplit(' ').next().unwrap().to_owned()
}

/// Whether the rules in use name this caller.
fn names(mesh: &Mesh, name: &str) -> bool {
    format!("{:?}", mesh.engine().program().http.get(1).allow.enforced).contains(name)
}

async fn until(mesh: &Mesh, what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        let readiness = mesh.readiness();
        assert!(Instant::now() < deadline, "{what}: {readiness}");
        pass(Duration::from_secs(1)).await;
        tokio::task::yield_now().await;
        std::thread::yield_now();
    }
}

async fn until_refused(mesh: &Mesh, reason: RefusalReason, piece: &str) {
    until(mesh, piece, || {
        let refused = mesh.readiness().refused;
        refused.is_some_and(|refused| {
            refused.reason == reason && refused.problems.to_string().contains(piece)
        })
    })
    .await;
    assert!(mesh.readiness().is_ready());
}

#[tokio::test]
async fn a_swapped_config_map_is_judged_as_a_whole() {
    type Watched = fn(&Path) -> PathBuf;
    let whole: Watched = |mount| mount.to_owned();
    let one: Watched = |mount| mount.join("policies.yaml");
    for (watched, missing) in [(whole, "holds no file"), (one, "cannot be read")] {
        let pki = Pki::new("cluster.local").unwrap();
        let mut mount = Mount::new(&[("policies.yaml", &caller("desk"))]);
        let watch = Directory::watch(watched(mount.path()));
        let mesh = build(app(&pki).config(watch)).await;
        assert!(names(&mesh, "sa/desk"));

        mount.swap(&[("policies.yaml", &caller("ward"))]);
        until(&mesh, "another caller", || names(&mesh, "sa/ward")).await;
        assert_eq!(generation(&mesh), "2");

        // In a row, each judged by what serves and not by what was refused before it.
        for (text, reason, piece) in [
            ("", RefusalReason::Damage, "held documents"),
            ("# later\n---\n", RefusalReason::Damage, "held documents"),
            ("kind: [", RefusalReason::Invalid, "policies.yaml"),
            (
                &*caller("desk").replace("ALLOW", "AUDIT"),
                RefusalReason::Opening,
                "ns[default]-policy[callers]",
            ),
            ("", RefusalReason::Damage, "held documents"),
        ] {
            mount.swap(&[("policies.yaml", text)]);
            until_refused(&mesh, reason, piece).await;
            assert!(names(&mesh, "sa/ward"), "{text}");
        }
        mount.swap(&[]);
        until_refused(&mesh, RefusalReason::Invalid, missing).await;
        assert!(names(&mesh, "sa/ward"));
        assert_eq!(generation(&mesh), "2");

        mount.swap(&[("policies.yaml", &caller("desk"))]);
        until(&mesh, "the last", || names(&mesh, "sa/desk")).await;
        assert_eq!(mesh.readiness().to_string(), "ready");
        assert_eq!(generation(&mesh), "3");
    }
}

/// The probe's reader sees what to do without the log.
#[tokio::test]
async fn readiness_says_how_to_accept_what_is_refused() {
    let pki = Pki::new("cluster.local").unwrap();
    let mut mount = Mount::new(&[("policies.yaml", &caller("desk"))]);
    let mesh = build(app(&pki).config(Directory::watch(mount.path()))).await;
    mount.swap(&[("policies.yaml", "")]);
    until_refused(&mesh, RefusalReason::Damage, "held documents").await;
    let line = mesh.readiness().to_string();
    for piece in ["ready; ", "refused (damage)", "restart", "OnOpening::Warn"] {
        assert!(line.contains(piece), "{piece}: {line}");
    }
    mount.swap(&[("policies.yaml", "kind: [")]);
    until_refused(&mesh, RefusalReason::Invalid, "policies.yaml").await;
    let line = mesh.readiness().to_string();
    assert!(
        line.contains("correct it") && !line.contains("restart"),
        "{line}"
    );
}

/// Two things that are followed at once: the one does not undo the other.
#[tokio::test]
async fn a_refusal_stands_while_the_identity_is_renewed() {
    let pki = Pki::new("cluster.local").unwrap();
    let identity = tempfile::tempdir().unwrap();
    let issue = || {
        let file = |name: &str| identity.path().join(name);
        let leaf = tower_mesh::testing::Leaf::workload("spiffe://cluster.local/ns/default/sa/app");
        let issued = pki.issue(&leaf).unwrap();
        fs::write(file("tls.crt"), issued.chain_pem()).unwrap();
        fs::write(file("tls.key"), issued.key_pem().as_bytes()).unwrap();
        fs::write(file("ca.crt"), pki.root_pem()).unwrap();
    };
    issue();
    let mut mount = Mount::new(&[("policies.yaml", &caller("desk"))]);
    let workload = Workload::new("default", "app").service("app", 8443);
    let builder = Mesh::builder(workload, Files::watch(identity.path()))
        .config(Directory::watch(mount.path()));
    let mesh = build(builder).await;
    let rotations = || lines(&mesh, "mesh_identity_rotations_total ", &[]).join("\n");
    mount.swap(&[("policies.yaml", "")]);
    until_refused(&mesh, RefusalReason::Damage, "held documents").await;
    let before = rotations();
    issue();
    until(&mesh, "another identity", || rotations() != before).await;
    assert_eq!(
        mesh.readiness().refused.unwrap().reason,
        RefusalReason::Damage
    );
    assert!(names(&mesh, "sa/desk"));
    assert_eq!(generation(&mesh), "1");
}
