//! What many writers hand in is in the trail, or counted.

use std::thread;

use super::*;
use crate::audit::store::fault::Faults;
use crate::audit::{Actor, Durability, SigningKey, Trail};

#[test]
fn a25_many_writers_make_one_dense_chain_and_none_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let key = SigningKey::random("k").unwrap();
    let trail = Trail::folder(folder.path())
        .signer(key)
        .queue(1_000_000, u64::MAX)
        .durability(Durability::Interval(Duration::from_millis(50)));
    let audit = start(trail);
    let is_full = std::env::var_os("AUDIT_FULL").is_some();
    let (writers, each) = (64, if is_full { 15_625 } else { 500 });
    thread::scope(|scope| {
        for writer in 0..writers {
            let audit = &audit;
            scope.spawn(move || {
                for number in 0..each {
                    audit.submit(event(writer * each + number));
                }
            });
        }
    });
    assert!(audit.shutdown(LONG));
    assert_eq!(written(&audit), writers * each);
    let mut subjects = subjects(folder.path());
    // What one thread submits stays in its order.
    let first: Vec<_> = subjects
        .iter()
        .copied()
        .filter(|number| *number < each)
        .collect();
    assert_eq!(first, (0..each).collect::<Vec<_>>());
    subjects.sort_unstable();
    assert_eq!(subjects, (0..writers * each).collect::<Vec<_>>());
    let report = verify(folder.path());
    assert!(report.is_whole(), "{report}");
    assert!(report.checkpoints() >= 32);
}

#[test]
fn a21_a_full_queue_drops_and_the_gap_in_the_chain_says_how_many() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Faults::default();
    let trail = Trail::folder(folder.path())
        .queue(100, u64::MAX)
        .durability(Durability::Strict)
        .storage(faults.clone());
    let audit = start(trail);
    for round in 0..5 {
        faults.stick();
        audit.submit(event(round));
        runtime().block_on(faults.is_stuck());
        // The thread is in a sync: only so many find room.
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..250).for_each(|number| audit.submit(event(number))));
            }
        });
        faults.release();
        assert!(audit.flush(LONG));
    }
    assert!(audit.shutdown(LONG));
    let counters = audit.counters().next().unwrap();
    assert_eq!(counters.dropped(), 5 * 900);
    assert_eq!(gap(folder.path()), 5 * 900);
    assert_eq!(subjects(folder.path()).len(), 5 * 101);
    assert_eq!(counters.written(), 5 * 101);
    let report = verify(folder.path());
    assert!(report.is_whole(), "{report}");
    assert_eq!(report.gaps().1, 5 * 900);
    assert_eq!(report.first_gaps()[0].reason, "queue_full");
    assert_eq!(counters.queued(), (0, 0));
}

#[test]
fn the_queue_is_bounded_in_bytes_too() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Faults::default();
    let trail = Trail::folder(folder.path())
        .queue(1000, 64 * 1024)
        .durability(Durability::Strict)
        .storage(faults.clone());
    let audit = start(trail);
    faults.stick();
    audit.submit(event(0));
    runtime().block_on(faults.is_stuck());
    for _ in 0..100 {
        audit.submit(event(1).actor(Actor::workload("x".repeat(1 << 20))));
    }
    let (count, bytes) = audit.counters().next().unwrap().queued();
    assert!(bytes <= 64 * 1024 && count > 5, "{count} of {bytes} bytes");
    faults.release();
    assert!(audit.shutdown(LONG));
    assert_eq!(
        gap(folder.path()) + subjects(folder.path()).len() as u64,
        101
    );
}

#[test]
fn a28_the_time_may_step_back_and_the_step_is_noted() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let audit = start_at(&clock, Trail::folder(folder.path()));
    audit.submit(event(0));
    assert!(audit.flush(LONG));
    clock.pass(Duration::from_secs(60));
    audit.submit(event(1));
    assert!(audit.flush(LONG));
    clock.set_back(Duration::from_secs(30));
    audit.submit(event(2));
    assert!(audit.shutdown(LONG));
    let lines = lines(folder.path());
    let steps: Vec<_> = lines
        .iter()
        .map(|line| line["clock_step_ms"].as_i64())
        .collect();
    assert_eq!(steps, [None, None, None, Some(-30_000), None]);
    assert_eq!(subjects(folder.path()), [0, 1, 2]);
    let report = verify(folder.path());
    assert!(report.is_whole(), "{report}");
    let (count, notes) = report.clock_steps();
    assert_eq!((count, notes[0].seq, notes[0].count), (1, 4, 30_000));
}

#[test]
fn a04_checkpoints_come_after_records_and_after_time_and_go_to_a_second_place_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let (notes, taken) = std::sync::mpsc::channel();
    let trail = Trail::folder(folder.path())
        .signer(SigningKey::random("k").unwrap())
        .checkpoint_every(10, Duration::from_secs(60))
        .second_place(move |note| {
            notes.send((note.size(), note.to_string())).unwrap();
            Ok(())
        });
    let audit = start_at(&clock, trail);
    for number in 0..15 {
        audit.submit(event(number));
    }
    assert!(audit.flush(LONG));
    assert_eq!(taken.recv_timeout(LONG).unwrap().0, 10);
    assert!(taken.try_recv().is_err());
    clock.pass(Duration::from_secs(61));
    // Nobody has to submit anything.
    assert_eq!(taken.recv_timeout(LONG).unwrap().0, 17);
    clock.pass(Duration::from_secs(61));
    assert!(audit.flush(LONG));
    assert!(
        taken.try_recv().is_err(),
        "a trail that is quiet needs no more checkpoints"
    );
    assert!(audit.shutdown(LONG));
    let (size, note) = taken.recv_timeout(LONG).unwrap();
    assert_eq!(size, 19);
    let last = lines(folder.path()).pop().unwrap();
    assert_eq!(last["note"], note);
    let report = verify(folder.path());
    assert!(report.is_whole() && report.checkpoints() == 3, "{report}");
}

#[test]
fn dropping_the_last_handle_writes_what_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let audit = start(Trail::folder(folder.path()));
    let shared = Arc::clone(&audit.0.queues().next().unwrap().shared);
    (0..100).for_each(|number| audit.submit(event(number)));
    drop(audit);
    shared.ended.wait();
    assert_eq!(subjects(folder.path()).len(), 100);
    let last = lines(folder.path()).pop().unwrap();
    assert_eq!(last["type"], "stop");
}

#[test]
fn events_after_the_shutdown_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let audit = start(Trail::folder(folder.path()));
    assert!(audit.shutdown(LONG));
    audit.submit(event(0));
    assert_eq!(audit.counters().next().unwrap().dropped(), 1);
    assert!(!audit.flush(Duration::ZERO));
    assert!(durable(&audit, 1).is_err());
}
