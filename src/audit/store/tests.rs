use std::fs;
use std::path::Path;

use super::fault::Faults;
use super::*;
use crate::audit::proof::{genesis, record_hash};
use crate::audit::scalar::{Timestamp, hex_of};

const STREAM: &str = "0123456789abcdef0123456789abcdef";

fn open(folder: &Path) -> Opened {
    let now = Timestamp::from_micros(1_000_000);
    Store::open(folder, STREAM, now, Box::new(Disk)).unwrap()
}

/// So many records of a stream, each with its line break.
fn records(count: u64) -> Vec<String> {
    let mut prev = genesis(STREAM);
    let record = |seq| {
        let line = format!(
            r#"{{"prev":"{}","seq":{seq},"stream":"{STREAM}","ts":"2026-01-02T03:04:05.000006Z","type":"stop","v":1}}"#,
            hex_of(&prev)
        );
        prev = record_hash(line.as_bytes());
        format!("{line}\n")
    };
    (1..=count).map(record).collect()
}

fn names(folder: &Path) -> Vec<String> {
    segments(folder)
        .unwrap()
        .iter()
        .map(Name::to_string)
        .collect()
}

#[test]
fn two_writers_of_one_folder_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    let now = Timestamp::default();
    let second = Store::open(folder.path(), STREAM, now, Box::new(Disk)).unwrap_err();
    assert!(matches!(second, OpenError::InUse(_)));
    assert!(second.to_string().contains("another process"), "{second}");
    drop(first);
    open(folder.path());
}

#[cfg(unix)]
#[test]
fn a05_files_and_folder_are_for_the_owner_alone() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let trail = folder.path().join("a/trail");
    let mut store = open(&trail).store;
    store.advance().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&trail), 0o700);
    for entry in trail.read_dir().unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
}

#[test]
fn a05_a_torn_last_line_is_moved_beside_and_the_old_head_is_found() {
    let lines = records(2);
    let all = lines.concat();
    let whole = |count: usize| lines[..count].concat().len();
    for cut in 0..=all.len() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path()).store;
        store.advance().unwrap();
        store.append(&all.as_bytes()[..cut]).unwrap();
        drop(store);
        let count = (0..=2).rev().find(|count| whole(*count) <= cut).unwrap();
        let is_torn = cut > whole(count) || count == 0;
        let opened = open(folder.path());
        assert_eq!(opened.torn.len(), usize::from(is_torn), "{cut}");
        assert!(!opened.is_faulty);
        if is_torn {
            let torn = fs::read(folder.path().join(&opened.torn[0])).unwrap();
            assert_eq!(torn, all.as_bytes()[whole(count)..cut]);
        }
        let old = opened.old.map(|old| (old.stream, old.size, old.head));
        let last = lines[..count].last().map(|line| {
            (
                STREAM.to_owned(),
                count as u64,
                record_hash(line.trim_end().as_bytes()),
            )
        });
        assert_eq!(old, last);
        let left = names(folder.path());
        assert_eq!(left.len(), usize::from(count > 0));
        if let [name] = left.as_slice() {
            assert_eq!(
                fs::read(folder.path().join(name)).unwrap(),
                &all.as_bytes()[..whole(count)]
            );
        }
    }
}

#[test]
fn an_edited_tail_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path()).store;
    store.advance().unwrap();
    let mut lines = records(4);
    lines[1] = lines[1].replace("stop", "stap");
    store.append(lines.concat().as_bytes()).unwrap();
    drop(store);
    let opened = open(folder.path());
    assert!(opened.is_faulty && opened.torn.is_empty());
    assert_eq!(opened.old.unwrap().size, 2);
    let name = &names(folder.path())[0];
    assert_eq!(
        fs::read_to_string(folder.path().join(name)).unwrap(),
        lines.concat()
    );
}

