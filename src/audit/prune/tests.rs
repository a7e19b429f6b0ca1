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

/// What a folder holds.
fn snapshot(kept: &Kept) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(kept.path()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut all: Vec<_> = paths
        .map(|path| (path.display().to_string(), fs::read(&path).unwrap()))
        .collect();
    all.sort();
    all
}

#[test]
fn a29_a_dry_run_tells_what_would_go_and_changes_nothing() {
    let mut kept = Kept::new();
    kept.stream(5);
    kept.stream(5);
    // As a crash leaves it: nothing signs its end.
    let lines = kept.lines();
    kept.write_lines(&lines[..6]);
    kept.notes.clear();
    kept.stream(5);
    let before = snapshot(&kept);
    let told = prune(&kept).dry_run().unwrap();
    assert_eq!(snapshot(&kept), before);
    assert!(
        !told.removed.is_empty() && told.unsigned.len() == 1,
        "{told:?}"
    );
    assert_eq!(prune(&kept).run().unwrap(), told);

    // What would stop it, stops it here.
    let now = SystemTime::now();
    let signer = || SigningKey::from_file("test", kept.key_file()).unwrap();
    let young = Prune::before(kept.path(), now - 6 * YEAR, kept.keys.clone(), signer());
    assert!(matches!(young.dry_run(), Err(PruneError::Young)));
    let mut kept = Kept::new();
    kept.stream(5);
    kept.stream(5);
    let before = snapshot(&kept);
    let other = SigningKey::random("other").unwrap();
    let later = now + 8 * YEAR;
    let unknown = Prune::before(kept.path(), later - 7 * YEAR, kept.keys.clone(), other);
    let error = unknown.at(later).dry_run().unwrap_err().to_string();
    assert!(error.contains(": unknown key: "), "{error}");
    assert!(error.contains("the signing key other"), "{error}");
    assert_eq!(snapshot(&kept), before);
    let text = fs::read_to_string(&kept.files()[0]).unwrap();
    fs::write(&kept.files()[0], text.replacen("GET", "PUT", 1)).unwrap();
    assert!(matches!(
        prune(&kept).dry_run(),
        Err(PruneError::NotWhole(_))
    ));
}

/// What a crash leaves of a stream that goes as a whole, and is not the last, the next run removes.
#[test]
fn a29_the_next_run_finishes_what_a_crash_has_left() {
    let mut kept = Kept::new();
    kept.stream_with(40, small);
    kept.stream_with(300, small);
    kept.stream_with(300, small);
    kept.stream(5);
    let files = kept.files();
    let texts: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    let told = prune(&kept).run().unwrap();
    let removed = told.removed.len();
    assert!(removed >= 5 && removed == files.len() - 1);
    // The newest are removed first.
    for left in 1..removed {
        for (file, text) in files.iter().zip(&texts).take(left) {
            fs::write(file, text).unwrap();
        }
        let report = prune(&kept).run().unwrap();
        assert_eq!(report.removed, told.removed[..left]);
        assert_eq!(kept.files().len(), 2);
        let verified = kept.verify_with_notes();
        assert!(verified.is_whole(), "{verified}");
    }
    // A copy under another name is none of them.
    let copy = files[0].with_file_name(format!("2020{}", &told.removed[0][4..]));
    fs::write(&copy, &texts[0]).unwrap();
    let said = prune(&kept).run().unwrap_err();
    let PruneError::NotWhole(fault) = said else {
        panic!("{said}");
    };
    assert_eq!(fault.kind, FaultKind::Duplicated);
    assert!(copy.exists());
}

#[test]
fn a29_a_segment_that_cannot_be_removed_is_named_with_what_was() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["a", "b", "c"].map(str::to_owned);
    fs::create_dir(folder.path().join("a")).unwrap();
    for name in &names[1..] {
        fs::write(folder.path().join(name), "").unwrap();
    }
    let error = run::remove(folder.path(), &names).unwrap_err();
    assert!(matches!(error, PruneError::Partly(2, _, _)), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("/a cannot be removed, and 2 others were"),
        "{text}"
    );
}

/// A machine without a clock of its own starts in 1970.
#[test]
fn a29_what_a_clock_of_1970_has_written_is_as_old_as_what_came_before() {
    #[derive(Debug)]
    struct At(SystemTime);

    impl crate::audit::Clock for At {
        fn now(&self) -> SystemTime {
            self.0
        }

        fn elapsed(&self) -> Duration {
            Duration::ZERO
        }
    }

    let kept = Kept::new();
    let key = || match kept.key_file().exists() {
        true => SigningKey::from_file("test", kept.key_file()).unwrap(),
        false => SigningKey::create_file("test", kept.key_file()).unwrap(),
    };
    let keys = PublicKeys::from_iter([key().public()]);
    let now = SystemTime::now();
    for time in [now, SystemTime::UNIX_EPOCH, now] {
        let trail = Trail::folder(kept.path()).signer(key());
        let audit = crate::audit::Audit::builder()
            .trail(trail)
            .clock(At(time))
            .start()
            .unwrap();
        assert!(audit.shutdown(Duration::from_secs(60)));
    }
    let prune = Prune::before(kept.path(), now - 7 * YEAR, keys, key());
    assert_eq!(prune.run().unwrap(), PruneReport::default());
    assert_eq!(kept.files().len(), 3);
}
