//! Writes values that others have sent, so that they stay within their field and their line.

/// Where a value is written, which decides what is escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Between quotation marks of a text.
    Quoted,
    /// In a column of a text without quotation marks: a blank becomes `_`.
    Bare,
    /// In a string of JSON.
    Json,
}

/// Appends the value, escaped for its place. What would need more than `most` bytes is cut, and `…`
/// follows.
///
/// Escaped are quotation marks, backslashes, control characters (C0, C1, DEL), line separators, and
/// characters that are invisible or change the direction of text. In text, bytes that are not UTF-8
/// are written as `\xNN`; JSON has no form for them, so they become U+FFFD.
pub(super) fn write(out: &mut Vec<u8>, value: &[u8], place: Place, most: usize) {
    let is_plain = |byte: &u8| match byte {
        b'"' | b'\\' => false,
        b' ' => place != Place::Bare,
        byte => byte.is_ascii_graphic(),
    };
    if value.len() <= most && value.iter().all(is_plain) {
        out.extend_from_slice(value);
        return;
    }
    let end = out.len().saturating_add(most);
    for chunk in value.utf8_chunks() {
        for character in chunk.valid().chars() {
            let start = out.len();
            write_character(out, character, place);
            if out.len() > end {
                out.truncate(start);
                out.extend_from_slice(CUT);
                return;
            }
        }
        for byte in chunk.invalid() {
            let start = out.len();
            match place {
                Place::Json => out.extend_from_slice(b"\\ufffd"),
                Place::Quoted | Place::Bare => write_byte(out, *byte),
            }
            if out.len() > end {
                out.truncate(start);
                out.extend_from_slice(CUT);
                return;
            }
        }
    }
}

fn write_character(out: &mut Vec<u8>, character: char, place: Place) {
    match character {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        ' ' if place == Place::Bare => out.push(b'_'),
        _ if !is_harmless(character) => {
            let code = u32::from(character);
            match (place, u8::try_from(code)) {
                (Place::Json, _) => {
                    out.extend_from_slice(b"\\u");
                    for shift in [12, 8, 4, 0] {
                        out.push(digit(code >> shift));
                    }
                }
                (_, Ok(byte)) if byte.is_ascii() => write_byte(out, byte),
                _ => {
                    out.extend_from_slice(b"\\u{");
                    out.extend(format!("{code:x}").bytes());
                    out.push(b'}');
                }
            }
        }
        _ => {
            let mut buffer = [0; 4];
            out.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
        }
    }
}

/// A number in decimal.
pub(super) fn write_number(out: &mut Vec<u8>, mut number: u64) {
    let start = out.len();
    loop {
        // The remainder is less than ten.
        out.push(b'0' | (number % 10) as u8);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    if let Some(digits) = out.get_mut(start..) {
        digits.reverse();
    }
}

/// Whether a character shows what it is. All that are not are in Unicode's first plane, so JSON can
/// write them with four digits.
fn is_harmless(character: char) -> bool {
    !character.is_control()
        && !matches!(
            character,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        )
}

fn write_byte(out: &mut Vec<u8>, byte: u8) {
    out.extend_from_slice(b"\\x");
    out.push(digit(u32::from(byte >> 4)));
    out.push(digit(u32::from(byte)));
}

/// The last hexadecimal digit of a number.
fn digit(number: u32) -> u8 {
    char::from_digit(number & 0xf, 16).map_or(b'0', |digit| digit as u8)
}

/// Follows a value that was cut.
const CUT: &[u8] = "…".as_bytes();

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: &[u8], place: Place) -> String {
        let mut out = Vec::new();
        write(&mut out, value, place, 1_000);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_value_stays_within_its_field() {
        for (value, quoted, bare, json) in [
            (b"".as_slice(), "", "", ""),
            (b"/a?b=c", "/a?b=c", "/a?b=c", "/a?b=c"),
            (b"a b", "a b", "a_b", "a b"),
            (b"a\"b\\", r#"a\"b\\"#, r#"a\"b\\"#, r#"a\"b\\"#),
            (b"a\nb\r\t", r"a\nb\r\t", r"a\nb\r\t", r"a\nb\r\t"),
            (
                b"\0\x1b[31m\x7f",
                r"\x00\x1b[31m\x7f",
                r"\x00\x1b[31m\x7f",
                "\\u0000\\u001b[31m\\u007f",
            ),
            ("zürich".as_bytes(), "zürich", "zürich", "zürich"),
            (
                "\u{85}\u{2028}\u{202e}".as_bytes(),
                r"\u{85}\u{2028}\u{202e}",
                r"\u{85}\u{2028}\u{202e}",
                "\\u0085\\u2028\\u202e",
            ),
            (
                b"a\xffb\xc3",
                r"a\xffb\xc3",
                r"a\xffb\xc3",
                "a\\ufffdb\\ufffd",
            ),
        ] {
            assert_eq!(written(value, Place::Quoted), quoted);
            assert_eq!(written(value, Place::Bare), bare);
            assert_eq!(written(value, Place::Json), json);
        }
    }

    #[test]
    fn a_long_value_is_cut_between_characters() {
        for (value, most, expected) in [
            ("abcdef", 6, "abcdef"),
            ("abcdef", 3, "abc…"),
            ("aéé", 3, "aé…"),
            ("a\n\n", 4, "a\\n…"),
            ("abc", 0, "…"),
        ] {
            let mut out = Vec::new();
            write(&mut out, value.as_bytes(), Place::Quoted, most);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn numbers_are_decimal() {
        for number in [0, 7, 10, 200, 65_535, u64::MAX] {
            let mut out = Vec::new();
            write_number(&mut out, number);
            assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
        }
    }
}
