//! What somebody does who can write the folder.

use serde_json::{Value, json};

use super::*;
use crate::audit::proof::{genesis, record_hash};
use crate::audit::record::{Fields, Kind, OldStream, Own, Removed};
use crate::audit::scalar::{Timestamp, hex_of};
use crate::audit::store::{Name, Part};
use crate::audit::writer::Stream;

/// The records of a file.
pub(super) fn records(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

pub(super) fn id(file: &Path) -> String {
    name_of(file).stream
}

pub(super) fn name_of(file: &Path) -> Name {
    Name::parse(file.file_name().unwrap().to_str().unwrap()).unwrap()
}

/// The last record of a file, as the next `start` names it.
pub(super) fn end_of(file: &Path) -> Value {
    let text = fs::read_to_string(file).unwrap();
    let last = text.lines().last().unwrap();
    let record: Value = serde_json::from_str(last).unwrap();
    json!({
        "head": hex_of(&record_hash(last.as_bytes())),
        "size": record["seq"],
        "stream": record["stream"],
    })
}

pub(super) fn start(old: Option<Value>) -> Value {
    let mut start = json!({"ts": "2026-01-02T03:04:06.000000Z", "type": "start", "v": 1});
    if let Some(old) = old {
        start["old"] = old;
    }
    start
}

pub(super) fn event() -> Value {
    json!({"action": "GET", "ts": "2026-01-02T03:04:06.000000Z", "type": "access", "v": 1})
}

/// Writes records into a file, with numbers and hashes as they should be.
pub(super) fn chained(file: &Path, records: impl IntoIterator<Item = Value>) {
    let stream = id(file);
    let mut prev = genesis(&stream);
    let mut text = String::new();
    for (index, mut record) in records.into_iter().enumerate() {
        record["seq"] = json!(index + 1);
        record["stream"] = json!(stream);
        record["prev"] = json!(hex_of(&prev));
        let line = record.to_string();
        prev = record_hash(line.as_bytes());
        text += &line;
        text.push('\n');
    }
    fs::write(file, text).unwrap();
}

/// The file of a new stream that begins so long after another, or before it.
pub(super) fn near(file: &Path, micros: i64) -> PathBuf {
    let began = name_of(file).began.micros().checked_add_signed(micros);
    let name = Name {
        began: Timestamp::from_micros(began.unwrap()),
        stream: Stream::random_id().unwrap(),
        part: Part::Number(1),
    };
    file.with_file_name(name.to_string())
}

/// The same file under another name.
pub(super) fn renamed(file: &Path, change: impl FnOnce(&mut Name)) -> PathBuf {
    let mut name = name_of(file);
    change(&mut name);
    file.with_file_name(name.to_string())
}

/// Writes a whole trail again without the key: no checkpoint stays, and each stream has so many events.
pub(super) fn rewritten(kept: &Kept, events: usize) -> Vec<PathBuf> {
    let files = kept.files();
    let all: Vec<_> = files.iter().flat_map(|file| records(file)).collect();
    let mut kept_events: Vec<_> = all
        .into_iter()
        .filter(|record| record["type"] == "access")
        .collect();
    kept_events[0]["action"] = json!("DELETE");
    for file in &files {
        fs::remove_file(file).unwrap();
    }
    let mut old = None;
    let mut written = Vec::new();
    for (index, part) in kept_events.chunks(events).enumerate() {
        let file = near(&files[0], i64::try_from(index).unwrap());
        chained(&file, std::iter::once(start(old)).chain(part.to_vec()));
        old = Some(end_of(&file));
        written.push(file);
    }
    written
}

/// A `prune` record by somebody who has the key.
pub(super) fn pruned(kept: &Kept, removed: Removed, time: Timestamp) -> PathBuf {
    let key = SigningKey::from_file("test", kept.key_file()).unwrap();
    let id = Stream::random_id().unwrap();
    let mut stream = Stream::new(&id);
    let mut lines = Vec::new();
    for fields in [
        Fields::own(Kind::Start, Own::Start(None)),
        Fields::own(Kind::Prune, Own::Prune(removed)),
        Fields::new(Kind::Stop),
    ] {
        stream.append(&mut lines, &fields, time, None, None);
    }
    stream.checkpoint(&mut lines, time, &key).unwrap();
    let name = Name {
        began: Timestamp::from_micros(name_of(kept.files().last().unwrap()).began.micros() + 1),
        stream: id,
        part: Part::Prune,
    };
    let file = kept.path().join(name.to_string());
    fs::write(&file, lines).unwrap();
    file
}

/// What a `prune` record says of a stream in one file.
pub(super) fn removal(file: &Path, latest: Timestamp) -> Removed {
    let latest = Some(latest);
    let text = fs::read_to_string(file).unwrap();
    let mut tree = crate::audit::proof::Frontier::default();
    text.lines().for_each(|line| tree.push(line.as_bytes()));
    let name = name_of(file).to_string();
    Removed {
        first: name.clone(),
        last: name,
        segments: 1,
        follows: crate::audit::Entry::parse(text.lines().next().unwrap().as_bytes())
            .unwrap()
            .old(),
        old: OldStream {
            stream: id(file),
            size: tree.size(),
            head: record_hash(text.lines().last().unwrap().as_bytes()),
        },
        latest,
        peaks: tree.peaks().to_vec(),
    }
}
