//! Connections that are there before the first question.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::timeout;
use tower_mesh::mesh::ExternalHost;
use tower_mesh::source::{Fixed, channel};
use tower_mesh::testing::Pki;

use crate::support::mesh::{app, build, policy};

const PATIENCE: Duration = Duration::from_secs(20);

const PROVIDER: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    extensionProviders:
    - name: asked
      envoyExtAuthzGrpc: {service: server.platform, port: 9000, timeout: 1s}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: asks, namespace: default}
spec: {action: CUSTOM, provider: {name: asked}, rules: [{}]}
"#;

const LIMIT: &str = r#"
apiVersion: mesh.tower/v1
kind: RateLimit
metadata: {name: limit, namespace: default}
spec:
  service: {host: server.platform, port: 9000, domain: d}
  rateLimits: [{actions: [{method: {}}]}]
"#;

#[tokio::test]
async fn a_mesh_connects_to_providers_and_limit_services_when_it_is_built() {
    for yaml in [PROVIDER, LIMIT] {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = ExternalHost::plaintext().at([server.local_addr().unwrap()]);
        let pki = Pki::new("cluster.local").unwrap();
        let builder = app(&pki).config(Fixed::yaml("asks.yaml", yaml));
        let _mesh = build(builder.outside("server.platform:9000", here)).await;
        let connected = timeout(PATIENCE, server.accept()).await;
        connected.expect("nobody connects").unwrap();
    }
}

#[tokio::test]
async fn a_mesh_connects_to_no_provider_of_a_configuration_that_it_refuses() {
    let refused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let used = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = |server: &TcpListener| {
        let address = server.local_addr().unwrap();
        ExternalHost::plaintext().at([address])
    };
    let load = |yaml: &str| Fixed::yaml("asks.yaml", yaml).load("default").unwrap();
    let closed = policy(
        "deny",
        "DENY",
        "[{to: [{operation: {paths: ['/closed']}}]}]",
    );
    let (sender, channel) = channel(load(&closed));
    let builder = app(&Pki::new("cluster.local").unwrap()).config(channel);
    let builder = builder.outside("server.platform:9000", at(&refused));
    let _mesh = build(builder.outside("other.platform:9000", at(&used))).await;
    // Without the DENY it opens the workload.
    sender.send(load(PROVIDER)).await.unwrap_err();
    let other = PROVIDER.replace("server.platform", "other.platform");
    let good = format!("{other}---\n{closed}");
    sender.send(load(&good)).await.unwrap();
    let connected = timeout(PATIENCE, used.accept()).await;
    connected.expect("nobody connects").unwrap();
    let connected = timeout(Duration::ZERO, refused.accept()).await;
    assert!(connected.is_err(), "the mesh connects to {connected:?}");
}
