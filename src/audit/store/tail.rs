//! What a process that ended has left in its last segment.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::path::Path;

use super::lines::Lines;
use super::names::{SEGMENT, TORN};
use super::storage::sync_folder;
use crate::audit::proof::{only_for_owner, record_hash};
use crate::audit::record::Entry;
use crate::audit::scalar::Hash;

/// The end of a segment.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// The stream, number and hash of the last record of the chain.
    pub(super) last: Option<(String, u64, Hash)>,
    /// The last checkpoint.
    pub(super) note: Option<String>,
    /// Whether that is a checkpoint, which signs all before.
    pub(super) is_signed: bool,
    /// Where the last whole line of the chain ends.
    pub(super) end: u64,
    /// Whether what follows is the rest of a write that was cut off: nothing in it is a record.
    pub(super) is_torn: bool,
    /// Whether records follow that do not belong to the chain.
    pub(super) is_faulty: bool,
}

/// Reads a segment and verifies its chain from its first record on.
pub(super) fn read(path: &Path) -> io::Result<Tail> {
    let mut tail = Tail::default();
    let mut lines = Lines::open(path)?;
    while let Some(line) = lines.next()? {
        if !line.is_ended {
            // It is the last.
            tail.is_torn = true;
            break;
        }
        // A whole line was written as one: what is no record now was changed.
        let Ok(entry) = Entry::parse(line.bytes) else {
            tail.is_faulty = true;
            break;
        };
        let follows = match &tail.last {
            None => true,
            Some((stream, seq, head)) => {
                stream == entry.stream()
                    && seq.checked_add(1) == Some(entry.seq())
                    && head == entry.prev()
            }
        };
        if !follows {
            tail.is_faulty = true;
            break;
        }
        let hash = record_hash(line.bytes);
        tail.last = Some((entry.stream().to_owned(), entry.seq(), hash));
        if entry.kind() == "checkpoint" {
            tail.note = entry.text("note").map(Into::into);
        }
        tail.is_signed = entry.kind() == "checkpoint";
        tail.end = line.end;
    }
    Ok(tail)
}

/// Moves what follows the last whole line into a file beside, and makes that durable before the
/// segment is cut. Returns its name.
pub(super) fn cut(folder: &Path, name: &str, end: u64) -> io::Result<String> {
    let torn = format!("{}{TORN}", name.strip_suffix(SEGMENT).unwrap_or(name));
    let (from, to) = (folder.join(name), folder.join(&torn));
    if end == 0 {
        fs::rename(from, to)?;
    } else {
        let mut file = File::open(&from)?;
        file.seek(SeekFrom::Start(end))?;
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        only_for_owner(&mut options);
        let mut beside = options.open(to)?;
        io::copy(&mut file, &mut beside)?;
        beside.sync_all()?;
        sync_folder(folder)?;
        let file = OpenOptions::new().write(true).open(from)?;
        file.set_len(end)?;
        file.sync_all()?;
    }
    sync_folder(folder)?;
    Ok(torn)
}
