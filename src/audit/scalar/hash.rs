//! SHA-256, and hexadecimal digits.

use aws_lc_rs::digest;

/// A SHA-256 digest.
pub(crate) type Hash = [u8; 32];

/// The digest of all these parts in a row.
pub(crate) fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; 32];
    for (to, from) in hash.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    hash
}

/// Reads 64 lower-case hexadecimal digits.
pub(crate) fn parse_hash(text: &str) -> Option<Hash> {
    if text.len() != 64 {
        return None;
    }
    let mut hash = [0; 32];
    for (to, from) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = *from else { return None };
        let (high, low) = (digit(high), digit(low));
        if high > 15 || low > 15 {
            return None;
        }
        *to = high << 4 | low;
    }
    Some(hash)
}

/// The value of a digit; of any other byte, more than 15.
fn digit(byte: u8) -> u8 {
    let number = byte.wrapping_sub(b'0');
    let letter = byte.wrapping_sub(b'a');
    if number < 10 {
        number
    } else if letter < 6 {
        letter + 10
    } else {
        u8::MAX
    }
}

pub(crate) fn hex_of(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(2 * bytes.len());
    hex(&mut out, bytes);
    String::from_utf8(out).unwrap_or_default()
}

/// Writes bytes as lower-case hexadecimal digits.
pub(crate) fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    let digit = |value: u8| match value {
        0..10 => b'0' + value,
        _ => b'a' + value - 10,
    };
    for byte in bytes {
        out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
}
