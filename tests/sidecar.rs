//! The sidecar example as its users run it: a process in front of an application that knows nothing of meshes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use axum::Router;
use axum::http::{Method, Uri};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower_mesh::identity::SpiffeId;
use tower_mesh::testing::{Leaf, Pki};
use tower_mesh::{Mesh, Workload};

const POLICY: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: front, namespace: default}
spec:
  rules:
  - to: [{operation: {methods: [GET], paths: [/open, '/open/*']}}]
  - from: [{source: {principals: [cluster.local/ns/default/sa/desk]}}]
    to: [{operation: {paths: [/closed]}}]
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guards_a_plaintext_application_by_path() {
    let directory = tempfile::tempdir().unwrap();
    let sidecar = Sidecar::start(directory.path(), application().await, &[]);
    assert_eq!(get(sidecar.address, "/open").await, "200 GET /open");
    // Policy and application see the same path, whatever was sent.
    assert_eq!(get(sidecar.address, "/x/../open").await, "200 GET /open");
    assert_eq!(
        get(sidecar.address, "/open/../closed").await,
        "403 RBAC: access denied"
    );
    assert_eq!(sidecar.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn says_503_when_the_application_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let sidecar = Sidecar::start(directory.path(), nobody, &[]);
    assert!(get(sidecar.address, "/open").await.starts_with("503"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn knows_its_callers_by_their_certificates() {
    let directory = tempfile::tempdir().unwrap();
    let pki = Pki::new("cluster.local").unwrap();
    let id = "spiffe://cluster.local/ns/default/sa/front";
    let issued = pki.issue(&Leaf::workload(id)).unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (cert, key) = (
        file("tls.crt", &issued.chain_pem()),
        file("tls.key", &issued.key_pem()),
    );
    let ca = file("ca.crt", &pki.root_pem());
    let files = [
        "--cert", &cert, "--key", &key, "--ca", &ca, "--mode", "strict",
    ];
    let sidecar = Sidecar::start(directory.path(), application().await, &files);

    for (caller, expected) in [("desk", 200), ("other", 403)] {
        let (mesh, driver) = Mesh::builder(Workload::new("default", caller))
            .identity(pki.identity("default", caller).unwrap())
            .upstream(
                "front.default",
                [sidecar.address],
                [SpiffeId::new(id).unwrap()],
            )
            .build()
            .await
            .unwrap();
        tokio::spawn(driver.run());
        let response = mesh
            .client()
            .get("http://front.default/closed")
            .await
            .unwrap();
        assert_eq!(response.status(), expected, "{caller}");
        response.into_body().collect().await.unwrap();
    }
    assert_eq!(
        get(sidecar.address, "/open").await,
        "",
        "plaintext to a STRICT port"
    );
}

#[test]
fn refuses_to_start_on_a_policy_with_a_typo() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("policy.yaml");
    std::fs::write(&config, POLICY.replace("principals", "principles")).unwrap();
    let output = command(&config, "127.0.0.1:1".parse().unwrap())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        told.contains("policy.yaml:8:") && told.contains("principles"),
        "{told}"
    );
}

/// A process of the example; ended when it is dropped.
struct Sidecar {
    process: Child,
    address: SocketAddr,
}

impl Sidecar {
    fn start(directory: &Path, upstream: SocketAddr, more: &[&str]) -> Self {
        let config = directory.join("policy.yaml");
        std::fs::write(&config, POLICY).unwrap();
        let mut process = command(&config, upstream)
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .trim()
            .strip_prefix("listening ")
            .unwrap_or_else(|| panic!("printed {line:?}"));
        let address = address.parse().unwrap();
        Self { process, address }
    }

    /// Asks it to end, and says with which code it did.
    fn terminate(mut self) -> Option<i32> {
        let id = self.process.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &id])
                .status()
                .unwrap()
                .success()
        );
        self.process.wait().unwrap().code()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(config: &Path, upstream: SocketAddr) -> Command {
    let mut command = Command::new(binary());
    command
        .args([
            "--listen",
            "127.0.0.1:0",
            "--upstream",
            &upstream.to_string(),
            "--workload",
            "default/front",
        ])
        .arg("--config")
        .arg(config);
    command
}

/// `cargo test` builds the examples, and puts them beside the tests.
fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let binary = test
        .parent()
        .unwrap()
        .with_file_name("examples")
        .join("sidecar");
    assert!(
        binary.exists(),
        "build it first: cargo build --example sidecar"
    );
    binary
}

async fn application() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app: Router =
        Router::new().fallback(|method: Method, uri: Uri| async move { format!("{method} {uri}") });
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// Status and body of a plain HTTP/1.1 call; empty when there is no answer.
async fn get(address: SocketAddr, target: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nhost: front\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A connection that is cut is an answer, too.
    let _ = stream.read_to_end(&mut answer).await;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1).unwrap_or_default().to_owned();
    let body = text
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned())
        .unwrap_or_default();
    format!("{status} {body}").trim().to_owned()
}
