//! what somebody does who can write the folder, with and without a key.

use std::collections::BTreeSet;

use serde_json::json;

use super::forge::*;
use super::*;
use crate::audit::scalar::{Timestamp, parse_timestamp};
use crate::audit::store::Part;
use crate::audit::{Clock, Fault, FaultKind};

fn three() -> Kept {
    let mut kept = Kept::new();
    for _ in 0..3 {
        kept.stream(20);
    }
    assert!(kept.verify_with_notes().is_whole());
    kept
}

#[track_caller]
fn fault(report: &VerifyReport) -> Fault {
    report.first_fault().expect("a fault").clone()
}

/// Kind, number, file and line of the first fault.
#[track_caller]
fn assert_fault(report: &VerifyReport, kind: FaultKind, seq: u64, file: &Path, line: u64) {
    let fault = fault(report);
    let name = file.file_name().unwrap().to_str().unwrap();
    assert_eq!(
        (fault.kind(), fault.seq(), fault.place()),
        (kind, seq, (name, line)),
        "{report}"
    );
    assert_eq!(fault.stream(), id(file), "{report}");
}

#[test]
fn a24_a_trail_written_again_in_short_streams_is_unsigned() {
    for events in [1, 7, 20, 40] {
        let kept = three();
        let files = rewritten(&kept, events);
        let line = events as u64 + 1;
        assert_fault(&kept.verify(), FaultKind::Unsigned, 1, &files[0], line);
        let with_notes = kept.verify_with_notes();
        assert!(!with_notes.is_whole());
        // Without a key nobody can know.
        assert!(Verify::new(kept.path()).run().unwrap().is_whole());
    }
    // Nor does a restart sign more than the stream that it finds.
    let mut kept = three();
    let files = rewritten(&kept, 20);
    kept.stream(3);
    assert_fault(&kept.verify(), FaultKind::Unsigned, 1, &files[0], 21);
    // In one stream it is as long as what may have no checkpoint yet: told, and found with the notes.
    let kept = three();
    rewritten(&kept, 60);
    let report = kept.verify();
    let unsigned: Vec<_> = report.unsigned().iter().map(|note| note.count).collect();
    assert_eq!(unsigned, [61]);
    assert!(!kept.verify_with_notes().is_whole());
}

#[test]
fn a24_the_newest_streams_written_again_are_unsigned() {
    let kept = three();
    let files = kept.files();
    let mut old = end_of(&files[0]);
    for file in &files[1..] {
        let mut records = records(file);
        records.retain(|record| record["type"] != "checkpoint");
        records[0]["old"] = old;
        chained(file, records);
        old = end_of(file);
    }
    assert_fault(&kept.verify(), FaultKind::Unsigned, 1, &files[1], 22);
}

#[test]
fn a24_a_file_that_belongs_to_no_stream_is_found_wherever_it_is() {
    for (after, micros) in [(0, -1), (0, 1), (1, 1), (2, 1)] {
        // Records without a start.
        let kept = three();
        let file = near(&kept.files()[after], micros);
        chained(&file, (0..9).map(|_| event()));
        for report in [
            kept.verify(),
            kept.verify_with_notes(),
            Verify::new(kept.path()).run().unwrap(),
        ] {
            assert_fault(&report, FaultKind::Spliced, 1, &file, 1);
        }
        // With one that follows none.
        let records = || std::iter::once(start(None)).chain((0..9).map(|_| event()));
        chained(&file, records());
        assert_fault(&kept.verify(), FaultKind::Spliced, 1, &file, 1);
        // With one that follows the same stream as another.
        if (0..2).contains(&after) && micros > 0 {
            chained(&file, records());
            let files = kept.files();
            let mut records = records().collect::<Vec<_>>();
            records[0]["old"] = end_of(&files[after]);
            chained(&file, records);
            assert_fault(&kept.verify(), FaultKind::Forked, 1, &file, 1);
        }
    }
}

