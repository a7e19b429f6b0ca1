//! Text that a terminal takes without harm.

/// The text with what changes a terminal, or the direction or look of text, escaped: a request may
/// hold commands for a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match is_harmful(c) {
            true => c.escape_default().to_string(),
            false => c.to_string(),
        })
        .collect()
}

/// Whether a terminal may take it for a command, or nobody sees it and it moves or hides others.
pub(crate) fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}
