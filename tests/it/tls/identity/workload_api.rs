//! What our source makes of the answers of a Workload API.

use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use tempfile::TempDir;
use tower_mesh::identity::TrustDomain;
use tower_mesh::testing::Pki;
use tower_mesh::tls::{Rotation, Settings, Source, WorkloadApi};

use crate::support::agent::{Agent, DENY, HANG_UP, address, field, response, svid};

const OURS: &str = "spiffe://td/ns/default/sa/ours";

/// M-52
#[tokio::test]
async fn takes_every_answer_of_the_agent_with_the_roots_of_friends() {
    let (pki, friend) = (Pki::new("td").unwrap(), Pki::new("friend").unwrap());
    let agent = Agent::start();
    let first = response(&[svid(&pki, OURS, "")], &[("spiffe://friend", &friend)]);
    agent.answers.send(first).await.unwrap();
    let source = WorkloadApi::at(agent.address());
    let (ours, mut rotation) = Rotation::start(source, Settings::default()).await.unwrap();
    assert_eq!(ours.spiffe_id().as_str(), OURS);
    let friends = TrustDomain::new("friend").unwrap();
    assert_eq!(ours.bundles().roots(&friends), [friend.root().clone()]);

    let second = response(&[svid(&pki, OURS, "")], &[]);
    agent.answers.send(second).await.unwrap();
    rotation.step().await;
    assert_eq!(ours.generation(), 2);
    assert_eq!(ours.bundles().roots(&friends), []);
    assert_eq!(
        agent.asked.load(Ordering::Relaxed),
        1,
        "one stream for both"
    );
}

/// M-52: an empty bundle takes the trust from its domain, and our own rotation goes on.
#[tokio::test]
async fn a_friend_without_roots_is_trusted_no_more() {
    let (pki, friend) = (Pki::new("td").unwrap(), Pki::new("friend").unwrap());
    let agent = Agent::start();
    let first = response(&[svid(&pki, OURS, "")], &[("spiffe://friend", &friend)]);
    agent.answers.send(first).await.unwrap();
    let source = WorkloadApi::at(agent.address());
    let (ours, mut rotation) = Rotation::start(source, Settings::default()).await.unwrap();

    let mut entry = BytesMut::new();
    field(&mut entry, 1, b"spiffe://friend");
    field(&mut entry, 2, b"");
    let mut second = BytesMut::from(&response(&[svid(&pki, OURS, "")], &[])[..]);
    field(&mut second, 3, &entry);
    agent.answers.send(second.freeze()).await.unwrap();
    rotation.step().await;
    assert_eq!(rotation.stats().errors(), 0);
    assert_eq!(ours.generation(), 2);
    let friends = TrustDomain::new("friend").unwrap();
    assert_eq!(ours.bundles().roots(&friends), []);
}

/// M-52
#[tokio::test]
async fn of_several_identities_takes_the_first_or_the_one_hinted_at() {
    let pki = Pki::new("td").unwrap();
    let other = "spiffe://td/ns/default/sa/other";
    for (hint, wanted) in [(None, OURS), (Some("inside"), other)] {
        let agent = Agent::start();
        let both = response(
            &[svid(&pki, OURS, "outside"), svid(&pki, other, "inside")],
            &[],
        );
        agent.answers.send(both).await.unwrap();
        let mut source = WorkloadApi::at(agent.address());
        if let Some(hint) = hint {
            source = source.hint(hint);
        }
        let identity = source.next().await.unwrap();
        assert_eq!(identity.svid().spiffe_id().as_str(), wanted);
    }
}

