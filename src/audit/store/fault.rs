//! A storage that fails when a test says so.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use tokio::sync::Semaphore;

use super::storage::{Disk, Place, Segment, Storage};

/// The faults of a storage. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// How many bytes can still be written; negative: no limit.
    room: AtomicI64,
    has_room: AtomicBool,
    is_read_only: AtomicBool,
    failing_creates: AtomicU64,
    unsynced_creates: AtomicU64,
    failing_removes: AtomicU64,
    failing_syncs: AtomicU64,
    failing_sync: AtomicU64,
    syncs: AtomicU64,
    writes: Writes,
    is_stuck: AtomicBool,
    stuck: Gate,
}

#[derive(Debug)]
struct Writes(Semaphore);

impl Default for Writes {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

#[derive(Debug)]
struct Gate(Semaphore, Semaphore);

impl Default for Gate {
    fn default() -> Self {
        Self(Semaphore::new(0), Semaphore::new(0))
    }
}

impl Faults {
    /// The device has room for so many bytes; then writes are short, and then they fail.
    pub(crate) fn room(&self, bytes: Option<i64>) {
        self.0
            .room
            .store(bytes.unwrap_or_default(), Ordering::SeqCst);
        self.0.has_room.store(bytes.is_some(), Ordering::SeqCst);
    }

    pub(crate) fn read_only(&self, is: bool) {
        self.0.is_read_only.store(is, Ordering::SeqCst);
    }

    /// So many syncs fail from now on.
    pub(crate) fn fail_syncs(&self, count: u64) {
        self.0.failing_syncs.store(count, Ordering::SeqCst);
    }

    /// The sync with this number, from 1, fails.
    pub(crate) fn fail_sync_number(&self, number: u64) {
        self.0.failing_sync.store(number, Ordering::SeqCst);
    }

    /// So many segments cannot be removed from now on.
    pub(crate) fn fail_removes(&self, count: u64) {
        self.0.failing_removes.store(count, Ordering::SeqCst);
    }

    /// Of so many segments from now on the entry cannot be made durable; they stay.
    pub(crate) fn leave_creates(&self, count: u64) {
        self.0.unsynced_creates.store(count, Ordering::SeqCst);
    }

    /// So many segments cannot be made from now on.
    pub(crate) fn fail_creates(&self, count: u64) {
        self.0.failing_creates.store(count, Ordering::SeqCst);
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.0.syncs.load(Ordering::SeqCst)
    }

    /// Waits until there was another attempt to write.
    pub(crate) async fn has_written(&self) {
        self.0.writes.0.acquire().await.unwrap().forget();
    }

    /// Forgets the attempts to write that were made.
    pub(crate) fn forget_writes(&self) {
        self.0.writes.0.forget_permits(usize::MAX >> 4);
    }

    /// Syncs do not return until [`release`](Self::release).
    pub(crate) fn stick(&self) {
        self.0.is_stuck.store(true, Ordering::SeqCst);
    }

    /// Waits until a sync is stuck.
    pub(crate) async fn is_stuck(&self) {
        self.0.stuck.0.acquire().await.unwrap().forget();
    }

    pub(crate) fn release(&self) {
        self.0.is_stuck.store(false, Ordering::SeqCst);
        self.0.stuck.1.add_permits(1);
    }

    fn judge_write(&self) -> io::Result<()> {
        match self.0.is_read_only.load(Ordering::SeqCst) {
            true => Err(ErrorKind::ReadOnlyFilesystem.into()),
            false => Ok(()),
        }
    }

    /// How many of so many bytes find room.
    fn take_room(&self, bytes: usize) -> io::Result<usize> {
        if !self.0.has_room.load(Ordering::SeqCst) {
            return Ok(bytes);
        }
        let room = usize::try_from(self.0.room.load(Ordering::SeqCst)).unwrap_or(0);
        let taken = room.min(bytes);
        if taken == 0 {
            return Err(ErrorKind::StorageFull.into());
        }
        self.0
            .room
            .fetch_sub(taken.try_into().unwrap(), Ordering::SeqCst);
        Ok(taken)
    }

    fn sync(&self) -> io::Result<()> {
        let number = self.0.syncs.fetch_add(1, Ordering::SeqCst) + 1;
        if self.0.is_stuck.load(Ordering::SeqCst) {
            self.0.stuck.0.add_permits(1);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            runtime.block_on(async { self.0.stuck.1.acquire().await.unwrap().forget() });
        }
        match self.0.failing_sync.load(Ordering::SeqCst) == number {
            true => Err(ErrorKind::Other.into()),
            false => fails(&self.0.failing_syncs),
        }
    }
}

fn fails(count: &AtomicU64) -> io::Result<()> {
    let less = |count: u64| count.checked_sub(1);
    match count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less) {
        Ok(_) => Err(ErrorKind::Other.into()),
        Err(_) => Ok(()),
    }
}

impl Storage for Faults {
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn Segment>> {
        self.judge_write()?;
        fails(&self.0.failing_creates)?;
        let segment = Disk.create(path)?;
        // The file is there, and nobody knows whether its entry is durable.
        fails(&self.0.unsynced_creates)?;
        Ok(Box::new(Faulty(segment, self.clone(), false)))
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.judge_write()?;
        fails(&self.0.failing_removes)?;
        Disk.remove(path)
    }

    fn sync(&mut self, path: &Path) -> io::Result<()> {
        Self::sync(self)?;
        Disk.sync(path)
    }

    fn cut(&mut self, path: &Path, length: u64) -> io::Result<()> {
        self.judge_write()?;
        Disk.cut(path, length)
    }
}

/// A segment, and whether one of its syncs has failed.
#[derive(Debug)]
struct Faulty(Box<dyn Segment>, Faults, bool);

impl Segment for Faulty {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert!(!self.2, "a file was written after its sync has failed");
        let room = self
            .1
            .judge_write()
            .and_then(|()| self.1.take_room(bytes.len()));
        let written = room.and_then(|count| self.0.write(&bytes[..count]));
        self.1.0.writes.0.add_permits(1);
        written
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.1.judge_write()?;
        self.0.truncate(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        assert!(!self.2, "a file was synced after its sync has failed");
        let synced = self.1.sync();
        self.2 = synced.is_err();
        synced?;
        self.0.sync()
    }

    fn place(&self) -> Place {
        self.0.place()
    }
}
