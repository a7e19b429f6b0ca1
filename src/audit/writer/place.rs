//! Where the lines of a trail go.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::sink::Sink;
use crate::audit::store::{Failure, Store};

/// A folder or a sink.
pub(super) enum Place {
    Folder(Box<Folder>),
    Sink(Box<dyn Sink>),
}

pub(super) struct Folder {
    pub(super) store: Store,
    pub(super) most_bytes: u64,
    pub(super) most_age: Duration,
    /// When the segment was made.
    pub(super) since: Duration,
    /// Before this the next segment is not tried again.
    pub(super) not_before: Duration,
}

/// Why a place did not take lines.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// Lines before are as they were.
    Unwritten(&'static str),
    /// Lines since the last sync may be lost.
    Unsynced(&'static str),
}

impl Fault {
    pub(super) fn word(self) -> &'static str {
        let (Self::Unwritten(word) | Self::Unsynced(word)) = self;
        word
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        match &failure {
            Failure::Write(_) => Self::Unwritten(failure.word()),
            Failure::Sync(_) | Failure::Deleted | Failure::Replaced => {
                Self::Unsynced(failure.word())
            }
        }
    }
}

impl Folder {
    /// Whether the segment is to be closed.
    pub(super) fn is_full(&self, now: Duration) -> bool {
        let age = now.saturating_sub(self.since);
        let is_full = self.store.bytes() >= self.most_bytes || age >= self.most_age;
        is_full && self.store.bytes() > 0 && now >= self.not_before
    }
}

impl Place {
    /// Whether what it has synced counts as durable.
    pub(super) fn is_durable(&self) -> bool {
        match self {
            Self::Folder(_) => true,
            Self::Sink(sink) => sink.is_durable(),
        }
    }

    pub(super) fn sync(&mut self) -> Result<(), Fault> {
        match self {
            Self::Folder(folder) => Ok(folder.store.sync()?),
            Self::Sink(sink) => match contained(|| sink.flush()) {
                Some(Ok(())) => Ok(()),
                _ => Err(Fault::Unwritten(SINK_FAILED)),
            },
        }
    }

    /// Begins anew after a failure.
    pub(super) fn recover(&mut self, now: Duration) -> Result<(), Fault> {
        if let Self::Folder(folder) = self {
            folder.store.reopen().map_err(Failure::Write)?;
            folder.since = now;
        }
        Ok(())
    }

    pub(super) fn abandon(&mut self) {
        if let Self::Folder(folder) = self {
            folder.store.abandon();
        }
    }
}

/// The result, unless code of the application has panicked.
pub(super) fn contained<R>(call: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(call)).ok()
}

pub(super) const SINK_FAILED: &str = "sink_failed";
