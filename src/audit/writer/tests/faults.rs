//! Disks that fail.

use super::*;
use crate::audit::store::fault::Faults;
use crate::audit::{
    AuditUnavailable, Durability, FaultKind, OnFailure, Recorded, StartError, Trail,
};

struct Failing {
    folder: tempfile::TempDir,
    faults: Faults,
    clock: TestClock,
    audit: Audit,
}

fn failing(durability: Durability) -> Failing {
    let folder = tempfile::tempdir().unwrap();
    let (faults, clock) = (Faults::default(), TestClock::new());
    let trail = Trail::folder(folder.path())
        .durability(durability)
        .storage(faults.clone());
    let audit = start_at(&clock, trail);
    Failing {
        folder,
        faults,
        clock,
        audit,
    }
}

impl Failing {
    fn durable(&self, number: u64) -> Result<Recorded, AuditUnavailable> {
        durable(&self.audit, number)
    }

    /// Lets the time pass after which the trail is tried again, and waits until it is.
    fn recover(&self) {
        self.clock.pass(Duration::from_secs(2));
        assert!(self.audit.flush(LONG));
    }

    /// Stops, and checks that each of so many events is in the trail or in a gap.
    fn end(&self, produced: u64) -> Vec<u64> {
        assert!(self.audit.shutdown(LONG));
        let report = verify(self.folder.path());
        assert!(report.is_whole(), "{report}");
        let subjects = subjects(self.folder.path());
        let counters = self.audit.counters().next().unwrap();
        assert_eq!(counters.written(), subjects.len() as u64);
        assert_eq!(counters.written() + gap(self.folder.path()), produced);
        assert_eq!(report.gaps().1, counters.lost() + counters.dropped());
        assert_eq!(counters.gaps(), self.reasons().len() as u64);
        subjects
    }

    fn reasons(&self) -> Vec<String> {
        let lines = lines(self.folder.path());
        let gaps = lines.iter().filter(|line| line["type"] == "gap");
        gaps.map(|line| line["reason"].as_str().unwrap().to_owned())
            .collect()
    }
}

#[test]
fn a20_a_full_disk_refuses_and_the_gap_is_exact_when_there_is_room_again() {
    let failing = failing(Durability::Strict);
    assert_eq!(failing.durable(1), Ok(Recorded::Durable));
    // Room for a part of a record.
    failing.faults.room(Some(100));
    assert!(failing.durable(2).is_err());
    // Refused at once, without waiting for the disk; its record waits.
    assert!(failing.durable(3).is_err());
    failing.audit.submit(event(4));
    assert_eq!(failing.audit.unavailable(), 2);
    failing.faults.room(None);
    failing.recover();
    assert_eq!(failing.durable(5), Ok(Recorded::Durable));
    assert_eq!(failing.end(5), [1, 3, 4, 5]);
    assert_eq!(failing.reasons(), ["storage_full"]);
}

#[test]
fn a_read_only_disk_is_survived() {
    let failing = failing(Durability::Strict);
    failing.faults.read_only(true);
    assert!(failing.durable(1).is_err());
    for _ in 0..3 {
        // Tried again each second, in vain.
        failing.clock.pass(Duration::from_secs(2));
        assert!(failing.durable(2).is_err());
    }
    failing.faults.read_only(false);
    failing.recover();
    assert_eq!(failing.durable(3), Ok(Recorded::Durable));
    assert_eq!(failing.end(5), [2, 2, 2, 3]);
    assert_eq!(failing.reasons(), ["storage_read_only"]);
}

#[test]
fn after_a_failed_fsync_the_batch_goes_to_a_new_segment() {
    let failing = failing(Durability::Strict);
    assert_eq!(failing.durable(1), Ok(Recorded::Durable));
    failing.faults.fail_syncs(1);
    // The faulty storage panics if the file is used again.
    assert_eq!(failing.durable(2), Ok(Recorded::Durable));
    assert_eq!(failing.end(2), [1, 2]);
    assert_eq!(failing.reasons(), ["sync_failed"]);
    assert_eq!(segments(failing.folder.path()).unwrap().len(), 2);
}

#[test]
fn when_every_fsync_fails_the_event_is_lost_and_told() {
    let failing = failing(Durability::Strict);
    failing.faults.fail_syncs(1_000_000);
    assert!(failing.durable(1).is_err());
    failing.clock.pass(Duration::from_secs(2));
    failing.faults.fail_syncs(0);
    failing.recover();
    assert_eq!(failing.durable(2), Ok(Recorded::Durable));
    assert_eq!(failing.end(2), [2]);
    // Attempts that failed have left no segments.
    assert_eq!(segments(failing.folder.path()).unwrap().len(), 2);
}

#[test]
fn what_an_interval_has_not_made_durable_is_lost_with_a_failed_fsync_and_told() {
    let failing = failing(Durability::Interval(Duration::from_secs(5)));
    for number in 0..10 {
        failing.audit.submit(event(number));
    }
    assert!(failing.audit.flush(LONG));
    assert_eq!(written(&failing.audit), 10);
    for number in 10..20 {
        failing.audit.submit(event(number));
    }
    failing.faults.fail_syncs(1);
    failing.recover();
    let subjects = failing.end(20);
    assert_eq!(subjects[..10], (0..10).collect::<Vec<_>>());
}

