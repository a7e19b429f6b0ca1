//! Which records are meant.

use std::time::SystemTime;

use super::line::{ANONYMOUS, who};
use crate::audit::record::Entry;
use crate::audit::scalar::Timestamp;

/// Which records are meant: those that pass all that is set.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct RecordFilter {
    who: Option<String>,
    what: Option<String>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    outcome: Option<String>,
    trace: Option<String>,
    kind: Option<String>,
    patient: Option<String>,
    is_exact: bool,
}

impl RecordFilter {
    /// Records whose actor has this text in its SPIFFE ID, subject, issuer, client or intermediary;
    /// `anonymous` also finds those whose actor has none of them.
    pub fn who(mut self, text: impl Into<String>) -> Self {
        self.who = Some(text.into());
        self
    }

    /// Records with this text in the method, route, service, resource id, event name, subject or
    /// reason.
    pub fn what(mut self, text: impl Into<String>) -> Self {
        self.what = Some(text.into());
        self
    }

    /// Records at this time or later.
    pub fn from(mut self, time: SystemTime) -> Self {
        self.from = Some(time.into());
        self
    }

    /// Records before this time.
    pub fn to(mut self, time: SystemTime) -> Self {
        self.to = Some(time.into());
        self
    }

    /// Records with this outcome, as `deny`.
    pub fn outcome(mut self, outcome: impl Into<String>) -> Self {
        self.outcome = Some(outcome.into());
        self
    }

    /// Records with this trace or request id.
    pub fn trace(mut self, id: impl Into<String>) -> Self {
        self.trace = Some(id.into());
        self
    }

    /// Records of this type, as `break_glass`.
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = Some(kind.into());
        self
    }

    /// Records about the patient with this pseudonym.
    pub fn patient(mut self, pseudonym: impl Into<String>) -> Self {
        self.patient = Some(pseudonym.into());
        self
    }

    /// The texts of [`who`](Self::who) and [`what`](Self::what) must be the whole of a field, and not a
    /// part of it: `dr-7`, and not `dr-70`.
    pub fn exact(mut self) -> Self {
        self.is_exact = true;
        self
    }

    /// Whether a record is meant.
    #[must_use]
    pub fn passes(&self, entry: &Entry<'_>) -> bool {
        let time = entry.time();
        let any = |wanted: &Option<String>, fields: &[&str], test: fn(&str, &str) -> bool| {
            wanted.as_ref().is_none_or(|wanted| {
                let mut texts = fields.iter().filter_map(|field| entry.text(field));
                texts.any(|text| test(&text, wanted))
            })
        };
        let equals: fn(&str, &str) -> bool = |text, wanted| text == wanted;
        let has: fn(&str, &str) -> bool = match self.is_exact {
            true => equals,
            false => |text, wanted| text.contains(wanted),
        };
        let is_anonymous = || self.who.as_deref() == Some(ANONYMOUS) && who(entry) == ANONYMOUS;
        self.from.is_none_or(|from| from <= time)
            && self.to.is_none_or(|to| time < to)
            && any(&self.kind, &["type"], equals)
            && any(&self.outcome, &["outcome"], equals)
            && any(&self.trace, &["trace", "request_id"], equals)
            && any(&self.patient, &["patient.id"], equals)
            && (any(&self.who, WHO, has) || is_anonymous())
            && any(&self.what, WHAT, has)
    }
}

const WHO: &[&str] = &[
    "actor.spiffe",
    "actor.sub",
    "actor.iss",
    "actor.azp",
    "actor.via",
];
const WHAT: &[&str] = &[
    "action",
    "resource.route",
    "resource.service",
    "resource.id",
    "name",
    "subject",
    "reason",
];
