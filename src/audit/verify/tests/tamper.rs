//! A-24: each way to change a trail is found, told apart, and told with the right record.

use super::*;
use crate::audit::proof::{Frontier, Signer, genesis, record_hash};
use crate::audit::scalar::{Timestamp, hex_of};
use crate::audit::{Entry, FaultKind};

fn two_kept() -> (Kept, Kept) {
    (kept(), kept())
}

fn kept() -> Kept {
    let mut kept = Kept::new();
    kept.stream(97);
    assert_eq!(kept.lines().len(), 100);
    kept
}

#[track_caller]
fn assert_fault(report: &VerifyReport, kind: FaultKind, seq: u64) {
    let fault = report
        .first_fault()
        .unwrap_or_else(|| panic!("no {kind:?}"));
    assert_eq!((fault.kind(), fault.seq()), (kind, seq), "{fault}");
}

#[test]
fn a_trail_that_nobody_has_changed_is_whole() {
    let kept = kept();
    let report = kept.verify_with_notes();
    assert!(report.is_whole(), "{report}");
    assert_eq!(report.records(), 100);
    assert_eq!(report.checkpoints(), 1);
    assert_eq!(report.unsigned(), []);
    assert_eq!(report.open_intents(), 97);
    assert_eq!(report.external_checkpoints, 1);
    // Another key, and none.
    let other = SigningKey::random("test").unwrap().public();
    let other = Verify::new(kept.path())
        .keys(PublicKeys::from_iter([other]))
        .run()
        .unwrap();
    assert_fault(&other, FaultKind::UnknownKey, 100);
    assert!(Verify::new(kept.path()).run().unwrap().is_whole());
}

#[test]
fn a24_each_flipped_bit_is_found_with_its_record() {
    let kept = kept();
    let file = kept.files().remove(0);
    let whole = fs::read(&file).unwrap();
    let mut bytes = whole.clone();
    let mut seq = 1;
    // One bit of each byte of the first and the last records, and of some bytes between, so that the
    // test stays short; all of them if asked for.
    let is_full = std::env::var_os("AUDIT_FULL").is_some();
    for at in 0..whole.len() {
        let step = if seq <= 2 || seq >= 99 { 1 } else { 23 };
        let bits: Vec<u8> = match is_full {
            true => (0..8).collect(),
            false if at % step == 0 => vec![u8::try_from(at / step % 8).unwrap()],
            false => Vec::new(),
        };
        for bit in bits {
            bytes[at] ^= 1 << bit;
            fs::write(&file, &bytes).unwrap();
            bytes[at] = whole[at];
            let report = kept.verify();
            // A last line without its end is what a crash leaves: told, not a fault by itself.
            if at + 1 == whole.len() {
                let torn: Vec<_> = report.torn_tails().iter().map(|torn| torn.seq).collect();
                assert!(
                    torn == [100] || !report.is_whole(),
                    "bit {bit} of the end: {report}"
                );
                continue;
            }
            let Some(fault) = report.first_fault() else {
                panic!("bit {bit} of byte {at}, record {seq}: {report}");
            };
            assert_eq!(fault.seq(), seq, "bit {bit} of byte {at}: {fault}");
            let kinds = [
                FaultKind::Edited,
                FaultKind::NotCanonical,
                FaultKind::BadSignature,
                FaultKind::UnknownKey,
                FaultKind::Spliced,
            ];
            assert!(kinds.contains(&fault.kind()), "{fault}");
        }
        if whole[at] == b'\n' {
            seq += 1;
        }
    }
}

#[test]
fn a24_deleted_swapped_and_doubled_records_are_told_apart() {
    let kept = kept();
    let whole = kept.lines();
    for k in 1..=99_u64 {
        let index = usize::try_from(k).unwrap() - 1;
        let mut lines = whole.clone();
        lines.remove(index);
        kept.write_lines(&lines);
        assert_fault(&kept.verify(), FaultKind::Missing, k);

        let mut lines = whole.clone();
        lines.swap(index, index + 1);
        kept.write_lines(&lines);
        assert_fault(&kept.verify(), FaultKind::Reordered, k);

        let mut lines = whole.clone();
        lines.insert(index + 1, whole[index].clone());
        kept.write_lines(&lines);
        assert_fault(&kept.verify(), FaultKind::Duplicated, k);

        let mut lines = whole.clone();
        lines.push(whole[index].clone());
        kept.write_lines(&lines);
        assert_fault(&kept.verify(), FaultKind::Duplicated, k);
    }
    // Moved far away, and the last one doubled.
    let mut lines = whole.clone();
    let moved = lines.remove(20);
    lines.insert(80, moved);
    kept.write_lines(&lines);
    assert_fault(&kept.verify(), FaultKind::Reordered, 21);
    let mut lines = whole.clone();
    lines.push(whole[99].clone());
    kept.write_lines(&lines);
    assert_fault(&kept.verify(), FaultKind::Duplicated, 100);
}

