//! Several streams in one folder.

use super::*;
use crate::audit::FaultKind;

#[track_caller]
fn assert_fault(report: &VerifyReport, kind: FaultKind, stream: &str, seq: u64) {
    let fault = report
        .first_fault()
        .unwrap_or_else(|| panic!("no {kind:?}"));
    assert_eq!(
        (fault.kind(), fault.stream(), fault.seq()),
        (kind, stream, seq),
        "{fault}"
    );
}

fn id(file: &Path) -> String {
    let name = file.file_name().unwrap().to_str().unwrap();
    name.split('-').nth(1).unwrap().to_owned()
}

#[test]
fn a05_a_new_stream_names_the_old_one() {
    let mut kept = Kept::new();
    for _ in 0..3 {
        kept.stream(5);
    }
    let report = kept.verify_with_notes();
    assert!(report.is_whole(), "{report}");
    assert_eq!((report.records(), report.streams), (24, 3));
    let files = kept.files();
    // The end of an old stream is not needed to see that it was cut.
    let text = fs::read_to_string(&files[1]).unwrap();
    let cut: String = text.split_inclusive('\n').take(6).collect();
    fs::write(&files[1], cut).unwrap();
    assert_fault(&kept.verify(), FaultKind::Truncated, &id(&files[1]), 7);
    fs::remove_file(&files[1]).unwrap();
    assert_fault(&kept.verify(), FaultKind::Missing, &id(&files[1]), 1);
    fs::write(&files[1], text).unwrap();
    fs::remove_file(&files[0]).unwrap();
    assert_fault(&kept.verify(), FaultKind::Missing, &id(&files[0]), 1);
}

#[test]
fn a24_a_fork_after_a_restart_is_found() {
    let mut kept = Kept::new();
    kept.stream(5);
    let old = kept.files()[0].clone();
    let text = fs::read(&old).unwrap();
    kept.stream(5);
    let first = kept.files()[1].clone();
    // Put back what was before the restart, and begin a second future there.
    let aside = fs::read(&first).unwrap();
    fs::remove_file(&first).unwrap();
    fs::write(&old, text).unwrap();
    kept.stream(5);
    let second = kept.files()[1].clone();
    assert!(kept.verify().is_whole());
    assert_fault(
        &kept.verify_with_notes(),
        FaultKind::Missing,
        &id(&first),
        1,
    );
    fs::write(&first, aside).unwrap();
    assert_fault(&kept.verify(), FaultKind::Forked, &id(&second), 1);
}

#[test]
fn a24_an_old_stream_that_goes_on_after_the_restart_is_found() {
    let mut kept = Kept::new();
    kept.stream(5);
    kept.stream(5);
    let files = kept.files();
    let text = fs::read_to_string(&files[0]).unwrap();
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    let more = tamper_line(lines.last().unwrap());
    lines.push(more);
    fs::write(&files[0], lines.join("\n") + "\n").unwrap();
    assert_fault(&kept.verify(), FaultKind::Forked, &id(&files[0]), 9);
}

#[test]
fn a24_a_stream_of_another_trail_is_found() {
    let (mut kept, mut other) = (Kept::new(), Kept::new());
    kept.stream(5);
    other.stream(5);
    let foreign = other.files()[0].clone();
    fs::copy(&foreign, kept.path().join(foreign.file_name().unwrap())).unwrap();
    kept.keys = PublicKeys::default();
    assert_fault(&kept.verify(), FaultKind::Spliced, &id(&foreign), 1);
}

#[test]
fn a05_segments_are_closed_by_a_record_that_names_the_next() {
    let mut kept = Kept::new();
    kept.stream_with(200, |trail| {
        trail
            .segments(8 * 1024, Duration::from_secs(3600))
            .durability(Durability::Strict)
    });
    let report = kept.verify_with_notes();
    assert!(report.is_whole(), "{report}");
    let files = kept.files();
    assert!(files.len() > 1);
    for pair in files.windows(2) {
        let text = fs::read_to_string(&pair[0]).unwrap();
        let lines: Vec<_> = text.lines().collect();
        let [.., rotate, checkpoint] = lines.as_slice() else {
            panic!();
        };
        let next = pair[1].file_name().unwrap().to_str().unwrap();
        assert!(rotate.contains(&format!("\"next\":\"{next}\"")), "{rotate}");
        assert!(checkpoint.contains("\"type\":\"checkpoint\""));
    }
    // A segment that is not there, in the middle and at the end.
    let last = files.last().unwrap();
    let aside = fs::read(last).unwrap();
    fs::remove_file(last).unwrap();
    let report = kept.verify();
    assert_eq!(report.first_fault().unwrap().kind(), FaultKind::Truncated);
    fs::write(last, aside).unwrap();
    assert!(kept.verify().is_whole());
    if files.len() > 2 {
        fs::remove_file(&files[1]).unwrap();
        assert_eq!(
            kept.verify().first_fault().unwrap().kind(),
            FaultKind::Missing
        );
    }
}
