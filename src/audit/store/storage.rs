//! The operations on files that can fail, so that tests can let them fail.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::audit::proof::only_for_owner;

/// Where segments are made.
pub(crate) trait Storage: Send + fmt::Debug {
    /// Makes a file that was not there, which only its owner may read, and whose entry is durable.
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn Segment>>;

    /// Removes a file.
    fn remove(&mut self, path: &Path) -> io::Result<()>;

    /// Makes what is in a file durable.
    fn sync(&mut self, path: &Path) -> io::Result<()>;

    /// Cuts a file to this length through a new handle, and makes that durable.
    fn cut(&mut self, path: &Path, length: u64) -> io::Result<()>;
}

/// An open segment.
pub(crate) trait Segment: Send + fmt::Debug {
    /// Adds bytes at the end, and returns how many were added.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Cuts the end off.
    fn truncate(&mut self, length: u64) -> io::Result<()>;

    /// Makes what was written durable.
    fn sync(&mut self) -> io::Result<()>;

    /// Whether the file at the path is still this one.
    fn place(&self) -> Place;
}

/// What is at the path of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The segment.
    Kept,
    /// Nothing.
    Deleted,
    /// Another file, or the segment with another length.
    Replaced,
}

/// The file system.
#[derive(Debug)]
pub(crate) struct Disk;

#[derive(Debug)]
struct DiskSegment {
    file: File,
    path: PathBuf,
    length: u64,
}

impl Storage for Disk {
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn Segment>> {
        let mut options = OpenOptions::new();
        options.append(true).create_new(true);
        only_for_owner(&mut options);
        let file = options.open(path)?;
        if let Some(folder) = path.parent()
            && let Err(error) = sync_folder(folder)
        {
            let _ = fs::remove_file(path);
            return Err(error);
        }
        Ok(Box::new(DiskSegment {
            file,
            path: path.to_owned(),
            length: 0,
        }))
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync(&mut self, path: &Path) -> io::Result<()> {
        // Some systems want a handle that can write.
        let can_write = cfg!(not(unix));
        let file = OpenOptions::new().read(true).write(can_write).open(path)?;
        file.sync_all()
    }

    fn cut(&mut self, path: &Path, length: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path)?;
        // A file that is shorter has lost what was durable; it is not made longer.
        if file.metadata()?.len() > length {
            file.set_len(length)?;
        }
        file.sync_all()
    }
}

impl Segment for DiskSegment {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.length += count as u64;
        Ok(count)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        self.length = length;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    #[cfg(unix)]
    fn place(&self) -> Place {
        use std::os::unix::fs::MetadataExt;

        let Ok(ours) = self.file.metadata() else {
            return Place::Replaced;
        };
        match fs::symlink_metadata(&self.path) {
            Ok(there) if (there.dev(), there.ino()) != (ours.dev(), ours.ino()) => Place::Replaced,
            Ok(there) if there.len() != self.length => Place::Replaced,
            Ok(_) => Place::Kept,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Place::Deleted,
            // Whoever cannot look cannot tell.
            Err(_) => Place::Kept,
        }
    }

    #[cfg(not(unix))]
    fn place(&self) -> Place {
        match fs::metadata(&self.path) {
            Ok(there) if there.len() == self.length => Place::Kept,
            Ok(_) => Place::Replaced,
            Err(_) => Place::Deleted,
        }
    }
}

/// The folder that a path is in.
pub(super) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Makes the entries of a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    return File::open(folder)?.sync_all();
    #[cfg(not(unix))]
    {
        let _ = folder;
        Ok(())
    }
}
