//! Writes what a peer has sent, so that it stays within its field and its line (rule H-19).

use std::fmt;

/// A text of a peer, for logs and errors.
///
/// It is quoted and escaped if it has spaces, quotation marks, control characters (C0, C1, DEL, and
/// so the escapes of terminals), line separators, or marks that change the direction of text. After
/// 256 bytes `…` follows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerText<'a>(pub(crate) &'a str);

impl fmt::Display for PeerText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = beginning(self.0);
        let more = if text.len() < self.0.len() { "…" } else { "" };
        if text.chars().all(is_plain) {
            return write!(f, "{text}{more}");
        }
        f.write_str("\"")?;
        for character in text.chars() {
            match character {
                '\'' => f.write_str("'")?,
                other => write!(f, "{}", other.escape_debug())?,
            }
        }
        write!(f, "{more}\"")
    }
}

/// As much of a text as has room once it is escaped.
fn beginning(text: &str) -> &str {
    let mut room = LONGEST;
    let end = text.char_indices().find(|(_, character)| {
        let left = room.checked_sub(written(*character));
        room = left.unwrap_or_default();
        left.is_none()
    });
    end.and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// The bytes of a character as it is written.
fn written(character: char) -> usize {
    character.escape_debug().map(char::len_utf8).sum()
}

/// Whether a character may be written without quotes.
fn is_plain(character: char) -> bool {
    character == '\'' || (character != ' ' && character.escape_debug().len() == 1)
}

/// The most bytes of a text, without its quotes.
const LONGEST: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        PeerText(text).to_string()
    }

    /// H-19.
    #[test]
    fn what_a_peer_wrote_ends_no_field_and_no_line() {
        for (text, expected) in [
            ("", ""),
            ("/a?b=c,d;e", "/a?b=c,d;e"),
            ("o'neill@zürich", "o'neill@zürich"),
            ("a b", r#""a b""#),
            ("a\"b\\", r#""a\"b\\""#),
            ("a\nlevel=info\r\0", r#""a\nlevel=info\r\0""#),
            ("\u{1b}[31m", r#""\u{1b}[31m""#),
            ("\u{7f}\u{85}\u{9b}", r#""\u{7f}\u{85}\u{9b}""#),
            (
                "\u{202e}\u{2066}\u{200f}\u{61c}",
                r#""\u{202e}\u{2066}\u{200f}\u{61c}""#,
            ),
            ("\u{2028}\u{2029}\u{feff}", r#""\u{2028}\u{2029}\u{feff}""#),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    /// H-19: at most 256 bytes, escaped or not.
    #[test]
    fn what_a_peer_wrote_is_cut() {
        let whole = "a".repeat(LONGEST);
        assert_eq!(shown(&whole), whole);
        assert_eq!(shown(&format!("{whole}b")), format!("{whole}…"));
        let cut = shown(&"ü".repeat(129));
        assert_eq!(cut, format!("{}…", "ü".repeat(128)));
        let cut = shown(&"\u{1b}".repeat(1_000));
        assert_eq!(cut, format!("\"{}…\"", r"\u{1b}".repeat(LONGEST / 6)));
    }

    proptest! {
        /// H-19: no text shows a control character or one that turns the direction, or has no end.
        #[test]
        fn no_text_leaves_its_field(text in any::<String>()) {
            let shown = shown(&text);
            prop_assert!(shown.len() <= LONGEST + "\"…\"".len());
            let turns = |c: char| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            prop_assert!(!shown.contains(|c: char| c.is_control() || turns(c)));
            let is_quoted = shown.starts_with('"') && shown.ends_with('"') && shown.len() > 1;
            prop_assert!(is_quoted || !shown.contains([' ', '"']));
        }
    }
}
