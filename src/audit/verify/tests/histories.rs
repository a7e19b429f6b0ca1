//! Whatever a writer has been through, its trail is whole.

use super::*;
use crate::audit::Prune;
use crate::audit::record::Entry;

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl Kept {
    /// Cuts the last segment where a crash may have cut it, and forgets what a second place then cannot
    /// have.
    fn crash(&mut self, random: &mut fastrand::Rng) {
        let Some(file) = self.written().pop() else {
            return;
        };
        let bytes = fs::read(&file).unwrap();
        let from = if random.bool() { 0 } else { bytes.len() / 2 };
        fs::write(&file, &bytes[..random.usize(from..=bytes.len())]).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        let stream = name.split('-').nth(1).unwrap();
        let mut size = 0;
        for file in self.written() {
            for line in fs::read(file)
                .unwrap()
                .split_inclusive(|byte| *byte == b'\n')
            {
                let line = line.strip_suffix(b"\n").unwrap_or_default();
                let entry = Entry::parse(line).ok();
                let entry = entry.filter(|entry| entry.stream() == stream);
                size = entry.map_or(size, |entry| entry.seq());
            }
        }
        self.notes
            .retain(|note| note.stream() != stream || note.size() < size);
    }

    fn written(&self) -> Vec<PathBuf> {
        let mut files = self.files();
        files.retain(|file| !file.to_str().unwrap().ends_with("-prune.jsonl"));
        files
    }

    /// Prunes all that may be pruned; some of the files come back, as after a crash on the way.
    fn prune(&self, random: &mut fastrand::Rng) {
        let later = SystemTime::now() + 8 * YEAR;
        let signer = SigningKey::from_file("test", self.key_file()).unwrap();
        let texts: Vec<_> = self
            .files()
            .into_iter()
            .map(|file| (fs::read(&file).unwrap(), file))
            .collect();
        let prune = Prune::before(self.path(), later - 7 * YEAR, self.keys.clone(), signer);
        let report = prune.at(later).run().unwrap();
        let left = match random.bool() {
            true => 0,
            false => random.usize(0..=report.removed.len()),
        };
        for name in &report.removed[..left] {
            let path = self.path().join(name);
            let (text, _) = texts.iter().find(|(_, file)| *file == path).unwrap();
            fs::write(path, text).unwrap();
        }
    }
}

#[test]
fn a23_a24_every_history_of_a_writer_is_whole() {
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut kept = Kept::new();
        let mut told = Vec::new();
        for _ in 0..random.usize(2..9) {
            match random.u8(0..10) {
                0..5 => {
                    let events = random.u64(0..60);
                    let (bytes, each) = (random.u64(1..16) * 1024, random.u64(5..40));
                    kept.stream_with(events, |trail| {
                        trail
                            .segments(bytes, YEAR)
                            .durability(Durability::Strict)
                            .checkpoint_every(each, YEAR)
                    });
                    told.push(format!("stream of {events}"));
                }
                5..8 => {
                    kept.crash(&mut random);
                    told.push("crash".to_owned());
                }
                8 if !kept.files().is_empty() => {
                    kept.prune(&mut random);
                    told.push("prune".to_owned());
                }
                _ => {}
            }
            if kept.keys.is_empty() {
                continue;
            }
            for report in [
                kept.verify_with_notes(),
                kept.verify(),
                Verify::new(kept.path()).at(Kept::later()).run().unwrap(),
            ] {
                assert!(report.is_whole(), "seed {seed}, {told:?}: {report}");
            }
        }
    }
}

#[test]
fn a23_a_rotate_that_a_crash_has_cut_off_is_torn_and_no_fault() {
    let mut kept = Kept::new();
    kept.stream_with(200, |trail| {
        trail
            .segments(4 * 1024, YEAR)
            .durability(Durability::Strict)
    });
    let files = kept.files();
    assert!(files.len() > 1);
    for file in &files[2..] {
        fs::remove_file(file).unwrap();
    }
    // The next segment was made first.
    fs::write(&files[1], "").unwrap();
    let whole = fs::read_to_string(&files[0]).unwrap();
    let rotate = whole.find("{\"next\"").unwrap();
    for cut in [rotate + 1, rotate + 40, whole.len() - 1] {
        fs::write(&files[0], &whole.as_bytes()[..cut]).unwrap();
        let report = kept.verify();
        assert!(report.is_whole(), "{cut}: {report}");
        assert_eq!(report.torn_tails().len(), 1);
        // Something after it, and it is no crash.
        fs::write(&files[1], "x").unwrap();
        assert!(!kept.verify().is_whole());
        fs::write(&files[1], "").unwrap();
    }
    kept.notes.clear();
    kept.stream(3);
    let report = kept.verify_with_notes();
    assert!(report.is_whole(), "{report}");
}
