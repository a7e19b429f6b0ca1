//! Identities that are replaced while they are in use.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};
use tower_mesh::identity::TrustDomain;
use tower_mesh::testing::{Leaf, Pki};
use tower_mesh::tls::{
    Acceptor, Clock, Connector, Credentials, Destination, Fixed, Identity, Listener, Protocol,
    Reason, Renewed, Rotation, Settings, TrustBundles,
};

use crate::tls::support::{accept, chain, client_config, connect, credentials, id, server_config};

const OURS: &str = "spiffe://td/ns/default/sa/ours";
const PEER: &str = "spiffe://td/ns/default/sa/peer";

fn both(old: &Pki, new: &Pki) -> TrustBundles {
    let roots = [old.root().clone(), new.root().clone()];
    let domain = TrustDomain::new("td").unwrap();
    TrustBundles::new().with(domain, roots).unwrap()
}

fn from(pki: &Pki, bundles: TrustBundles) -> Identity {
    let issued = pki.issue(&Leaf::workload(OURS)).unwrap();
    Identity::new(issued.svid().unwrap(), bundles)
}

/// M-40: a resumed session would skip the verifier.
#[tokio::test]
async fn a_root_taken_away_counts_for_a_client_that_was_here_before() {
    for version in [&TLS13, &TLS12] {
        let old = Pki::new("td").unwrap();
        let new = Pki::new("td").unwrap();
        let ours = credentials(&old, "ours");
        let acceptor = Acceptor::new(ours.clone());
        let shown = chain(&old.issue(&Leaf::workload(PEER)).unwrap());
        let mut client = client_config(Some(shown));
        // A client that would resume if it could.
        client = only(client, version);
        assert!(accept(&acceptor, client.clone()).await.is_ok());
        ours.replace(&from(&new, new.bundles().unwrap())).unwrap();
        let refused = accept(&acceptor, client).await.unwrap_err();
        assert_eq!(refused.reason(), Reason::UnknownIssuer, "{version:?}");
    }
}

/// The same client with one version only, and with its store of sessions.
fn only(client: ClientConfig, version: &'static rustls::SupportedProtocolVersion) -> ClientConfig {
    let mut limited = ClientConfig::builder_with_provider(crate::tls::support::provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(crate::tls::support::trust_anyone())
        .with_client_cert_resolver(Arc::clone(&client.client_auth_cert_resolver));
    limited.resumption = client.resumption;
    limited.alpn_protocols = client.alpn_protocols;
    limited
}

/// M-40, the client's half.
#[tokio::test]
async fn a_root_taken_away_counts_for_a_server_that_was_called_before() {
    let old = Pki::new("td").unwrap();
    let new = Pki::new("td").unwrap();
    let ours = credentials(&old, "ours");
    let connector = Connector::new(ours.clone());
    let server = server_config(chain(&old.issue(&Leaf::workload(PEER)).unwrap()));
    let expected = [id(PEER)];
    assert!(connect(&connector, server.clone(), &expected).await.is_ok());
    ours.replace(&from(&new, new.bundles().unwrap())).unwrap();
    let refused = connect(&connector, server, &expected).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::UnknownIssuer);
}

