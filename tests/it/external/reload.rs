//! Configuration that is replaced while questions are out.

use std::sync::Arc;

use tower_mesh::mesh::ExternalHost;
use tower_mesh::source::{Directory, Watch};
use tower_mesh::testing::Pki;

use super::support::{Kind, Stub, Ward, ask_all, mesh_config, status};
use crate::support::mesh::{pass_until, policy, write};

/// The ConfigMap in which Istio keeps its MeshConfig.
fn config_map(mesh_config: &str) -> String {
    let indented: String = mesh_config
        .lines()
        .map(|line| format!("    {line}\n"))
        .collect();
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  mesh: |-\n{indented}---\n"
    )
}

#[tokio::test]
async fn one_generation_judges_a_request_and_a_provider_that_stays_keeps_its_counts() {
    let directory = tempfile::tempdir().unwrap();
    let mut stub = Stub::new().await;
    // Longer than the seconds that pass until the files are read.
    let mesh_config = config_map(&mesh_config(Kind::Grpc, ", timeout: 100000s"));
    let asked_about = ask_all() + &mesh_config;
    write(directory.path(), &asked_about);
    let address = stub.address;
    let config = Directory::new(directory.path());
    let ward = Ward::with(Arc::new(Pki::new("cluster.local").unwrap()), |builder| {
        builder
            .outside("authz.default", ExternalHost::plaintext().at([address]))
            .config(Watch::new(config))
    })
    .await;
    let mut caller = ward.caller().await;
    let waiting = caller.get("/a");
    let asked = stub.next().await;
    // Now nothing is allowed any more.
    let closed = asked_about + &policy("deny", "DENY", "[{}]");
    write(directory.path(), &closed);
    pass_until("the new rules", || ward.mesh.readiness().generation > 1).await;
    let later = caller.get("/a");
    let next = stub.next().await;
    asked.answer(Kind::Grpc.yes());
    assert_eq!(status(waiting).await, 200, "the rules from before");
    next.answer(Kind::Grpc.yes());
    assert_eq!(status(later).await, 403, "the new rules");
    assert_eq!(ward.counted("allowed"), 2);
}
