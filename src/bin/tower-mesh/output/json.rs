//! Answers as JSON, one object a line.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::printable::is_harmful;

/// Writes a value and a line break to stdout, which this is.
pub(crate) fn json_line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let mut out = JsonForTerminal::new(out, io::stdout().is_terminal());
    serde_json::to_writer(&mut out, value)?;
    out.write_all(b"\n")
}

/// Lines of JSON, which a program gets as they are. JSON may hold what changes a terminal, so a
/// terminal gets it escaped, which is the same JSON.
#[derive(Debug)]
pub(crate) struct JsonForTerminal<W> {
    out: W,
    is_terminal: bool,
    line: Vec<u8>,
}

impl<W: Write> JsonForTerminal<W> {
    pub(crate) fn new(out: W, is_terminal: bool) -> Self {
        Self {
            out,
            is_terminal,
            line: Vec::new(),
        }
    }
}

impl<W: Write> Write for JsonForTerminal<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_terminal {
            return self.out.write(bytes);
        }
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = escape(&String::from_utf8_lossy(&self.line));
                self.line.clear();
                self.out.write_all(line.as_bytes())?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn escape(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    for c in line.chars() {
        match is_harmful(c) && c != '\n' {
            // JSON has no other characters of them than in texts. All are of one unit of UTF-16.
            true => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_json_that_cannot_change_it_and_a_program_gets_it_as_it_is() {
        let text = "a\u{7f}\u{9b}2J\u{202e}é\u{1f9d1}";
        for is_terminal in [false, true] {
            let mut out = Vec::new();
            let mut json = JsonForTerminal::new(&mut out, is_terminal);
            serde_json::to_writer(&mut json, text).unwrap();
            json.write_all(b"\n\"b\"\n").unwrap();
            let out = String::from_utf8(out).unwrap();
            let expected = match is_terminal {
                true => "\"a\\u007f\\u009b2J\\u202eé\u{1f9d1}\"\n\"b\"\n".to_owned(),
                false => format!("\"{text}\"\n\"b\"\n"),
            };
            assert_eq!(out, expected);
            let first = out.lines().next().unwrap();
            assert_eq!(serde_json::from_str::<String>(first).unwrap(), text);
        }
    }
}