/// M-52
#[tokio::test]
async fn an_empty_answer_withdraws_the_identity_until_there_is_another() {
    let pki = Pki::new("td").unwrap();
    let agent = Agent::start();
    let full = || response(&[svid(&pki, OURS, "")], &[]);
    agent.answers.send(full()).await.unwrap();
    let source = WorkloadApi::at(agent.address());
    let (ours, mut rotation) = Rotation::start(source, Settings::default()).await.unwrap();
    assert!(ours.is_valid());
    agent.answers.send(response(&[], &[])).await.unwrap();
    rotation.step().await;
    assert!(!ours.is_valid());
    agent.answers.send(full()).await.unwrap();
    rotation.step().await;
    assert!(ours.is_valid());
}

/// M-52: as SPIRE says it; but not when it says so at the very beginning of a stream.
#[tokio::test]
async fn a_denial_withdraws_the_identity_that_the_same_stream_brought() {
    let pki = Pki::new("td").unwrap();
    let agent = Agent::start();
    let tell = async |answer: &Bytes| agent.answers.send(answer.clone()).await.unwrap();
    let full = response(&[svid(&pki, OURS, "")], &[]);
    let deny = Bytes::from_static(DENY);
    tell(&full).await;
    let source = WorkloadApi::at(agent.address());
    let (ours, mut rotation) = Rotation::start(source, Settings::default()).await.unwrap();
    tell(&Bytes::from_static(HANG_UP)).await;
    rotation.step().await;
    tell(&deny).await;
    rotation.step().await;
    assert!(ours.is_valid(), "said to a stream that knew nothing");
    assert_eq!(rotation.stats().errors(), 2);
    tell(&full).await;
    rotation.step().await;
    assert!(ours.is_valid());

    tell(&deny).await;
    rotation.step().await;
    assert!(!ours.is_valid());
    tell(&full).await;
    rotation.step().await;
    assert!(ours.is_valid());
}

/// M-52
#[tokio::test]
async fn a_lost_stream_keeps_the_identity_and_asks_again() {
    let pki = Pki::new("td").unwrap();
    let agent = Agent::start();
    let full = || response(&[svid(&pki, OURS, "")], &[]);
    agent.answers.send(full()).await.unwrap();
    let source = WorkloadApi::at(agent.address());
    let (ours, mut rotation) = Rotation::start(source, Settings::default()).await.unwrap();
    agent
        .answers
        .send(Bytes::from_static(HANG_UP))
        .await
        .unwrap();
    rotation.step().await;
    assert!(ours.is_valid(), "the identity in use stays");
    assert_eq!(rotation.stats().errors(), 1);
    agent.answers.send(full()).await.unwrap();
    rotation.step().await;
    assert_eq!(ours.generation(), 2);
    assert_eq!(agent.asked.load(Ordering::Relaxed), 2);
}

/// M-52
#[tokio::test(start_paused = true)]
async fn an_absent_agent_is_asked_less_and_less_often() {
    let directory = TempDir::new().unwrap();
    let mut source = WorkloadApi::at(address(directory.path()));
    let mut waits = Vec::new();
    for _ in 0..8 {
        let begun = tokio::time::Instant::now();
        assert!(source.next().await.is_err());
        waits.push(begun.elapsed().as_secs());
    }
    assert_eq!(waits, [0, 1, 2, 4, 8, 16, 30, 30]);
}

/// M-52, R-27: one that takes the connection and says nothing has failed, too, and holds up no start for ever.
#[tokio::test(start_paused = true)]
async fn an_agent_that_says_nothing_has_failed() {
    let directory = TempDir::new().unwrap();
    let address = address(directory.path());
    let path = address.strip_prefix("unix://").unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(path).unwrap();
    let begun = tokio::time::Instant::now();
    let error = WorkloadApi::at(&address).next().await.unwrap_err();
    assert!(error.to_string().contains("does not answer"), "{error}");
    assert!(begun.elapsed().as_secs() <= 30);
}

/// M-52: keys do not travel over a network.
#[tokio::test]
async fn asks_over_unix_sockets_only() {
    let error = WorkloadApi::at("tcp://127.0.0.1:8081")
        .next()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("unix:"), "{error}");
}
