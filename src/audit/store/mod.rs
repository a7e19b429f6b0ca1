//! A folder of segments: files to which lines are only added.

#[cfg(test)]
pub(crate) mod fault;
mod files;
mod lines;
mod names;
mod open;
mod sealing;
mod storage;
mod tail;
#[cfg(test)]
mod tests;

pub(crate) use files::{Failure, Store};
pub(crate) use lines::{Line, Lines};
pub(crate) use names::{Name, Part, segments, torn_files};
pub use open::OpenError;
pub(crate) use open::{Opened, lock};
pub(crate) use sealing::{SealingError, SealingFile};
pub(crate) use storage::{Disk, Storage, sync_folder};
