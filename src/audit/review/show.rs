//! Chosen records of a trail.

use std::io::{self, Write};
use std::path::PathBuf;

use super::filter::RecordFilter;
use super::line::Readable;
use crate::audit::record::Entry;
use crate::audit::verify::{Walk, by_stream};

/// Shows the records of a trail that pass a filter, in their order and in constant memory. It does not
/// verify them; that is [`Verify`](crate::audit::Verify).
#[derive(Clone, Debug)]
#[must_use]
pub struct Show {
    folder: PathBuf,
    filter: RecordFilter,
    form: Form,
}

/// In which form records are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// A line for a person.
    #[default]
    Text,
    /// The record as it is, JSON in a line.
    Json,
}

/// How many records were shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Records that pass.
    pub records: u64,
    /// Lines that are no records, and were left out.
    pub unreadable: u64,
}

impl Show {
    /// All records of the trail in this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            filter: RecordFilter::default(),
            form: Form::Text,
        }
    }

    /// Only those that pass.
    pub fn filter(mut self, filter: RecordFilter) -> Self {
        self.filter = filter;
        self
    }

    /// In this form.
    pub fn form(mut self, form: Form) -> Self {
        self.form = form;
        self
    }

    /// Writes them.
    ///
    /// # Errors
    /// The trail cannot be read, or the output cannot be written.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<Shown> {
        let mut shown = Shown::default();
        let mut fault = Ok(());
        shown.unreadable = each(&self.folder, |entry| {
            if fault.is_ok() && self.filter.passes(entry) {
                shown.records += 1;
                fault = match self.form {
                    Form::Text => writeln!(out, "{}", Readable(entry)),
                    Form::Json => writeln!(out, "{}", entry.as_str()),
                };
            }
            fault.is_ok()
        })?;
        fault.map(|()| shown)
    }
}

/// Calls with each record, until it returns `false`; returns how many lines were none.
pub(super) fn each(
    folder: &std::path::Path,
    mut take: impl FnMut(&Entry<'_>) -> bool,
) -> io::Result<u64> {
    let mut unreadable = 0;
    for names in by_stream(folder)? {
        let mut walk = Walk::new(folder, &names);
        while let Some(spot) = walk.next()? {
            match Entry::parse(spot.line.bytes) {
                Ok(entry) if spot.line.is_ended => {
                    if !take(&entry) {
                        return Ok(unreadable);
                    }
                }
                _ => unreadable += 1,
            }
        }
    }
    Ok(unreadable)
}
