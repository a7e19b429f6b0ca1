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

    fn json(&self, severity: &str, message: &str) -> String {
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

    /// Everything but the last line: the place, the severity, the code, the message, the resource.
    fn write(&self, f: &mut fmt::Formatter<'_>, severity: &str) -> fmt::Result {
        // Something missing has no place.
        if !self.at.file.is_empty() {
            write!(f, "{}: ", OneLine(&self.at))?;
        }
        write!(f, "{severity}[{}]: {}", self.code, OneLine(&self.message))?;
        if !self.resource.is_empty() {
            write!(f, "\n  in: {}", OneLine(&self.resource))?;
        }
        Ok(())
    }
}

impl fmt::Display for Note {
    /// The place, the severity, the code and the message, then the resource, if there is one, and
    /// what to do, a line each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, self.severity().as_str())?;
        write!(f, "\n  help: {}", OneLine(&self.help))
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
        self.note.write(f, "silenced")?;
        write!(f, "\n  reason: {}", OneLine(&self.reason))
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

/// The name of a resource and where it is written, for the message of a note about another one.
pub(in crate::vet) fn name_and_place(meta: &Meta) -> String {
    format!("{} (at {})", resource_name(meta), meta.at)
}
