//! Reads a segment line by line in constant memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use crate::audit::record::MOST_BYTES;

/// The lines of a file.
#[derive(Debug)]
pub(crate) struct Lines {
    file: BufReader<File>,
    line: Vec<u8>,
    number: u64,
    offset: u64,
    is_ended: bool,
}

/// A line of a file, without its line break.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    /// At most two bytes more than a record may have.
    pub(crate) bytes: &'a [u8],
    /// Whether it ends with a line break.
    pub(crate) is_ended: bool,
    /// From 1.
    pub(crate) number: u64,
    /// Where the line after it begins.
    pub(crate) end: u64,
}

impl Lines {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: BufReader::with_capacity(256 * 1024, File::open(path)?),
            line: Vec::new(),
            number: 0,
            offset: 0,
            is_ended: false,
        })
    }

    pub(crate) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        Ok(self.read()?.then(|| self.line()))
    }

    /// Reads the next line; returns whether there was one.
    pub(crate) fn read(&mut self) -> io::Result<bool> {
        self.line.clear();
        let start = self.offset;
        let most = MOST_BYTES as u64 + 2;
        let read = (&mut self.file)
            .take(most)
            .read_until(b'\n', &mut self.line)?;
        self.offset += read as u64;
        self.is_ended = self.line.last() == Some(&b'\n');
        if self.is_ended {
            self.line.pop();
        } else if self.line.len() > MOST_BYTES {
            self.skip()?;
        }
        let has_line = self.offset > start;
        self.number += u64::from(has_line);
        Ok(has_line)
    }

    /// Passes over the rest of a line that is too long.
    fn skip(&mut self) -> io::Result<()> {
        loop {
            let read = match self.file.fill_buf() {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let end = read.iter().position(|byte| *byte == b'\n');
            let used = end.map_or(read.len(), |end| end + 1);
            self.file.consume(used);
            self.offset += used as u64;
            self.is_ended = end.is_some();
            if used == 0 || self.is_ended {
                return Ok(());
            }
        }
    }

    /// The line that was read last.
    pub(crate) fn line(&self) -> Line<'_> {
        Line {
            bytes: &self.line,
            is_ended: self.is_ended,
            number: self.number,
            end: self.offset,
        }
    }
}
