//! What both sides say of a peer's mistakes, with the remedy.

use std::error::Error;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tower_mesh::identity::{SpiffeId, TrustDomain};
use tower_mesh::testing::{Authority, Leaf, Pki};
use tower_mesh::tls::{
    Acceptor, Connector, Credentials, Destination, Files, Fixed, HandshakeError, Identity,
    Protocol, Rotation, Settings, SourceError, TrustBundles, X509Svid,
};

use crate::tls::support::{accept, chain, client_config, connect, id, server_config};

use super::remedies::{OURS, PEER, World, hours, leaf, levels};

/// Certificates that a peer shows, with what both sides say of them.
#[tokio::test]
async fn each_mistake_of_a_peer_is_told_with_its_remedy_both_ways() {
    let world = World::new();
    let identity = Identity::new(
        world.issue(&leaf(OURS)).svid().unwrap(),
        world.pki.bundles().unwrap(),
    );
    let ours = Credentials::new(&identity, Settings::default()).unwrap();
    let long = "x".repeat(300);
    let foreign = Pki::new("elsewhere").unwrap();
    let stranger = world.pki.intermediate(&Authority::new(long)).unwrap();
    let below_stranger = stranger.issue(&leaf(PEER)).unwrap();
    let alone = (below_stranger.chain()[..1].to_vec(), below_stranger.key());
    let rows = [
        (
            chain(&world.issue(&Leaf::without_uri())),
            "the leaf has no URI name, and SPIFFE asks for one: \
             add `subjectAltName=URI:spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT`"
                .to_owned(),
        ),
        (
            chain(&world.issue(&leaf(PEER).without_key_usage())),
            format!(
                "{PEER}: the leaf lacks keyUsage, which SPIFFE asks for: add `keyUsage=critical,digitalSignature`"
            ),
        ),
        (
            chain(&world.issue(&leaf(PEER).any_purpose())),
            format!(
                "{PEER}: the leaf's extendedKeyUsage lacks serverAuth and clientAuth, and a workload is both server and client: \
                 write `extendedKeyUsage=serverAuth,clientAuth`"
            ),
        ),
        (
            chain(&foreign.issue(&leaf("spiffe://elsewhere/ns/a/sa/b")).unwrap()),
            "spiffe://elsewhere/ns/a/sa/b: no roots are held for trust domain elsewhere, only for td: \
             give its roots, as `tls::Files::trust` does, or use a certificate of a trust domain that has some"
                .to_owned(),
        ),
        (
            chain(&world.other.issue(&leaf(PEER)).unwrap()),
            format!(
                "{PEER}: it was not signed by the only root of trust domain td: \
                 a root of its issuer's name, \"O=td, CN=root\", is there with another key; \
                 issue the certificate by that root, or add the root that signed it"
            ),
        ),
        // What a peer makes long stays short in a log.
        (
            alone,
            format!(
                "{PEER}: it was not signed by the only root of trust domain td: \
                 its issuer \"O=td, CN={}...\" is neither a root nor in the chain; \
                 put the missing intermediate after the leaf, or add the root that signed it",
                "x".repeat(111)
            ),
        ),
    ];
    for (shown, said) in rows {
        let copy = || (shown.0.clone(), shown.1.clone_key());
        let at_server = accept(&Acceptor::new(ours.clone()), client_config(Some(copy()))).await;
        let connector = Connector::new(ours.clone());
        let at_client = connect(&connector, server_config(copy()), &[id(PEER)]).await;
        for error in [at_server.unwrap_err(), at_client.unwrap_err()] {
            assert_eq!(levels(&error), [format!("TLS handshake failed: {said}")]);
        }
    }
}