/// M-44
#[test]
fn an_identity_that_peers_would_refuse_is_not_put_to_use() {
    let pki = Pki::new("td").unwrap();
    let ours = credentials(&pki, "ours");
    let bundles = || pki.bundles().unwrap();
    let issue = |leaf: &Leaf| pki.issue(leaf).unwrap();
    let other_key = tower_mesh::tls::X509Svid::new(
        issue(&Leaf::workload(OURS)).chain().to_vec(),
        issue(&Leaf::workload(OURS)).key(),
    );
    let stranger = Pki::new("td").unwrap();
    let soon = SystemTime::now() + Duration::from_secs(60);
    let short = Leaf::workload(OURS).valid(SystemTime::now() - Duration::from_secs(60), soon);
    for (identity, reason) in [
        (
            Identity::new(other_key.unwrap(), bundles()),
            Reason::KeyMismatch,
        ),
        (
            Identity::new(issue(&Leaf::workload(PEER)).svid().unwrap(), bundles()),
            Reason::IdNotAllowed,
        ),
        (from(&stranger, bundles()), Reason::UnknownIssuer),
        (from(&pki, TrustBundles::new()), Reason::UntrustedDomain),
        (
            Identity::new(
                issue(&Leaf::workload(OURS).expired()).svid().unwrap(),
                stranger.bundles().unwrap(),
            ),
            Reason::Expired,
        ),
        (
            Identity::new(issue(&short).svid().unwrap(), bundles()),
            Reason::Expired,
        ),
    ] {
        let error = ours.replace(&identity).unwrap_err();
        assert_eq!(error.reason(), reason, "{error}");
    }
    assert_eq!(ours.generation(), 1, "the first one stays");
    assert_eq!(ours.replace(&from(&pki, bundles())), Ok(true));
    assert_eq!(ours.generation(), 2);
}

#[test]
fn after_a_withdrawal_one_that_ends_earlier_is_put_to_use() {
    let pki = Pki::new("td").unwrap();
    let ours = credentials(&pki, "ours");
    let now = SystemTime::now();
    let short = Leaf::workload(OURS).valid(now, now + Duration::from_secs(60));
    let short = pki.issue(&short).unwrap().svid().unwrap();
    let short = Identity::new(short, pki.bundles().unwrap());
    assert!(ours.replace(&short).is_err(), "while another is good");
    ours.withdraw();
    assert_eq!(ours.replace(&short), Ok(true));
    assert!(ours.is_valid());
}

#[test]
fn the_same_identity_again_is_no_change() {
    let pki = Pki::new("td").unwrap();
    let identity = pki.identity("default", "ours").unwrap();
    let ours = Credentials::new(&identity, Settings::default()).unwrap();
    assert_eq!(ours.replace(&identity), Ok(false));
    assert_eq!(ours.generation(), 1);
}

#[test]
fn a_first_identity_that_has_ended_is_refused() {
    let pki = Pki::new("td").unwrap();
    let ended = pki.issue(&Leaf::workload(OURS).expired()).unwrap();
    let identity = Identity::new(ended.svid().unwrap(), pki.bundles().unwrap());
    let error = Credentials::new(&identity, Settings::default()).unwrap_err();
    assert_eq!(error.reason(), Reason::Expired);
}

/// M-45, R-17, R-23: with its certificate ended a workload neither serves nor calls, and recovers by itself.
#[tokio::test]
async fn an_ended_identity_makes_no_handshake_until_there_is_another() {
    let ahead = Arc::new(AtomicU64::new(0));
    let offset = Arc::clone(&ahead);
    let clock = Clock::from_fn(move || {
        SystemTime::now() + Duration::from_secs(offset.load(Ordering::Relaxed))
    });
    let pki = Pki::new("td").unwrap();
    let ours = Credentials::new(
        &from(&pki, pki.bundles().unwrap()),
        Settings::default().clock(clock),
    )
    .unwrap();
    let long = |account: &str| {
        let now = SystemTime::now();
        let day = Duration::from_secs(24 * 3600);
        let uri = format!("spiffe://td/ns/default/sa/{account}");
        Leaf::workload(uri).valid(now - day, now + day)
    };
    let peer = || chain(&pki.issue(&long("peer")).unwrap());
    let acceptor = Acceptor::new(ours.clone());
    let connector = Connector::new(ours.clone());

    ahead.store(2 * 3600, Ordering::Relaxed);
    assert!(!ours.is_valid());
    let refused = accept(&acceptor, client_config(Some(peer()))).await;
    assert_eq!(refused.unwrap_err().reason(), Reason::OwnIdentityExpired);
    let expected = [id(PEER)];
    let refused = connect(&connector, server_config(peer()), &expected).await;
    assert_eq!(refused.unwrap_err().reason(), Reason::OwnIdentityExpired);

    let next = pki.issue(&long("ours")).unwrap().svid().unwrap();
    let next = Identity::new(next, pki.bundles().unwrap());
    assert_eq!(ours.replace(&next), Ok(true));
    assert!(accept(&acceptor, client_config(Some(peer()))).await.is_ok());
    let connected = connect(&connector, server_config(peer()), &expected).await;
    assert!(connected.is_ok());
}

