//! Why an identity cannot be used, and how to correct it.

use std::fmt;
use std::path::Path;

use crate::tls::reason::{Reason, Refusal};

use super::location::TextLocation;
use super::pem::PemError;

/// Why an identity cannot be used: what is wrong, where it was read, and how to correct it.
#[derive(Clone, PartialEq, Eq)]
pub struct IdentityError {
    refusal: Refusal,
    /// Boxed, so that results stay small.
    location: Option<Box<TextLocation>>,
}

impl IdentityError {
    pub(in crate::tls) fn new(reason: Reason, text: impl fmt::Display) -> Self {
        Refusal::with(reason, text).into()
    }

    /// A PEM text that cannot be read.
    pub(super) fn pem(reason: Reason, text: &'static str, error: PemError) -> Self {
        Self::new(reason, error.fault).at(TextLocation::text(text).line(error.line))
    }

    pub(super) fn at(self, location: TextLocation) -> Self {
        Self {
            location: self.location.or_else(|| Some(Box::new(location))),
            ..self
        }
    }

    pub(super) fn maybe_at(self, location: Option<&TextLocation>) -> Self {
        match location {
            Some(location) => self.at(location.clone()),
            None => self,
        }
    }

    /// Adds the file whose text was read.
    pub(in crate::tls) fn in_file(mut self, file: &Path) -> Self {
        let location = self
            .location
            .get_or_insert_with(|| TextLocation::text("").into());
        location.file = Some(file.to_owned());
        self
    }

    /// What is wrong, without where it was read.
    #[must_use]
    pub fn refusal(&self) -> &Refusal {
        &self.refusal
    }

    /// The rule that it breaks.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.refusal.reason()
    }

    /// The file to correct; `None` when the problem is not in a file.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.location.as_ref()?.file.as_deref()
    }

    /// The line to correct, counted from 1: where the wrong certificate or key begins, or where the
    /// text cannot be read. `None` when no single line is wrong.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.location.as_ref()?.line
    }
}

impl From<Refusal> for IdentityError {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            location: None,
        }
    }
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(location) = &self.location {
            write!(f, "{location}: ")?;
        }
        self.refusal.fmt(f)
    }
}

impl fmt::Debug for IdentityError {
    /// For people, because `unwrap` and a `main` that returns an error print it. It shows nothing
    /// of the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.location.as_ref().map_or("", |location| location.text);
        write!(f, "IdentityError({}, {what:?}, {self})", self.reason())
    }
}

impl std::error::Error for IdentityError {}
