//! A note and its text, for people and as JSON.

use std::fmt;

use serde::Serialize;

use crate::istio::{Meta, OneLine, Position};
use crate::vet::{Code, Severity};

/// Something to look at: where, what, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Note {
    /// What it is about.
    pub code: Code,
    /// The resource: `KIND NAMESPACE/NAME`, or `KIND NAME` of one that is in no namespace; empty
    /// when it is about a whole file.
    pub resource: String,
    /// Where its value is written; without a file if the note is about something missing.
    pub at: Position,
    /// What is the matter.
    pub message: String,
    /// What to do.
    pub help: String,
}

impl Note {
    /// How much it matters.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.code.severity()
    }

    /// The note as one line of JSON,
    /// `{"code","severity","resource","file","line","column","message","help"}`.
    #[must_use]
    pub fn to_json(&self) -> String {
        self.json(self.severity().as_str(), &self.message)
    }

    pub(super) fn json(&self, severity: &str, message: &str) -> String {
        #[derive(Serialize)]
        struct Line<'n> {
            code: &'n str,
            severity: &'n str,
            resource: &'n str,
            file: &'n str,
            line: u32,
            column: u32,
            message: &'n str,
            help: &'n str,
        }
        let line = Line {
            code: self.code.as_str(),
            severity,
            resource: &self.resource,
            file: &self.at.file,
            line: self.at.line,
            column: self.at.column,
            message,
            help: &self.help,
        };
        // INVARIANT: texts and numbers always serialize.
        serde_json::to_string(&line).unwrap_or_default()
    }
}

impl fmt::Display for Note {
    /// The place, the severity, the code and the message, then the resource, if there is one, and
    /// what to do, a line each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            code,
            resource,
            at,
            message,
            help,
        } = self;
        let severity = self.severity();
        // Something missing has no place.
        if !at.file.is_empty() {
            write!(f, "{}: ", OneLine(at))?;
        }
        write!(f, "{severity}[{code}]: {}", OneLine(message))?;
        if !resource.is_empty() {
            write!(f, "\n  in: {}", OneLine(resource))?;
        }
        write!(f, "\n  help: {}", OneLine(help))
    }
}

/// A silenced note, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Silenced {
    /// The note.
    pub note: Note,
    /// The reason that was given.
    pub reason: String,
}

impl Silenced {
    /// As [`Note::to_json`], with the severity `silenced` and the reason after the message.
    #[must_use]
    pub fn to_json(&self) -> String {
        let Self { note, reason } = self;
        note.json(
            "silenced",
            &format!("{} (silenced: {reason})", note.message),
        )
    }
}

impl fmt::Display for Silenced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Note {
            code,
            resource,
            at,
            message,
            ..
        } = &self.note;
        let reason = &self.reason;
        if !at.file.is_empty() {
            write!(f, "{}: ", OneLine(at))?;
        }
        write!(f, "silenced[{code}]: {}", OneLine(message))?;
        if !resource.is_empty() {
            write!(f, "\n  in: {}", OneLine(resource))?;
        }
        write!(f, "\n  reason: {}", OneLine(reason))
    }
}

/// `KIND NAMESPACE/NAME`, or `KIND NAME` of a resource that is in no namespace; empty of what is
/// none.
pub(in crate::vet) fn resource_name(meta: &Meta) -> String {
    let Meta {
        kind,
        namespace,
        name,
        ..
    } = meta;
    if kind.is_empty() && name.is_empty() {
        return String::new();
    }
    if namespace.is_empty() {
        return format!("{kind} {name}");
    }
    format!("{kind} {namespace}/{name}")
}
