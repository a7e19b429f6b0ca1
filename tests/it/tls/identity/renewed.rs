//! An identity that is asked for again and again, and an authority that is not there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::SystemTime;

use tokio::time::{Duration, Instant, timeout};
use tower_mesh::testing::{Leaf, Pki};
use tower_mesh::tls::{
    Acceptor, Clock, Connector, Credentials, Identity, Reason, Renewed, Rotation, Settings, Source,
    SourceError,
};

use crate::tls::support::{accept, chain, client_config, connect, id, server_config};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const PEER: &str = "spiffe://td/ns/default/sa/peer";

/// A wall clock that goes with tokio's, which a test pauses.
fn clock() -> Clock {
    let (wall, begun) = (SystemTime::now(), Instant::now());
    Clock::from_fn(move || wall + begun.elapsed())
}

/// A certificate of this life from now on.
fn issue(pki: &Pki, now: SystemTime, life: Duration) -> Identity {
    let leaf = Leaf::workload("spiffe://td/ns/default/sa/ours");
    let leaf = leaf.valid(now - Duration::from_secs(60), now + life);
    let svid = pki.issue(&leaf).unwrap().svid().unwrap();
    Identity::new(svid, pki.bundles().unwrap())
}

/// A certificate that has ended.
fn over(pki: &Pki) -> Identity {
    let leaf = Leaf::workload("spiffe://td/ns/default/sa/ours").expired();
    let svid = pki.issue(&leaf).unwrap().svid().unwrap();
    Identity::new(svid, pki.bundles().unwrap())
}

/// M-43: half of its life, a tenth more or less, spread so that no hundredth of it sees more than 15 % of all.
#[tokio::test(start_paused = true)]
async fn a_thousand_workloads_do_not_renew_at_once() {
    let pki = Pki::new("td").unwrap();
    let clock = clock();
    let identity = issue(&pki, clock.now(), HOUR);
    let mut slots = [0_u32; 100];
    for _ in 0..1000 {
        let given = identity.clone();
        let mut source = Renewed::new(move || {
            let given = given.clone();
            async move { Ok(given) }
        })
        // One that does not go, so that each begins at the same moment.
        .clock(Clock::from_fn({
            let now = identity.svid().not_after() - HOUR;
            move || now
        }));
        source.next().await.unwrap();
        let begun = Instant::now();
        source.next().await.unwrap();
        let share = begun.elapsed().as_secs_f64() / HOUR.as_secs_f64();
        assert!((0.45..=0.5501).contains(&share), "{share}");
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 45 and 55"
        )]
        let slot = (share * 100.0) as usize;
        slots[slot] += 1;
    }
    let most = slots.iter().max().unwrap();
    assert!(*most <= 150, "{slots:?}");
}

/// M-43: after a failure again in a second, then twice as long each time, up to 150 s, each a fifth more or less.
#[tokio::test(start_paused = true)]
async fn a_failure_is_followed_by_pauses_that_grow_to_a_bound() {
    let mut source = Renewed::new(|| async { Err(SourceError::new("down")) });
    source.next().await.unwrap_err();
    for wanted in [1, 2, 4, 8, 16, 32, 64, 128, 150, 150, 150] {
        let begun = Instant::now();
        source.next().await.unwrap_err();
        let share = begun.elapsed().as_secs_f64() / f64::from(wanted);
        assert!((0.79..=1.21).contains(&share), "{wanted} s: {share}");
    }
}

/// M-44: what cannot be used is a failure, whatever life it says to have; the one in use does not end over it.
#[tokio::test(start_paused = true)]
async fn an_answer_that_is_refused_is_followed_by_growing_pauses() {
    let pki = Arc::new(Pki::new("td").unwrap());
    let clock = clock();
    let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
    let source = Renewed::new({
        let (pki, clock, asked) = (Arc::clone(&pki), clock.clone(), Arc::clone(&asked));
        move || {
            let turn = asked.lock().unwrap().len();
            asked.lock().unwrap().push(Instant::now());
            let now = clock.now();
            let issued = match turn {
                0 | 6 => issue(&pki, now, HOUR),
                // Ended, of another workload, and of an authority of which nobody knows.
                1 | 2 => over(&pki),
                3 | 4 => pki.identity("default", "theirs").unwrap(),
                _ => {
                    let stray = issue(&Pki::new("td").unwrap(), now, DAY);
                    Identity::new(stray.svid().clone(), pki.bundles().unwrap())
                }
            };
            async move { Ok(issued) }
        }
    });
    let settings = Settings::default().clock(clock.clone());
    let (ours, mut rotation) = Rotation::start(source.clock(clock), settings)
        .await
        .unwrap();
    for _ in 0..6 {
        rotation.step().await;
    }
    assert_eq!(ours.generation(), 2);
    let asked = asked.lock().unwrap();
    for (pair, wanted) in asked[1..].windows(2).zip([1, 2, 4, 8, 16]) {
        let share = (pair[1] - pair[0]).as_secs_f64() / f64::from(wanted);
        assert!((0.79..=1.21).contains(&share), "{wanted} s: {share}");
    }
}

