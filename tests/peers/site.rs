//! A workload of ours that tells each caller what it knows of it, and the files that callers need.

use std::net::SocketAddr;
use std::path::Path;

use axum::Router;
use axum::body::Bytes;
use http::Version;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower_mesh::context::Peer;
use tower_mesh::testing::Pki;
use tower_mesh::tls::Identity;
use tower_mesh::{Mesh, MeshBuilder, Workload};

pub(crate) const OURS: &str = "spiffe://cluster.local/ns/default/sa/ours";
pub(crate) const THEIRS: &str = "spiffe://cluster.local/ns/default/sa/theirs";

/// The workload; it ends with the value.
pub(crate) struct Site {
    pub(crate) pki: Pki,
    /// An authority that the workload does not trust.
    pub(crate) foreign: Pki,
    pub(crate) address: SocketAddr,
    files: TempDir,
    serving: JoinHandle<()>,
}

impl Site {
    pub(crate) async fn start() -> Self {
        Self::with(|builder| builder).await
    }

    /// With options of the mesh's.
    pub(crate) async fn with(options: impl FnOnce(MeshBuilder) -> MeshBuilder) -> Self {
        let pki = Pki::new("cluster.local").unwrap();
        let identity = pki.identity("default", "ours").unwrap();
        Self::new(pki, identity, options).await
    }

    /// With an identity of its own.
    pub(crate) async fn with_identity(identity: Identity) -> Self {
        let pki = Pki::new("cluster.local").unwrap();
        Self::new(pki, identity, |builder| builder).await
    }

    async fn new(
        pki: Pki,
        identity: Identity,
        options: impl FnOnce(MeshBuilder) -> MeshBuilder,
    ) -> Self {
        let foreign = Pki::new("cluster.local").unwrap();
        let files = TempDir::new().unwrap();
        write(files.path(), "theirs", &pki, THEIRS);
        write(files.path(), "foreign", &foreign, THEIRS);

        let builder = Mesh::builder(Workload::new("default", "ours"), identity);
        let (mesh, driver) = options(builder).build().await.unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let app = Router::new().fallback(facts);
        let serving = tokio::spawn(async move {
            tokio::select! {
                served = mesh.serve_on(socket, app) => drop(served.unwrap()),
                () = driver.run() => {}
            }
        });
        Self {
            pki,
            foreign,
            address,
            files,
            serving,
        }
    }

    /// A file of this name: `theirs` and `foreign`, with `.crt`, `.key` and, for the root, `.ca`.
    pub(crate) fn file(&self, name: &str) -> String {
        self.files.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn directory(&self) -> &Path {
        self.files.path()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn write(directory: &Path, name: &str, pki: &Pki, id: &str) {
    let issued = pki.issue(&tower_mesh::testing::Leaf::workload(id)).unwrap();
    let file = |end: &str| directory.join(format!("{name}.{end}"));
    std::fs::write(file("crt"), issued.chain_pem()).unwrap();
    std::fs::write(file("key"), issued.key_pem().as_bytes()).unwrap();
    std::fs::write(file("ca"), pki.root_pem()).unwrap();
}

/// Everything that the handshake proved, in one line; what the keys were agreed on with, in a header. The request is read to its end first.
async fn facts(
    version: Version,
    peer: Peer,
    _all: Bytes,
) -> ([(&'static str, &'static str); 1], String) {
    let Some(tls) = peer.tls_facts() else {
        return (
            [("x-key-exchange", "-")],
            format!("[{version:?} plaintext]"),
        );
    };
    let line = format!(
        "[{:?} {} {} alpn={} sni={}]",
        version,
        tls.version.unwrap_or("-"),
        peer.spiffe_id().map_or("-", |id| id.as_str()),
        String::from_utf8_lossy(tls.alpn.as_deref().unwrap_or(b"-")),
        tls.sni.as_deref().unwrap_or("-"),
    );
    ([("x-key-exchange", tls.key_exchange.unwrap_or("-"))], line)
}
