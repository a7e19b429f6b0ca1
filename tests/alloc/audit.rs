//! What the verification of an audit trail holds at a time.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use allocation_counter::measure;
use tower_mesh::audit::{
    Actor, Audit, Durability, Event, Prove, PublicKeys, SigningKey, Trail, Verify, VerifyReport,
};

const HOUR: Duration = Duration::from_secs(3600);
/// A buffer of a file, a record and what is read of it, and what is open at a time: whatever the trail
/// has.
const MOST: u64 = 8 * 1024 * 1024;

/// Writes a stream of so many records.
fn write(folder: &Path, key: SigningKey, records: u64) {
    let trail = Trail::folder(folder)
        .signer(key)
        .durability(Durability::Interval(HOUR))
        .queue(usize::try_from(records).unwrap() + 1, u64::MAX);
    let audit = Audit::builder().trail(trail).start().unwrap();
    for number in 0..records {
        audit.submit(Event::access().actor(Actor::user("https://idp", format!("dr-{number}"))));
    }
    assert!(audit.shutdown(HOUR));
}

/// The most bytes that a verification had at once.
fn held(folder: &Path, keys: &PublicKeys) -> (u64, VerifyReport) {
    let verify = Verify::new(folder).keys(keys.clone());
    let mut report = None;
    let held = measure(|| report = Some(verify.run().unwrap()));
    (held.bytes_max, report.unwrap())
}

#[test]
fn a07_a_verification_holds_no_more_for_a_longer_trail() {
    let folder = tempfile::tempdir().unwrap();
    let key = || SigningKey::from_file("k", folder.path().join("key.pem"));
    SigningKey::create_file("k", folder.path().join("key.pem")).unwrap();
    let keys = PublicKeys::from_iter([key().unwrap().public()]);
    let (short, long) = (folder.path().join("short"), folder.path().join("long"));
    write(&short, key().unwrap(), 1000);
    write(&long, key().unwrap(), 30_000);
    let (held_of_short, report) = held(&short, &keys);
    assert!(report.is_whole(), "{report}");
    let (held_of_long, report) = held(&long, &keys);
    assert!(report.is_whole() && report.records() > 30_000, "{report}");
    // The peaks of the tree, and no more.
    assert!(
        held_of_long < held_of_short + 16 * 1024,
        "{held_of_short} and {held_of_long}"
    );
    // Nor does a proof.
    let name = fs::read_dir(&long).unwrap();
    let name = name.map(|file| file.unwrap().file_name().into_string().unwrap());
    let name = name
        .into_iter()
        .find(|name| name.ends_with(".jsonl"))
        .unwrap();
    let stream = name.split('-').nth(1).unwrap();
    let proved = measure(|| drop(Prove::new(&long).record(stream, 29_500).unwrap()));
    assert!(proved.bytes_max < 1024 * 1024, "{}", proved.bytes_max);
}

#[test]
fn a07_a_verification_holds_no_more_for_a_longer_line() {
    let folder = tempfile::tempdir().unwrap();
    let key = SigningKey::create_file("k", folder.path().join("key.pem")).unwrap();
    let keys = PublicKeys::from_iter([key.public()]);
    write(folder.path(), key, 10);
    let name = fs::read_dir(folder.path()).unwrap();
    let mut paths = name.map(|file| file.unwrap().path());
    let file = paths.find(|path| path.extension().is_some_and(|end| end == "jsonl"));
    let file = file.unwrap();
    let whole = fs::read(&file).unwrap();
    // Long without an end, long with one, and as much structure as a record may have.
    let lists = format!("{{\"a\":[{}{{}}]}}\n", "{},".repeat(5000));
    let long = vec![b'x'; 32 * 1024 * 1024];
    for line in [&long[..], &[&long[..], b"\n"].concat(), lists.as_bytes()] {
        let mut out = fs::File::create(&file).unwrap();
        out.write_all(&whole).unwrap();
        out.write_all(line).unwrap();
        drop(out);
        let (held, report) = held(folder.path(), &keys);
        assert!(held < MOST, "{held} bytes: {report}");
        assert_eq!(report.records(), 13);
    }
    // Many lines that are none.
    fs::write(&file, "x\n".repeat(1_000_000)).unwrap();
    let (held, report) = held(folder.path(), &keys);
    assert!(held < MOST, "{held} bytes: {report}");
}
