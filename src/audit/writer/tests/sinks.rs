//! Places that are no folders.

use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;
use crate::audit::{
    Algorithm, Checkpoint, Durability, Entry, Recorded, SignError, Signer, SigningKey, Sink,
    SinkError, Trail,
};

struct Kept {
    lines: Sender<String>,
    notes: Sender<String>,
    fails: Arc<AtomicBool>,
    panics: Arc<AtomicBool>,
    is_durable: bool,
}

struct Seen {
    lines: Receiver<String>,
    notes: Receiver<String>,
    fails: Arc<AtomicBool>,
    panics: Arc<AtomicBool>,
}

fn sink(is_durable: bool) -> (Kept, Seen) {
    let ((lines, seen_lines), (notes, seen_notes)) = (channel(), channel());
    let (fails, panics) = (Arc::default(), Arc::default());
    let seen = Seen {
        lines: seen_lines,
        notes: seen_notes,
        fails: Arc::clone(&fails),
        panics: Arc::clone(&panics),
    };
    (
        Kept {
            lines,
            notes,
            fails,
            panics,
            is_durable,
        },
        seen,
    )
}

impl Sink for Kept {
    fn name(&self) -> &str {
        "kept"
    }

    fn record(&mut self, line: &str) -> Result<(), SinkError> {
        assert!(!self.panics.load(Ordering::SeqCst), "a sink of a test");
        if self.fails.load(Ordering::SeqCst) {
            return Err(SinkError::new("no"));
        }
        self.lines.send(line.to_owned()).unwrap();
        Ok(())
    }

    fn checkpoint(&mut self, note: &str) -> Result<(), SinkError> {
        self.notes.send(note.to_owned()).unwrap();
        Ok(())
    }

    fn is_durable(&self) -> bool {
        self.is_durable
    }
}

/// Writes the lines of a sink as a segment and verifies them.
fn assert_chain(lines: &[String]) {
    let folder = tempfile::tempdir().unwrap();
    let first = Entry::parse(lines[0].as_bytes()).unwrap();
    let name = format!("20260102T030405.000006Z-{}-000001.jsonl", first.stream());
    fs::write(folder.path().join(name), lines.join("\n") + "\n").unwrap();
    let report = verify(folder.path());
    assert!(report.is_whole(), "{report}");
}

#[test]
fn a_sink_gets_each_record_in_order_and_the_checkpoints() {
    let (sink, seen) = sink(false);
    let trail = Trail::sink(sink).signer(SigningKey::random("k").unwrap());
    let audit = start(trail);
    (0..100).for_each(|number| audit.submit(event(number)));
    assert!(audit.shutdown(LONG));
    let lines: Vec<_> = seen.lines.try_iter().collect();
    assert_eq!(lines.len(), 103);
    assert_chain(&lines);
    assert_eq!(seen.notes.try_iter().count(), 1);
    assert_eq!(written(&audit), 100);
}

#[test]
fn a_sink_that_fails_or_panics_is_counted_and_tried_again() {
    let (sink, seen) = sink(true);
    let clock = TestClock::new();
    let trail = Trail::sink(sink).durability(Durability::Strict);
    let audit = start_at(&clock, trail);
    let durable = |number| durable(&audit, number);
    let counters = || audit.counters().next().unwrap();
    assert_eq!(durable(0), Ok(Recorded::Durable));
    for (round, flag) in [&seen.fails, &seen.panics].into_iter().enumerate() {
        flag.store(true, Ordering::SeqCst);
        assert!(durable(1).is_err());
        assert_eq!(counters().failures(), round as u64 + 1);
        flag.store(false, Ordering::SeqCst);
        clock.pass(Duration::from_secs(2));
        assert!(audit.flush(LONG));
        assert_eq!(durable(2), Ok(Recorded::Durable));
    }
    assert!(audit.shutdown(LONG));
    let lines: Vec<_> = seen.lines.try_iter().collect();
    assert_chain(&lines);
    let of = |kind: &str| lines.iter().filter(|line| line.contains(kind)).count();
    assert_eq!((of("\"type\":\"event\""), of("\"type\":\"gap\"")), (3, 2));
    assert_eq!((counters().written(), counters().lost()), (3, 2));
}

#[test]
fn a_sink_that_keeps_nothing_makes_nothing_durable() {
    let (sink, _seen) = sink(false);
    let audit = start(Trail::sink(sink));
    assert!(durable(&audit, 0).is_err());
}

#[test]
fn a_sink_that_is_down_at_the_start_gets_the_start_later() {
    let (sink, seen) = sink(false);
    let clock = TestClock::new();
    seen.fails.store(true, Ordering::SeqCst);
    let audit = start_at(&clock, Trail::sink(sink));
    assert_eq!(audit.failing_trails().next().unwrap().name(), "kept");
    audit.submit(event(0));
    seen.fails.store(false, Ordering::SeqCst);
    clock.pass(Duration::from_secs(2));
    assert!(audit.flush(LONG));
    assert_eq!(audit.failing(), 0);
    assert!(audit.shutdown(LONG));
    let lines: Vec<_> = seen.lines.try_iter().collect();
    assert!(lines[0].contains("\"type\":\"start\""), "{}", lines[0]);
    assert_chain(&lines);
}