/// nobody waits for an answer for ever.
#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_is_a_failure() {
    let mut source = Renewed::new(std::future::pending).limit(Duration::from_secs(20));
    let begun = Instant::now();
    let error = source.next().await.unwrap_err();
    assert_eq!(error.to_string(), "no answer within 20s");
    assert_eq!(begun.elapsed().as_secs(), 20);
}

/// What is dropped half-way is asked for anew, and not twice.
#[tokio::test(start_paused = true)]
async fn a_question_that_is_dropped_is_asked_again() {
    let pki = Arc::new(Pki::new("td").unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let mut source = Renewed::new(move || {
        let turn = count.fetch_add(1, Ordering::Relaxed);
        let pki = Arc::clone(&pki);
        async move {
            if turn == 0 {
                std::future::pending::<()>().await;
            }
            Ok(pki.identity("default", "ours").unwrap())
        }
    });
    let dropped = timeout(Duration::from_secs(5), source.next()).await;
    assert!(dropped.is_err());
    assert!(source.next().await.is_ok());
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

struct Simulation {
    ours: Credentials,
    down: Arc<AtomicBool>,
    clock: Clock,
    pki: Arc<Pki>,
}

/// A workload with certificates of a day, whose authority a test switches off.
async fn simulation() -> Simulation {
    let pki = Arc::new(Pki::new("td").unwrap());
    let (clock, down) = (clock(), Arc::new(AtomicBool::new(false)));
    let source = Renewed::new({
        let (pki, clock, down) = (Arc::clone(&pki), clock.clone(), Arc::clone(&down));
        move || {
            let down = down.load(Ordering::Relaxed);
            let issued = (!down).then(|| issue(&pki, clock.now(), DAY));
            async move { issued.ok_or_else(|| SourceError::new("no answer")) }
        }
    });
    let settings = Settings::default().clock(clock.clone());
    let source = source.clock(clock.clone());
    let (ours, rotation) = Rotation::start(source, settings).await.unwrap();
    tokio::spawn(rotation.run());
    Simulation {
        ours,
        down,
        clock,
        pki,
    }
}

impl Simulation {
    /// Both directions, over sockets; time stands still meanwhile.
    async fn calls(&self) -> Result<(), Reason> {
        tokio::time::resume();
        let leaf = Leaf::workload(PEER).valid(self.clock.now() - HOUR, self.clock.now() + HOUR);
        let peer = || chain(&self.pki.issue(&leaf).unwrap());
        let served = accept(
            &Acceptor::new(self.ours.clone()),
            client_config(Some(peer())),
        )
        .await;
        let expected = [id(PEER)];
        let connector = Connector::new(self.ours.clone());
        let called = connect(&connector, server_config(peer()), &expected).await;
        tokio::time::pause();
        served.map_err(|error| error.reason())?;
        called.map(drop).map_err(|error| error.reason())
    }
}

/// an authority that is away for 11 hours of a day is missed by nobody.
#[tokio::test(start_paused = true)]
async fn an_authority_away_for_eleven_hours_is_not_missed() {
    let workload = simulation().await;
    // Just before the first renewal, which is the worst moment.
    tokio::time::sleep(10 * HOUR).await;
    workload.down.store(true, Ordering::Relaxed);
    for hour in 0..11 {
        tokio::time::sleep(HOUR).await;
        assert_eq!(workload.calls().await, Ok(()), "hour {hour}");
    }
    workload.down.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(181)).await;
    assert_eq!(workload.ours.generation(), 2);
    assert_eq!(workload.calls().await, Ok(()));
}

/// R-17, M-45: away for 25 hours: served to the last second, then nobody is, and one pause after its return all is well.
#[tokio::test(start_paused = true)]
async fn an_authority_away_for_longer_than_a_life_fails_closed_and_recovers() {
    let workload = simulation().await;
    workload.down.store(true, Ordering::Relaxed);
    tokio::time::sleep(DAY - Duration::from_secs(30)).await;
    assert_eq!(workload.calls().await, Ok(()), "to the last second");
    tokio::time::sleep(HOUR).await;
    assert_eq!(workload.calls().await, Err(Reason::OwnIdentityExpired));
    workload.down.store(false, Ordering::Relaxed);
    // A pause of 150 s, and a fifth.
    tokio::time::sleep(Duration::from_secs(181)).await;
    assert_eq!(workload.calls().await, Ok(()));
}
