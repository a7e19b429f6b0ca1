//! When a connection that stands should end.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use tokio::io::duplex;
use tokio::time::Instant;
use tower_mesh::testing::{Leaf, Pki};
use tower_mesh::tls::{
    Acceptor, Clock, Connector, Credentials, Destination, End, Identity, Lifetime, Protocol,
    Settings,
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
    for lifetime in [at_server, at_client] {
        assert_eq!(lifetime.ended().await.reason, End::Age);
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
        (600, 1200, End::OwnExpired, End::PeerExpired),
        (1200, 600, End::PeerExpired, End::OwnExpired),
    ] {
        let server = credentials(&identity(&pki, "server", Duration::from_secs(server_lives)));
        let client = credentials(&identity(&pki, "client", Duration::from_secs(client_lives)));
        let begun = Instant::now();
        let [at_server, at_client] = connect(&server, &client).await;
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
    let [at_server, at_client] = connect(&server, &client).await;
    let waiting = tokio::spawn(at_server.ended());
    tokio::task::yield_now().await;
    server.replace(&identity(&pki, "server", 3 * HOUR)).unwrap();
    let ended = waiting.await.unwrap();
    assert_eq!(ended.reason, End::Rotated);
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
    let [at_server, _] = connect(&server, &client).await;
    let other = Pki::new("td").unwrap();
    server
        .replace(&identity(&other, "server", 2 * HOUR))
        .unwrap();
    let ended = at_server.ended().await;
    assert_eq!(ended.reason, End::PeerUntrusted);
    assert_eq!(ended.grace, Duration::from_secs(4));
}
