//! What a text may hold before the parser sees it.
//!
//! The parser of the crate `cel` recurses by brackets and by chains of operators. This scan counts
//! both, outside of literals and comments, so that no text can exhaust the parser's stack. The scan
//! also refuses what the lexer would refuse: otherwise the lexer would skip a character and read
//! the rest of a literal as code that was not counted.

use crate::cel::error::CelError;

/// The most bytes of a rule.
pub(in crate::cel) const MOST_BYTES: usize = 8 * 1024;
/// The most levels of a rule: open brackets, and operators that follow each other within them.
pub(in crate::cel) const MOST_DEPTH: usize = 32;

/// Refuses a text that is empty, too long or too deep, or that holds a literal without an end.
pub(in crate::cel) fn check(text: &str) -> Result<(), CelError> {
    if text.len() > MOST_BYTES {
        let message = format!("a rule has at most {MOST_BYTES} bytes; split it into several rules");
        return Err(CelError::at(text, MOST_BYTES, message));
    }
    let mut scan = Scan {
        text,
        at: 0,
        groups: Vec::new(),
        current: Group::default(),
        below: 0,
    };
    scan.run()
}

/// An open bracket, or the whole text.
#[derive(Clone, Copy, Default)]
struct Group {
    /// Conditionals since the last comma: they nest to the right.
    conditionals: usize,
    /// Other operators in a row: they nest to the left. `&&` and `||` end a row, for the parser
    /// makes balanced trees of them.
    operators: usize,
    /// Fields, indices and calls since the last operator: they nest in what is before them.
    members: usize,
    /// The most members between two operators of the row.
    most_members: usize,
}

impl Group {
    fn depth(self) -> usize {
        1 + self.conditionals + self.operators + self.most_members
    }

    fn member(&mut self) {
        self.members += 1;
        self.most_members = self.most_members.max(self.members);
    }

    fn operator(&mut self) {
        self.operators += 1;
        self.members = 0;
    }

    fn end_row(&mut self) {
        *self = Self {
            conditionals: self.conditionals,
            ..Self::default()
        };
    }
}

struct Scan<'t> {
    text: &'t str,
    at: usize,
    groups: Vec<Group>,
    current: Group,
    /// The depth of the groups around the current one.
    below: usize,
}

impl Scan<'_> {
    fn run(&mut self) -> Result<(), CelError> {
        while let Some(byte) = self.peek(0) {
            match byte {
                b'\'' | b'"' => self.literal(byte, false)?,
                b'a'..=b'z' | b'A'..=b'Z' | b'_' => self.word()?,
                b'/' if self.peek(1) == Some(b'/') => self.comment(),
                b'`' => return Err(self.error("names in backticks are not supported")),
                b'(' | b'[' | b'{' => {
                    self.current.member();
                    self.below += self.current.depth();
                    self.groups.push(self.current);
                    self.current = Group::default();
                    self.at += 1;
                }
                b')' | b']' | b'}' => {
                    let Some(outer) = self.groups.pop() else {
                        return Err(self.error("this bracket was never opened"));
                    };
                    self.below -= outer.depth();
                    self.current = outer;
                    self.at += 1;
                }
                b',' => {
                    self.current = Group::default();
                    self.at += 1;
                }
                b'?' => {
                    self.current.conditionals += 1;
                    self.current.end_row();
                    self.at += 1;
                }
                b'&' | b'|' if self.peek(1) == Some(byte) => {
                    self.current.end_row();
                    self.at += 2;
                }
                b'=' | b'!' | b'<' | b'>' | b'+' | b'-' | b'*' | b'/' | b'%' => {
                    self.current.operator();
                    // `==`, `!=`, `<=` and `>=` are one operator.
                    self.at += if self.peek(1) == Some(b'=') { 2 } else { 1 };
                }
                b'.' => {
                    self.current.member();
                    self.at += 1;
                }
                _ => self.at += 1,
            }
            if self.below + self.current.depth() > MOST_DEPTH {
                let message = format!(
                    "a rule has at most {MOST_DEPTH} levels of brackets and operators; split it \
                     into several rules"
                );
                return Err(self.error(message));
            }
        }
        Ok(())
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    fn error(&self, message: impl Into<String>) -> CelError {
        CelError::at(self.text, self.at, message)
    }

    fn comment(&mut self) {
        while self.peek(0).is_some_and(|byte| byte != b'\n') {
            self.at += 1;
        }
    }

    /// A name, `in`, or the letters before a literal.
    fn word(&mut self) -> Result<(), CelError> {
        let start = self.at;
        while self
            .peek(0)
            .is_some_and(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
        {
            self.at += 1;
        }
        let word = self.text.get(start..self.at).unwrap_or_default();
        if word == "in" {
            self.current.operator();
        }
        let Some(quote @ (b'\'' | b'"')) = self.peek(0) else {
            return Ok(());
        };
        match word.to_ascii_lowercase().as_str() {
            "b" => self.literal(quote, false),
            "r" | "br" => self.literal(quote, true),
            "in" => Ok(()),
            _ => Err(self.error("an operator is missing before this text")),
        }
    }

    fn literal(&mut self, quote: u8, raw: bool) -> Result<(), CelError> {
        let start = self.at;
        let is_triple = self.peek(1) == Some(quote) && self.peek(2) == Some(quote);
        let quotes = if is_triple { 3 } else { 1 };
        self.at += quotes;
        loop {
            match self.peek(0) {
                Some(byte) if byte == quote => {
                    if (0..quotes).all(|ahead| self.peek(ahead) == Some(quote)) {
                        self.at += quotes;
                        return Ok(());
                    }
                    self.at += 1;
                }
                Some(b'\\') if !raw => self.escape()?,
                Some(b'\n' | b'\r') if !is_triple => break,
                Some(_) => self.at += 1,
                None => break,
            }
        }
        self.at = start;
        Err(self.error("this text has no end; close it with the quote that opens it"))
    }

    fn escape(&mut self) -> Result<(), CelError> {
        let digits = match self.peek(1) {
            Some(b'a' | b'b' | b'f' | b'n' | b'r' | b't' | b'v') => 0,
            Some(b'"' | b'\'' | b'\\' | b'?' | b'`') => 0,
            Some(b'x' | b'X') => 2,
            Some(b'u') => 4,
            Some(b'U') => 8,
            Some(b'0'..=b'3') => 2,
            _ => {
                let message = r"no such escape; write `\\` for a backslash, or a raw text r'...'";
                return Err(self.error(message));
            }
        };
        let is_octal = self.peek(1).is_some_and(|byte| byte.is_ascii_digit());
        let is_digit = |byte: u8| {
            let is_octal_digit = matches!(byte, b'0'..=b'7');
            (is_octal && is_octal_digit) || (!is_octal && byte.is_ascii_hexdigit())
        };
        if !(0..digits).all(|ahead| self.peek(2 + ahead).is_some_and(is_digit)) {
            return Err(self.error("this escape needs more digits"));
        }
        self.at += 2 + digits;
        Ok(())
    }
}