#[test]
fn names_sort_even_when_the_clock_was_set_back() {
    let folder = tempfile::tempdir().unwrap();
    for second in [50, 40, 30] {
        let now = Timestamp::from_micros(second * 1_000_000);
        let mut store = Store::open(folder.path(), STREAM, now, Box::new(Disk))
            .unwrap()
            .store;
        store.advance().unwrap();
        store.append(records(1).concat().as_bytes()).unwrap();
    }
    let began = segments(folder.path()).unwrap();
    let began: Vec<_> = began.iter().map(|name| name.began.micros()).collect();
    assert_eq!(began, [50_000_000, 50_000_001, 50_000_002]);
}

#[test]
fn a_short_write_is_cut_off_and_the_segment_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Faults::default();
    let now = Timestamp::default();
    let mut store = Store::open(folder.path(), STREAM, now, Box::new(faults.clone()))
        .unwrap()
        .store;
    store.advance().unwrap();
    store.append(b"one\n").unwrap();
    faults.room(Some(2));
    let failure = store.append(b"two\n").unwrap_err();
    assert_eq!(failure.word(), "storage_full");
    store.sync().unwrap();
    faults.room(None);
    store.append(b"three\n").unwrap();
    let path = folder.path().join(&names(folder.path())[0]);
    assert_eq!(fs::read_to_string(path).unwrap(), "one\nthree\n");
}

#[test]
fn after_a_failed_sync_the_file_is_never_trusted_again() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Faults::default();
    let now = Timestamp::default();
    let mut store = Store::open(folder.path(), STREAM, now, Box::new(faults.clone()))
        .unwrap()
        .store;
    store.advance().unwrap();
    store.append(b"one\n").unwrap();
    store.sync().unwrap();
    store.append(b"two\n").unwrap();
    faults.fail_syncs(1);
    assert_eq!(store.sync().unwrap_err().word(), "sync_failed");
    store.reopen().unwrap();
    store.append(b"three\n").unwrap();
    store.sync().unwrap();
    let read = |name: &String| fs::read_to_string(folder.path().join(name)).unwrap();
    let texts: Vec<_> = names(folder.path()).iter().map(read).collect();
    assert_eq!(texts, ["one\n", "three\n"]);
}

#[cfg(unix)]
#[test]
fn a_segment_that_was_deleted_or_replaced_or_cut_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path()).store;
    type Damage = fn(&Path);
    let damages: [(Damage, &str); 4] = [
        (|path| fs::remove_file(path).unwrap(), "segment_deleted"),
        (
            |path| {
                let text = fs::read(path).unwrap();
                fs::remove_file(path).unwrap();
                fs::write(path, text).unwrap();
            },
            "segment_replaced",
        ),
        (
            |path| {
                fs::OpenOptions::new()
                    .write(true)
                    .open(path)
                    .unwrap()
                    .set_len(1)
                    .unwrap()
            },
            "segment_replaced",
        ),
        (
            |path| fs::rename(path, path.with_extension("moved")).unwrap(),
            "segment_deleted",
        ),
    ];
    store.advance().unwrap();
    for (damage, word) in damages {
        store.append(b"one\n").unwrap();
        store.sync().unwrap();
        let name = names(folder.path()).pop().unwrap();
        damage(&folder.path().join(name));
        store.append(b"two\n").unwrap();
        assert_eq!(store.sync().unwrap_err().word(), word);
        store.reopen().unwrap();
    }
}

#[test]
fn a_file_dated_to_the_end_of_time_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let name = format!("99991231T235959.999999Z-{}-000001.jsonl", "0".repeat(32));
    fs::write(folder.path().join(&name), "").unwrap();
    let opened = Store::open(
        folder.path(),
        &"1".repeat(32),
        Timestamp::default(),
        Box::new(Disk),
    );
    let Err(OpenError::Io(path, error)) = opened else {
        panic!("it is taken");
    };
    assert!(path.ends_with(&name), "{}", path.display());
    assert!(error.to_string().contains("move it"), "{error}");
}
