//! What was removed, and what somebody says was removed.

use super::forge::*;
use super::*;
use crate::audit::scalar::Timestamp;
use crate::audit::{FaultKind, Prune};

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

fn three() -> Kept {
    let mut kept = Kept::new();
    for _ in 0..3 {
        kept.stream(5);
    }
    kept
}

fn now() -> Timestamp {
    SystemTime::now().into()
}

fn in_years(years: u32) -> Timestamp {
    (SystemTime::now() + years * YEAR).into()
}

fn kinds(report: &VerifyReport) -> Vec<(FaultKind, String)> {
    let faults = report.faults().iter();
    faults
        .map(|fault| (fault.kind(), fault.place().0.to_owned()))
        .collect()
}

#[test]
fn a29_what_was_removed_is_listed() {
    let kept = three();
    let first = kept.files()[0].clone();
    let removed = removal(&first, now());
    let prune = pruned(&kept, removed.clone(), in_years(8));
    // Before the removal, and after it.
    assert!(kept.verify_with_notes().is_whole());
    fs::remove_file(&first).unwrap();
    let report = kept.verify_with_notes();
    assert!(report.is_whole(), "{report}");
    let note = &report.pruned()[0];
    assert_eq!(report.pruned().len(), 1);
    assert_eq!((&note.stream, note.records), (&removed.old.stream, 8));
    assert_eq!((&note.first, &note.last), (&removed.first, &removed.last));
    assert_eq!(note.latest, removed.latest.unwrap().to_string());
    assert_eq!(
        (note.file.as_str(), note.line),
        (name_of(&prune).to_string().as_str(), 2)
    );
    let text = report.to_string();
    assert!(
        text.contains(&removed.first) && text.contains(&note.latest),
        "{text}"
    );
}

#[test]
fn a29_what_is_younger_than_six_years_may_not_be_removed() {
    let kept = three();
    let first = kept.files()[0].clone();
    let honest = removal(&first, now());
    let text = fs::read(&first).unwrap();
    fs::remove_file(&first).unwrap();
    let told = |file: &Path| (FaultKind::Missing, name_of(file).to_string());
    // By what it says itself.
    let prune = pruned(&kept, honest.clone(), in_years(5));
    assert_eq!(kinds(&kept.verify())[0], told(&prune));
    fs::remove_file(prune).unwrap();
    // It says that it is of a time to come.
    let prune = pruned(&kept, honest.clone(), in_years(8));
    let today = Verify::new(kept.path()).keys(kept.keys.clone());
    assert_eq!(kinds(&today.run().unwrap())[0], told(&prune));
    fs::remove_file(prune).unwrap();
    // It says that the records were old: the second place knows better.
    let mut lie = honest;
    lie.latest = Some(Timestamp::from_micros(1));
    let prune = pruned(&kept, lie, now());
    let report = kept.verify_with_notes();
    assert_eq!(kinds(&report)[0], told(&prune), "{report}");
    // And without it what was removed is listed.
    assert_eq!(kept.verify().pruned().len(), 1);
    // Whether the records are still there or not.
    fs::write(first, text).unwrap();
    assert_eq!(kinds(&kept.verify_with_notes())[0], told(&prune));
}

#[test]
fn a29_what_was_removed_is_compared_with_the_second_place() {
    let kept = three();
    let first = kept.files()[0].clone();
    let honest = removal(&first, now());
    let mut other = honest.clone();
    other.old.head = [7; 32];
    let prune = pruned(&kept, other, in_years(8));
    let told = (FaultKind::Edited, name_of(&prune).to_string());
    let report = kept.verify_with_notes();
    assert!(kinds(&report).contains(&told), "{report}");
    fs::remove_file(prune).unwrap();
    // The files are not of the stream.
    let mut other = honest;
    other.first = name_of(&kept.files()[1]).to_string();
    let prune = pruned(&kept, other, in_years(8));
    let told = (FaultKind::NotCanonical, name_of(&prune).to_string());
    assert!(kinds(&kept.verify()).contains(&told));
}

