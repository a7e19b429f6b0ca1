use std::fs;
use std::time::{Duration, SystemTime};

use super::*;
use crate::audit::verify::tests::Kept;
use crate::audit::{Durability, FaultKind, PublicKeys, SigningKey, Trail};

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

fn small(trail: Trail) -> Trail {
    trail
        .segments(8 * 1024, YEAR)
        .durability(Durability::Strict)
}

fn prune(kept: &Kept) -> Prune {
    let signer = SigningKey::from_file("test", kept.key_file()).unwrap();
    let later = SystemTime::now() + 8 * YEAR;
    // All is older than this.
    Prune::before(kept.path(), later - 7 * YEAR, kept.keys.clone(), signer).at(later)
}

#[test]
fn a29_old_segments_go_and_the_rest_still_verifies() {
    let mut kept = Kept::new();
    kept.stream(5);
    kept.stream_with(300, small);
    kept.stream_with(300, small);
    let files = kept.files();
    let before = kept.verify_with_notes().records();
    let report = prune(&kept).run().unwrap();
    assert_eq!(report.removed.len(), files.len() - 1);
    assert_eq!(report.unsigned, [""; 0]);
    let left = kept.files();
    assert_eq!(left.len(), 2);
    assert_eq!(left[0], *files.last().unwrap());
    let verified = kept.verify_with_notes();
    assert!(verified.is_whole(), "{verified}");
    assert!(verified.records() < before);
    // The record says what it was.
    let text = fs::read_to_string(&left[1]).unwrap();
    for name in [
        report.removed.first().unwrap(),
        report.removed.last().unwrap(),
    ] {
        assert!(text.contains(name.as_str()), "{text}");
    }
    // Without the record, or with one by somebody else, records are missing.
    fs::remove_file(&left[1]).unwrap();
    let fault = kept.verify().first_fault().unwrap().clone();
    assert_eq!((fault.kind(), fault.seq()), (FaultKind::Missing, 1));
    let forged = text
        .lines()
        .take(2)
        .map(|line| format!("{line}\n"))
        .collect::<String>();
    fs::write(&left[1], forged).unwrap();
    assert_eq!(
        kept.verify().first_fault().unwrap().kind(),
        FaultKind::Missing
    );
    fs::write(&left[1], &text).unwrap();
    // The trail goes on, and is pruned again.
    kept.stream_with(300, small);
    assert!(kept.verify_with_notes().is_whole());
    prune(&kept).run().unwrap();
    let verified = kept.verify_with_notes();
    assert!(verified.is_whole(), "{verified}");
    assert_eq!(prune(&kept).run().unwrap(), PruneReport::default());
}

#[test]
fn a29_a_crash_between_the_removals_leaves_a_trail_that_verifies() {
    let mut kept = Kept::new();
    kept.stream_with(300, small);
    let files = kept.files();
    let texts: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    prune(&kept).run().unwrap();
    // The oldest are removed last.
    for (file, text) in files.iter().zip(&texts).take(files.len() - 1) {
        let verified = kept.verify_with_notes();
        assert!(verified.is_whole(), "{verified}");
        fs::write(file, text).unwrap();
    }
    assert!(kept.verify_with_notes().is_whole());
}

#[test]
fn a29_what_is_young_or_unsigned_or_not_whole_stays() {
    let mut kept = Kept::new();
    kept.stream(5);
    kept.stream(5);
    let signer = || SigningKey::from_file("test", kept.key_file()).unwrap();
    let now = SystemTime::now();
    let young = Prune::before(kept.path(), now - 6 * YEAR, kept.keys.clone(), signer());
    assert!(matches!(young.run(), Err(PruneError::Young)));
    let nothing = Prune::before(kept.path(), now - 7 * YEAR, kept.keys.clone(), signer());
    assert_eq!(nothing.run().unwrap(), PruneReport::default());
    let no_keys = Prune::before(kept.path(), now - 7 * YEAR, PublicKeys::default(), signer());
    assert!(matches!(no_keys.run(), Err(PruneError::NoKeys)));
    // A signer whose key nobody knows.
    let other = SigningKey::random("other").unwrap();
    let later = now + 8 * YEAR;
    let unknown = Prune::before(kept.path(), later - 7 * YEAR, kept.keys.clone(), other).at(later);
    assert!(matches!(unknown.run(), Err(PruneError::NotWhole(_))));
    assert_eq!(kept.files().len(), 2);

    let first = kept.files().remove(0);
    let text = fs::read_to_string(&first).unwrap();
    fs::write(&first, text.replacen("GET", "PUT", 1)).unwrap();
    assert!(matches!(prune(&kept).run(), Err(PruneError::NotWhole(_))));
    assert!(kept.verify().first_fault().is_some());
    assert_eq!(kept.files().len(), 2);
}

#[test]
fn a29_a_segment_without_a_checkpoint_at_its_end_stays() {
    let mut kept = Kept::new();
    kept.stream(5);
    // As a crash leaves it: without the stop and its checkpoint.
    let lines = kept.lines();
    kept.write_lines(&lines[..6]);
    kept.notes.clear();
    kept.stream(5);
    let first = kept.files().remove(0);
    let report = prune(&kept).run().unwrap();
    assert_eq!(report.removed, [""; 0]);
    assert_eq!(
        report.unsigned,
        [first.file_name().unwrap().to_str().unwrap()]
    );
    assert!(first.exists());
}