/// M-48
#[tokio::test]
async fn new_root_then_new_leaf_then_old_root_out_breaks_no_call() {
    let old = Pki::new("td").unwrap();
    let new = Pki::new("td").unwrap();
    let server = credentials(&old, "ours");
    let client = {
        let identity = old.identity("default", "peer").unwrap();
        Credentials::new(&identity, Settings::default()).unwrap()
    };
    let leaf = |pki: &Pki, account: &str, bundles| {
        let uri = format!("spiffe://td/ns/default/sa/{account}");
        let svid = pki.issue(&Leaf::workload(uri)).unwrap().svid().unwrap();
        Identity::new(svid, bundles)
    };
    let overlap = || both(&old, &new);
    let only_new = || new.bundles().unwrap();
    call(&server, &client).await;
    server.replace(&leaf(&old, "ours", overlap())).unwrap();
    call(&server, &client).await;
    client.replace(&leaf(&old, "peer", overlap())).unwrap();
    call(&server, &client).await;
    server.replace(&leaf(&new, "ours", overlap())).unwrap();
    call(&server, &client).await;
    client.replace(&leaf(&new, "peer", overlap())).unwrap();
    call(&server, &client).await;
    client.replace(&leaf(&new, "peer", only_new())).unwrap();
    call(&server, &client).await;
    server.replace(&leaf(&new, "ours", only_new())).unwrap();
    call(&server, &client).await;
}

async fn call(server: &Credentials, client: &Credentials) {
    let acceptor = Acceptor::new(server.clone());
    let mut listener = Listener::bind("127.0.0.1:0", acceptor).await.unwrap();
    let destination =
        Destination::new([server.spiffe_id()], "ours.default", Protocol::Http2).unwrap();
    let connector = Connector::new(client.clone());
    let address = listener.local_addr();
    let (_, connected) = tokio::join!(listener.accept(), connector.connect(address, &destination));
    connected.unwrap();
}

/// M-46: key and chain are always of one generation.
#[tokio::test(flavor = "multi_thread")]
async fn rotating_under_load_fails_no_handshake() {
    let pki = Pki::new("td").unwrap();
    let server = credentials(&pki, "ours");
    let connector = Connector::new(credentials(&pki, "peer"));
    let mut listener = Listener::bind("127.0.0.1:0", Acceptor::new(server.clone()))
        .await
        .unwrap();
    let (address, tally) = (listener.local_addr(), listener.stats());
    let accepting = tokio::spawn(async move {
        loop {
            drop(listener.accept().await);
        }
    });
    let rotated = server.clone();
    let rotating = tokio::task::spawn_blocking(move || {
        for _ in 0..200 {
            rotated
                .replace(&from(&pki, pki.bundles().unwrap()))
                .unwrap();
        }
    });
    let destination = Destination::new([id(OURS)], "ours", Protocol::Http1).unwrap();
    while !rotating.is_finished() {
        connector.connect(address, &destination).await.unwrap();
    }
    rotating.await.unwrap();
    assert_eq!(server.generation(), 201);
    assert_eq!(tally.refusals().collect::<Vec<_>>(), []);
    accepting.abort();
}

