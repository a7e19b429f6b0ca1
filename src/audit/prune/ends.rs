//! Where each segment of a stream ends.

use std::io;
use std::path::Path;

use crate::audit::proof::{Frontier, record_hash};
use crate::audit::record::{Entry, OldStream};
use crate::audit::scalar::{Hash, Timestamp};
use crate::audit::store::Name;
use crate::audit::verify::{Pruned, Walk};

/// The end of a segment, in a stream that was verified.
#[derive(Debug)]
pub(super) struct End {
    pub(super) name: String,
    pub(super) state: Edge,
    /// What the `start` in it names.
    pub(super) follows: Option<OldStream>,
    /// The latest time of its records, and of those before.
    pub(super) latest: Timestamp,
}

#[derive(Debug, Default)]
pub(super) struct Edge {
    pub(super) size: u64,
    pub(super) head: Hash,
    pub(super) peaks: Vec<Hash>,
}

/// The ends of the segments of a stream, and its last record that a checkpoint proves. The stream was
/// verified right before. The time given is the latest of the streams before: a machine that has
/// started with a clock of 1970 writes nothing that is older.
pub(super) fn ends(
    folder: &Path,
    names: &[Name],
    pruned: &Pruned,
    mut latest: Timestamp,
) -> io::Result<(Vec<End>, u64)> {
    let stream = names.first().map_or("", |name| name.stream.as_str());
    let mut ends: Vec<End> = Vec::new();
    let (mut tree, mut head) = (Frontier::default(), Hash::default());
    let mut signed = 0;
    let mut walk = Walk::new(folder, names);
    while let Some(spot) = walk.next()? {
        let Ok(entry) = Entry::parse(spot.line.bytes) else {
            break;
        };
        if entry.seq() != tree.size() + 1
            && let Some(removed) = pruned.before(stream, entry.seq())
            && let Some(after) = Frontier::from_parts(removed.old.size, removed.peaks.clone())
        {
            tree = after;
        }
        head = if spot.line.is_ended {
            record_hash(spot.line.bytes)
        } else {
            head
        };
        tree.push(spot.line.bytes);
        latest = latest.max(entry.time());
        if entry.kind() == "checkpoint" {
            signed = entry.seq();
        }
        let state = Edge {
            size: tree.size(),
            head,
            peaks: Vec::new(),
        };
        let name = names
            .get(spot.file)
            .map(Name::to_string)
            .unwrap_or_default();
        match ends.last_mut() {
            Some(end) if end.name == name => {
                end.state = state;
                end.latest = latest;
            }
            _ => ends.push(End {
                name,
                state,
                follows: entry.old().filter(|_| entry.seq() == 1),
                latest,
            }),
        }
        if let Some(end) = ends.last_mut() {
            end.state.peaks = tree.peaks().to_vec();
        }
    }
    Ok((ends, signed))
}
