//! Closed segments that were sealed with keys which are no more.

use serde_json::Value;

use super::*;
use crate::audit::proof::{Frontier, genesis, record_hash};
use crate::audit::scalar::{hex_of, parse_timestamp};
use crate::audit::store::{Name, Part};
use crate::audit::{Checkpoint, FaultKind, SealingKey, StartError};

const LONG: Duration = Duration::from_secs(3600);

struct Sealed {
    kept: Kept,
    keys: tempfile::TempDir,
}

impl Sealed {
    fn new() -> Self {
        let sealed = Self {
            kept: Kept::new(),
            keys: tempfile::tempdir().unwrap(),
        };
        SealingKey::create_file(sealed.start_file()).unwrap();
        fs::copy(sealed.start_file(), sealed.file()).unwrap();
        sealed
    }

    /// What whoever verifies keeps, and what the process has.
    fn start_file(&self) -> PathBuf {
        self.keys.path().join("start.key")
    }

    fn file(&self) -> PathBuf {
        self.keys.path().join("sealing.key")
    }

    fn index(&self) -> u64 {
        SealingKey::from_file(self.file()).unwrap().index()
    }

    /// Writes a stream with so many full segments, and one for its end.
    fn stream(&mut self, segments: u64) {
        if !self.kept.key_file().exists() {
            self.kept.stream(0);
        }
        let trail = Trail::folder(self.kept.path())
            .signer(SigningKey::from_file("test", self.kept.key_file()).unwrap())
            .sealed(SealingKey::from_file(self.file()).unwrap())
            .segments(4096, LONG);
        let audit = Audit::builder().trail(trail).start().unwrap();
        for _ in 0..segments {
            (0..20).for_each(|number| audit.submit(access(number)));
            assert!(audit.flush(LONG));
        }
        assert!(audit.shutdown(LONG));
    }

    fn check(&self) -> Verify {
        Verify::new(self.kept.path())
            .keys(self.kept.keys.clone())
            .sealing_key(SealingKey::from_file(self.start_file()).unwrap())
    }

    fn verify(&self) -> VerifyReport {
        self.check().run().unwrap()
    }

    /// Writes all streams again, as somebody can who has the key of the checkpoints.
    fn forge(&self, mut edit: impl FnMut(&str, &mut Value)) {
        let signer = SigningKey::from_file("test", self.kept.key_file()).unwrap();
        let (mut heads, mut last) = (Vec::new(), String::new());
        let (mut head, mut tree) = ([0; 32], Frontier::default());
        for file in self.kept.files() {
            let name = file.file_name().unwrap().to_str().unwrap().to_owned();
            let stream = Name::parse(&name).unwrap().stream;
            if stream != last {
                if !last.is_empty() {
                    heads.push((last, tree.size(), head));
                }
                (head, tree, last) = (genesis(&stream), Frontier::default(), stream.clone());
            }
            let text = fs::read_to_string(&file).unwrap();
            let mut out = String::new();
            for line in text.lines() {
                let mut record: Value = serde_json::from_str(line).unwrap();
                edit(&name, &mut record);
                record["prev"] = hex_of(&head).into();
                if record["type"] == "checkpoint" {
                    let time = parse_timestamp(record["ts"].as_str().unwrap()).unwrap();
                    let (size, root) = (tree.size(), tree.root());
                    let note = Checkpoint::sign(&stream, size, &root, &head, time, &signer);
                    record["note"] = note.unwrap().into();
                }
                if let (Some(old), Some((_, size, head))) = (record.get_mut("old"), heads.last()) {
                    old["size"] = (*size).into();
                    old["head"] = hex_of(head).into();
                }
                let line = record.to_string();
                head = record_hash(line.as_bytes());
                tree.push(line.as_bytes());
                out += &(line + "\n");
            }
            fs::write(&file, out).unwrap();
        }
    }
}

fn seals(sealed: &Sealed) -> Vec<(String, u64)> {
    let texts = sealed.kept.files().into_iter();
    let texts = texts.map(|file| fs::read_to_string(file).unwrap());
    let text: String = texts.collect();
    let records = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let seals = records.filter_map(|record: Value| {
        let kind = record["type"].as_str()?.to_owned();
        Some((kind, record["seal"]["index"].as_u64()?))
    });
    seals.collect()
}

