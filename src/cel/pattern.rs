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
/// not other classes. What has no exact translation is refused.
fn re2(pattern: &str) -> Result<String, String> {
    let mut text = String::with_capacity(pattern.len());
    let mut letters = pattern.chars();
    let mut place = Place::Outside;
    // Whether a `-` that is not the first member of a class is before the letter.
    let mut is_after_dash = false;
    while let Some(letter) = letters.next() {
        let was = place;
        let was_after_dash = std::mem::take(&mut is_after_dash);
        place = was.after(letter);
        match letter {
            '\\' => match letters.next() {
                Some('b') if was == Place::Outside => text.push_str(r"(?-u:\b)"),
                Some('B') if was == Place::Outside => text.push_str(r"(?-u:\B)"),
                Some(bracket @ ('<' | '>')) => text.push(bracket),
                Some(name) => match class(name) {
                    Some(_) if was_after_dash => return Err(range_to_class()),
                    // Case does not fold within it, unlike in a class that the pattern spells out.
                    Some(class) if was == Place::Outside => {
                        text.extend(["(?-i:", class, ")"]);
                    }
                    Some(class) => text.push_str(class),
                    None => text.extend([letter, name]),
                },
                None => text.push(letter),
            },
            '{' if was == Place::Outside && letters.as_str().starts_with(',') => {
                return Err("write `{0,n}`, or `\\{` for the letter".to_owned());
            }
            _ if was == Place::Outside => text.push(letter),
            '[' => match named_class(letters.as_str()) {
                Some(_) if was_after_dash => return Err(range_to_class()),
                Some((named, rest)) => {
                    text.push(letter);
                    text.push_str(named);
                    letters = rest.chars();
                }
                None => text.push_str(r"\["),
            },
            '-' if letters.as_str().starts_with('-') => {
                return Err("write `\\-` for a `-` beside another in a class".to_owned());
            }
            '-' => {
                is_after_dash = was == Place::Class;
                text.push(letter);
            }
            '&' | '~' => text.extend(['\\', letter]),
            // Only the first `^` of a class negates it.
            '^' if was != Place::ClassStart => text.push_str(r"\^"),
            ']' if place == Place::Class => text.push_str(r"\]"),
            _ => text.push(letter),
        }
    }
    Ok(text)
}

/// The class that an escape stands for.
fn class(escape: char) -> Option<&'static str> {
    Some(match escape {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        's' => r"[\t\n\f\r\x20]",
        'S' => r"[^\t\n\f\r\x20]",
        _ => return None,
    })
}

fn range_to_class() -> String {
    "a range cannot end with a class; write `\\-` for the letter".to_owned()
}

/// The rest of `[:name:]` after its first bracket, and what follows it.
fn named_class(rest: &str) -> Option<(&str, &str)> {
    let name = rest.strip_prefix(':')?;
    let end = name.find(":]")?;
    let (letters, _) = name.split_at_checked(end)?;
    let letters = letters.strip_prefix('^').unwrap_or(letters);
    let is_name = !letters.is_empty() && letters.bytes().all(|letter| letter.is_ascii_lowercase());
    // The two colons and the bracket.
    is_name.then(|| rest.split_at_checked(end + 3))?
}

/// Where a letter of a pattern is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Outside,
    /// Right after the bracket that opens a class, where `^` negates it.
    ClassStart,
    /// After that `^`: here and at the start, `]` is a member.
    ClassNegated,
    Class,
}

impl Place {
    fn after(self, letter: char) -> Self {
        match (self, letter) {
            (Self::Outside, '[') => Self::ClassStart,
            (Self::Outside, _) | (Self::Class, ']') => Self::Outside,
            (Self::ClassStart, '^') => Self::ClassNegated,
            (Self::ClassStart | Self::ClassNegated | Self::Class, _) => Self::Class,
        }
    }
}

/// A compiled pattern. It matches anywhere in a text, as `matches` does in CEL.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Regex);

impl Pattern {
    pub(super) fn new(pattern: &str) -> Result<Self, String> {
        RegexBuilder::new(&re2(pattern)?)
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
