//! Values of a record that is read.

use std::borrow::Cow;

/// A value of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// A text as it is written, with escapes; see [`text`](Self::text).
    Text(&'a str),
    /// An integer of 0 or more.
    Number(u64),
    /// An integer below 0.
    Negative(i64),
    /// True or false.
    Bool(bool),
    /// Named values, sorted.
    Object(Vec<(&'a str, Self)>),
    /// Values in a row.
    List(Vec<Self>),
}

impl<'a> Value<'a> {
    /// The text without escapes.
    #[must_use]
    pub fn text(&self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) => Some(without_escapes(text)),
            _ => None,
        }
    }

    /// The number, if it is 0 or more.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The value of this name in an object.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(fields) => find(fields, name),
            _ => None,
        }
    }
}

pub(super) fn find<'f, 'a>(
    fields: &'f [(&'a str, Value<'a>)],
    name: &str,
) -> Option<&'f Value<'a>> {
    let is_it = |field: &&'f (&'a str, Value<'a>)| field.0 == name;
    fields.iter().find(is_it).map(|(_, value)| value)
}

fn without_escapes(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        out.push(match rest.next() {
            Some('b') => '\u{8}',
            Some('t') => '\t',
            Some('n') => '\n',
            Some('f') => '\u{c}',
            Some('r') => '\r',
            Some('u') => {
                let digits: String = rest.by_ref().take(4).collect();
                let code = u32::from_str_radix(&digits, 16).ok();
                code.and_then(char::from_u32)
                    .unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            Some(other) => other,
            None => '\\',
        });
    }
    Cow::Owned(out)
}