#[tokio::test]
async fn another_server_than_the_expected_is_told_with_both_ids() {
    let world = World::new();
    let ours = Identity::new(
        world.issue(&leaf(OURS)).svid().unwrap(),
        world.pki.bundles().unwrap(),
    );
    let connector = Connector::new(Credentials::new(&ours, Settings::default()).unwrap());
    let ids = |count: usize| -> Vec<SpiffeId> {
        let name = |index| id(&format!("spiffe://td/ns/default/sa/n{index}"));
        (0..count).map(name).collect()
    };
    for (expected, said) in [
        (ids(1), "spiffe://td/ns/default/sa/n0"),
        (
            ids(2),
            "spiffe://td/ns/default/sa/n0 or spiffe://td/ns/default/sa/n1",
        ),
        (
            ids(6),
            "spiffe://td/ns/default/sa/n0, spiffe://td/ns/default/sa/n1, spiffe://td/ns/default/sa/n2, \
             spiffe://td/ns/default/sa/n3 or 2 more",
        ),
    ] {
        let shown = server_config(chain(&world.issue(&leaf(PEER))));
        let error = connect(&connector, shown, &expected).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "TLS handshake failed: expected {said}, got {PEER}: \
                 another workload answers at this address, or the id expected there is wrong"
            )
        );
    }
}

#[tokio::test]
async fn a_revoked_peer_and_a_list_that_has_ended_are_told_apart() {
    let world = World::new();
    let peer = world.issue(&leaf(PEER));
    let good = world.issue(&leaf(OURS));
    let current = SystemTime::now() + hours(5);
    for (revoked, next_update, said) in [
        (
            vec![&peer],
            current,
            "a certificate of the chain was revoked by its issuer: issue another",
        ),
        (
            vec![],
            SystemTime::now() - Duration::from_secs(60),
            "the revocation status of a certificate of the chain is unknown: \
             give a revocation list of each issuer that has not expired",
        ),
    ] {
        let list = world
            .pki
            .revocation_list_pem(&revoked, next_update)
            .unwrap();
        let bundles = world.pki.bundles().unwrap();
        let bundles = bundles.with_revoked_pem(world.pki.trust_domain(), list.as_bytes());
        let svid = if revoked.is_empty() { &peer } else { &good };
        let ours = Identity::new(svid.svid().unwrap(), bundles.unwrap());
        let error = match Credentials::new(&ours, Settings::default()) {
            Err(own) => own.to_string(),
            Ok(ours) => {
                let shown = client_config(Some(chain(&peer)));
                let refused = accept(&Acceptor::new(ours), shown).await.unwrap_err();
                refused.to_string().replace("TLS handshake failed: ", "")
            }
        };
        assert_eq!(error, format!("{PEER}: {said}"));
    }
}

/// What a client says first.
async fn refused_after(bytes: &'static [u8], acceptor: &Acceptor) -> HandshakeError {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = tokio::spawn(async move {
        let mut tcp = TcpStream::connect(address).await.unwrap();
        tcp.write_all(bytes).await.unwrap();
    });
    let (tcp, remote) = listener.accept().await.unwrap();
    let refused = acceptor.accept(tcp, remote, address).await;
    client.await.unwrap();
    refused.map(drop).unwrap_err()
}

#[tokio::test]
async fn who_shows_no_certificate_or_speaks_no_tls_is_told_what_to_do() {
    let pki = Pki::new("td").unwrap();
    let ours = pki.identity("default", "ours").unwrap();
    let acceptor = Acceptor::new(Credentials::new(&ours, Settings::default()).unwrap());
    let bare = accept(&acceptor, client_config(None)).await.unwrap_err();
    assert_eq!(
        bare.to_string(),
        "TLS handshake failed: the other side showed no certificate, and only callers with one are taken here: \
         give it one, or set the port's PeerAuthentication to PERMISSIVE"
    );
    let plaintext = refused_after(b"GET / HTTP/1.1\r\n\r\n", &acceptor).await;
    assert_eq!(
        plaintext.to_string(),
        "TLS handshake failed: plaintext on a port that takes mutual TLS alone: call it by TLS with a certificate, \
         or set the port's PeerAuthentication to PERMISSIVE"
    );
}

#[tokio::test]
async fn a_server_that_speaks_plaintext_is_told_as_such() {
    let pki = Pki::new("td").unwrap();
    let ours = pki.identity("default", "ours").unwrap();
    let connector = Connector::new(Credentials::new(&ours, Settings::default()).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let _ = tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        tcp
    });
    let destination = Destination::new([id(PEER)], "peer", Protocol::Either).unwrap();
    let error = connector.connect(address, &destination).await.unwrap_err();
    drop(server);
    assert_eq!(
        levels(&error),
        [
            "TLS handshake failed: the other side did not send TLS: does it speak plaintext on this port?"
        ]
    );
}

