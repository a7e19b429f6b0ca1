use crate::istio::Problems;

use super::directory::Gathered;
use super::{Configuration, Directory, OnOpening};

/// A [`Directory`] that is looked at again and again, when its owner says so.
///
/// Files are compared by their content: no change is missed because a clock stood still, and a file
/// written anew with the same text is no change. What is found is judged only when it differs from
/// what was found before, so a broken file is reported once and not at every look.
///
/// A change counts once two looks in a row have found the same: whatever part of a file is seen
/// while somebody writes it is not yet what they mean, and nothing at all, the first part of every
/// file, would be the configuration that allows everything.
///
/// A watch hands out whatever is written well. Whether a change is *damaged*, or *opens* a
/// workload, is for the mesh to judge, which knows the workload and what it serves by; see
/// [`OnOpening`].
#[derive(Debug)]
pub struct Watch {
    directory: Directory,
    seen: Option<Gathered>,
    /// What the last look found, when it was not what is known.
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

    /// What becomes of a change that opens, as it was set.
    #[must_use]
    pub fn opening(&self) -> OnOpening {
        self.directory.opening()
    }

    /// Whether the last look found a change that has yet to rest.
    #[must_use]
    pub fn is_unsettled(&self) -> bool {
        self.unsettled.is_some()
    }

    /// Looks: the configuration, or what is wrong with it, when something has changed and is as the
    /// look before found it; the first look always tells.
    ///
    /// It reads all files, so call it where blocking is allowed.
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
