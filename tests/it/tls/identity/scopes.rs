//! What PeerAuthentication says in each scope, as callers of a real port meet it.

use std::net::SocketAddr;

use axum::Router;
use axum::routing::any;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower_mesh::source::Fixed;
use tower_mesh::testing::Pki;
use tower_mesh::tls::{Connector, Destination, Protocol};
use tower_mesh::{Mesh, Workload};

use crate::support::mesh::build;
use crate::tls::support::{credentials, id};

/// From the widest to the narrowest.
const SCOPES: [&str; 4] = ["mesh", "namespace", "workload", "port"];

/// Each scope says a mode, UNSET, or nothing.
fn resources(said: [Option<&str>; 4], port: u16) -> String {
    let [mesh, namespace, workload, of_port] = said;
    let resource = |namespace: &str, name: &str, rest: String| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
             metadata: {{name: {name}, namespace: {namespace}}}\nspec: {{{rest}}}\n---\n"
        )
    };
    let mtls = |mode: &str| format!("mtls: {{mode: {mode}}}");
    let mut yaml = String::new();
    if let Some(mode) = mesh {
        yaml += &resource("istio-system", "mesh", mtls(mode));
    }
    if let Some(mode) = namespace {
        yaml += &resource("default", "namespace", mtls(mode));
    }
    if workload.is_some() || of_port.is_some() {
        let selector = "selector: {matchLabels: {app: app}}, ".to_owned();
        let own = mtls(workload.unwrap_or("UNSET"));
        let ports = of_port.map(|mode| format!(", portLevelMtls: {{{port}: {{mode: {mode}}}}}"));
        yaml += &resource(
            "default",
            "own",
            selector + &own + &ports.unwrap_or_default(),
        );
    }
    yaml
}

/// Whether it answers in plaintext, and over mutual TLS.
async fn answers(pki: &Pki, address: SocketAddr) -> (bool, bool) {
    const QUESTION: &[u8] = b"GET / HTTP/1.1\r\nhost: app\r\nconnection: close\r\n\r\n";
    let mut answer = Vec::new();
    let mut plaintext = TcpStream::connect(address).await.unwrap();
    let _ = plaintext.write_all(QUESTION).await;
    let _ = plaintext.read_to_end(&mut answer).await;
    let in_plaintext = answer.starts_with(b"HTTP/1.1 200");

    let expected = id("spiffe://cluster.local/ns/default/sa/app");
    let destination = Destination::new([expected], "app", Protocol::Http1).unwrap();
    let connector = Connector::new(credentials(pki, "desk"));
    let Ok((mut stream, _)) = connector.connect(address, &destination).await else {
        return (in_plaintext, false);
    };
    let mut answer = Vec::new();
    stream.write_all(QUESTION).await.unwrap();
    let _ = stream.read_to_end(&mut answer).await;
    (in_plaintext, answer.starts_with(b"HTTP/1.1 200"))
}

/// M-24: in every scope every mode counts, against another one in each wider scope and through UNSET in each narrower one.
#[tokio::test]
async fn the_narrowest_mode_that_is_set_is_met_at_the_port() {
    let pki = Pki::new("cluster.local").unwrap();
    for (scope, name) in SCOPES.into_iter().enumerate() {
        for (mode, other, met) in [
            ("DISABLE", "STRICT", (true, false)),
            ("PERMISSIVE", "STRICT", (true, true)),
            ("STRICT", "DISABLE", (false, true)),
        ] {
            let mut said = [Some("UNSET"); 4];
            said[..scope].fill(Some(other));
            said[scope] = Some(mode);
            let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = socket.local_addr().unwrap();
            let workload = Workload::new("default", "app")
                .label("app", "app")
                .service("app", address.port());
            let yaml = resources(said, address.port());
            let builder = Mesh::builder(workload, pki.identity("default", "app").unwrap())
                .config(Fixed::yaml("modes.yaml", yaml));
            let mesh = build(builder).await;
            let app = Router::new().fallback(any(|| async { "hello" }));
            let serving = tokio::spawn(async move { mesh.serve_on(socket, app).await });
            assert_eq!(answers(&pki, address).await, met, "{mode} of the {name}");
            serving.abort();
        }
    }
}