#[test]
fn a24_a_stream_that_follows_one_before_its_neighbour_is_found() {
    let kept = three();
    let files = kept.files();
    // The third follows the first.
    let mut third = records(&files[2]);
    third.retain(|record| record["type"] != "checkpoint");
    third[0]["old"] = end_of(&files[0]);
    chained(&files[2], third);
    assert_fault(&kept.verify(), FaultKind::Forked, 1, &files[2], 1);
    // And the second the third.
    let mut second = records(&files[1]);
    second.retain(|record| record["type"] != "checkpoint");
    second[0]["old"] = end_of(&files[2]);
    chained(&files[1], second);
    let report = Verify::new(kept.path()).run().unwrap();
    assert!(!report.is_whole());
    assert_eq!(fault(&report).kind(), FaultKind::Spliced, "{report}");
    assert_eq!(fault(&report).stream(), id(&files[1]));
}

#[test]
fn a24_records_in_a_file_of_removals_are_found() {
    let prune = |file: &Path| renamed(file, |name| name.part = Part::Prune);
    // Ordinary records.
    let kept = three();
    let file = prune(&near(&kept.files()[1], 1));
    chained(&file, std::iter::once(start(None)).chain([event()]));
    for report in [kept.verify(), Verify::new(kept.path()).run().unwrap()] {
        assert_fault(&report, FaultKind::Spliced, 2, &file, 2);
    }
    // A copy of a stream, and the newest hidden.
    let kept = three();
    let last = kept.files().pop().unwrap();
    fs::copy(&last, prune(&last)).unwrap();
    let report = kept.verify_with_notes();
    let kinds: BTreeSet<_> = report
        .faults()
        .iter()
        .map(|fault| format!("{:?} {}", fault.kind(), fault.place().0))
        .collect();
    let name = name_of(&prune(&last)).to_string();
    assert!(kinds.contains(&format!("Duplicated {name}")), "{report}");
    assert_eq!(report.records(), 3 * 23);
    fs::remove_file(&last).unwrap();
    assert_fault(&kept.verify(), FaultKind::Spliced, 1, &prune(&last), 1);
}

#[test]
fn a24_a_stream_under_two_names_is_duplicated() {
    let kept = three();
    let file = kept.files()[1].clone();
    let copy = renamed(&file, |name| {
        name.began = Timestamp::from_micros(name.began.micros() + 1);
    });
    fs::copy(&file, &copy).unwrap();
    for report in [
        kept.verify_with_notes(),
        Verify::new(kept.path()).run().unwrap(),
    ] {
        assert_fault(&report, FaultKind::Duplicated, 1, &copy, 1);
        assert_eq!(report.records(), 3 * 23);
    }
    // In another place it is missing where it was, and where it is it follows the wrong one.
    fs::remove_file(&copy).unwrap();
    let last = kept.files().pop().unwrap();
    let moved = renamed(&file, |name| {
        name.began = Timestamp::from_micros(name_of(&last).began.micros() + 1);
    });
    fs::rename(&file, &moved).unwrap();
    assert!(!kept.verify().is_whole());
}

#[test]
fn a24_two_notes_of_one_size_are_a_fork() {
    let mut kept = Kept::new();
    kept.stream(20);
    let honest = kept.notes.clone();
    // The owner of the key writes the stream again, with the same sizes.
    let file = kept.files()[0].clone();
    let mut records = records(&file);
    records.pop();
    records[3]["action"] = json!("DELETE");
    chained(&file, records);
    let key = SigningKey::from_file("test", kept.key_file()).unwrap();
    let lines = tamper::resigned(&[kept.lines(), vec![String::new()]].concat(), &key);
    kept.write_lines(&lines);
    assert!(kept.verify().is_whole(), "{}", kept.verify());
    let note: serde_json::Value = serde_json::from_str(lines.last().unwrap()).unwrap();
    let other = Checkpoint::parse(note["note"].as_str().unwrap()).unwrap();
    for notes in [
        [honest[0].clone(), other.clone()],
        [other.clone(), honest[0].clone()],
    ] {
        kept.notes = notes.to_vec();
        let report = kept.verify_with_notes();
        let fault = fault(&report);
        assert_eq!(
            (fault.kind(), fault.seq(), fault.place()),
            (FaultKind::Forked, 22, ("checkpoints", 2)),
            "{report}"
        );
    }
    // The same one twice is none.
    kept.notes = vec![other.clone(), other];
    assert!(kept.verify_with_notes().is_whole());
}

