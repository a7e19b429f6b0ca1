use crate::istio::Problems;

use super::directory::Gathered;
use super::{Configuration, Directory};

/// A [`Directory`] that is looked at again and again; whoever owns it decides when.
///
/// Files are compared by their content: no change is missed because a clock stood still, and a file written anew with the same text
/// is no change. What is found is judged only when it differs from what was found before, so a broken file is reported once and
/// not at every look.
#[derive(Debug)]
pub struct Watch {
    directory: Directory,
    seen: Option<Gathered>,
}

impl Watch {
    /// Watches a directory. Nothing is read yet.
    #[must_use]
    pub fn new(directory: Directory) -> Self {
        Self {
            directory,
            seen: None,
        }
    }

    /// Looks: the configuration, or what is wrong with it, when something changed since the last look; the first look always tells.
    ///
    /// It reads all files, so call it where blocking is allowed.
    pub fn changed(&mut self, default_namespace: &str) -> Option<Result<Configuration, Problems>> {
        let now = self.directory.gather();
        if self.seen.as_ref() == Some(&now) {
            return None;
        }
        let result = Directory::parse(&now, default_namespace);
        self.seen = Some(now);
        Some(result)
    }
}