#[tokio::test]
async fn rotation_keeps_what_it_has_when_the_source_fails() {
    let pki = Pki::new("td").unwrap();
    let ended = pki.issue(&Leaf::workload(OURS).expired()).unwrap();
    let ended = Identity::new(ended.svid().unwrap(), pki.bundles().unwrap());
    let good = || from(&pki, pki.bundles().unwrap());
    let source = Script(vec![good(), ended, good()]);
    let (ours, mut rotation) = Rotation::start(source, Settings::default()).await.unwrap();
    let tally = rotation.stats();
    rotation.step().await;
    assert_eq!((tally.rotations(), tally.errors()), (0, 1));
    assert_eq!(ours.generation(), 1);
    rotation.step().await;
    assert_eq!((tally.rotations(), tally.errors()), (1, 1));
    assert_eq!(ours.generation(), 2);
}

#[tokio::test]
async fn a_fixed_source_says_one_thing_and_then_nothing() {
    let pki = Pki::new("td").unwrap();
    let source = Fixed::new(from(&pki, pki.bundles().unwrap()));
    let (ours, mut rotation) = Rotation::start(source, Settings::default()).await.unwrap();
    assert_eq!(ours.generation(), 1);
    let more = tokio::time::timeout(Duration::from_millis(20), rotation.step()).await;
    assert!(more.is_err());
}

/// the one in use stays, and a source that comes to itself is heard again.
#[tokio::test(start_paused = true)]
async fn a_source_that_panics_has_failed_and_is_asked_again() {
    let pki = Pki::new("td").unwrap();
    let (first, next) = (
        from(&pki, pki.bundles().unwrap()),
        from(&pki, pki.bundles().unwrap()),
    );
    let mut turns = vec![Some(first), None, Some(next)].into_iter();
    let source = Renewed::new(move || {
        let turn = turns.next().unwrap();
        async move { Ok(turn.expect("an authority that is there")) }
    });
    let (ours, mut rotation) = Rotation::start(source, Settings::default()).await.unwrap();
    let tally = rotation.stats();
    rotation.step().await;
    assert_eq!((tally.unheard(), tally.is_down()), (1, true));
    assert!(ours.is_valid() && ours.generation() == 1);
    rotation.step().await;
    assert!(!tally.is_down() && ours.generation() == 2);
}

/// M-44: a clock that is behind costs no identity: it is used once it is valid, though the source says nothing more.
#[tokio::test(start_paused = true)]
async fn an_identity_that_is_not_valid_yet_is_used_once_it_is() {
    let pki = Pki::new("td").unwrap();
    let (now, begun) = (SystemTime::now(), tokio::time::Instant::now());
    let clock = Clock::from_fn(move || now + begun.elapsed());
    let minutes = |count: u64| Duration::from_secs(60 * count);
    let leaf = Leaf::workload(OURS).valid(now + minutes(2), now + minutes(60));
    let early = pki.issue(&leaf).unwrap().svid().unwrap();
    let early = Identity::new(early, pki.bundles().unwrap());
    let soon_over = Leaf::workload(OURS).valid(now - minutes(5), now + minutes(10));
    let first = pki.issue(&soon_over).unwrap().svid().unwrap();
    let first = Identity::new(first, pki.bundles().unwrap());
    let source = Script(vec![first, early]);
    let settings = Settings::default().clock(clock);
    let (ours, rotation) = Rotation::start(source, settings).await.unwrap();
    let tally = rotation.stats();
    let running = tokio::spawn(rotation.run());
    tokio::time::sleep(minutes(1)).await;
    assert_eq!((ours.generation(), tally.is_down()), (1, true));
    assert_eq!(tally.rejected(Reason::NotYetValid), 1);
    tokio::time::sleep(Duration::from_secs(66)).await;
    assert_eq!((ours.generation(), tally.is_down()), (2, false));
    running.abort();
}

/// Identities in their order, and then nothing.
struct Script(Vec<Identity>);

impl tower_mesh::tls::Source for Script {
    fn next(&mut self) -> tower_mesh::tls::NextIdentity<'_> {
        if self.0.is_empty() {
            return Box::pin(std::future::pending());
        }
        let next = self.0.remove(0);
        Box::pin(async { Ok(next) })
    }
}