#[test]
fn a29_a_record_that_no_checkpoint_proves_excuses_nothing() {
    let kept = three();
    let first = kept.files()[0].clone();
    let prune = pruned(&kept, removal(&first, now()), in_years(8));
    let whole = fs::read(&prune).unwrap();
    let aside = fs::read(&first).unwrap();
    for cut in (0..whole.len()).rev().step_by(41) {
        fs::write(&prune, &whole[..cut]).unwrap();
        // As a crash leaves it, before anything was removed.
        fs::write(&first, &aside).unwrap();
        let report = kept.verify_with_notes();
        assert!(report.is_whole(), "{cut}: {report}");
        assert_eq!(report.pruned(), []);
        fs::remove_file(&first).unwrap();
        for report in [kept.verify(), Verify::new(kept.path()).run().unwrap()] {
            let fault = report.first_fault().unwrap();
            assert_eq!(
                (fault.kind(), fault.stream()),
                (FaultKind::Missing, &*id(&first))
            );
        }
    }
    // Signed by another key.
    fs::write(&prune, &whole).unwrap();
    let other = SigningKey::random("test").unwrap().public();
    let keys = PublicKeys::from_iter([other]);
    let report = Verify::new(kept.path()).keys(keys).run().unwrap();
    assert!(
        kinds(&report)
            .iter()
            .any(|(kind, _)| *kind == FaultKind::Missing)
    );
}

#[test]
fn a29_a_crash_between_the_removals_of_whole_streams_leaves_a_whole_trail() {
    let mut kept = Kept::new();
    for _ in 0..3 {
        kept.stream_with(120, |trail| {
            trail
                .segments(8 * 1024, YEAR)
                .durability(Durability::Strict)
        });
    }
    let files = kept.files();
    let texts: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    let signer = || SigningKey::from_file("test", kept.key_file()).unwrap();
    let later = SystemTime::now() + 8 * YEAR;
    let prune = || {
        Prune::before(kept.path(), later - 7 * YEAR, kept.keys.clone(), signer())
            .at(later)
            .run()
            .unwrap()
    };
    let removed = prune().removed.len();
    assert!(removed + 1 == files.len() && removed > 4, "{removed}");
    // The newest were removed first, so that the oldest are left.
    for left in 0..removed {
        let report = kept.verify_with_notes();
        assert!(report.is_whole(), "{left}: {report}");
        assert!(
            kept.verify().is_whole()
                && Verify::new(kept.path()).at(later).run().unwrap().is_whole()
        );
        fs::write(&files[left], &texts[left]).unwrap();
    }
    // Another run finishes it.
    for file in &files[2..removed] {
        fs::remove_file(file).unwrap();
    }
    assert_eq!(prune().removed.len(), 2);
    let report = kept.verify_with_notes();
    assert!(report.is_whole(), "{report}");
}

#[test]
fn a29_nothing_can_be_put_in_the_place_of_what_was_removed() {
    let kept = three();
    let files = kept.files();
    let second = removal(&files[1], now());
    let name = name_of(&files[1]);
    let prune = pruned(&kept, second, in_years(8));
    fs::remove_file(&files[1]).unwrap();
    assert!(kept.verify_with_notes().is_whole());
    // Records under the name of the stream: its beginning, and all of it.
    for count in [3, 8] {
        let start = start(Some(end_of(&files[0])));
        chained(
            &files[1],
            std::iter::once(start).chain((1..count).map(|_| event())),
        );
        let report = kept.verify();
        assert!(!report.is_whole(), "{count}: {report}");
        assert_eq!(report.first_fault().unwrap().stream(), name.stream);
    }
    fs::remove_file(&files[1]).unwrap();
    // A stream right before it, of which nobody is left that could follow another.
    let between = near(&files[1], -1);
    for old in [Some(end_of(&files[0])), None] {
        chained(&between, [start(old), event()]);
        let fault = kept.verify().first_fault().unwrap().clone();
        assert_eq!(fault.stream(), id(&between), "{fault}");
    }
    fs::remove_file(&between).unwrap();
    // And the one that it followed.
    fs::remove_file(&files[0]).unwrap();
    let report = kept.verify();
    let fault = report.first_fault().unwrap();
    assert_eq!(
        (fault.kind(), fault.stream()),
        (FaultKind::Missing, &*id(&files[0]))
    );
    assert_eq!(fault.place().0, name_of(&prune).to_string());
}
