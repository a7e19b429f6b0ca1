//! Goes through the lines of a stream, across its segments.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::audit::store::{Line, Lines, Name, Part, segments};

/// The segments of each stream; streams in the order in which they began.
pub(crate) fn by_stream(folder: &Path) -> io::Result<Vec<Vec<Name>>> {
    let mut streams = BTreeMap::<(_, String, bool), Vec<Name>>::new();
    for name in segments(folder)? {
        let key = (name.began, name.stream.clone(), name.part == Part::Prune);
        streams.entry(key).or_default().push(name);
    }
    Ok(streams.into_values().collect())
}

/// A reader of the lines of a stream.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    folder: &'a Path,
    names: &'a [Name],
    /// The segment that is read.
    index: usize,
    lines: Option<Lines>,
}

/// A line and where it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot<'a> {
    pub(crate) file: usize,
    pub(crate) line: Line<'a>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(folder: &'a Path, names: &'a [Name]) -> Self {
        Self {
            folder,
            names,
            index: 0,
            lines: None,
        }
    }

    pub(crate) fn next(&mut self) -> io::Result<Option<Spot<'_>>> {
        // A line that is found is borrowed, so that the loop cannot return it: it is looked for first.
        loop {
            if self.lines.is_none() {
                let Some(name) = self.names.get(self.index) else {
                    return Ok(None);
                };
                self.lines = Some(Lines::open(&self.folder.join(name.to_string()))?);
            }
            if let Some(lines) = &mut self.lines
                && lines.read()?
            {
                break;
            }
            self.lines = None;
            self.index += 1;
        }
        let line = self.lines.as_ref().map(Lines::line);
        let file = self.index;
        Ok(line.map(|line| Spot { file, line }))
    }
}
