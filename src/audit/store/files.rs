//! The segments of one stream.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::names::Name;
use super::storage::{Place, Segment, Storage};

/// The segments of one stream, of which the last may be written.
///
/// After a failure nothing is written until [`reopen`](Self::reopen) has made a new segment: a file
/// whose `fsync` has failed may have lost what an `fsync` after it claims to have kept.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    /// Keeps other processes out while it is open.
    _lock: File,
    storage: Box<dyn Storage>,
    /// The last segment that was made; before the first, with the number 0.
    name: Name,
    segment: Option<Open>,
    /// A segment that failed: its path and how much of it is durable, which alone may stay.
    failed: Option<(PathBuf, u64)>,
}

/// A segment that was made and not yet entered.
#[derive(Debug)]
pub(crate) struct Next {
    name: Name,
    open: Open,
}

#[derive(Debug)]
struct Open {
    file: Box<dyn Segment>,
    path: PathBuf,
    /// The bytes of whole writes.
    length: u64,
    durable: u64,
}

/// Why lines were not written.
#[derive(Debug)]
pub(crate) enum Failure {
    /// They could not be written. What was written before is as it was.
    Write(io::Error),
    /// What was written since the last success may be lost.
    Sync(io::Error),
    /// The segment was deleted while it was written.
    Deleted,
    /// Another file is in the place of the segment, or it was cut or added to.
    Replaced,
}

impl Store {
    pub(super) fn new(folder: &Path, lock: File, name: Name, storage: Box<dyn Storage>) -> Self {
        Self {
            folder: folder.to_owned(),
            _lock: lock,
            storage,
            name,
            segment: None,
            failed: None,
        }
    }

    /// The bytes of the segment.
    pub(crate) fn bytes(&self) -> u64 {
        self.segment.as_ref().map_or(0, |open| open.length)
    }

    /// Adds lines. A write that failed is cut off again.
    pub(crate) fn append(&mut self, lines: &[u8]) -> Result<(), Failure> {
        let Some(open) = &mut self.segment else {
            return Err(Failure::Write(ErrorKind::NotConnected.into()));
        };
        let mut rest = lines;
        while !rest.is_empty() {
            let error = match open.file.write(rest) {
                Ok(0) => ErrorKind::WriteZero.into(),
                Ok(count) => {
                    rest = rest.get(count..).unwrap_or_default();
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            return Err(match open.file.truncate(open.length) {
                Ok(()) => Failure::Write(error),
                Err(_) => Failure::Sync(error),
            });
        }
        open.length += lines.len() as u64;
        Ok(())
    }

    /// Makes what was added durable, in the place where it belongs.
    pub(crate) fn sync(&mut self) -> Result<(), Failure> {
        let Some(open) = &mut self.segment else {
            return Err(Failure::Sync(ErrorKind::NotConnected.into()));
        };
        open.file.sync().map_err(Failure::Sync)?;
        let failure = match open.file.place() {
            Place::Kept => {
                open.durable = open.length;
                return Ok(());
            }
            Place::Deleted => {
                // It may have been moved away, and come back: what is written again in the next
                // segment must not be in it, too.
                let _ = open.file.truncate(open.durable);
                Failure::Deleted
            }
            Place::Replaced => Failure::Replaced,
        };
        // What is there now shows what was done, so it is not touched.
        self.segment = None;
        Err(failure)
    }

    /// Lets go of the segment and makes the next.
    pub(crate) fn advance(&mut self) -> io::Result<()> {
        let next = self.make_next()?;
        self.enter(next);
        Ok(())
    }

    /// Makes the next segment, but goes on with this one until it is [entered](Self::enter). So what
    /// a `rotate` names is there. An attempt that failed may have left an empty file, and what cannot
    /// be made durable cannot always be removed: such a number is passed over.
    pub(crate) fn make_next(&mut self) -> io::Result<Next> {
        let mut name = self.name.next();
        let mut tries = MOST_TRIES;
        loop {
            let path = self.folder.join(name.to_string());
            match self.storage.create(&path) {
                Ok(file) => {
                    let open = Open {
                        file,
                        path,
                        length: 0,
                        durable: 0,
                    };
                    return Ok(Next { name, open });
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists && tries > 0 => {
                    name = name.next();
                }
                Err(error) => return Err(error),
            }
            tries -= 1;
        }
    }

    /// Goes on with the next segment.
    pub(crate) fn enter(&mut self, next: Next) {
        self.name = next.name;
        self.segment = Some(next.open);
    }

    /// Removes a segment that was made and not entered.
    pub(crate) fn forget(&mut self, next: &Next) {
        let _ = self.storage.remove(&next.open.path);
    }

    /// Never writes the segment again. What is not durable in it is cut off as soon as that works.
    pub(crate) fn abandon(&mut self) {
        if let Some(open) = self.segment.take() {
            self.failed = Some((open.path, open.durable));
            // Usually it works at once.
            let _ = self.cut_failed();
        }
    }

    /// Cuts off what may or may not be durable. It will be written again, and must not be there twice.
    fn cut_failed(&mut self) -> io::Result<()> {
        if let Some((path, durable)) = &self.failed {
            match self.storage.cut(path, *durable) {
                Ok(()) if *durable == 0 => {
                    // An empty one hurts nobody if it stays.
                    let _ = self.storage.remove(path);
                }
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        self.failed = None;
        Ok(())
    }

    /// Makes a new segment after a failure.
    pub(crate) fn reopen(&mut self) -> io::Result<()> {
        self.abandon();
        self.cut_failed()?;
        self.advance()
    }
}

impl Next {
    /// The name of the file.
    pub(crate) fn name(&self) -> String {
        self.name.to_string()
    }
}

impl Failure {
    /// The word for a record.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Deleted => "segment_deleted",
            Self::Replaced => "segment_replaced",
            Self::Write(error) | Self::Sync(error)
                if matches!(
                    error.kind(),
                    ErrorKind::StorageFull | ErrorKind::QuotaExceeded
                ) =>
            {
                "storage_full"
            }
            Self::Write(error) | Self::Sync(error)
                if error.kind() == ErrorKind::ReadOnlyFilesystem =>
            {
                "storage_read_only"
            }
            Self::Write(_) => "write_failed",
            Self::Sync(_) => "sync_failed",
        }
    }
}

/// So many files that are in the way are passed over at once.
const MOST_TRIES: u32 = 1000;