/// Every public error of these rooms, in each of its shapes: what one level says, no other repeats.
#[tokio::test]
async fn each_level_of_an_error_is_said_once() {
    let pki = Pki::new("td").unwrap();
    let world = World::new();
    let ours = pki.identity("default", "ours").unwrap();
    let credentials = Credentials::new(&ours, Settings::default()).unwrap();
    let (acceptor, connector) = (
        Acceptor::new(credentials.clone()),
        Connector::new(credentials),
    );
    let mut errors: Vec<Arc<dyn Error>> = Vec::new();

    let unreachable = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let destination = Destination::new([id(PEER)], "peer", Protocol::Either).unwrap();
        connector.connect(address, &destination).await.unwrap_err()
    };
    assert_eq!(levels(&unreachable).len(), 2, "{unreachable:?}");
    errors.push(Arc::new(unreachable));
    errors.push(Arc::new(refused_after(b"", &acceptor).await));
    errors.push(Arc::new(refused_after(b"\x16\x03\x01", &acceptor).await));
    errors.push(Arc::new(refused_after(b"garbage", &acceptor).await));
    let wrong = pki.issue(&Leaf::workload(PEER).client_only()).unwrap();
    let shown = client_config(Some(chain(&wrong)));
    errors.push(Arc::new(accept(&acceptor, shown).await.unwrap_err()));

    let identity = wrong.svid().unwrap_err();
    errors.push(Arc::new(identity));
    let identity = X509Svid::from_pem(b"", b"").unwrap_err();
    errors.push(Arc::new(identity.refusal().clone()));
    errors.push(Arc::new(SourceError::from(identity.clone())));
    errors.push(Arc::new(identity));
    let td = TrustDomain::new("td").unwrap();
    let bundles = TrustBundles::new();
    errors.push(Arc::new(bundles.with_pem(td, b"-----BEGIN").unwrap_err()));

    let directory = TempDir::new().unwrap();
    let file = |name: &str| directory.path().join(name);
    errors.push(Arc::new(
        Files::watch(directory.path()).load().await.unwrap_err(),
    ));
    fs::create_dir(file("tls.crt")).unwrap();
    errors.push(Arc::new(
        Files::watch(directory.path()).load().await.unwrap_err(),
    ));
    fs::remove_dir(file("tls.crt")).unwrap();
    let texts = world.texts(&leaf(OURS).ca());
    fs::write(file("tls.crt"), texts.chain).unwrap();
    fs::write(file("tls.key"), texts.key).unwrap();
    errors.push(Arc::new(
        Files::watch(directory.path()).load().await.unwrap_err(),
    ));
    let expired = world.issue(&Leaf::workload(OURS).expired()).svid().unwrap();
    let expired = Fixed::new(Identity::new(expired, world.pki.bundles().unwrap()));
    let started = Rotation::start(expired, Settings::default()).await;
    errors.push(Arc::new(started.map(drop).unwrap_err()));
    errors.push(Arc::new(SourceError::new("the agent is gone")));
    errors.push(Arc::new(SourceError::withdrawn()));
    let cause = std::io::Error::other("no route");
    let caused = SourceError::caused_by("the agent is gone", cause);
    assert_eq!(levels(&caused), ["the agent is gone", "no route"]);
    errors.push(Arc::new(caused));

    errors.push(Arc::new(SpiffeId::new("x").unwrap_err()));
    errors.push(Arc::new(TrustDomain::new("X").unwrap_err()));
    errors.push(Arc::new(wrong.svid().unwrap_err()));

    for error in &errors {
        let levels = levels(&**error);
        for pair in levels.windows(2) {
            assert!(!pair[0].contains(&pair[1]), "{levels:?}");
        }
        assert!(levels.iter().all(|level| !level.is_empty()), "{levels:?}");
        assert!(!levels[0].ends_with([':', ' ']), "{levels:?}");
    }
}