#[test]
fn what_was_written_before_a_full_disk_is_kept() {
    let failing = failing(Durability::Interval(Duration::from_secs(3600)));
    failing.faults.forget_writes();
    for number in 0..10 {
        failing.audit.submit(event(number));
        runtime().block_on(failing.faults.has_written());
    }
    failing.faults.room(Some(0));
    assert!(failing.durable(10).is_err());
    failing.faults.room(None);
    failing.recover();
    let subjects = failing.end(11);
    assert_eq!(subjects[..10], (0..10).collect::<Vec<_>>());
}

#[cfg(unix)]
#[test]
fn a_segment_that_is_deleted_or_replaced_is_left_and_verify_finds_the_hole() {
    for replace in [false, true] {
        let failing = failing(Durability::Strict);
        assert_eq!(failing.durable(1), Ok(Recorded::Durable));
        let name = &segments(failing.folder.path()).unwrap()[0];
        let path = failing.folder.path().join(name.to_string());
        fs::remove_file(&path).unwrap();
        if replace {
            fs::write(&path, "somebody's").unwrap();
        }
        // Not lost: it goes to the next segment, right away.
        assert_eq!(failing.durable(2), Ok(Recorded::Durable));
        assert!(failing.audit.shutdown(LONG));
        // What somebody has put there shows what was done.
        let there = fs::read_to_string(&path).ok();
        assert_eq!(there.as_deref(), replace.then_some("somebody's"));
        let report = verify(failing.folder.path());
        let fault = report.first_fault().unwrap();
        if replace {
            assert_eq!((fault.kind(), fault.seq()), (FaultKind::NotCanonical, 1));
            fs::remove_file(&path).unwrap();
        }
        assert_eq!(subjects(failing.folder.path()), [2]);
        let word = if replace {
            "segment_replaced"
        } else {
            "segment_deleted"
        };
        assert_eq!(failing.reasons(), [word]);
        let report = verify(failing.folder.path());
        let fault = report.first_fault().unwrap();
        assert_eq!(
            (fault.kind(), fault.seq(), fault.to()),
            (FaultKind::Missing, 1, Some(2))
        );
    }
}

#[test]
fn a22_a_stuck_disk_refuses_in_time_and_at_once_after_that() {
    let folder = tempfile::tempdir().unwrap();
    let (faults, clock) = (Faults::default(), TestClock::new());
    let trail = Trail::folder(folder.path()).durability(Durability::Strict);
    let audit = Audit::builder()
        .trail(trail.storage(faults.clone()))
        .clock(clock.clone())
        .deadline(Duration::from_millis(20))
        .start()
        .unwrap();
    faults.stick();
    runtime().block_on(async {
        let first = audit.submit_durable(event(1));
        faults.is_stuck().await;
        assert!(first.await.is_err());
        clock.pass(Duration::from_millis(21));
        let second = std::pin::pin!(audit.submit_durable(event(2)));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        // Known at the first poll: a disk that is stuck holds up no more requests.
        assert!(second.poll(&mut context).is_ready());
    });
    faults.release();
    assert!(audit.shutdown(LONG));
    // Nothing was lost: the disk was slow.
    assert_eq!(subjects(folder.path()), [1, 2]);
    assert_eq!(audit.unavailable(), 2);
}

#[test]
fn a21_to_go_on_counts_what_is_not_durable() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Faults::default();
    let trail = Trail::folder(folder.path()).storage(faults.clone());
    let audit = Audit::builder()
        .trail(trail)
        .on_failure(OnFailure::Continue)
        .start()
        .unwrap();
    faults.read_only(true);
    let recorded = durable(&audit, 1);
    assert_eq!(recorded, Ok(Recorded::NotDurable));
    assert_eq!(audit.unavailable(), 1);
}

#[test]
fn a_folder_that_cannot_be_written_fails_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Faults::default();
    faults.room(Some(10));
    let trail = || Trail::folder(folder.path());
    let error = Audit::builder()
        .trail(trail().storage(faults))
        .start()
        .unwrap_err();
    assert!(
        matches!(error, StartError::Write("storage_full")),
        "{error:?}"
    );
    assert!(segments(folder.path()).unwrap().is_empty());
    let first = Audit::builder().trail(trail()).start().unwrap();
    let error = Audit::builder().trail(trail()).start().unwrap_err();
    assert!(matches!(error, StartError::Open(_)), "{error:?}");
    drop(first);
    assert!(matches!(Audit::builder().start(), Err(StartError::NoTrail)));
}

#[test]
fn a_disk_that_fails_until_the_end_does_not_hold_up_the_shutdown() {
    let failing = failing(Durability::Strict);
    failing.faults.read_only(true);
    (0..100).for_each(|number| failing.audit.submit(event(number)));
    assert!(failing.audit.shutdown(LONG));
    let counters = failing.audit.counters().next().unwrap();
    assert_eq!((counters.lost(), counters.queued()), (100, (0, 0)));
}

