//! Clocks that jump.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tower_mesh::source::Fixed;
use tower_mesh::testing::{Leaf, Pki};
use tower_mesh::tls::{
    Acceptor, Clock, CloseReason, Connector, Credentials, Destination, Identity, Listener,
    Protocol, Reason, Settings,
};

use crate::support::mesh::{app, build, dial, empty, get, http1, policy, serve};
use crate::tls::support::{accept, chain, client_config, connect, credentials, id, server_config};

const OURS: &str = "spiffe://td/ns/default/sa/ours";
const PEER: &str = "spiffe://td/ns/default/sa/peer";
const DAY: i64 = 24 * 3600;

/// A wall clock that a test puts forward and back, by seconds.
fn jumping() -> (Clock, Arc<AtomicI64>) {
    let offset = Arc::new(AtomicI64::new(0));
    let read = Arc::clone(&offset);
    let clock = Clock::from_fn(move || {
        let offset = read.load(Ordering::Relaxed);
        let by = Duration::from_secs(offset.unsigned_abs());
        let now = SystemTime::now();
        let jumped = if offset < 0 {
            now.checked_sub(by)
        } else {
            now.checked_add(by)
        };
        jumped.unwrap()
    });
    (clock, offset)
}

/// Good for an hour before and an hour after now.
fn ours(pki: &Pki, clock: &Clock) -> Credentials {
    let svid = pki.issue(&Leaf::workload(OURS)).unwrap().svid().unwrap();
    let identity = Identity::new(svid, pki.bundles().unwrap());
    Credentials::new(&identity, Settings::default().clock(clock.clone())).unwrap()
}

/// The offset at which it is that second since 1970.
fn at(second: u32) -> i64 {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    i64::from(second) - i64::try_from(now.as_secs()).unwrap()
}

/// forward a day, back a day, 1970, 2106: what does not hold at that time is refused, nothing panics, and all is well again
/// once the clock is.
#[tokio::test]
async fn certificates_are_judged_by_the_clock_as_it_is() {
    let pki = Pki::new("td").unwrap();
    let (clock, offset) = jumping();
    let ours = ours(&pki, &clock);
    let peer = || chain(&pki.issue(&Leaf::workload(PEER)).unwrap());
    let judge = async || {
        let client = client_config(Some(peer()));
        let accepted = accept(&Acceptor::new(ours.clone()), client).await;
        let connector = Connector::new(ours.clone());
        let connected = connect(&connector, server_config(peer()), &[id(PEER)]).await;
        let reason = |result: Result<_, tower_mesh::tls::HandshakeError>| {
            result.map(drop).map_err(|error| error.reason())
        };
        (reason(accepted), reason(connected))
    };
    let same = |verdict: Result<(), Reason>| (verdict, verdict);
    let (last, first) = (at(u32::MAX), at(0));
    for (name, jump, wanted) in [
        ("now", 0, Ok(())),
        ("a day ahead", DAY, Err(Reason::OwnIdentityExpired)),
        ("now again", 0, Ok(())),
        ("a day back", -DAY, Err(Reason::NotYetValid)),
        ("1970", first, Err(Reason::NotYetValid)),
        ("2106", last, Err(Reason::OwnIdentityExpired)),
        ("and now once more", 0, Ok(())),
    ] {
        offset.store(jump, Ordering::Relaxed);
        assert_eq!(judge().await, same(wanted), "{name}");
        assert_eq!(
            ours.is_valid(),
            wanted != Err(Reason::OwnIdentityExpired),
            "{name}"
        );
    }
}

/// connections that stand are judged anew within a minute of a jump forward, and are not ended by one back.
#[tokio::test(start_paused = true)]
async fn a_connection_notices_a_jump_within_a_minute() {
    for (jump, wanted) in [(DAY, Some(CloseReason::PeerExpired)), (-DAY, None)] {
        let pki = Pki::new("td").unwrap();
        let (clock, offset) = jumping();
        let server = ours(&pki, &clock);
        let mut listener = Listener::bind("127.0.0.1:0", Acceptor::new(server))
            .await
            .unwrap();
        let address = listener.local_addr();
        let connector = Connector::new(credentials(&pki, "peer"));
        let destination = Destination::new([id(OURS)], "ours", Protocol::Http2).unwrap();
        tokio::time::resume();
        let (accepted, _connected) =
            tokio::join!(listener.accept(), connector.connect(address, &destination));
        tokio::time::pause();
        let mut lifetime = accepted.stream().lifetime();
        let waiting = tokio::spawn(async move { lifetime.ended().await });
        tokio::task::yield_now().await;
        let jumped = Instant::now();
        offset.store(jump, Ordering::Relaxed);
        match wanted {
            Some(end) => {
                assert_eq!(waiting.await.unwrap().reason, end);
                assert!(
                    jumped.elapsed() <= Duration::from_secs(61),
                    "{:?}",
                    jumped.elapsed()
                );
            }
            None => {
                tokio::time::sleep(Duration::from_secs(600)).await;
                assert!(!waiting.is_finished());
                waiting.abort();
            }
        }
    }
}

/// M-05: an alias makes policies match, it makes no trust: a workload of the old domain needs a bundle of that domain.
#[tokio::test]
async fn an_alias_counts_in_policies_and_not_in_handshakes() {
    let pki = Pki::new("cluster.local").unwrap();
    let rules = "[{from: [{source: {principals: [old.example/ns/default/sa/desk]}}]}]";
    let config = Fixed::yaml("p.yaml", policy("desk", "ALLOW", rules));
    let aliased = config.clone().mesh_config(
        "mesh.yaml",
        "trustDomain: cluster.local\ntrustDomainAliases: [old.example]\n",
    );
    for (config, status) in [(config, 403), (aliased, 200)] {
        let mesh = build(app(&pki).config(config)).await;
        let served = serve(&mesh, axum::Router::new().fallback(|| async { "in" })).await;
        let mut sender = http1(&pki, "desk", served.address).await;
        let answer = sender.send_request(empty(get("/"))).await.unwrap();
        assert_eq!(answer.status(), status);
        drop(dial(&pki, "desk", served.address, Protocol::Http1).await);

        let old = Pki::new("old.example").unwrap();
        let leaf = Leaf::workload("spiffe://old.example/ns/default/sa/desk");
        let shown = chain(&old.issue(&leaf).unwrap());
        let acceptor = Acceptor::new(mesh.credentials().unwrap().clone());
        let refused = accept(&acceptor, client_config(Some(shown)))
            .await
            .unwrap_err();
        assert_eq!(refused.reason(), Reason::UntrustedDomain);
    }
}
