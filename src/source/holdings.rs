//! Remembers which files held documents, to detect files that were emptied by accident.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::istio::{Problem, Resources};

/// Which files of a configuration hold documents, and which hold none. Configuration that does not
/// come from files has no holdings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    resources: Files,
    settings: Files,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Files {
    full: BTreeSet<Arc<str>>,
    blank: BTreeSet<Arc<str>>,
}

impl Holdings {
    /// Splits the files that were read: those that gave a resource are full, the others are blank.
    pub(super) fn new<'f>(files: impl Iterator<Item = &'f str>, resources: &Resources) -> Self {
        let own = resources.metas().map(|meta| &meta.at.file);
        let skipped = resources.skipped.iter().map(|skipped| &skipped.at.file);
        let full: BTreeSet<_> = own.chain(skipped).cloned().collect();
        let blank = files.filter(|name| !full.contains(*name));
        let resources = Files {
            blank: blank.map(Arc::from).collect(),
            full,
        };
        Self {
            resources,
            settings: Files::default(),
        }
    }

    /// Adds the file of the mesh's settings; `is_blank` tells whether it is empty.
    pub(super) fn with_settings(mut self, file: &str, is_blank: bool) -> Self {
        let files = &mut self.settings;
        let list = match is_blank {
            true => &mut files.blank,
            false => &mut files.full,
        };
        list.insert(file.into());
        self
    }

    /// Adds the holdings of another source.
    pub(super) fn append(&mut self, more: Self) {
        self.resources.append(more.resources);
        self.settings.append(more.settings);
    }

    /// What the change from these holdings to `after` has damaged: each file that held documents or
    /// settings and now holds none, and the whole configuration if no file holds documents any
    /// more. A deleted file is no damage as long as other files hold documents.
    #[must_use]
    pub fn damage(&self, after: &Self) -> Vec<Problem> {
        let mut problems = self.resources.emptied(&after.resources);
        problems.extend(self.settings.emptied(&after.settings));
        let (held, holds) = (&self.resources.full, &after.resources.full);
        if let (Some(one), true, true) = (held.first(), holds.is_empty(), problems.is_empty()) {
            let message = "held documents, and no file holds any now; put them back";
            problems.push(Problem::of_file(Arc::clone(one), message));
        }
        problems
    }
}

impl Files {
    fn append(&mut self, more: Self) {
        self.full.extend(more.full);
        self.blank.extend(more.blank);
    }

    fn emptied(&self, after: &Self) -> Vec<Problem> {
        let emptied = self.full.intersection(&after.blank);
        let message =
            "held documents and holds none now; put them back, or delete the file if it is to go";
        let problem = |file| Problem::of_file(Arc::clone(file), message);
        emptied.map(problem).collect()
    }
}