#[test]
fn who_waits_in_the_queue_when_the_disk_fails_is_refused_and_the_events_stay() {
    let failing = failing(Durability::Strict);
    failing.faults.stick();
    runtime().block_on(async {
        let first = failing.audit.submit_durable(event(0));
        failing.faults.is_stuck().await;
        let waiting: Vec<_> = (1..20)
            .map(|number| failing.audit.submit_durable(event(number)))
            .collect();
        failing.faults.read_only(true);
        failing.faults.release();
        // It was in the file before.
        assert_eq!(first.await, Ok(Recorded::Durable));
        for waiting in waiting {
            assert!(waiting.await.is_err());
        }
        // The batch that failed is lost, and so is what comes while there is no room.
        for number in 20..8300 {
            failing.audit.submit(event(number));
        }
    });
    let (queued, _) = failing.audit.counters().next().unwrap().queued();
    assert!(queued <= 8192, "{queued}");
    failing.faults.read_only(false);
    failing.recover();
    let subjects = failing.end(8300);
    assert_eq!(subjects[0], 0);
    assert!(subjects.len() > 8000 && subjects.is_sorted());
}

#[test]
fn a_next_segment_that_cannot_be_made_is_tried_again_and_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (faults, clock) = (Faults::default(), TestClock::new());
    let trail = Trail::folder(folder.path())
        .durability(Durability::Strict)
        .segments(4096, LONG)
        .storage(faults.clone());
    let audit = start_at(&clock, trail);
    let durable = |number| durable(&audit, number);
    let count = || segments(folder.path()).unwrap().len();
    faults.fail_creates(1);
    for number in 0..30 {
        assert_eq!(durable(number), Ok(Recorded::Durable));
    }
    assert_eq!(
        (count(), audit.counters().next().unwrap().failures()),
        (1, 1)
    );
    clock.pass(Duration::from_secs(2));
    assert_eq!(durable(30), Ok(Recorded::Durable));
    assert!(audit.flush(LONG));
    assert_eq!(count(), 2);
    for number in 31..50 {
        assert_eq!(durable(number), Ok(Recorded::Durable));
    }
    assert!(audit.shutdown(LONG));
    assert_eq!(subjects(folder.path()), (0..50).collect::<Vec<_>>());
    assert_eq!(gap(folder.path()), 0);
    let report = verify(folder.path());
    assert!(report.is_whole(), "{report}");
}

#[test]
fn whichever_sync_fails_that_of_a_rotate_too_nothing_is_lost() {
    // The first sync is that of the start.
    for at in 2..24 {
        let folder = tempfile::tempdir().unwrap();
        let faults = Faults::default();
        faults.fail_sync_number(at);
        let trail = Trail::folder(folder.path())
            .durability(Durability::Strict)
            .segments(1500, LONG)
            .storage(faults.clone());
        let audit = start(trail);
        for number in 0..12 {
            let durable = durable(&audit, number);
            assert_eq!(durable, Ok(Recorded::Durable), "{at}");
        }
        assert!(audit.shutdown(LONG));
        let report = verify(folder.path());
        assert!(report.is_whole(), "{at}: {report}");
        assert_eq!(subjects(folder.path()), (0..12).collect::<Vec<_>>(), "{at}");
        let counters = audit.counters().next().unwrap();
        assert_eq!((counters.written(), counters.lost()), (12, 0), "{at}");
    }
}

#[test]
fn a_trail_that_has_failed_is_told_until_it_is_written_again() {
    let failing = failing(Durability::Strict);
    let audit = &failing.audit;
    assert_eq!(audit.failing(), 0);
    failing.faults.read_only(true);
    assert!(failing.durable(0).is_err());
    let trail = audit.failing_trails().next().unwrap();
    assert_eq!(trail.name(), failing.folder.path().display().to_string());
    assert_eq!((audit.failing(), trail.failures() > 0), (1, true));
    failing.faults.read_only(false);
    failing.recover();
    assert_eq!(audit.failing(), 0);
    assert!(audit.shutdown(LONG));
    assert_eq!(audit.failing(), 1);
}

#[test]
fn a_trail_that_is_stuck_is_told_by_its_name() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (faults, clock) = (Faults::default(), TestClock::new());
    let stuck = Trail::folder(two.path()).durability(Durability::Strict);
    let audit = Audit::builder()
        .clock(clock.clone())
        .trail(Trail::folder(one.path()))
        .trail(stuck.storage(faults.clone()))
        .start()
        .unwrap();
    faults.stick();
    audit.submit(event(0));
    runtime().block_on(faults.is_stuck());
    assert_eq!(audit.failing(), 0);
    clock.pass(Duration::from_millis(501));
    let names: Vec<_> = audit.failing_trails().map(|trail| trail.name()).collect();
    assert_eq!(names, [two.path().display().to_string()]);
    faults.release();
    assert!(audit.shutdown(LONG));
}
