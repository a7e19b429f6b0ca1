//! Places that are no folders.

use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;
use crate::audit::{Durability, Entry, Recorded, SigningKey, Sink, SinkError, Trail};

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

#[test]
fn a20_who_waits_for_a_record_does_not_wait_for_the_second_place() {
    let folder = tempfile::tempdir().unwrap();
    let ((answered, go_on), (asked, is_asked)) = (channel::<()>(), channel());
    let clock = TestClock::new();
    let trail = Trail::folder(folder.path())
        .durability(Durability::Strict)
        .signer(SigningKey::random("k").unwrap())
        .checkpoint_every(2, LONG)
        .second_place(move |_| {
            let _ = asked.send(());
            let _ = go_on.recv();
            Ok(())
        });
    let audit = Audit::builder()
        .deadline(LONG)
        .trail(trail)
        .clock(clock.clone())
        .start()
        .unwrap();
    let durable = runtime().block_on(audit.submit_durable(event(0)));
    assert_eq!(durable, Ok(Recorded::Durable));
    // A place that does not return is told as a disk that does not.
    is_asked.recv_timeout(LONG).unwrap();
    clock.pass(LONG + Duration::from_secs(1));
    assert_eq!(audit.failing(), 1);
    assert!(runtime().block_on(audit.submit_durable(event(1))).is_err());
    drop(answered);
    assert!(audit.shutdown(LONG));
    assert_eq!(subjects(folder.path()), [0, 1]);
}
