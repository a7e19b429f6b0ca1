use std::fmt;
use std::path::Path;

use crate::tls::reason::{Reason, Refusal};

use super::pem::PemError;
use super::place::Place;

/// Why an identity cannot be used: what is wrong, where it was read, and how to put it right.
#[derive(Clone, PartialEq, Eq)]
pub struct IdentityError {
    refusal: Refusal,
    /// Boxed, so that results stay small.
    place: Option<Box<Place>>,
}

impl IdentityError {
    pub(in crate::tls) fn new(reason: Reason, text: impl fmt::Display) -> Self {
        Refusal::with(reason, text).into()
    }

    /// A text of PEM that cannot be read.
    pub(super) fn pem(reason: Reason, text: &'static str, error: PemError) -> Self {
        Self::new(reason, error).at(Place::text(text).line(error.line()))
    }

    pub(super) fn at(self, place: Place) -> Self {
        Self {
            place: self.place.or_else(|| Some(Box::new(place))),
            ..self
        }
    }

    pub(super) fn maybe_at(self, place: Option<&Place>) -> Self {
        match place {
            Some(place) => self.at(place.clone()),
            None => self,
        }
    }

    /// What was read was the text of a file.
    pub(in crate::tls) fn in_file(mut self, file: &Path) -> Self {
        let place = self.place.take();
        let place = place.map_or_else(|| Place::text(""), |place| *place);
        self.place = Some(Box::new(place.file(file)));
        self
    }

    /// What is wrong, without where it was read.
    #[must_use]
    pub fn refusal(&self) -> &Refusal {
        &self.refusal
    }

    /// Which rule it breaks.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.refusal.reason()
    }

    /// The file that is to be put right; `None` when what is wrong did not come from a file.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.place.as_ref()?.to_file()
    }

    /// The line that is to be put right, counted from 1: where the wrong certificate or key begins, or
    /// where the text cannot be read. `None` when no single line is wrong.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.place.as_ref()?.to_line()
    }
}

impl From<Refusal> for IdentityError {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            place: None,
        }
    }
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        self.refusal.fmt(f)
    }
}

impl fmt::Debug for IdentityError {
    /// For people, as `unwrap` and a `main` that returns an error print it; nothing of the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.place.as_ref().map_or("", |place| place.what());
        write!(f, "IdentityError({}, {what:?}, {self})", self.reason())
    }
}

impl std::error::Error for IdentityError {}
