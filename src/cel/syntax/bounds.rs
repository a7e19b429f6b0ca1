//! What a text may hold before the parser sees it.
//!
//! The parser of the crate `cel` recurses by brackets and by chains of operators. This scan counts
//! both, outside of literals and comments, so that no text can exhaust the parser's stack. The scan
//! also refuses what the lexer would refuse: otherwise the lexer would skip a character and read
//! the rest of a literal as code that was not counted.

use crate::cel::error::CelError;

/// The most bytes of a rule.
pub(in crate::cel) const MOST_BYTES: usize = 8 * 1024;
/// The most levels of a rule's tree. Half of it is the most open brackets.
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
    };
    scan.run()
}

/// The heights of the trees in an open bracket, or in the whole text, as the parser builds them.
#[derive(Clone, Copy, Default)]
struct Group {
    /// The highest element before the last comma.
    elements: usize,
    /// Conditionals since then: they nest to the right.
    conditionals: usize,
    /// The highest part of a conditional so far.
    branches: usize,
    /// `&&` and `||` since then: the parser makes balanced trees of them.
    ands: usize,
    ors: usize,
    /// The highest term of those so far.
    terms: usize,
    /// Other operators since then: they nest to the left.
    operators: usize,
    /// The highest operand of those so far.
    operands: usize,
    /// The operand under way: fields, indices and calls nest in what is before them.
    operand: usize,
}

impl Group {
    fn row(self) -> usize {
        self.operators + self.operands.max(self.operand)
    }

    fn logic(self) -> usize {
        levels(self.ands) + levels(self.ors) + self.terms.max(self.row())
    }

    fn element(self) -> usize {
        self.conditionals + self.branches.max(self.logic())
    }

    fn height(self) -> usize {
        1 + self.elements.max(self.element())
    }

    fn end_operand(&mut self) {
        self.operands = self.operands.max(self.operand);
        self.operand = 0;
        self.operators += 1;
    }

    fn end_term(&mut self) {
        self.terms = self.terms.max(self.row());
        (self.operators, self.operands, self.operand) = (0, 0, 0);
    }

    fn end_branch(&mut self) {
        *self = Self {
            elements: self.elements,
            conditionals: self.conditionals,
            branches: self.branches.max(self.logic()),
            ..Self::default()
        };
    }

    fn end_element(&mut self) {
        *self = Self {
            elements: self.elements.max(self.element()),
            ..Self::default()
        };
    }
}

/// The levels of a balanced tree of so many operators.
fn levels(operators: usize) -> usize {
    usize::try_from(usize::BITS - operators.leading_zeros()).unwrap_or(usize::MAX)
}

struct Scan<'t> {
    text: &'t str,
    at: usize,
    groups: Vec<Group>,
    current: Group,
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
                    self.groups.push(std::mem::take(&mut self.current));
                    self.at += 1;
                }
                b')' | b']' | b'}' => {
                    let Some(outer) = self.groups.pop() else {
                        return Err(self.error("this bracket was never opened"));
                    };
                    let inner = self.current.height();
                    self.current = outer;
                    self.current.operand = 1 + inner.max(outer.operand);
                    self.at += 1;
                }
                b',' => {
                    self.current.end_element();
                    self.at += 1;
                }
                b'?' => {
                    self.current.end_branch();
                    self.current.conditionals += 1;
                    self.at += 1;
                }
                b':' => {
                    self.current.end_branch();
                    self.at += 1;
                }
                b'&' if self.peek(1) == Some(byte) => {
                    self.current.end_term();
                    self.current.ands += 1;
                    self.at += 2;
                }
                b'|' if self.peek(1) == Some(byte) => {
                    self.current.end_term();
                    self.current.ors += 1;
                    self.at += 2;
                }
                b'=' | b'!' | b'<' | b'>' | b'+' | b'-' | b'*' | b'/' | b'%' => {
                    self.current.end_operand();
                    // `==`, `!=`, `<=` and `>=` are one operator.
                    self.at += if self.peek(1) == Some(b'=') { 2 } else { 1 };
                }
                b'.' => {
                    self.current.operand += 1;
                    self.at += 1;
                }
                _ => self.at += 1,
            }
            if self.current.height() > MOST_DEPTH || self.groups.len() > MOST_DEPTH / 2 {
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
            self.current.end_operand();
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
