//! Answers as JSON, one object a line.

use std::io::{self, Write};

use serde::Serialize;

/// Writes a value and a line break.
pub(crate) fn json_line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}
