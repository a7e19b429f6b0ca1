//! Checks the bytes of a path before it is normalized.

use super::{Gate, Refusal};
use crate::matcher::path::{escaped, is_path_byte};
use crate::matcher::query::percent_decode;

/// Checks escapes (B-08), slashes in disguise (B-09), dot segments with parameters (B-10) and raw
/// bytes (B-11). Paths without `%`, `;` and `\` are read once.
pub(super) fn check(gate: Gate, path: &str) -> Result<(), Refusal> {
    let bytes = path.as_bytes();
    if bytes.iter().all(|byte| is_path_byte(*byte)) {
        return Ok(());
    }
    let mut has_parameter = false;
    let mut rest = bytes;
    while let Some((byte, after)) = rest.split_first() {
        match byte {
            b'%' => has_parameter |= check_escape(gate, after)? == b';',
            b';' => has_parameter = true,
            // Outside of `Strict` it is a slash: normalization turns it into one, or refuses it.
            b'\\' if gate.is_strict() => return Err(Refusal::Backslash),
            b'\\' => {}
            byte if is_path_byte(*byte) => {}
            _ => return Err(Refusal::IllegalByte),
        }
        rest = after;
    }
    let may_have_dots = has_parameter && gate.is_strict();
    if may_have_dots && path.split('/').any(is_dot_with_parameter) {
        return Err(Refusal::DotParameter);
    }
    Ok(())
}

/// The byte that an escape encodes.
fn check_escape(gate: Gate, digits: &[u8]) -> Result<u8, Refusal> {
    match escaped(digits) {
        None | Some(0) => Err(Refusal::Escape),
        Some(b'/' | b'\\') if !gate.keeps_escaped_slashes => Err(Refusal::EscapedSlash),
        Some(byte) => Ok(byte),
    }
}

/// Whether a segment is `.` or `..` before its `;`, also when one of them is escaped.
fn is_dot_with_parameter(segment: &str) -> bool {
    let decoded = percent_decode(segment.as_bytes());
    let mut parts = decoded.split(|byte| matches!(byte, b'/' | b'\\'));
    parts.any(|part| part.starts_with(b".;") || part.starts_with(b"..;"))
}
