//! What attempts that failed, and processes that were killed, have left in the folder.

use super::*;
use crate::audit::store::fault::Faults;
use crate::audit::{Durability, FaultKind, OpenError, Recorded, StartError, Trail};

fn start(folder: &Path, faults: &Faults, clock: &TestClock) -> Result<Audit, StartError> {
    let trail = Trail::folder(folder)
        .durability(Durability::Strict)
        .storage(faults.clone());
    let audit = Audit::builder().deadline(LONG).clock(clock.clone());
    audit.trail(trail).start()
}

fn durable(audit: &Audit, number: u64) -> bool {
    let recorded = runtime().block_on(audit.submit_durable(event(number)));
    recorded == Ok(Recorded::Durable)
}

#[test]
fn a_segment_whose_entry_cannot_be_made_durable_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let (faults, clock) = (Faults::default(), TestClock::new());
    let audit = start(folder.path(), &faults, &clock).unwrap();
    assert!(durable(&audit, 0));
    // As when the device goes read-only: the file is there, and cannot be removed.
    faults.fail_syncs(1);
    faults.leave_creates(1);
    faults.fail_removes(u64::MAX);
    assert!(!durable(&audit, 1));
    clock.pass(Duration::from_secs(2));
    assert!(audit.flush(LONG));
    assert!(durable(&audit, 2));
    assert!(audit.shutdown(LONG));
    assert_eq!(subjects(folder.path()), [0, 2]);
    let report = verify(folder.path());
    assert!(report.is_whole(), "{report}");
    assert_eq!(report.gaps().1, 1);
}

#[test]
fn a_segment_that_could_not_be_removed_doubles_no_record() {
    let folder = tempfile::tempdir().unwrap();
    let (faults, clock) = (Faults::default(), TestClock::new());
    let audit = start(folder.path(), &faults, &clock).unwrap();
    assert!(durable(&audit, 0));
    // The second of them is that of a segment in which nothing is durable.
    faults.fail_syncs(2);
    faults.fail_removes(u64::MAX);
    assert!(!durable(&audit, 1));
    clock.pass(Duration::from_secs(2));
    assert!(audit.flush(LONG));
    assert!(durable(&audit, 2));
    assert!(audit.shutdown(LONG));
    assert_eq!(subjects(folder.path()), [0, 2]);
    let report = verify(folder.path());
    assert!(report.is_whole(), "{report}");
}

#[test]
fn a05_what_the_process_before_has_written_is_durable_before_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (faults, clock) = (Faults::default(), TestClock::new());
    let audit = start(folder.path(), &faults, &clock).unwrap();
    assert!(audit.shutdown(LONG));
    let before = text(folder.path());
    faults.fail_syncs(1);
    let error = start(folder.path(), &faults, &clock).unwrap_err();
    assert!(
        matches!(error, StartError::Open(OpenError::Io(..))),
        "{error:?}"
    );
    assert_eq!(text(folder.path()), before);
    assert!(start(folder.path(), &faults, &clock).is_ok());
}

#[test]
fn a24_a_whole_last_line_that_was_changed_is_no_torn_one() {
    let (faults, clock) = (Faults::default(), TestClock::new());
    for changed in [b'~', b'"', b'\n', 0] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trail");
        let audit = start(&path, &faults, &clock).unwrap();
        assert!(durable(&audit, 0));
        assert!(audit.shutdown(LONG));
        let file = path.join(segments(&path).unwrap()[0].to_string());
        let mut bytes = fs::read(&file).unwrap();
        let at = bytes.len() - 2;
        bytes[at] = changed;
        fs::write(&file, bytes).unwrap();
        assert!(!verify(&path).is_whole());
        assert!(start(&path, &faults, &clock).unwrap().shutdown(LONG));
        let report = verify(&path);
        let fault = report.first_fault().unwrap();
        assert_eq!(
            (fault.kind(), fault.seq()),
            (FaultKind::NotCanonical, 3),
            "{report}"
        );
        assert!(text(&path).contains("faulty_tail"));
    }
}

#[test]
fn a05_the_start_names_each_file_with_what_was_torn() {
    let folder = tempfile::tempdir().unwrap();
    let (faults, clock) = (Faults::default(), TestClock::new());
    let audit = start(folder.path(), &faults, &clock).unwrap();
    assert!(audit.shutdown(LONG));
    let name = &segments(folder.path()).unwrap()[0];
    let mut torn = Vec::new();
    // Two segments that were made and have no whole record yet.
    for name in [name.next(), name.next().next()] {
        fs::write(folder.path().join(name.to_string()), "{\"act").unwrap();
        torn.push(name.to_string().replace("jsonl", "torn"));
    }
    torn.reverse();
    let audit = start(folder.path(), &faults, &clock).unwrap();
    assert!(audit.shutdown(LONG));
    let lines = lines(folder.path());
    let named = lines.iter().find_map(|line| line["source"].as_str());
    assert_eq!(named.unwrap(), torn.join(" "));
    assert!(verify(folder.path()).is_whole());
}

#[test]
fn a05_the_folders_above_are_made_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("one/two/three");
    let audit = start(&path, &Faults::default(), &TestClock::new()).unwrap();
    assert!(durable(&audit, 0));
    fs::write(folder.path().join("file"), "").unwrap();
    let below = folder.path().join("file/trail");
    let error = start(&below, &Faults::default(), &TestClock::new()).unwrap_err();
    assert!(matches!(error, StartError::Open(_)), "{error:?}");
}
