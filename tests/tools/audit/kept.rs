//! A trail, the key that has signed it, and the checkpoints of its second place.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tempfile::TempDir;
use tower_mesh::audit::{
    Actor, Audit, Call, Clock, Durability, Event, Outcome, Resource, SigningKey, Trail, parse_time,
};

use crate::program::{run, text};

pub(super) struct Kept {
    place: TempDir,
    /// Where the clock of the next stream stands.
    pub(super) now: &'static str,
}

/// What a run has said.
pub(super) struct Said {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) err: String,
}

/// A clock that stands still.
#[derive(Debug)]
struct Still(SystemTime);

impl Clock for Still {
    fn now(&self) -> SystemTime {
        self.0
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

impl Kept {
    /// Only a key and its public key.
    pub(super) fn new() -> Self {
        let place = TempDir::new().unwrap();
        let key = SigningKey::create_file("test", place.path().join("audit.pem")).unwrap();
        let public = format!("# of the tests\n{}\n", key.public());
        fs::write(place.path().join("audit.pub"), public).unwrap();
        let now = "2026-03-01T12:00:00Z";
        Self { place, now }
    }

    /// With a stream of 100 records: `start`, 97 accesses, `stop`, `checkpoint`.
    pub(super) fn hundred() -> Self {
        let kept = Self::new();
        kept.stream((0..97).map(access));
        assert_eq!(kept.lines().len(), 100);
        kept
    }

    pub(super) fn at(&self, name: &str) -> String {
        self.place.path().join(name).to_str().unwrap().to_owned()
    }

    /// Writes a stream with these events, and what its second place gets.
    pub(super) fn stream(&self, events: impl IntoIterator<Item = Event>) {
        let key = SigningKey::from_file("test", self.at("audit.pem")).unwrap();
        let (notes, taken) = mpsc::channel();
        let trail = Trail::folder(self.at("trail"))
            .signer(key)
            .second_place(move |note| {
                notes.send(note.to_string()).unwrap();
                Ok(())
            });
        self.write(trail, events);
        let place = self.at("checkpoints.txt");
        let before = fs::read_to_string(&place).unwrap_or_default();
        fs::write(place, before + &taken.try_iter().collect::<String>()).unwrap();
    }

    /// Writes a stream of a trail that is set up otherwise.
    pub(super) fn write(&self, trail: Trail, events: impl IntoIterator<Item = Event>) {
        let hour = Duration::from_secs(3600);
        let audit = Audit::builder()
            .trail(trail.durability(Durability::Interval(hour)))
            .clock(Still(parse_time(self.now).unwrap()))
            .start()
            .unwrap();
        for event in events {
            audit.submit(event);
        }
        assert!(audit.shutdown(hour));
    }

    /// The segments, in their order.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.at("trail")).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = paths
            .filter(|path| path.extension().is_some_and(|end| end == "jsonl"))
            .collect();
        files.sort();
        files
    }

    /// The lines of the last segment.
    pub(super) fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.files().last().unwrap()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    pub(super) fn write_lines(&self, lines: &[String]) {
        fs::write(self.files().last().unwrap(), lines.join("\n") + "\n").unwrap();
    }

    /// Runs a command on the trail.
    pub(super) fn audit(&self, command: &str, words: &[&str]) -> Said {
        let trail = self.at("trail");
        said(&[&["audit", command, trail.as_str()], words].concat(), "")
    }

    /// Verifies with the key, and these words besides.
    pub(super) fn verify(&self, words: &[&str]) -> Said {
        let key = self.at("audit.pub");
        self.audit("verify", &[&["--key", key.as_str()], words].concat())
    }

    /// Verifies with all that there is.
    pub(super) fn verify_all(&self, words: &[&str]) -> Said {
        let notes = self.at("checkpoints.txt");
        self.verify(&[&["--checkpoints", notes.as_str()], words].concat())
    }
}

pub(super) fn said(words: &[&str], input: &str) -> Said {
    let output = run(words, input);
    Said {
        code: output.status.code().unwrap(),
        out: text(&output.stdout),
        err: text(&output.stderr),
    }
}

impl Said {
    /// The one line of JSON on stdout.
    pub(super) fn json(&self) -> Value {
        assert_eq!(self.out.lines().count(), 1, "{}", self.out);
        serde_json::from_str(&self.out).unwrap()
    }

    /// The numbers of the records on stdout.
    pub(super) fn seqs(&self) -> Vec<u64> {
        let lines = self.out.lines();
        let records = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
        records
            .map(|record| record["seq"].as_u64().unwrap())
            .collect()
    }
}

/// A read of a chart, which one of ten doctors may not.
pub(super) fn access(number: u64) -> Event {
    let (outcome, status) = match number % 10 {
        9 => (Outcome::Deny, 403),
        _ => (Outcome::Allow, 200),
    };
    Event::access()
        .actor(
            Actor::workload("spiffe://td/ns/default/sa/desk")
                .principal("https://idp", format!("dr-{number}")),
        )
        .action("GET")
        .resource(Resource::route("/patients/{id}").service("patients", "default"))
        .outcome(outcome)
        .status(status)
        .policy("ns[default]-policy[charts]-rule[0]")
        .trace(format!("{number:032x}"))
}

/// One of a call that was begun.
pub(super) fn intent() -> Event {
    Event::intent(Call::next())
        .action("GET")
        .outcome(Outcome::Allow)
}

pub(super) fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}
