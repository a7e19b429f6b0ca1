//! A route whose requests are recorded.

use std::borrow::Cow;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use http::Method;
use http::request::Parts;

use super::template::Template;
use crate::audit::{PatientKey, Pseudonym};

/// A route whose requests are recorded.
#[derive(Clone, Debug)]
pub(in crate::mesh) struct Route {
    template: Template,
    /// Empty: all.
    pub(in crate::mesh) methods: Vec<Method>,
    /// Whether a request waits until its record is durable.
    pub(in crate::mesh) is_strict: bool,
    pub(in crate::mesh) patient: Option<(PatientKey, Patient)>,
    /// The parameter whose value is the id of the resource.
    pub(in crate::mesh) id: Option<Box<str>>,
}

/// How the patient of a request is found.
#[derive(Clone)]
pub(in crate::mesh) enum Patient {
    Parameter(Box<str>),
    Found(Arc<FindPatient>),
}

type FindPatient = dyn Fn(&Parts) -> Option<String> + Send + Sync;

impl Route {
    /// # Errors
    /// What is wrong with the template.
    pub(in crate::mesh) fn new(template: &str) -> Result<Self, &'static str> {
        Ok(Self {
            template: Template::parse(template)?,
            methods: Vec::new(),
            is_strict: true,
            patient: None,
            id: None,
        })
    }

    pub(in crate::mesh) fn has(&self, parameter: &str) -> bool {
        self.template.has(parameter)
    }

    pub(super) fn matches(&self, method: &Method, path: &[Cow<'_, str>]) -> bool {
        // Routers answer HEAD with what they have for GET.
        let asked = match *method {
            Method::HEAD => &Method::GET,
            _ => method,
        };
        let is_method = |chosen: &Method| chosen == method || chosen == asked;
        (self.methods.is_empty() || self.methods.iter().any(is_method))
            && self.template.matches(path)
    }

    pub(super) fn template(&self) -> &Arc<str> {
        self.template.text()
    }

    /// [`Template::rank`].
    pub(super) fn rank(&self) -> impl Iterator<Item = u8> + '_ {
        self.template.rank()
    }

    /// Whether this template, by which a router has chosen, is of another route: one that matches
    /// fewer paths.
    pub(super) fn is_less_than(&self, chosen: &str) -> bool {
        let chosen = Template::parse(chosen);
        chosen.is_ok_and(|chosen| chosen.rank().lt(self.rank()))
    }

    pub(super) fn patient(&self, head: &Parts, path: &[Cow<'_, str>]) -> Option<Pseudonym> {
        let (key, patient) = self.patient.as_ref()?;
        let id = match patient {
            Patient::Parameter(name) => self.template.value(path, name)?,
            // A function that panics has found nobody.
            Patient::Found(find) => catch_unwind(AssertUnwindSafe(|| find(head))).ok()??,
        };
        Some(key.pseudonym(&id))
    }

    pub(super) fn id(&self, path: &[Cow<'_, str>]) -> Option<String> {
        self.template.value(path, self.id.as_ref()?)
    }
}

impl Patient {
    pub(in crate::mesh) fn found(
        find: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self::Found(Arc::new(find))
    }
}

impl fmt::Debug for Patient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parameter(name) => f.debug_tuple("Parameter").field(name).finish(),
            Self::Found(_) => f.write_str("Found"),
        }
    }
}
