//! Requests in a file, one JSON object a line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use crate::Failure;

/// A longer line is no request.
const MAX_LINE: u64 = 16 << 20;

/// The lines of a file, or of stdin.
pub(crate) struct Lines {
    input: BufReader<Box<dyn Read>>,
    line: Vec<u8>,
    is_cut: bool,
    number: u64,
}

impl Lines {
    /// Opens a file; `-` is stdin.
    pub(crate) fn open(file: &Path) -> Result<Self, Failure> {
        let input: Box<dyn Read> = if file.as_os_str() == "-" {
            Box::new(io::stdin().lock())
        } else {
            Box::new(File::open(file).map_err(|error| {
                Failure::Question(format!("{} cannot be read: {error}", file.display()))
            })?)
        };
        Ok(Self {
            input: BufReader::new(input),
            line: Vec::new(),
            is_cut: false,
            number: 0,
        })
    }

    /// Which line of the file the last one was, counted from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The next line that is not blank; a line that is too long comes cut. `out` is flushed before there is anything to wait for: whoever
    /// waits for an answer before the next question gets it.
    pub(crate) fn next(&mut self, out: &mut impl Write) -> io::Result<Option<&[u8]>> {
        if self.is_cut {
            self.input.skip_until(b'\n')?;
            self.is_cut = false;
        }
        loop {
            if self.input.buffer().is_empty() {
                out.flush()?;
            }
            self.line.clear();
            let mut input = self.input.by_ref().take(MAX_LINE);
            if input.read_until(b'\n', &mut self.line)? == 0 {
                return Ok(None);
            }
            self.number += 1;
            if !self.line.trim_ascii().is_empty() {
                break;
            }
        }
        self.is_cut = self.line.len() as u64 >= MAX_LINE && !self.line.ends_with(b"\n");
        Ok(Some(&self.line))
    }
}
