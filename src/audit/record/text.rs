//! Texts of a record, each with its bound.

use std::fmt;
use std::sync::Arc;

use crate::audit::scalar::hex;

/// A text for a field of a record: a literal, a shared or an owned one. None is copied unless it is
/// longer than its field may be.
#[derive(Clone)]
pub struct Text(Repr);

#[derive(Clone)]
enum Repr {
    Literal(&'static str),
    Shared(Arc<str>),
    Owned(Box<str>),
}

impl Text {
    pub(crate) fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Literal(text) => text,
            Repr::Shared(text) => text,
            Repr::Owned(text) => text,
        }
    }
}

impl From<&'static str> for Text {
    fn from(text: &'static str) -> Self {
        Self(Repr::Literal(text))
    }
}

impl From<Arc<str>> for Text {
    fn from(text: Arc<str>) -> Self {
        Self(Repr::Shared(text))
    }
}

impl From<Box<str>> for Text {
    fn from(text: Box<str>) -> Self {
        Self(Repr::Owned(text))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Repr::Owned(text.into()))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

/// A text that is not there, or has at most so many bytes in the record, escapes included. A longer
/// one is cut and ends in `…`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bounded<const MOST: usize>(Option<Text>);

impl<const MOST: usize> Bounded<MOST> {
    pub(crate) fn new(text: impl Into<Text>) -> Self {
        let text = text.into();
        let whole = text.as_str();
        // What cannot be in the record is not kept in the queue either. One byte more than the
        // bound stays, so that the record shows that the text was cut.
        if whole.len() <= MOST {
            return Self(Some(text));
        }
        let end = (MOST + 1..).find(|end| whole.is_char_boundary(*end));
        let kept = end.and_then(|end| whole.get(..end));
        Self(Some(kept.unwrap_or_default().to_owned().into()))
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        self.0.as_ref().map(Text::as_str)
    }

    /// How many bytes it holds.
    pub(crate) fn len(&self) -> usize {
        self.as_str().map_or(0, str::len)
    }

    /// Writes it as a string of JSON.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        string_within(out, self.as_str().unwrap_or_default(), MOST);
    }
}

/// Writes a string of JSON in its canonical form: only what must be escaped is, in the shortest way.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    string_within(out, text, usize::MAX);
}

fn string_within(out: &mut Vec<u8>, text: &str, most: usize) {
    out.push(b'"');
    if text.len() <= most && first_escaped(text.as_bytes()).is_none() {
        out.extend_from_slice(text.as_bytes());
    } else {
        let room = most.saturating_sub(CUT.len());
        let start = out.len();
        // The end of the text if it has to be cut.
        let mut end = start;
        let mut buffer = [0; 4];
        for c in text.chars() {
            match u8::try_from(c) {
                Ok(byte) if must_be_escaped(byte) => escape(out, byte),
                _ => out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes()),
            }
            let length = out.len() - start;
            if length <= room {
                end = out.len();
            }
            if length > most {
                out.truncate(end);
                out.extend_from_slice(CUT.as_bytes());
                break;
            }
        }
    }
    out.push(b'"');
}

pub(crate) fn must_be_escaped(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Where the first byte is that must be escaped, or is an escape. Eight bytes are judged at once.
pub(crate) fn first_escaped(bytes: &[u8]) -> Option<usize> {
    const LOW: u64 = u64::from_le_bytes([0x01; 8]);
    const HIGH: u64 = LOW << 7;
    let is_below = |word: u64, most: u64| word.wrapping_sub(LOW * most) & !word & HIGH;
    let equals = |word: u64, byte: u8| is_below(word ^ (LOW * u64::from(byte)), 1);
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // Above the first hit a borrow can show others that are none; the first is right.
        let hits = is_below(word, 0x20) | equals(word, b'"') | equals(word, b'\\');
        if hits != 0 {
            return Some(8 * index + hits.trailing_zeros() as usize / 8);
        }
    }
    let rest = rest.iter().position(|byte| must_be_escaped(*byte));
    rest.map(|at| 8 * words.len() + at)
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x09 => b't',
        0x0a => b'n',
        0x0c => b'f',
        0x0d => b'r',
        _ => {
            out.extend_from_slice(b"\\u00");
            hex(out, &[byte]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

const CUT: &str = "…";

#[cfg(test)]
mod tests {
    use super::*;

    fn written<const MOST: usize>(text: &str) -> String {
        let mut out = Vec::new();
        Bounded::<MOST>::new(text.to_owned()).write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn escapes_only_what_must_be_escaped() {
        assert_eq!(
            written::<100>("a\"\\\u{8}\u{9}\n\u{c}\r\u{1}\u{1f}\u{7f}é/"),
            "\"a\\\"\\\\\\b\\t\\n\\f\\r\\u0001\\u001f\u{7f}é/\""
        );
    }

    #[test]
    fn the_first_byte_to_escape_is_found_in_any_place() {
        for length in 0..40 {
            for byte in 0..=u8::MAX {
                let mut bytes = vec![b'x'; length];
                assert_eq!(first_escaped(&bytes), None);
                for at in (0..length).rev() {
                    bytes[at] = byte;
                    let expected = must_be_escaped(byte).then_some(at);
                    assert_eq!(
                        first_escaped(&bytes),
                        expected,
                        "{byte} at {at} of {length}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_text_is_cut_at_its_bound_with_its_escapes_and_says_so() {
        assert_eq!(written::<8>("12345678"), "\"12345678\"");
        assert_eq!(written::<8>("123456789"), "\"12345…\"");
        assert_eq!(written::<8>("ééééé"), "\"éé…\"");
        assert_eq!(written::<8>("\u{1}\u{1}"), "\"…\"");
        for length in 0..40 {
            let text = "\u{1}é\"x".repeat(length);
            let out = written::<20>(&text);
            assert!(out.len() <= 22, "{out}");
            assert!(serde_json::from_str::<String>(&out).is_ok(), "{out}");
        }
    }
}
