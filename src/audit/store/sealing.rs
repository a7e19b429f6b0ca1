//! The file of a sealing key, in which each key takes the place of the one before.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::open::{OpenError, lock};
use super::storage::{folder_of, sync_folder};
use crate::audit::proof::{KeyFileError, SealingKey, only_for_owner};

/// The file of a key, that no other process uses.
#[derive(Debug)]
pub(crate) struct SealingFile {
    key: SealingKey,
    /// Keeps other processes out while it is open.
    _lock: File,
}

/// Why the file of a key cannot be used.
#[derive(Debug)]
pub(crate) enum SealingError {
    Key(KeyFileError),
    Lock(OpenError),
}

impl SealingFile {
    /// Takes the file of a key, which another process may have replaced since it was read.
    pub(crate) fn open(key: &SealingKey) -> Result<Self, SealingError> {
        let path = key.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let lock = lock(folder_of(path), &format!("{name}.lock")).map_err(SealingError::Lock)?;
        let key = SealingKey::from_file(path).map_err(SealingError::Key)?;
        Ok(Self { key, _lock: lock })
    }

    pub(crate) fn key(&self) -> &SealingKey {
        &self.key
    }

    /// Puts the next key in the place of this one, on the disk and then in memory. After a crash one
    /// of the two is there.
    pub(crate) fn evolve(&mut self) -> Result<(), KeyFileError> {
        let next = self.key.next();
        let path = self.key.path();
        replace(path, &next.text()).map_err(|error| KeyFileError::Io(path.to_owned(), error))?;
        self.key = next;
        Ok(())
    }
}

/// Replaces a file, and overwrites what was in it.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    // What a crash has left there was never used.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    only_for_owner(&mut options);
    let mut file = options.open(&new)?;
    file.write_all(text)?;
    file.sync_all()?;
    let mut old = OpenOptions::new().write(true).open(path)?;
    let length = old.metadata()?.len();
    fs::rename(&new, path)?;
    sync_folder(folder_of(path))?;
    // It has no name any more. Not every device writes to the same place.
    old.seek(SeekFrom::Start(0))?;
    io::copy(&mut io::Read::take(io::repeat(0), length), &mut old)?;
    old.sync_all()
}
