//! A directory of configuration that can be checked for changes.

use crate::istio::Problems;

use super::directory::Gathered;
use super::{Configuration, Directory, OnOpening};

/// A [`Directory`] that is read again whenever its owner calls [`changed`](Self::changed).
///
/// Files are compared by content. So an unreliable clock hides no change, and a file that is
/// rewritten with the same text is no change. A result is reported only if it differs from the last
/// one, so a broken file is reported once and not on every look.
///
/// A change takes effect once two looks in a row have found the same files. A file may be seen
/// while it is still being written: a part of it is not what its author means, and an empty file,
/// which is how every write begins, would be the configuration that allows everything.
///
/// A watch returns every well-formed configuration. The mesh judges whether a change is *damaged*
/// or *opens* the workload, because it knows the workload and the current configuration; see
/// [`OnOpening`].
#[derive(Debug)]
pub struct Watch {
    directory: Directory,
    seen: Option<Gathered>,
    /// What the last look found, if it differed from what has been returned.
    unsettled: Option<Gathered>,
}

impl Watch {
    /// Watches a directory. Nothing is read yet.
    #[must_use]
    pub fn new(directory: Directory) -> Self {
        Self {
            directory,
            seen: None,
            unsettled: None,
        }
    }

    /// As [`Directory::on_opening`].
    #[must_use]
    pub fn on_opening(mut self, on_opening: OnOpening) -> Self {
        self.directory = self.directory.on_opening(on_opening);
        self
    }

    /// What the mesh does with a change that opens the workload.
    #[must_use]
    pub fn opening(&self) -> OnOpening {
        self.directory.opening()
    }

    /// Whether the last look found a change that the next look has yet to confirm.
    #[must_use]
    pub fn is_unsettled(&self) -> bool {
        self.unsettled.is_some()
    }

    /// Looks at the files. Returns the configuration, or what is wrong with it, if it has changed
    /// and two looks in a row have found it. The first look always returns a result.
    ///
    /// It reads all files and blocks, so call it where blocking is allowed.
    pub fn changed(&mut self, default_namespace: &str) -> Option<Result<Configuration, Problems>> {
        let now = self.directory.gather();
        let before = self.unsettled.take();
        if self.seen.as_ref() == Some(&now) {
            return None;
        }
        if self.seen.is_some() && before.as_ref() != Some(&now) {
            self.unsettled = Some(now);
            return None;
        }
        let result = Directory::parse(&now, default_namespace);
        self.seen = Some(now);
        Some(result)
    }
}
