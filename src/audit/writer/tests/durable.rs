//! what must be durable first.

use super::*;
use crate::audit::store::fault::Faults;
use crate::audit::{Call, Durability, Recorded, Sink, SinkError, Trail};

#[test]
fn a20_an_event_is_durable_before_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Faults::default();
    // Nothing but the event itself asks for a sync.
    let trail = Trail::folder(folder.path())
        .durability(Durability::Interval(LONG))
        .storage(faults.clone());
    let audit = start(trail);
    let before = faults.syncs();
    for number in 0..10 {
        let recorded = durable(&audit, number);
        assert_eq!(recorded, Ok(Recorded::Durable));
        assert_eq!(faults.syncs(), before + number + 1);
        assert_eq!(subjects(folder.path()).len() as u64, number + 1);
    }
}

#[test]
fn events_are_made_durable_by_number_and_by_age() {
    let second = Duration::from_secs(1);
    for (durability, count, pass) in [
        (Durability::Grouped(5, LONG), 5, Duration::ZERO),
        (Durability::Grouped(500, second), 3, second),
        (Durability::Interval(second), 3, second),
        (Durability::Strict, 1, Duration::ZERO),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (faults, clock) = (Faults::default(), TestClock::new());
        let trail = Trail::folder(folder.path())
            .durability(durability)
            .storage(faults.clone());
        let audit = start_at(&clock, trail);
        faults.forget_writes();
        let before = faults.syncs();
        for number in 0..count {
            assert_eq!(faults.syncs(), before, "{durability:?}");
            faults.stick();
            audit.submit(event(number));
            runtime().block_on(faults.has_written());
        }
        clock.pass(pass);
        runtime().block_on(faults.is_stuck());
        faults.release();
        assert!(audit.shutdown(LONG));
        assert_eq!(subjects(folder.path()).len() as u64, count);
    }
}

#[test]
fn a20_one_of_several_trails_is_enough() {
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let faults = [(); 3].map(|()| Faults::default());
    let mut builder = Audit::builder().deadline(LONG);
    for (folder, faults) in folders.iter().zip(&faults) {
        let trail = Trail::folder(folder.path()).durability(Durability::Strict);
        builder = builder.trail(trail.storage(faults.clone()));
    }
    let audit = builder.start().unwrap();
    let durable = |number| durable(&audit, number);
    assert_eq!(durable(1), Ok(Recorded::Durable));
    faults[0].read_only(true);
    faults[1].read_only(true);
    assert_eq!(durable(2), Ok(Recorded::Durable));
    faults[2].read_only(true);
    assert!(durable(3).is_err());
    for faults in &faults {
        faults.read_only(false);
    }
    assert!(audit.shutdown(LONG));
    let mut streams = Vec::new();
    for folder in &folders {
        assert!(verify(folder.path()).is_whole());
        streams.push(lines(folder.path())[0]["stream"].clone());
    }
    assert_ne!(streams[0], streams[1]);
    assert_eq!(subjects(folders[2].path())[..2], [1, 2]);
}

/// Takes the events before one, and none from there on.
struct FailsAt(u64);

impl Sink for FailsAt {
    fn record(&mut self, line: &str) -> Result<(), SinkError> {
        if line.contains("\"type\":\"event\"") {
            self.0 = self
                .0
                .checked_sub(1)
                .ok_or_else(|| SinkError::new("full"))?;
        }
        Ok(())
    }

    fn is_durable(&self) -> bool {
        true
    }
}

#[test]
fn a20_a_sink_that_fails_on_record_k_lets_k_minus_1_handlers_run() {
    for k in [1, 2, 17] {
        let trail = Trail::sink(FailsAt(k - 1)).durability(Durability::Strict);
        let audit = start(trail);
        let mut handled = 0;
        runtime().block_on(async {
            for number in 0..40 {
                if audit.submit_durable(event(number)).await.is_ok() {
                    handled += 1;
                }
            }
        });
        assert_eq!((handled, audit.unavailable()), (k - 1, 41 - k));
    }
}

#[test]
fn an_intent_without_its_completion_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let audit = start(Trail::folder(folder.path()));
    let calls = [(); 5].map(|()| Call::next());
    for call in calls {
        audit.submit(Event::intent(call).outcome(Outcome::Allow));
    }
    for call in [calls[0], calls[3]] {
        audit.submit(Event::completion(call).outcome(Outcome::Allow).status(200));
    }
    assert!(audit.shutdown(LONG));
    let report = verify(folder.path());
    assert_eq!(report.open_intents(), 3);
    let seqs: Vec<_> = report
        .first_open_intents()
        .iter()
        .map(|open| open.seq)
        .collect();
    assert_eq!(seqs, [3, 4, 6]);
}

#[test]
fn an_audit_and_its_futures_can_be_sent() {
    fn is_sent<T: Send + 'static>(_: &T) {}
    let folder = tempfile::tempdir().unwrap();
    let audit = start(Trail::folder(folder.path()));
    is_sent(&audit);
    is_sent(&audit.submit_durable(event(0)));
}
