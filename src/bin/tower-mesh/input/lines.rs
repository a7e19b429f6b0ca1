//! Reads a file of requests line by line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use crate::failure::Failure;

/// A longer line is no request.
pub(crate) const MAX_LINE: usize = 16 << 20;
/// What some editors begin a file with.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Whether a line goes on behind what was read of it.
pub(crate) fn is_cut(line: &[u8]) -> bool {
    line.len() >= MAX_LINE && !line.ends_with(b"\n")
}

/// The lines of a file, or of stdin.
pub(crate) struct Lines {
    input: BufReader<Box<dyn Read>>,
    name: String,
    line: Vec<u8>,
    is_cut: bool,
    is_empty: bool,
    number: u64,
}

impl Lines {
    /// Opens a file; `-` is stdin.
    pub(crate) fn open(file: &Path) -> Result<Self, Failure> {
        let is_stdin = file.as_os_str() == "-";
        let name = match is_stdin {
            true => "stdin".to_owned(),
            false => file.display().to_string(),
        };
        let failed = |error| Failure::Question(format!("{name} cannot be read: {error}"));
        let input: Box<dyn Read> = if is_stdin {
            Box::new(io::stdin().lock())
        } else if file.is_dir() {
            let message = format!("{name} is a directory; name a file of requests");
            return Err(Failure::Question(message));
        } else {
            Box::new(File::open(file).map_err(failed)?)
        };
        Ok(Self {
            input: BufReader::new(input),
            name,
            line: Vec::new(),
            is_cut: false,
            is_empty: true,
            number: 0,
        })
    }

    /// Which line of the file the last one was, counted from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Says on stderr when there was no line, once they have been read.
    pub(crate) fn warn_if_empty(&self) {
        if self.is_empty {
            eprintln!("warning: {} holds no request", self.name);
        }
    }

    /// The next line that is not blank; a line that is too long comes [cut](is_cut). `out` is
    /// flushed before there is anything to wait for: whoever waits for an answer before the next
    /// question gets it.
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
            let mut input = self.input.by_ref().take(MAX_LINE as u64);
            if input.read_until(b'\n', &mut self.line)? == 0 {
                return Ok(None);
            }
            self.number += 1;
            if self.number == 1 && self.line.starts_with(BYTE_ORDER_MARK) {
                self.line.drain(..BYTE_ORDER_MARK.len());
            }
            if !self.line.trim_ascii().is_empty() {
                break;
            }
        }
        self.is_empty = false;
        self.is_cut = is_cut(&self.line);
        Ok(Some(&self.line))
    }
}
