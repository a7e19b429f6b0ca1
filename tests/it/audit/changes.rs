//! Configuration, identity, start and stop.

use std::time::Duration;

use axum::Router;
use axum::routing::any;
use http::{Request, StatusCode};
use tower_mesh::audit::{Audit, Trail, Verify};
use tower_mesh::mesh::AuditedRoute;
use tower_mesh::source::{self, Fixed};
use tower_mesh::testing::{Issuer, JwksServer, Pki};
use tower_mesh::tls::{Credentials, Settings};
use tower_mesh::{Mesh, Workload};

use super::{Audited, PATIENCE, Records, rows};
use crate::support::mesh::{ISSUER, app, build, policy, serve, until};

#[tokio::test]
async fn each_change_of_configuration_is_recorded() {
    let pki = Pki::new("cluster.local").unwrap();
    let load = |text: String| Fixed::yaml("p.yaml", text).load("default").unwrap();
    let (one, two) = (policy("one", "DENY", "[{}]"), policy("two", "DENY", "[{}]"));
    let (sender, channel) = source::channel(load(one));
    let records = Records::default();
    let trail = records.trail();
    let builder = app(&pki).audit(|audit| audit.trail(trail)).config(channel);
    let mesh = build(builder).await;
    sender.send(load(two)).await.unwrap();
    // It would open the workload.
    sender.send(load(String::new())).await.unwrap_err();
    let config = records.of(&mesh, "config").await;
    let names = ["generation", "source", "result"];
    assert_eq!(
        rows(&config, &names),
        ["1,start,used", "2,change,used", "2,change,refused: opening"]
    );
    let hashes = rows(&config, &["old_hash", "hash"]);
    let (first, second) = (&config[0]["hash"], &config[1]["hash"]);
    assert_ne!(first, second);
    assert!(
        first.as_str().is_some_and(|hash| hash.len() == 64),
        "{hashes:?}"
    );
    assert_eq!(&config[1]["old_hash"], first);
    assert_eq!(&config[2]["hash"], second);
}

/// The keys of an issuer, when they are fetched first and when they are others.
#[tokio::test]
async fn each_change_of_an_issuers_keys_is_recorded() {
    let pki = Pki::new("cluster.local").unwrap();
    let (old, new) = (
        Issuer::es256(ISSUER),
        Issuer::es256(ISSUER).with_key_id("new"),
    );
    let server = JwksServer::start(&pki, "idp.test", &old).await.unwrap();
    let text = format!(
        "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {{name: users}}\n\
         spec: {{jwtRules: [{{issuer: '{ISSUER}', jwksUri: 'https://idp.test/keys?key=hunter2'}}]}}\n"
    );
    let (root, address) = (pki.root_pem(), server.address());
    let audited = Audited::new(
        Router::new().fallback(any(|| async { "ok" })),
        |audit| audit,
        |builder| {
            let builder = builder.config(Fixed::yaml("p.yaml", text));
            builder.tokens(|tokens| tokens.jwks_roots(root).resolve("idp.test:443", address))
        },
    )
    .await;
    let of_keys = async || {
        let mut config = audited.records.of(&audited.mesh, "config").await;
        config.retain(|one| one["source"].as_str().unwrap().starts_with("keys "));
        config
    };
    let first = of_keys().await;
    let names = ["source", "old_hash", "result"];
    assert_eq!(
        rows(&first, &names),
        ["keys https://idp.test/keys,none,used"]
    );
    server.answer(new.jwks());
    // A token of a key that is not there waits until the keys were fetched again.
    let token = new.token().subject("dr-7").sign();
    let request = Request::get("/").header("authorization", format!("Bearer {token}"));
    assert_eq!(audited.ask(request).await.0, StatusCode::OK);
    let second = of_keys().await;
    assert_eq!(second.len(), 2);
    assert_eq!(second[1]["old_hash"], first[0]["hash"]);
    assert_ne!(second[1]["hash"], first[0]["hash"]);
}

#[tokio::test]
async fn each_identity_is_recorded() {
    let pki = Pki::new("cluster.local").unwrap();
    let identity = |pki: &Pki| pki.identity("default", "app").unwrap();
    let credentials = Credentials::new(&identity(&pki), Settings::default()).unwrap();
    let records = Records::default();
    let trail = records.trail();
    let workload = Workload::new("default", "app");
    let builder = Mesh::builder(workload, credentials.clone()).audit(|audit| audit.trail(trail));
    let mesh = build(builder).await;
    // The driver is there.
    crate::support::mesh::settle().await;
    assert!(credentials.replace(&identity(&pki)).unwrap());
    until("the record", || {
        records.text().matches("\"type\":\"identity\"").count() == 2
    })
    .await;
    let identities = records.of(&mesh, "identity").await;
    let serials = rows(&identities, &["identity.serial"]);
    assert!(
        serials[0].len() > 8 && serials[0] != serials[1],
        "{serials:?}"
    );
}

/// The end of the last server ends the trail, which then proves itself whole.
#[tokio::test]
async fn the_trail_ends_with_the_last_server() {
    let pki = Pki::new("cluster.local").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let trail = Trail::folder(folder.path());
    let builder = app(&pki).audit(|audit| audit.trail(trail).route(AuditedRoute::new("/")));
    let mesh = build(builder).await;
    let served = serve(&mesh, Router::new()).await;
    mesh.shutdown(Duration::ZERO);
    served.serving.await.unwrap().unwrap();
    let report = Verify::new(folder.path()).run().unwrap();
    assert!(report.is_whole(), "{report}");
    let file = std::fs::read_dir(folder.path()).unwrap();
    let files = file.filter_map(|file| std::fs::read_to_string(file.unwrap().path()).ok());
    let text: String = files.collect();
    let last = text.lines().last().unwrap();
    assert!(last.contains("\"type\":\"stop\""), "{text}");
    assert!(text.contains("\"type\":\"start\""), "{text}");
}

/// An audit of the application's own outlives the mesh.
#[tokio::test]
async fn a_shared_audit_goes_on() {
    let pki = Pki::new("cluster.local").unwrap();
    let records = Records::default();
    let audit = Audit::builder().trail(records.trail()).start().unwrap();
    let shared = audit.clone();
    let mesh = build(app(&pki).audit(|audit| audit.shared(shared))).await;
    let served = serve(&mesh, Router::new()).await;
    mesh.shutdown(Duration::ZERO);
    served.serving.await.unwrap().unwrap();
    audit.submit(tower_mesh::audit::Event::application("after"));
    assert!(audit.flush(PATIENCE));
    assert!(records.text().contains("\"after\""));
    assert!(!records.text().contains("\"stop\""));
}
