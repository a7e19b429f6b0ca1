//! The parts of a request's target that must not be shown.

use std::iter;
use std::sync::{Arc, OnceLock};

use http::Uri;

/// What the token guards of a request hide: a list with a part for each guard that hides something.
#[derive(Default)]
pub(super) struct HiddenParts(OnceLock<Hidden>);

struct Hidden {
    /// Query parameters that must not be shown.
    parameters: Arc<[Box<str>]>,
    /// The target without these parameters; `None` if the target was unknown or has none of them.
    target: Option<Box<Uri>>,
    /// The parts that a guard further in hides.
    next: OnceLock<Box<Self>>,
}

impl HiddenParts {
    pub(super) fn add(&self, parameters: &Arc<[Box<str>]>, target: Option<Uri>) {
        let mut said = Hidden {
            parameters: Arc::clone(parameters),
            target: target.map(Box::new),
            next: OnceLock::new(),
        };
        let Err(back) = self.0.set(said) else {
            return;
        };
        said = back;
        let mut last = self.0.get();
        while let Some(hidden) = last {
            let is_known = Arc::ptr_eq(&hidden.parameters, &said.parameters);
            if is_known && said.target.is_none() {
                return;
            }
            match hidden.next.set(Box::new(said)) {
                Ok(()) => return,
                Err(back) => said = *back,
            }
            last = hidden.next.get().map(Box::as_ref);
        }
    }

    pub(super) fn parameters(&self) -> impl Iterator<Item = &str> {
        self.iter()
            .flat_map(|hidden| hidden.parameters.iter().map(AsRef::as_ref))
    }

    /// The target without what the guards hide; `None` if none of them hides a part of it.
    pub(super) fn shown(&self) -> Option<&Uri> {
        self.iter()
            .filter_map(|hidden| hidden.target.as_deref())
            .last()
    }

    fn iter(&self) -> impl Iterator<Item = &Hidden> {
        iter::successors(self.0.get(), |hidden| hidden.next.get().map(Box::as_ref))
    }
}