/// The record after this one, made by somebody who knows the form.
fn forged(before: &str, action: &str) -> String {
    let entry = Entry::parse(before.as_bytes()).unwrap();
    format!(
        r#"{{"action":"{action}","prev":"{}","seq":{},"stream":"{}","ts":"2026-01-02T03:04:06.000000Z","type":"access","v":1}}"#,
        hex_of(&record_hash(before.as_bytes())),
        entry.seq() + 1,
        entry.stream()
    )
}

#[test]
fn a24_inserted_records_are_found() {
    let kept = kept();
    let whole = kept.lines();
    for index in [0, 1, 50, 97, 98] {
        let seq = index as u64 + 2;
        let good = forged(&whole[index], "X");
        // With a hash of its own.
        let bad = forged(&forged(&whole[index], "Y"), "X")
            .replace(&format!("\"seq\":{}", seq + 1), &format!("\"seq\":{seq}"));
        for line in [good, bad] {
            let mut lines = whole.clone();
            lines.insert(index + 1, line);
            kept.write_lines(&lines);
            assert_fault(&kept.verify(), FaultKind::Inserted, seq);
        }
        let mut lines = whole.clone();
        lines.insert(index + 1, "{}".to_owned());
        kept.write_lines(&lines);
        assert_fault(&kept.verify(), FaultKind::NotCanonical, seq);
    }
}

#[test]
fn a24_a_cut_head_is_missing_and_a_cut_tail_needs_a_checkpoint() {
    let kept = kept();
    let whole = kept.lines();
    for cut in [1, 2, 50, 99] {
        kept.write_lines(&whole[cut..]);
        assert_fault(&kept.verify(), FaultKind::Missing, 1);

        kept.write_lines(&whole[..100 - cut]);
        // The checkpoint was about 99 records.
        let with_notes = kept.verify_with_notes();
        if cut > 1 {
            assert_fault(&with_notes, FaultKind::Truncated, 101 - cut as u64);
            assert_eq!(with_notes.first_fault().unwrap().to(), Some(99));
            let without = kept.verify();
            assert!(without.is_whole());
            let left = 100 - cut as u64;
            let unsigned: Vec<_> = without.unsigned().iter().map(|note| note.count).collect();
            assert_eq!(unsigned, [left]);
        } else {
            assert!(with_notes.is_whole());
        }
    }
    // All of it.
    for file in kept.files() {
        fs::remove_file(file).unwrap();
    }
    assert!(kept.verify().is_whole());
    assert_fault(&kept.verify_with_notes(), FaultKind::Missing, 1);
}

#[test]
fn a24_records_of_another_stream_are_found() {
    let (kept, other) = two_kept();
    let (whole, foreign) = (kept.lines(), other.lines());
    for index in [0, 1, 50, 99] {
        let mut lines = whole.clone();
        lines[index].clone_from(&foreign[index]);
        kept.write_lines(&lines);
        assert_fault(&kept.verify(), FaultKind::Spliced, index as u64 + 1);
        let mut lines = whole.clone();
        lines.truncate(index);
        lines.extend_from_slice(&foreign[index..]);
        kept.write_lines(&lines);
        assert_fault(&kept.verify(), FaultKind::Spliced, index as u64 + 1);
    }
}

/// Writes the lines from an index on again, as somebody without the key would: with new numbers and
/// hashes, and the notes as they are.
fn rechained(lines: &mut [String], from: usize) {
    for index in from..lines.len() {
        let entry = Entry::parse(lines[index].as_bytes()).unwrap();
        let old = hex_of(entry.prev());
        let new = match index {
            0 => genesis(entry.stream()),
            _ => record_hash(lines[index - 1].as_bytes()),
        };
        lines[index] = lines[index].replacen(
            &format!("\"prev\":\"{old}\""),
            &format!("\"prev\":\"{}\"", hex_of(&new)),
            1,
        );
    }
}

