//! `tower-mesh pki`: what it writes is what a mesh takes, and it overwrites nothing that is not its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use axum::Router;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tower_mesh::mesh::ClientBody;
use tower_mesh::testing::Pki;
use tower_mesh::tls::{Credentials, Files, Settings};
use tower_mesh::{Mesh, Peer, Workload};

use crate::program::{run, text};

/// A directory that does not exist yet, in one that is gone after the test.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn dir(&self) -> PathBuf {
        self.0.path().join("certs")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// What a run says on stdout, with `DIR` for where it writes.
    fn make(&self, words: &[&str]) -> String {
        let (code, out, err) = self.run(words);
        assert_eq!((code, err.as_str()), (0, ""), "{words:?}");
        out
    }

    /// What a run says that fails.
    fn refused(&self, words: &[&str]) -> String {
        let (code, out, err) = self.run(words);
        assert_eq!((code, out.as_str()), (2, ""), "{words:?}: {err}");
        err
    }

    fn run(&self, words: &[&str]) -> (i32, String, String) {
        let dir = self.dir();
        let dir = dir.to_str().unwrap();
        let output = run(&[&["pki", dir], words].concat(), "");
        let said = |bytes: &[u8]| text(bytes).replace(dir, "DIR");
        let code = output.status.code().unwrap();
        (code, said(&output.stdout), said(&output.stderr))
    }
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).unwrap().permissions().mode() & 0o777
}

#[test]
fn it_says_what_it_wrote_and_the_line_that_uses_it() {
    let place = Place::new();
    assert_eq!(
        place.make(&["default/patients", "clinic/check-in"]),
        "wrote DIR/ca.crt and DIR/ca.key: a root of cluster.local, good for 10 years\n\
         wrote DIR/default/patients/{tls.crt,tls.key,ca.crt}: spiffe://cluster.local/ns/default/sa/patients, good for 30 days\n\
         wrote DIR/clinic/check-in/{tls.crt,tls.key,ca.crt}: spiffe://cluster.local/ns/clinic/sa/check-in, good for 30 days\n\
         \n\
         In each workload:\n    \
         Mesh::builder(workload, tls::Files::watch(\"DIR/default/patients\"))\n    \
         Mesh::builder(workload, tls::Files::watch(\"DIR/clinic/check-in\"))\n"
    );
    for key in ["ca.key", "default/patients/tls.key"] {
        assert_eq!(mode(&place.file(key)), 0o600, "{key}");
    }
    // Nothing is left of how it was written.
    let names = fs::read_dir(place.file("default/patients")).unwrap();
    assert_eq!(names.count(), 3);
}

