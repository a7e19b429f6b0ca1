//! Opens a folder: the lock, and what the process before has left.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::files::Store;
use super::names::{Name, Part, segments};
use super::storage::{Storage, folder_of, sync_folder};
use super::tail;
use crate::audit::proof::only_for_owner;
use crate::audit::record::OldStream;
use crate::audit::scalar::Timestamp;

/// Why a folder cannot be written.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// A file or the folder failed.
    Io(PathBuf, io::Error),
    /// Another process writes the trail in this folder.
    InUse(PathBuf),
}

/// A folder that was opened, and what was found there.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) store: Store,
    /// The stream before.
    pub(crate) old: Option<OldStream>,
    /// The last checkpoint of the last segment.
    pub(crate) note: Option<String>,
    /// Its last records have no checkpoint, so that the new stream is to sign what it names.
    pub(crate) is_unsigned: bool,
    /// The files into which the rests of lines were moved.
    pub(crate) torn: Vec<String>,
    /// The last segment has records that do not belong to its chain. They stay as they are.
    pub(crate) is_faulty: bool,
}

impl Store {
    /// Opens a folder for a new stream, and makes it if it is not there. No segment is made yet.
    pub(crate) fn open(
        folder: &Path,
        stream: &str,
        now: Timestamp,
        mut storage: Box<dyn Storage>,
    ) -> Result<Opened, OpenError> {
        let failed = |error| OpenError::Io(folder.to_owned(), error);
        make_folder(folder).map_err(failed)?;
        let lock = lock(folder, "audit.lock")?;
        let mut torn = Vec::new();
        let (mut found, mut note) = (None, None);
        let (mut is_faulty, mut is_unsigned) = (false, false);
        let names = segments(folder).map_err(failed)?;
        for name in names.iter().rev().filter(|name| name.part != Part::Prune) {
            let name = name.to_string();
            let path = folder.join(&name);
            let failed = |error| OpenError::Io(path.clone(), error);
            let tail = tail::read(&path).map_err(failed)?;
            if tail.is_faulty {
                is_faulty = true;
            } else if tail.is_torn || tail.last.is_none() {
                torn.push(tail::cut(folder, &name, tail.end).map_err(failed)?);
            }
            if let Some((stream, size, head)) = tail.last {
                // The process before may have been killed before it was durable, and the new stream
                // names it.
                storage.sync(&path).map_err(failed)?;
                note = tail.note;
                is_unsigned = !tail.is_signed;
                found = Some(OldStream { stream, size, head });
                break;
            }
            if is_faulty {
                break;
            }
        }
        sync_folder(folder).map_err(failed)?;
        // After the last time that a name can have, streams would have no order.
        if let Some(last) = names.last().filter(|last| last.began == Timestamp::LAST) {
            let what = "it is dated to the end of time; move it out of the folder";
            let error = io::Error::new(io::ErrorKind::InvalidData, what);
            return Err(OpenError::Io(folder.join(last.to_string()), error));
        }
        // A clock that was set back must not change the order of the names.
        let after = |name: &Name| Timestamp::from_micros(name.began.micros() + 1);
        let began = names.last().map_or(now, |name| after(name).max(now));
        let name = Name {
            began,
            stream: stream.to_owned(),
            part: Part::Number(0),
        };
        Ok(Opened {
            store: Self::new(folder, lock, name, storage),
            old: found,
            note,
            is_unsigned,
            torn,
            is_faulty,
        })
    }
}

/// Takes the lock of a folder, which the process keeps until it drops the file.
pub(crate) fn lock(folder: &Path, name: &str) -> Result<File, OpenError> {
    let path = folder.join(name);
    let failed = |error| OpenError::Io(path.clone(), error);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    only_for_owner(&mut options);
    let file = options.open(&path).map_err(failed)?;
    // While another thread starts a process, that has copies of all handles for a moment, and with
    // them locks that were just let go.
    let mut tries = LOCK_TRIES;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if tries == 0 => {
                return Err(OpenError::InUse(folder.to_owned()));
            }
            Err(TryLockError::WouldBlock) => thread::sleep(BETWEEN_TRIES),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        tries -= 1;
    }
}

/// Makes a folder and those above it that are not there, each of them durable.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder_of(folder);
    make_folder(above)?;
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        made => made.and_then(|()| sync_folder(above)),
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, _) => write!(f, "the audit trail failed at {}", path.display()),
            Self::InUse(folder) => write!(
                f,
                "another process writes the audit trail in {}; each process needs a folder of its own",
                folder.display()
            ),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(_, error) => Some(error),
            Self::InUse(_) => None,
        }
    }
}

const LOCK_TRIES: u32 = 20;
const BETWEEN_TRIES: Duration = Duration::from_millis(5);
