use std::collections::{HashMap, HashSet};
use std::fmt::{self, Display, Write};
use std::sync::Arc;

use super::trust_domain::Domains;
use crate::identity::{TrustDomain, Workload};
use crate::istio::{Authorizer, MeshConfig, Meta, Position, Problem};
use crate::matcher::StringMatcher;
use crate::policy::Origins;

/// The state that all stages share: the workload, the mesh, and the mistakes found so far.
///
/// A stage that meets a mistake records it and goes on, so that all of them are reported at once;
/// its result is then never used.
pub(super) struct Compiler<'a> {
    pub(super) mesh: &'a MeshConfig,
    /// Providers, and caches of providers, in addition to those of the mesh.
    pub(super) authorizers: &'a [Arc<Authorizer>],
    pub(super) workload: &'a Workload,
    pub(super) domains: Domains<'a>,
    /// A rule names a principal or trust domain that means something else where ours is not the
    /// assumed one.
    pub(super) assumes_trust_domain: bool,
    /// Regexes by text: the same namespace occurs in many policies, and compiling one is dear.
    pub(super) regexes: HashMap<String, StringMatcher>,
    /// The paths of fields that rules have written, each once: most rules write the same few.
    fields: HashSet<Arc<str>>,
    /// Where such a path is written first.
    field: String,
    /// Where the rules were written that have been compiled.
    pub(super) origins: Origins,
    pub(super) problems: Vec<Problem>,
    pub(super) notes: Vec<Problem>,
}

impl<'a> Compiler<'a> {
    pub(super) fn new(
        mesh: &'a MeshConfig,
        authorizers: &'a [Arc<Authorizer>],
        workload: &'a Workload,
    ) -> Self {
        Self {
            mesh,
            authorizers,
            workload,
            domains: Domains::new(mesh, workload.own_trust_domain().map(TrustDomain::as_str)),
            assumes_trust_domain: false,
            regexes: HashMap::new(),
            fields: HashSet::new(),
            field: String::new(),
            origins: Origins::new(),
            problems: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// The path of the field at a place.
    pub(super) fn field(&mut self, place: FieldPlace<'_>) -> Arc<str> {
        self.field.clear();
        // A string takes everything.
        let _ = write!(self.field, "{place}");
        if let Some(known) = self.fields.get(self.field.as_str()) {
            return Arc::clone(known);
        }
        let path: Arc<str> = self.field.as_str().into();
        self.fields.insert(Arc::clone(&path));
        path
    }

    /// Records a mistake: nothing of this configuration will be used.
    pub(super) fn refuse(&mut self, at: &Position, field: impl Display, message: impl Display) {
        self.problems.push(problem(at, field, message));
    }

    /// Records something that loads but deserves a word.
    pub(super) fn note(&mut self, at: &Position, field: impl Display, message: impl Display) {
        self.notes.push(problem(at, field, message));
    }
}

fn problem(at: &Position, field: impl Display, message: impl Display) -> Problem {
    Problem::new(at.clone(), field.to_string(), message.to_string())
}

/// A list of values inside a rule, for messages.
#[derive(Clone, Copy)]
pub(super) struct FieldPlace<'a> {
    /// The resource; its namespace completes short service accounts.
    pub(super) meta: &'a Meta,
    /// The rule or subject that holds it.
    pub(super) rule: usize,
    /// Which part of it.
    pub(super) part: Part,
    /// The list's name.
    pub(super) list: &'a str,
}

/// A part of a rule.
#[derive(Clone, Copy)]
pub(super) enum Part {
    /// `from[].source`.
    From(usize),
    /// `to[].operation`.
    To(usize),
    /// `when[]`.
    When(usize),
    /// A rule of a `ServiceRole`.
    Role,
    /// `constraints[]` of a `ServiceRole`'s rule.
    Constraint(usize),
    /// A subject of a `ServiceRoleBinding`.
    Subject,
    /// A field of a subject that holds one value and no list.
    SubjectField,
}

impl<'a> FieldPlace<'a> {
    /// A part of a rule or subject of a resource, before any list of it is named.
    pub(super) fn new(meta: &'a Meta, rule: usize, part: Part) -> Self {
        Self {
            meta,
            rule,
            part,
            list: "",
        }
    }

    /// The same place, another list.
    pub(super) fn list(self, list: &'a str) -> Self {
        Self { list, ..self }
    }

    /// One of the values at this place.
    pub(super) fn value(self, index: usize) -> String {
        match self.part {
            Part::SubjectField => self.to_string(),
            _ => format!("{self}[{index}]"),
        }
    }
}

impl Display for FieldPlace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rule, list) = (self.rule, self.list);
        match self.part {
            Part::From(index) => write!(f, "spec.rules[{rule}].from[{index}].source.{list}"),
            Part::To(index) => write!(f, "spec.rules[{rule}].to[{index}].operation.{list}"),
            Part::When(index) => write!(f, "spec.rules[{rule}].when[{index}].{list}"),
            Part::Role => write!(f, "spec.rules[{rule}].{list}"),
            Part::Constraint(index) => {
                write!(f, "spec.rules[{rule}].constraints[{index}].{list}")
            }
            Part::Subject | Part::SubjectField => write!(f, "spec.subjects[{rule}].{list}"),
        }
    }
}