#[tokio::test]
async fn two_meshes_talk_with_what_it_wrote() {
    let place = Place::new();
    place.make(&["default/patients", "default/check-in", "--days", "1"]);
    let files = |name: &str| Files::watch(place.file(name)).strict();
    let workload = Workload::new("default", "patients");
    let patients = Mesh::builder(workload, files("default/patients"));
    let (patients, driver) = patients.build().await.unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let app = Router::new().fallback(|peer: Peer| async move { format!("{:?}", peer.principal()) });
    let serving = tokio::spawn(async move {
        tokio::select! {
            served = patients.serve_on(socket, app) => drop(served),
            () = driver.run() => {}
        }
    });
    let id: tower_mesh::identity::SpiffeId = "spiffe://cluster.local/ns/default/sa/patients"
        .parse()
        .unwrap();
    let (desk, _driver) = Mesh::builder(
        Workload::new("default", "check-in"),
        files("default/check-in"),
    )
    .upstream("patients.default", [address], [id])
    .build()
    .await
    .unwrap();
    let request = Request::get("http://patients.default/").body(ClientBody::empty());
    let response = desk.client().request(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(&body[..], b"Some(\"cluster.local/ns/default/sa/check-in\")");
    serving.abort();
}

/// A process that watches the directory goes on with the next certificate, under the same root.
#[tokio::test]
async fn run_again_it_keeps_the_root_and_renews_the_leaves() {
    let place = Place::new();
    let words = ["default/patients"];
    place.make(&words);
    let root = fs::read(place.file("ca.crt")).unwrap();
    let files = || Files::watch(place.file("default/patients"));
    let first = files().load().await.unwrap();
    let held = Credentials::new(&first, Settings::default()).unwrap();

    let again = place.make(&["default/patients", "default/new", "--days", "31"]);
    assert!(!again.contains("a root of"), "{again}");
    assert_eq!(fs::read(place.file("ca.crt")).unwrap(), root);
    let next = files().load().await.unwrap();
    assert!(held.replace(&next).unwrap());
    assert!(next.svid().not_after() > first.svid().not_after());
    let other = Files::watch(place.file("default/new")).load().await;
    assert_eq!(other.unwrap().bundles(), first.bundles());
}

#[test]
fn it_overwrites_no_root_and_no_certificate_of_another_hand() {
    let foreign = Pki::new("cluster.local").unwrap();
    let place = Place::new();
    let words = ["default/patients"];
    place.make(&words);

    // Of the same directory for another trust domain.
    let other = place.refused(&["default/patients", "--trust-domain", "partner.example"]);
    assert_eq!(
        other,
        "error: DIR/ca.crt and DIR/ca.key are not the root that `tower-mesh pki` makes for trust domain partner.example: \
         the root has another name or another key; nothing was written: choose another directory, or move those two away\n"
    );

    // A workload's directory that somebody else fills.
    fs::create_dir_all(place.file("default/theirs")).unwrap();
    fs::write(place.file("default/theirs/ca.crt"), foreign.root_pem()).unwrap();
    assert_eq!(
        place.refused(&["default/new", "default/theirs"]),
        "error: DIR/default/theirs/ca.crt is not of this root; nothing was written: choose another directory, or move it away\n"
    );
    assert!(!place.file("default/new").exists());

    // A root of another hand, in each state that it may be in.
    let key = fs::read_to_string(place.file("ca.key")).unwrap();
    for (certificate, key, said) in [
        (
            Some(foreign.root_pem()),
            Some(key.clone()),
            "are not the root that",
        ),
        (
            Some(foreign.root_pem()),
            Some("garbage".into()),
            "are not the root that",
        ),
        (
            Some("garbage".into()),
            Some(key.clone()),
            "are not the root that",
        ),
        (
            Some(foreign.root_pem()),
            None,
            "DIR/ca.crt is there without DIR/ca.key",
        ),
        (None, Some(key), "DIR/ca.key is there without DIR/ca.crt"),
    ] {
        let place = Place::new();
        fs::create_dir(place.dir()).unwrap();
        for (name, text) in [("ca.crt", &certificate), ("ca.key", &key)] {
            if let Some(text) = text {
                fs::write(place.file(name), text).unwrap();
                let mode = fs::Permissions::from_mode(0o600);
                fs::set_permissions(place.file(name), mode).unwrap();
            }
        }
        let error = place.refused(&words);
        assert!(
            error.contains(said) && error.contains("nothing was written"),
            "{error}"
        );
        for (name, text) in [("ca.crt", certificate), ("ca.key", key)] {
            assert_eq!(fs::read_to_string(place.file(name)).ok(), text, "{name}");
        }
        assert!(!place.file("default").exists());
    }
}

#[test]
fn what_cannot_be_done_is_said_and_nothing_is_written() {
    for (words, said) in [
        (&["patients"][..], "write NAMESPACE/SERVICE-ACCOUNT"),
        (&["a/b/c"], "write NAMESPACE/SERVICE-ACCOUNT"),
        (
            &["default/.."],
            "error: `default/..` cannot name a workload: a SPIFFE id's path segments",
        ),
        (
            &["default/ok", "../x"],
            "error: `../x` cannot name a workload: a SPIFFE id's path segments",
        ),
        (
            &["default/p q"],
            "error: `default/p q` cannot name a workload: a SPIFFE id's path segments",
        ),
        (&["default/patients", "--days", "0"], "0 is not in 1..=365"),
        (
            &["default/patients", "--days", "366"],
            "366 is not in 1..=365",
        ),
        (
            &["default/patients", "--trust-domain", "Cluster"],
            "a trust domain is 1 to 255 characters",
        ),
        (&[], "NS/SA"),
        (
            &["default/ok", &format!("{}/x", "x".repeat(300))],
            "Kubernetes knows 253 at most; nothing was written",
        ),
        (
            &["ca.key/x"],
            "`ca.key` cannot name a workload here, as the root's file has that name",
        ),
    ] {
        let place = Place::new();
        let error = place.refused(words);
        assert!(error.contains(said), "{words:?}: {error}");
        assert!(!place.dir().exists(), "{words:?}");
    }
}

#[test]
fn a_directory_that_everybody_may_write_to_is_told() {
    let place = Place::new();
    place.make(&["default/patients"]);
    let dir = place.file("default/patients");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    let (code, _, error) = place.run(&["default/patients"]);
    assert_eq!(code, 2);
    assert!(
        error.contains("everybody may write to the private key's directory"),
        "{error}"
    );
}

/// Whatever the umask is, only the owner may write where keys are.
#[test]
fn directories_are_the_owners_alone_under_an_open_umask() {
    let place = Place::new();
    let script = r#"umask 000; exec "$0" pki "$1" default/patients"#;
    let output = std::process::Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_tower-mesh")])
        .arg(place.dir())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    for dir in ["", "default", "default/patients"] {
        assert_eq!(mode(&place.file(dir)), 0o755, "{dir}");
    }
    for key in ["ca.key", "default/patients/tls.key"] {
        assert_eq!(mode(&place.file(key)), 0o600, "{key}");
    }
}

/// Runs at the same time in an empty directory leave one root, and no certificate of another.
#[test]
fn first_runs_at_the_same_time_make_one_root() {
    for _ in 0..4 {
        let place = Place::new();
        let names: Vec<_> = (0..6).map(|index| format!("default/w{index}")).collect();
        let runs = names.iter().map(|name| {
            let mut run = std::process::Command::new(env!("CARGO_BIN_EXE_tower-mesh"));
            run.arg("pki").arg(place.dir()).arg(name);
            run.stdout(std::process::Stdio::null());
            run.stderr(std::process::Stdio::null());
            run.spawn().unwrap()
        });
        let runs: Vec<_> = runs.collect();
        for mut run in runs {
            assert!(matches!(run.wait().unwrap().code(), Some(0 | 2)));
        }
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let again = place.make(&names);
        assert!(!again.contains("a root of"), "{again}");
    }
}

/// The root's key is kept as a workload's is.
#[test]
fn a_root_that_others_may_take_is_refused() {
    let place = Place::new();
    fs::create_dir(place.dir()).unwrap();
    let set = |file: &Path, mode| {
        fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
    };
    set(&place.dir(), 0o777);
    assert_eq!(
        place.refused(&["default/patients"]),
        "error: everybody may write to DIR, where the root's key lies; nothing was written: `chmod o-w` it\n"
    );
    assert_eq!(fs::read_dir(place.dir()).unwrap().count(), 0);
    set(&place.dir(), 0o1777);
    place.make(&["default/patients"]);
    set(&place.file("default"), 0o777);
    assert_eq!(
        place.refused(&["default/patients"]),
        "error: everybody may write to DIR/default, where the key of a workload lies; nothing was written: `chmod o-w` it\n"
    );
    set(&place.file("default"), 0o755);
    set(&place.file("ca.key"), 0o644);
    let error = place.refused(&["default/new"]);
    assert!(
        error.starts_with(
            "error: everybody may read DIR/ca.key, the root's key; nothing was written"
        ),
        "{error}"
    );
    assert!(!place.file("default/new").exists());

    let place = Place::new();
    fs::create_dir(place.dir()).unwrap();
    std::os::unix::fs::symlink("/nowhere/at/all", place.file("ca.key")).unwrap();
    assert_eq!(
        place.refused(&["default/patients"]),
        "error: DIR/ca.key is a link that leads nowhere; nothing was written: move it away\n"
    );
}