/// A clock that stands still.
#[derive(Debug)]
struct Still(&'static str);

impl Clock for Still {
    fn now(&self) -> SystemTime {
        parse_timestamp(self.0).unwrap().to_system()
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

fn stream_of(kept: &Kept, key: SigningKey, now: &'static str) {
    let trail = Trail::folder(kept.path()).signer(key);
    let audit = Audit::builder().trail(trail).clock(Still(now)).start();
    let audit = audit.unwrap();
    audit.submit(access(1));
    assert!(audit.shutdown(Duration::from_secs(60)));
}

#[test]
fn a24_a_retired_key_signs_nothing_later_whatever_time_it_says() {
    let kept = Kept::new();
    let path = kept.path().join("old.pem");
    let old = || match path.exists() {
        true => SigningKey::from_file("old", &path).unwrap(),
        false => SigningKey::create_file("old", &path).unwrap(),
    };
    let new = SigningKey::random("new").unwrap();
    let keys = format!(
        "{} until 2026-02-01T00:00:00Z\n{}\n# once more\n{}\n",
        old().public(),
        new.public(),
        old().public()
    );
    let keys = PublicKeys::parse(&keys).unwrap();
    let verify = || Verify::new(kept.path()).keys(keys.clone()).run().unwrap();
    stream_of(&kept, old(), "2026-01-01T00:00:00Z");
    stream_of(&kept, new, "2026-03-01T00:00:00Z");
    assert!(verify().is_whole(), "{}", verify());
    // A new stream, all of it dated back.
    stream_of(&kept, old(), "2026-01-02T00:00:00Z");
    let file = kept.files().pop().unwrap();
    assert_fault(&verify(), FaultKind::RetiredKey, 4, &file, 4);
    // Records of now, and the note dated back.
    fs::remove_file(file).unwrap();
    for file in kept.files() {
        fs::remove_file(file).unwrap();
    }
    stream_of(&kept, old(), "2026-03-01T00:00:00Z");
    let file = kept.files().pop().unwrap();
    let mut lines = kept.lines();
    lines.pop();
    let time = parse_timestamp("2026-01-02T00:00:00Z").unwrap();
    kept.write_lines(&tamper::signed(&lines, time, &old()));
    assert_fault(&verify(), FaultKind::RetiredKey, 4, &file, 4);
}

#[test]
fn a24_what_comes_after_a_hole_is_judged_too() {
    let mut kept = Kept::new();
    kept.stream_with(90, |trail| {
        trail.checkpoint_every(10, Duration::from_secs(3600))
    });
    let whole = kept.lines();
    let mut lines = whole.clone();
    let at = lines.iter().rposition(|line| line.contains("GET")).unwrap();
    lines[at] = lines[at].replace("GET", "PUT");
    lines.remove(30);
    kept.write_lines(&lines);
    let report = kept.verify();
    let found: Vec<_> = report
        .faults()
        .iter()
        .map(|fault| (fault.kind(), fault.seq()))
        .collect();
    let edited = at as u64 + 1;
    assert_eq!(
        found,
        [(FaultKind::Missing, 31), (FaultKind::Edited, edited)],
        "{report}"
    );
    // After the hole alone, the rest holds, with its checkpoints.
    let mut lines = whole;
    lines.remove(30);
    kept.write_lines(&lines);
    let report = kept.verify_with_notes();
    assert_eq!(report.faults().len(), 1, "{report}");
    assert_eq!(report.records(), lines.len() as u64);
    assert_eq!(report.unsigned(), []);
}

#[test]
fn a24_a_record_after_the_stop_is_found() {
    let kept = three();
    let files = kept.files();
    let append = |file: &Path| {
        let text = fs::read_to_string(file).unwrap();
        let more = tamper_line(text.lines().last().unwrap());
        fs::write(file, format!("{text}{more}\n")).unwrap();
    };
    append(&files[2]);
    assert_fault(&kept.verify(), FaultKind::Inserted, 24, &files[2], 24);
    // A start that takes it over does not make it good.
    let mut kept = kept;
    kept.stream(3);
    assert_fault(&kept.verify(), FaultKind::Inserted, 24, &files[2], 24);
}

#[test]
fn a24_the_last_checkpoint_has_one_form() {
    let kept = three();
    let mut lines = kept.lines();
    let last = lines.last_mut().unwrap();
    *last = last.replacen("\\n\",\"prev\"", "\\n— x AAAAAAAA\\n\",\"prev\"", 1);
    kept.write_lines(&lines);
    let file = kept.files().pop().unwrap();
    assert_fault(&kept.verify(), FaultKind::Edited, 23, &file, 23);
}
