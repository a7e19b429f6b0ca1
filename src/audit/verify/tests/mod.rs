//! Trails that were tampered with.

mod attacks;
mod forge;
mod histories;
mod removals;
mod restarts;
mod seals;
mod tamper;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::audit::store::segments;
use crate::audit::{
    Actor, Audit, Call, Checkpoint, Durability, Event, Outcome, PublicKeys, SigningKey, Trail,
    Verify, VerifyReport,
};

/// A trail, the key that has signed it, and what its second place has.
pub(crate) struct Kept {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) keys: PublicKeys,
    pub(crate) notes: Vec<Checkpoint>,
}

impl Kept {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            keys: PublicKeys::default(),
            notes: Vec::new(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn key_file(&self) -> PathBuf {
        self.path().join("key.pem")
    }

    /// Writes a whole stream: the start, so many accesses, the stop and a checkpoint.
    pub(crate) fn stream(&mut self, accesses: u64) {
        self.stream_with(accesses, |trail| trail);
    }

    pub(crate) fn stream_with(&mut self, accesses: u64, with: impl FnOnce(Trail) -> Trail) {
        let path = self.key_file();
        let key = match path.exists() {
            true => SigningKey::from_file("test", path).unwrap(),
            false => SigningKey::create_file("test", path).unwrap(),
        };
        self.keys = PublicKeys::from_iter([key.public()]);
        let (notes, taken) = std::sync::mpsc::channel();
        let trail = Trail::folder(self.path())
            .durability(Durability::Interval(Duration::from_secs(3600)))
            .signer(key)
            .second_place(move |note| {
                notes.send(note.clone()).unwrap();
                Ok(())
            });
        let audit = Audit::builder().trail(with(trail)).start().unwrap();
        for number in 0..accesses {
            audit.submit(access(number));
        }
        assert!(audit.shutdown(Duration::from_secs(60)));
        self.notes.extend(taken.try_iter());
    }

    /// Verifies with the key, and without what the second place has.
    pub(crate) fn verify(&self) -> VerifyReport {
        Verify::new(self.path())
            .keys(self.keys.clone())
            .at(Self::later())
            .run()
            .unwrap()
    }

    /// Verifies with all that there is.
    pub(crate) fn verify_with_notes(&self) -> VerifyReport {
        Verify::new(self.path())
            .keys(self.keys.clone())
            .at(Self::later())
            .checkpoints(self.notes.clone())
            .run()
            .unwrap()
    }

    /// Long after anything was pruned.
    fn later() -> SystemTime {
        SystemTime::now() + Duration::from_secs(9 * 365 * 24 * 60 * 60)
    }

    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let names = segments(self.path()).unwrap();
        names
            .iter()
            .map(|name| self.path().join(name.to_string()))
            .collect()
    }

    /// The lines of the last segment, without line breaks.
    pub(crate) fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.files().last().unwrap()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    pub(crate) fn write_lines(&self, lines: &[String]) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        fs::write(self.files().last().unwrap(), text).unwrap();
    }
}

pub(crate) fn access(number: u64) -> Event {
    let outcome = match number % 7 {
        6 => Outcome::Error,
        _ => Outcome::Allow,
    };
    Event::intent(Call::next())
        .actor(Actor::workload(format!("spiffe://td/ns/a/sa/{number}")))
        .action("GET")
        .outcome(outcome)
}

/// A record that follows this one, by somebody who knows the form.
fn tamper_line(before: &str) -> String {
    let entry = crate::audit::Entry::parse(before.as_bytes()).unwrap();
    let prev = crate::audit::proof::record_hash(before.as_bytes());
    format!(
        r#"{{"prev":"{}","seq":{},"stream":"{}","ts":"2026-01-02T03:04:06.000000Z","type":"access","v":1}}"#,
        crate::audit::scalar::hex_of(&prev),
        entry.seq() + 1,
        entry.stream()
    )
}
