//! The report that Vet returns.

use crate::vet::{Note, Severity, Silenced};

/// What was found, sorted by place and then by code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The notes.
    pub notes: Vec<Note>,
    /// The silenced notes.
    pub silenced: Vec<Silenced>,
    /// Whether a rule names a principal or trust domain that means something else under another
    /// trust domain, and nothing says which is ours: `cluster.local` was assumed. See
    /// [`Vet::trust_domain`](crate::vet::Vet::trust_domain).
    pub assumes_trust_domain: bool,
}

impl Report {
    /// Whether a note is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        let mut notes = self.notes.iter();
        notes.any(|note| note.severity() == Severity::Error)
    }

    /// How many notes there are of a severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        let notes = self.notes.iter();
        notes.filter(|note| note.severity() == severity).count()
    }
}
