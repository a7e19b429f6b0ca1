//! h2spec, the conformance suite of HTTP/2, of which the mesh bounds and ends what hyper speaks.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use tower_mesh::MeshBuilder;
use tower_mesh::testing::{Leaf, Pki};
use tower_mesh::tls::Mode;

use crate::site::Site;
use crate::tool;

/// What h2spec says of it in the end, and the cases that failed.
async fn judge(
    options: &[&str],
    mesh: impl FnOnce(MeshBuilder) -> MeshBuilder,
) -> Option<Vec<String>> {
    let program = tool::find("h2spec")?;
    let site = Site::with(mesh).await;
    let port = site.address.port().to_string();
    let mut arguments = vec!["--host", "127.0.0.1", "--port", &port, "--timeout", "5"];
    arguments.extend_from_slice(options);
    arguments.extend_from_slice(&["generic", "http2", "hpack"]);
    let said = tool::run(&program, &arguments, "").await;
    let total = |line: &&str| line.contains(" tests, ");
    let count = said.text.lines().find(total).unwrap_or(&said.text);
    assert!(count.starts_with("145 tests"), "{count}");
    let (_, failures) = said.text.split_once("Failures:").unwrap_or_default();
    let failed = failures.lines().filter(|line| line.contains('×'));
    Some(failed.map(|line| line.trim().to_owned()).collect())
}

/// The suite has no certificate to show, so it meets the application's own TLS.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h2spec_finds_nothing_where_alpn_settles_the_version() {
    let authority = Pki::new("public").unwrap();
    let issued = authority
        .issue(&Leaf::without_uri().dns("localhost"))
        .unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(issued.chain().to_vec(), issued.key())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let mesh = |builder: MeshBuilder| {
        builder
            .mode(Mode::Permissive)
            .listener(|listener| listener.own_tls(Arc::new(config)))
    };
    if let Some(failed) = judge(&["--tls", "--insecure"], mesh).await {
        assert_eq!(failed, [""; 0]);
    }
}

/// Where the first bytes decide, what is no preface is HTTP/1's, and is answered in its words before the connection ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h2spec_finds_only_an_answer_in_http1_where_the_first_bytes_do() {
    let failed = judge(&[], |builder| builder.danger().mode(Mode::Disable)).await;
    if let Some(failed) = failed {
        assert_eq!(failed, ["× 2: Sends invalid connection preface"]);
    }
}