/// A trail with a checkpoint after every second record, which goes to this place.
fn noted(
    path: &Path,
    key: SigningKey,
    place: impl FnMut(&Checkpoint) -> Result<(), SinkError> + Send + 'static,
) -> Audit {
    let trail = Trail::folder(path)
        .durability(Durability::Strict)
        .signer(key)
        .checkpoint_every(2, LONG)
        .second_place(place);
    Audit::builder()
        .deadline(LONG)
        .trail(trail)
        .start()
        .unwrap()
}

#[test]
fn a22_a_second_place_that_hangs_holds_up_no_record() {
    let folder = tempfile::tempdir().unwrap();
    let ((go_on, waits), (asked, is_asked)) = (channel::<()>(), channel());
    let audit = noted(folder.path(), SigningKey::random("k").unwrap(), move |_| {
        let _ = asked.send(());
        let _ = waits.recv();
        Ok(())
    });
    let durable = |number| runtime().block_on(audit.submit_durable(event(number)));
    assert_eq!(durable(0), Ok(Recorded::Durable));
    is_asked.recv_timeout(LONG).unwrap();
    for number in 1..300 {
        assert_eq!(durable(number), Ok(Recorded::Durable));
    }
    assert!(audit.flush(LONG));
    assert_eq!(audit.failing(), 0);
    // More than a hundred checkpoints wait for the place, and only so many are kept.
    let counters = audit.counters().next().unwrap();
    let failures = counters.checkpoint_failures();
    assert_eq!(failures + 64 + 1, counters.checkpoints());
    // The trail ends, and whoever stops it learns that the last checkpoint is not in its place.
    assert!(!audit.shutdown(Duration::ZERO));
    drop(go_on);
    assert!(audit.shutdown(LONG));
    assert_eq!(subjects(folder.path()), (0..300).collect::<Vec<_>>());
}

#[test]
fn a04_a_checkpoint_that_was_refused_is_given_again_until_a_later_one_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let ((fails, given), mut left) = (channel(), 3);
    let audit = noted(
        folder.path(),
        SigningKey::random("k").unwrap(),
        move |note| {
            left -= 1;
            fails.send((note.size(), left < 0)).unwrap();
            match left {
                ..0 => Ok(()),
                _ => Err(SinkError::new("no")),
            }
        },
    );
    assert!(runtime().block_on(audit.submit_durable(event(0))).is_ok());
    for left in [true, true, true, false] {
        assert_eq!(given.recv_timeout(LONG), Ok((2, !left)));
    }
    assert!(audit.shutdown(LONG));
    // The last is given as well.
    assert_eq!(given.recv_timeout(LONG), Ok((4, true)));
    assert_eq!(audit.counters().next().unwrap().checkpoint_failures(), 3);
}

#[test]
fn a04_the_last_checkpoint_of_the_process_before_is_given_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let (trail, pem) = (folder.path().join("trail"), folder.path().join("k.pem"));
    let key = SigningKey::create_file("k", &pem).unwrap();
    // A process that was killed after the record was durable, and before the place had it.
    let audit = noted(&trail, key, |_| Err(SinkError::new("no")));
    assert!(audit.shutdown(LONG));
    let last = lines(&trail).pop().unwrap()["note"].clone();
    let (notes, given) = channel();
    let audit = noted(
        &trail,
        SigningKey::from_file("k", &pem).unwrap(),
        move |note| {
            let _ = notes.send(note.to_string());
            Ok(())
        },
    );
    assert_eq!(given.recv_timeout(LONG).unwrap(), last);
    assert!(audit.shutdown(LONG));
    // One that somebody else has signed is not.
    let (notes, given) = channel();
    let audit = noted(&trail, SigningKey::random("k").unwrap(), move |note| {
        let _ = notes.send(note.size());
        Ok(())
    });
    assert!(audit.shutdown(LONG));
    assert_eq!(given.try_iter().collect::<Vec<_>>(), [2]);
}

/// Signs with another key than it shows, or has no name.
#[derive(Debug)]
struct Wrong(SigningKey, SigningKey, &'static str);

impl Signer for Wrong {
    fn name(&self) -> &str {
        self.2
    }

    fn algorithm(&self) -> Algorithm {
        self.0.algorithm()
    }

    fn public_key(&self) -> Vec<u8> {
        self.1.public_key()
    }

    fn sign(&self, text: &[u8]) -> Result<Vec<u8>, SignError> {
        self.0.sign(text)
    }
}

#[test]
fn a04_a_signature_that_does_not_hold_is_not_written() {
    let key = || SigningKey::random("k").unwrap();
    for name in ["k", "a b", "a\nb", "", "a+b"] {
        let folder = tempfile::tempdir().unwrap();
        let trail = Trail::folder(folder.path()).signer(Wrong(key(), key(), name));
        let audit = Audit::builder().trail(trail).start().unwrap();
        audit.submit(event(0));
        assert!(audit.shutdown(LONG));
        let counters = audit.counters().next().unwrap();
        assert_eq!((counters.checkpoints(), counters.written()), (0, 1));
        assert!(counters.checkpoint_failures() > 0);
        let report = verify(folder.path());
        assert!(report.is_whole() && report.checkpoints() == 0, "{report}");
    }
}
