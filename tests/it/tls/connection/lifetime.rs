//! When a connection that stands should end.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use tokio::io::duplex;
use tokio::time::Instant;
use tower_mesh::live::Live;
use tower_mesh::testing::{Leaf, Pki};
use tower_mesh::tls::{
    Acceptor, Clock, CloseReason, Connector, Credentials, Destination, Identity, Lifetime,
    Lifetimes, Mode, Modes, Protocol, Settings,
};

const HOUR: Duration = Duration::from_secs(3600);

/// A wall clock that goes with tokio's, which a test may pause.
fn clock() -> Clock {
    let (wall, begun) = (SystemTime::now(), Instant::now());
    Clock::from_fn(move || wall + begun.elapsed())
}

fn identity(pki: &Pki, account: &str, lives: Duration) -> Identity {
    let now = SystemTime::now();
    let uri = format!("spiffe://td/ns/default/sa/{account}");
    let leaf = Leaf::workload(uri).valid(now - HOUR, now + lives);
    let svid = pki.issue(&leaf).unwrap().svid().unwrap();
    Identity::new(svid, pki.bundles().unwrap())
}

fn credentials(identity: &Identity) -> Credentials {
    Credentials::new(identity, Settings::default().clock(clock())).unwrap()
}

/// How long both ends give a connection between them.
async fn connect(server: &Credentials, client: &Credentials) -> [Lifetime; 2] {
    let (near, far) = duplex(1 << 16);
    let address = SocketAddr::from(([127, 0, 0, 1], 8443));
    let destination = Destination::new([server.spiffe_id()], "server", Protocol::Http2).unwrap();
    let (acceptor, connector) = (
        Acceptor::new(server.clone()),
        Connector::new(client.clone()),
    );
    let (accepted, connected) = tokio::join!(
        acceptor.accept(far, address, address),
        connector.handshake(near, address, address, &destination)
    );
    [
        accepted.unwrap().0.lifetime(),
        connected.unwrap().0.lifetime(),
    ]
}

/// M-47
#[tokio::test(start_paused = true)]
async fn a_connection_ends_after_about_an_hour() {
    let pki = Pki::new("td").unwrap();
    let server = credentials(&identity(&pki, "server", 9 * HOUR));
    let client = credentials(&identity(&pki, "client", 9 * HOUR));
    let begun = Instant::now();
    let [at_server, at_client] = connect(&server, &client).await;
    for mut lifetime in [at_server, at_client] {
        assert_eq!(lifetime.ended().await.reason, CloseReason::Age);
        let age = begun.elapsed();
        let (least, most) = (HOUR.mul_f64(0.89), HOUR.mul_f64(1.11));
        assert!(age >= least && age <= most, "{age:?}");
    }
}

/// M-45, M-47: whichever certificate ends first, both sides close.
#[tokio::test(start_paused = true)]
async fn a_connection_ends_with_the_first_certificate() {
    let pki = Pki::new("td").unwrap();
    for (server_lives, client_lives, server_says, client_says) in [
        (600, 1200, CloseReason::OwnExpired, CloseReason::PeerExpired),
        (1200, 600, CloseReason::PeerExpired, CloseReason::OwnExpired),
    ] {
        let server = credentials(&identity(&pki, "server", Duration::from_secs(server_lives)));
        let client = credentials(&identity(&pki, "client", Duration::from_secs(client_lives)));
        let begun = Instant::now();
        let [mut at_server, mut at_client] = connect(&server, &client).await;
        let (server, client) = tokio::join!(at_server.ended(), at_client.ended());
        assert_eq!((server.reason, client.reason), (server_says, client_says));
        let age = begun.elapsed();
        assert!(
            age > Duration::from_secs(590) && age < Duration::from_secs(605),
            "{age:?}"
        );
    }
}

/// M-47
#[tokio::test(start_paused = true)]
async fn a_connection_ends_soon_after_a_rotation() {
    let pki = Pki::new("td").unwrap();
    let server = credentials(&identity(&pki, "server", 2 * HOUR));
    let client = credentials(&identity(&pki, "client", 2 * HOUR));
    let [mut at_server, mut at_client] = connect(&server, &client).await;
    let waiting = tokio::spawn(async move { at_server.ended().await });
    tokio::task::yield_now().await;
    server.replace(&identity(&pki, "server", 3 * HOUR)).unwrap();
    let ended = waiting.await.unwrap();
    assert_eq!(ended.reason, CloseReason::Rotated);
    assert_eq!(ended.grace, Duration::from_secs(30));
    // The other side has rotated nothing.
    let still = tokio::time::timeout(HOUR / 2, at_client.ended()).await;
    assert!(still.is_err());
}

/// M-47: closed within 5 seconds.
#[tokio::test(start_paused = true)]
async fn a_connection_ends_at_once_when_the_peers_root_is_gone() {
    let pki = Pki::new("td").unwrap();
    let server = credentials(&identity(&pki, "server", 2 * HOUR));
    let client = credentials(&identity(&pki, "client", 2 * HOUR));
    let [mut at_server, _] = connect(&server, &client).await;
    let other = Pki::new("td").unwrap();
    server
        .replace(&identity(&other, "server", 2 * HOUR))
        .unwrap();
    let ended = at_server.ended().await;
    assert_eq!(ended.reason, CloseReason::PeerUntrusted);
    assert_eq!(ended.grace, Duration::from_secs(4));
}