#[test]
fn a06_each_start_rotation_and_end_is_sealed_with_a_key_of_its_own() {
    let mut sealed = Sealed::new();
    // The first stream is from before the trail was sealed.
    for _ in 0..3 {
        let before = fs::read(sealed.file()).unwrap();
        sealed.stream(2);
        assert_ne!(fs::read(sealed.file()).unwrap(), before);
    }
    let seals = seals(&sealed);
    let indices: Vec<_> = seals.iter().map(|(_, index)| *index).collect();
    assert_eq!(indices, (0..sealed.index()).collect::<Vec<_>>());
    let of = |kind: &str| seals.iter().filter(|seal| seal.0 == kind).count();
    assert_eq!((of("start"), of("rotate"), of("stop")), (3, 6, 3));
    let now = SealingKey::from_file(sealed.file()).unwrap();
    let report = sealed.check().sealing_now(now).run().unwrap();
    assert!(report.is_whole(), "{report}");
    assert_eq!(report.seals(), (seals.len() as u64, true));
    // Without the start key they are not judged, and the report says so.
    let report = sealed.kept.verify();
    assert!(report.is_whole() && report.to_string().contains("not verified: no sealing key"));
    assert_eq!(report.seals(), (seals.len() as u64, false));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;

        let mode = fs::metadata(sealed.file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn a06_whoever_breaks_in_later_cannot_write_a_closed_segment_anew() {
    let edits: [fn(&SealingKey, &mut Value); 3] = [
        // With the seals as they are.
        |_, _| {},
        // Without seals.
        |_, record| {
            record.as_object_mut().unwrap().remove("seal");
        },
        // With the key that is left.
        |key, record| {
            if !record["seal"].is_null() {
                record.as_object_mut().unwrap().remove("seal");
                let seal = key.seal(&record_hash(record.to_string().as_bytes()));
                record["seal"]["index"] = seal.index.into();
                record["seal"]["mac"] = hex_of(&seal.mac).into();
            }
        },
    ];
    for (number, edit) in edits.into_iter().enumerate() {
        let mut sealed = Sealed::new();
        for _ in 0..2 {
            sealed.stream(3);
        }
        // The second segment of the first sealed stream, whose key is gone.
        let file = &sealed.kept.files()[2];
        let first = Name::parse(file.file_name().unwrap().to_str().unwrap()).unwrap();
        assert_eq!(first.part, Part::Number(2));
        let (now, mut is_behind) = (SealingKey::from_file(sealed.file()).unwrap(), false);
        let mut changed = 0;
        sealed.forge(|name, record| {
            is_behind |= name == first.to_string();
            if is_behind && record["type"] == "access" && changed == 0 {
                record["actor"]["spiffe"] = "spiffe://td/ns/a/sa/somebody-else".into();
                changed = record["seq"].as_u64().unwrap();
            }
            if is_behind {
                edit(&now, record);
            }
        });
        // Its chain, its tree and its signatures hold.
        let report = sealed.kept.verify();
        assert!(report.is_whole() && changed > 0, "{report}");
        let report = sealed.verify();
        let fault = report.first_fault().unwrap();
        let kind = [FaultKind::BadSeal, FaultKind::Unsealed, FaultKind::BadSeal][number];
        assert_eq!(fault.kind(), kind, "{report}");
        assert_eq!(fault.place().0, first.to_string(), "{report}");
        assert!((fault.seq()..=fault.to().unwrap()).contains(&changed));
    }
}

#[test]
fn a06_an_end_that_was_cut_off_behind_a_seal_is_found_with_the_key_of_the_process() {
    let mut sealed = Sealed::new();
    for _ in 0..3 {
        sealed.stream(0);
    }
    let last = sealed.kept.files().pop().unwrap();
    fs::remove_file(last).unwrap();
    assert!(sealed.verify().is_whole());
    let now = |sealed: &Sealed| SealingKey::from_file(sealed.file()).unwrap();
    let report = sealed.check().sealing_now(now(&sealed)).run().unwrap();
    assert_eq!(report.first_fault().unwrap().kind(), FaultKind::Truncated);
    // All that was sealed is gone.
    for file in sealed.kept.files() {
        fs::remove_file(file).unwrap();
    }
    sealed.kept.stream(3);
    let report = sealed.verify();
    assert_eq!(report.first_fault().unwrap().kind(), FaultKind::Unsealed);
    // A key of another trail.
    let other = Sealed::new();
    let key = SealingKey::from_file(other.start_file()).unwrap();
    sealed.stream(0);
    let report = Verify::new(sealed.kept.path()).sealing_key(key).run();
    assert_eq!(
        report.unwrap().first_fault().unwrap().kind(),
        FaultKind::BadSeal
    );
    assert!(sealed.check().sealing_key(now(&sealed)).run().is_err());
}

#[test]
fn a06_a_crash_before_the_next_key_is_in_its_place_leaves_no_hole() {
    let mut sealed = Sealed::new();
    sealed.stream(0);
    assert_eq!(sealed.index(), 2);
    // The end was sealed, and the key of that is still there; so is what became of the attempt.
    let start = SealingKey::from_file(sealed.start_file()).unwrap();
    fs::write(sealed.file(), &*start.next().text()).unwrap();
    fs::write(sealed.keys.path().join("sealing.key.new"), "half").unwrap();
    sealed.stream(0);
    let indices: Vec<_> = seals(&sealed).into_iter().map(|seal| seal.1).collect();
    assert_eq!(indices, [0, 1, 1, 2]);
    let report = sealed.verify();
    assert!(report.is_whole(), "{report}");
    // A number that is missing is one.
    for _ in 0..2 {
        let key = SealingKey::from_file(sealed.file()).unwrap();
        fs::write(sealed.file(), &*key.next().text()).unwrap();
    }
    sealed.stream(0);
    let report = sealed.verify();
    let fault = report.first_fault().unwrap();
    assert_eq!((fault.kind(), fault.seq()), (FaultKind::BadSeal, 1));
}

#[test]
fn a06_a_key_that_cannot_be_replaced_is_told_and_tried_again() {
    let mut sealed = Sealed::new();
    sealed.stream(0);
    let in_the_way = sealed.keys.path().join("sealing.key.new");
    let trail = |sealed: &Sealed| {
        let key = SealingKey::from_file(sealed.file()).unwrap();
        let signer = SigningKey::from_file("test", sealed.kept.key_file()).unwrap();
        Trail::folder(sealed.kept.path()).signer(signer).sealed(key)
    };
    fs::create_dir(&in_the_way).unwrap();
    let error = Audit::builder().trail(trail(&sealed)).start().unwrap_err();
    assert!(matches!(error, StartError::Seal(_)), "{error:?}");
    fs::remove_dir(&in_the_way).unwrap();
    let audit = Audit::builder().trail(trail(&sealed)).start().unwrap();
    // One key seals one trail.
    let folder = tempfile::tempdir().unwrap();
    let key = SealingKey::from_file(sealed.file()).unwrap();
    let other = Audit::builder().trail(Trail::folder(folder.path()).sealed(key));
    let error = other.start().unwrap_err();
    assert!(matches!(error, StartError::SealInUse(_)), "{error:?}");
    fs::create_dir(&in_the_way).unwrap();
    audit.submit(access(0));
    assert!(audit.shutdown(Duration::from_secs(60)));
    assert_eq!(audit.counters().next().unwrap().failures(), 1);
    fs::remove_dir(&in_the_way).unwrap();
    // The key that has sealed the end seals the next start, too.
    sealed.stream(0);
    let report = sealed.verify();
    assert!(report.is_whole(), "{report}");
}

#[test]
fn a06_a_seal_in_the_wrong_form_is_found() {
    let mut sealed = Sealed::new();
    sealed.stream(0);
    sealed.forge(|_, record| {
        if record["type"] == "stop" && !record["seal"].is_null() {
            record["seal"] = "x".into();
        }
    });
    assert!(sealed.kept.verify().is_whole());
    let report = sealed.verify();
    let fault = report.first_fault().unwrap();
    assert_eq!((fault.kind(), fault.seq()), (FaultKind::BadSeal, 2));
}
