//! Collects the notes of all checks, and makes the report of them.

use std::collections::HashSet;

use super::note::resource_name;
use super::silence::Silences;
use crate::istio::{Meta, Position};
use crate::vet::{Code, Note, Report, Severity, Silenced};

/// Where the checks put what they find.
#[derive(Debug, Default)]
pub(in crate::vet) struct Notes {
    found: Vec<(Note, Position)>,
}

impl Notes {
    /// A note about a resource.
    pub(in crate::vet) fn add(
        &mut self,
        code: Code,
        meta: &Meta,
        at: &Position,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let note = Note {
            code,
            resource: resource_name(meta),
            at: at.clone(),
            message: message.into(),
            help: help.into(),
        };
        self.found.push((note, meta.at.clone()));
    }

    /// Whether a check has noted this code at this place.
    pub(in crate::vet) fn has(&self, code: Code, at: &Position) -> bool {
        let mut found = self.found.iter();
        found.any(|(note, _)| note.code == code && note.at == *at)
    }

    /// Whether a check has noted anything on this line; with `as_error`, any error.
    pub(in crate::vet) fn tells(&self, at: &Position, as_error: bool) -> bool {
        self.found.iter().any(|(note, _)| {
            let is_there = note.at.line == at.line && note.at.file == at.file;
            is_there && (!as_error || note.severity() == Severity::Error)
        })
    }

    /// Everything in order, each once, without what is silenced.
    pub(in crate::vet) fn into_report(self, mut silences: Silences) -> Report {
        let mut report = Report::default();
        let mut seen = HashSet::new();
        for (note, resource) in self.found {
            if !seen.insert((note.at.clone(), note.code, note.message.clone())) {
                continue;
            }
            match silences.reason(note.code, &resource) {
                Some(reason) => report.silenced.push(Silenced { note, reason }),
                None => report.notes.push(note),
            }
        }
        report.notes.extend(silences.into_notes());
        report.notes.sort_by_cached_key(key);
        let silenced = &mut report.silenced;
        silenced.sort_by_cached_key(|silenced| key(&silenced.note));
        report
    }
}

/// Notes are sorted by place, then by code.
fn key(note: &Note) -> (Position, &'static str, String) {
    (note.at.clone(), note.code.as_str(), note.message.clone())
}