/// M-45, M-47: what a rotation leaves to finish is over when the first certificate ends that the connection was made with.
#[tokio::test(start_paused = true)]
async fn no_connection_drains_beyond_its_certificates() {
    let pki = Pki::new("td").unwrap();
    let soon = Duration::from_secs(20);
    for (server_lives, client_lives) in [(2 * HOUR, soon), (soon, 2 * HOUR)] {
        let server = credentials(&identity(&pki, "server", server_lives));
        let client = credentials(&identity(&pki, "client", client_lives));
        let [mut at_server, _] = connect(&server, &client).await;
        server.replace(&identity(&pki, "server", 3 * HOUR)).unwrap();
        let ended = at_server.ended().await;
        assert_eq!(ended.reason, CloseReason::Rotated);
        assert!(ended.grace <= soon, "{:?}", ended.grace);
    }
}

/// M-47: while it drains after a rotation, a connection is ended sooner when the peer's root goes, and no third time.
#[tokio::test(start_paused = true)]
async fn a_connection_that_drains_is_watched_on() {
    let pki = Pki::new("td").unwrap();
    let server = credentials(&identity(&pki, "server", 2 * HOUR));
    let client = credentials(&identity(&pki, "client", 9 * HOUR));
    let [mut at_server, _] = connect(&server, &client).await;
    server.replace(&identity(&pki, "server", 3 * HOUR)).unwrap();
    assert_eq!(at_server.ended().await.reason, CloseReason::Rotated);
    let still = tokio::time::timeout(HOUR / 2, at_server.ended()).await;
    assert!(still.is_err(), "{still:?}");
    let other = Pki::new("td").unwrap();
    server
        .replace(&identity(&other, "server", 3 * HOUR))
        .unwrap();
    let ended = at_server.ended().await;
    assert_eq!(ended.reason, CloseReason::PeerUntrusted);
    assert_eq!(ended.grace, Duration::from_secs(4));
    let still = tokio::time::timeout(9 * HOUR, at_server.ended()).await;
    assert!(still.is_err(), "{still:?}");
}

/// M-47: nor does it end any later than a certificate for being no longer trusted.
#[tokio::test(start_paused = true)]
async fn no_connection_is_cut_later_than_its_certificate_ends() {
    let pki = Pki::new("td").unwrap();
    let server = credentials(&identity(&pki, "server", 2 * HOUR));
    let soon = Duration::from_secs(2);
    let client = credentials(&identity(&pki, "client", soon));
    let [mut at_server, _] = connect(&server, &client).await;
    let other = Pki::new("td").unwrap();
    server
        .replace(&identity(&other, "server", 2 * HOUR))
        .unwrap();
    let ended = at_server.ended().await;
    assert_eq!(ended.reason, CloseReason::PeerUntrusted);
    assert!(ended.grace <= soon, "{:?}", ended.grace);
}

/// M-47: what age and rotations leave alone ends with our certificate that it was made with, good as the next one is.
#[tokio::test(start_paused = true)]
async fn a_connection_that_is_left_alone_ends_with_its_own_certificate() {
    let pki = Pki::new("td").unwrap();
    let server = credentials(&identity(&pki, "server", 2 * HOUR));
    let client = credentials(&identity(&pki, "client", 9 * HOUR));
    let begun = Instant::now();
    let [at_server, _] = connect(&server, &client).await;
    server.replace(&identity(&pki, "server", 9 * HOUR)).unwrap();
    assert_eq!(
        at_server.while_good().ended().await.reason,
        CloseReason::OwnExpired
    );
    let age = begun.elapsed();
    assert!(
        age > 2 * HOUR - Duration::from_secs(10) && age < 2 * HOUR,
        "{age:?}"
    );
}

/// Plaintext is not served on once its port takes none.
#[tokio::test(start_paused = true)]
async fn a_plaintext_connection_ends_when_its_port_becomes_strict() {
    let pki = Pki::new("td").unwrap();
    let server = credentials(&identity(&pki, "server", 2 * HOUR));
    let modes = Live::new(Modes::new(Mode::Permissive));
    let acceptor = Acceptor::new(server).modes(modes.clone());
    let (mut near, far) = duplex(1 << 16);
    tokio::io::AsyncWriteExt::write_all(&mut near, b"GET /")
        .await
        .unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], 8443));
    let (stream, _) = acceptor.accept(far, address, address).await.unwrap();
    let mut lifetime = stream.lifetime();
    let other = Modes::new(Mode::Permissive).with_port(1, Mode::Strict);
    modes.store(other.clone());
    let still = tokio::time::timeout(HOUR / 2, lifetime.ended()).await;
    assert!(still.is_err(), "{still:?}");
    modes.store(other.with_port(8443, Mode::Strict));
    let begun = Instant::now();
    let ended = lifetime.ended().await;
    assert_eq!(ended.reason, CloseReason::ModeChanged);
    assert!(begun.elapsed() + ended.grace <= Duration::from_secs(6));
}

#[tokio::test(start_paused = true)]
async fn lifetimes_may_be_endless() {
    let pki = Pki::new("td").unwrap();
    let server = credentials(&identity(&pki, "server", 2 * HOUR));
    let mut endless = Lifetimes::default();
    (endless.max_age, endless.drain, endless.cut) = (Duration::MAX, Duration::MAX, Duration::MAX);
    let acceptor = Acceptor::new(server)
        .modes(Live::new(Modes::new(Mode::Disable)))
        .lifetimes(endless);
    let address = SocketAddr::from(([127, 0, 0, 1], 8443));
    let (_near, far) = duplex(1 << 16);
    let (stream, _) = acceptor.accept(far, address, address).await.unwrap();
    let still = tokio::time::timeout(99 * HOUR, stream.lifetime().ended()).await;
    assert!(still.is_err(), "{still:?}");
}
