//! Escapes a value for one line of output.

use std::fmt::{self, Write};

/// Shows a value in one line. Control characters are escaped, so that a value of a configuration
/// cannot forge a line of a log or of a build's output.
pub(crate) struct OneLine<T>(pub(crate) T);

impl<T: fmt::Display> fmt::Display for OneLine<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<'f, 'a>(&'f mut fmt::Formatter<'a>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive(is_odd) {
            let mut letters = part.chars();
            match letters.next_back().filter(|last| is_odd(*last)) {
                Some(last) => write!(self.0, "{}{}", letters.as_str(), last.escape_default())?,
                None => self.0.write_str(part)?,
            }
        }
        Ok(())
    }
}

/// Control characters, separators of lines, marks that turn the direction of text, and what has no
/// width.
fn is_odd(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_the_line_is_escaped() {
        for (text, shown) in [
            ("", ""),
            ("a: `é`", "a: `é`"),
            (
                "a\n::error::b\r\u{1b}[31m\t",
                "a\\n::error::b\\r\\u{1b}[31m\\t",
            ),
            ("a\u{202e}b\u{2028}c", "a\\u{202e}b\\u{2028}c"),
        ] {
            assert_eq!(OneLine(text).to_string(), shown);
        }
    }
}