#[test]
fn a24_a_history_written_again_is_found_by_its_checkpoint() {
    let kept = kept();
    let mut lines = kept.lines();
    lines[40] = lines[40].replace("GET", "PUT");
    rechained(&mut lines, 41);
    kept.write_lines(&lines);
    let report = kept.verify();
    assert_fault(&report, FaultKind::Edited, 1);
    assert_eq!(report.first_fault().unwrap().to(), Some(99));
    // Without the checkpoint in the file, by the one elsewhere.
    kept.write_lines(&lines[..99]);
    assert!(kept.verify().is_whole());
    assert_fault(&kept.verify_with_notes(), FaultKind::Edited, 1);
    // And without any, because so long a trail must have one.
    let few = Verify::new(kept.path())
        .keys(kept.keys)
        .most_unsigned(50)
        .run()
        .unwrap();
    assert_fault(&few, FaultKind::Unsigned, 1);
}

/// The lines with their last one, a checkpoint, signed by this key.
pub(super) fn resigned(lines: &[String], key: &SigningKey) -> Vec<String> {
    let lines = &lines[..lines.len() - 1];
    let entry = Entry::parse(lines.last().unwrap().as_bytes()).unwrap();
    signed(lines, Timestamp::from_micros(entry.time().micros()), key)
}

/// The lines and a checkpoint by this key, with this time.
pub(super) fn signed(lines: &[String], time: Timestamp, key: &SigningKey) -> Vec<String> {
    let mut lines = lines.to_vec();
    let mut tree = Frontier::default();
    for line in &lines {
        tree.push(line.as_bytes());
    }
    let last = lines.last().unwrap().clone();
    let head = record_hash(last.as_bytes());
    let entry = Entry::parse(last.as_bytes()).unwrap();
    let note =
        Checkpoint::sign(entry.stream(), tree.size(), &tree.root(), &head, time, key).unwrap();
    let note = serde_json::to_string(&note).unwrap();
    lines.push(format!(
        r#"{{"note":{note},"prev":"{}","seq":{},"stream":"{}","ts":"{time}","type":"checkpoint","v":1}}"#,
        hex_of(&head),
        entry.seq() + 1,
        entry.stream()
    ));
    lines
}

#[test]
fn a24_a_history_forged_with_an_old_key_is_found() {
    let kept = kept();
    let mut lines = kept.lines();
    let own = SigningKey::from_file("test", kept.key_file()).unwrap();
    let old = SigningKey::random("old").unwrap();
    // The test forges as the writer writes.
    kept.write_lines(&resigned(&lines, &own));
    assert!(kept.verify().is_whole(), "{}", kept.verify());

    lines[40] = lines[40].replace("GET", "PUT");
    rechained(&mut lines, 41);
    kept.write_lines(&resigned(&lines, &old));
    assert_fault(&kept.verify(), FaultKind::UnknownKey, 100);
    let keys = format!(
        "{}\n{} until 2026-01-01T00:00:00Z\n",
        own.public(),
        old.public()
    );
    let retired = Verify::new(kept.path())
        .keys(PublicKeys::parse(&keys).unwrap())
        .run()
        .unwrap();
    assert_fault(&retired, FaultKind::RetiredKey, 100);
    // With the name of the key, and its bytes.
    let lines = resigned(&lines, &old);
    let name = format!("— {} ", own.name());
    let kept_line = lines[99].replace("— old ", &name);
    let mut lines = lines;
    lines[99] = kept_line;
    kept.write_lines(&lines);
    assert_fault(&kept.verify(), FaultKind::UnknownKey, 100);
    assert_fault(&kept.verify_with_notes(), FaultKind::Edited, 1);
}

#[test]
fn a24_whatever_is_done_to_a_file_nothing_panics_and_only_a_cut_tail_stays_unseen() {
    let mut kept = Kept::new();
    kept.stream(9);
    let file = kept.files().remove(0);
    let whole = fs::read(&file).unwrap();
    let mut random = fastrand::Rng::with_seed(11);
    for round in 0..1500 {
        let mut bytes = whole.clone();
        for _ in 0..random.usize(1..4) {
            let from = random.usize(0..=bytes.len());
            let to = random.usize(from..=bytes.len().min(from + 700));
            match random.u8(0..4) {
                0 => drop(bytes.drain(from..to)),
                1 => {
                    let part = bytes[from..to].to_vec();
                    let at = random.usize(0..=bytes.len());
                    bytes.splice(at..at, part);
                }
                2 => bytes[from..to].reverse(),
                _ => bytes[from..to]
                    .iter_mut()
                    .for_each(|byte| *byte = random.u8(..)),
            }
        }
        fs::write(&file, &bytes).unwrap();
        let report = kept.verify();
        // The rest of a line at the end is what a crash leaves, and is told.
        let is_told = !report.is_whole() || !report.torn_tails().is_empty();
        assert!(
            is_told || whole.starts_with(&bytes),
            "round {round}: {report}"
        );
        assert!(
            report.is_whole() || report.first_fault().unwrap().seq() <= 12,
            "{report}"
        );
    }
}
