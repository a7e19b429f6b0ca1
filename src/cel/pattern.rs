//! The regular expressions of `matches`.

use std::any::Any;

use cel::ExecutionError;
use cel::common::types::{CelBool, CelString, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use regex::{Regex, RegexBuilder};

/// The most memory of a compiled pattern, and of its cache in each thread, in bytes.
const MOST_MEMORY: usize = 1024 * 1024;

pub(super) static TYPE: Type = Type::new_unspecified_type("@pattern");

/// The pattern in the words of the crate `regex`, where RE2 means another thing by the same: `\d`,
/// `\w`, `\s` and `\b` know only ASCII, `\<` is the letter, and a class contains its characters,
/// not other classes.
fn re2(pattern: &str) -> String {
    let mut text = String::with_capacity(pattern.len());
    let mut letters = pattern.chars().peekable();
    let mut place = Place::Outside;
    while let Some(letter) = letters.next() {
        let was = place;
        place = match (was, letter) {
            (Place::Outside, '[') => Place::ClassStart,
            (Place::Outside, _) => Place::Outside,
            (Place::ClassStart, '^') => Place::ClassStart,
            (Place::Class, ']') => Place::Outside,
            (Place::ClassStart | Place::Class, _) => Place::Class,
        };
        let is_outside = was == Place::Outside;
        match letter {
            '\\' => match letters.next() {
                Some('d') if is_outside => text.push_str("[0-9]"),
                Some('w') if is_outside => text.push_str("[0-9A-Za-z_]"),
                Some('s') if is_outside => text.push_str(r"[\t\n\f\r\x20]"),
                Some('b') if is_outside => text.push_str(r"(?-u:\b)"),
                Some('B') if is_outside => text.push_str(r"(?-u:\B)"),
                Some('d') => text.push_str("0-9"),
                Some('w') => text.push_str("0-9A-Za-z_"),
                Some('s') => text.push_str(r"\t\n\f\r\x20"),
                Some('D') => text.push_str("[^0-9]"),
                Some('W') => text.push_str("[^0-9A-Za-z_]"),
                Some('S') => text.push_str(r"[^\t\n\f\r\x20]"),
                Some(bracket @ ('<' | '>')) => text.push(bracket),
                Some(other) => text.extend([letter, other]),
                None => text.push(letter),
            },
            '[' if !is_outside && letters.peek() == Some(&':') => {
                text.push(letter);
                // A named class ends with `:]`, which does not end the class around it.
                for inside in letters.by_ref() {
                    text.push(inside);
                    if inside == ']' {
                        break;
                    }
                }
            }
            '[' | '&' | '~' if !is_outside => text.extend(['\\', letter]),
            _ => text.push(letter),
        }
    }
    text
}

/// Where a letter of a pattern is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Outside,
    /// Before the first member of a class, where `]` is a member.
    ClassStart,
    Class,
}

/// A compiled pattern. It matches anywhere in a text, as `matches` does in CEL.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Regex);

impl Pattern {
    pub(super) fn new(pattern: &str) -> Result<Self, String> {
        RegexBuilder::new(&re2(pattern))
            .size_limit(MOST_MEMORY)
            .dfa_size_limit(MOST_MEMORY)
            .build()
            .map(Self)
            .map_err(|error| error.to_string())
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// The interpreter's call: a text and a pattern.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the signature of the interpreter's functions"
    )]
    pub(super) fn call<'b, 'v>(
        arguments: Vec<CowVal<'b, 'v>>,
    ) -> Result<CowVal<'b, 'v>, ExecutionError> {
        let [text, pattern] = arguments.as_slice() else {
            return Err(ExecutionError::MissingArgumentOrTarget);
        };
        let text = text.downcast_ref::<CelString<'_>>();
        let pattern = pattern.downcast_ref::<Self>();
        let (Some(text), Some(pattern)) = (text, pattern) else {
            return Err(ExecutionError::MissingArgumentOrTarget);
        };
        Ok(CowVal::owned(CelBool::from(pattern.matches(text))))
    }
}

impl Val for Pattern {
    fn get_type(&self) -> &Type {
        &TYPE
    }

    fn cel_type() -> &'static Type {
        &TYPE
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Pattern {}
