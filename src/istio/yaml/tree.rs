//! The tree of a document: maps, lists and scalars with positions.

use std::borrow::Cow;

/// Where something is in a text; lines and columns count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::istio) struct Mark {
    pub(in crate::istio) line: u32,
    pub(in crate::istio) column: u32,
}

/// One node of a document, with the place it was written at.
#[derive(Clone, Debug)]
pub(crate) struct Node<'t> {
    pub(crate) value: Value<'t>,
    pub(in crate::istio) at: Mark,
}

#[derive(Clone, Debug)]
pub(crate) enum Value<'t> {
    Scalar(Scalar<'t>),
    List(Vec<Node<'t>>),
    Map(Vec<Entry<'t>>),
}

/// One key of a map and what it holds.
#[derive(Clone, Debug)]
pub(crate) struct Entry<'t> {
    pub(crate) key: Cow<'t, str>,
    pub(super) at: Mark,
    pub(crate) value: Node<'t>,
}

#[derive(Clone, Debug)]
pub(crate) struct Scalar<'t> {
    pub(crate) text: Cow<'t, str>,
    pub(crate) style: Style,
}

/// How a scalar was written. Only a plain one can be something else than text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Quoted,
    /// `|` or `>`.
    Block,
}

/// What a YAML reader makes of a plain scalar. YAML 1.1 counts: Kubernetes' tools still read `yes`
/// as a boolean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plain {
    Null,
    Boolean(bool),
    Number,
    Text,
}

impl<'t> Node<'t> {
    /// A map without fields, written where this node is.
    pub(crate) fn empty_map(&self) -> Self {
        Self {
            value: Value::Map(Vec::new()),
            at: self.at,
        }
    }

    pub(crate) fn entries(&self) -> Option<&[Entry<'t>]> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            Value::List(_) | Value::Scalar(_) => None,
        }
    }

    /// The value of a key; the node itself, even when it is null.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        let entry = self.entries()?.iter().find(|entry| entry.key == key)?;
        Some(&entry.value)
    }

    pub(crate) fn scalar(&self) -> Option<&Scalar<'t>> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The text of the scalar under a key, whatever YAML takes it for.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        Some(&self.get(key)?.scalar()?.text)
    }

    /// The items of the list under a key; none when it is no list.
    pub(crate) fn items(&self, key: &str) -> &[Self] {
        match self.get(key).map(|node| &node.value) {
            Some(Value::List(items)) => items,
            _ => &[],
        }
    }

    /// The name in the metadata of a document.
    pub(crate) fn name(&self) -> Option<&str> {
        self.get("metadata")?.text("name")
    }

    pub(crate) fn is_null(&self) -> bool {
        self.scalar()
            .is_some_and(|scalar| scalar.meaning() == Plain::Null)
    }

    /// How many nodes hang here, this one included.
    pub(crate) fn size(&self) -> usize {
        let below: usize = match &self.value {
            Value::Scalar(_) => 0,
            Value::List(items) => items.iter().map(Self::size).sum(),
            Value::Map(entries) => entries.iter().map(|entry| entry.value.size()).sum(),
        };
        below + 1
    }

    /// What it is, for a message.
    pub(crate) fn describe(&self) -> &'static str {
        match &self.value {
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
            Value::Scalar(scalar) => match scalar.meaning() {
                Plain::Null => "null",
                Plain::Boolean(_) => "a boolean",
                Plain::Number => "a number",
                Plain::Text => "text",
            },
        }
    }
}

impl Scalar<'_> {
    pub(crate) fn meaning(&self) -> Plain {
        match self.style {
            Style::Plain => classify(&self.text),
            Style::Block | Style::Quoted => Plain::Text,
        }
    }
}

fn classify(text: &str) -> Plain {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Plain::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => {
            Plain::Boolean(true)
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => {
            Plain::Boolean(false)
        }
        _ if is_number(text) => Plain::Number,
        _ => Plain::Text,
    }
}

/// Whether YAML 1.1 or 1.2 would read it as an integer or a float.
fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if [".inf", ".Inf", ".INF"].contains(&unsigned) || [".nan", ".NaN", ".NAN"].contains(&text) {
        return true;
    }
    let based = |prefix: &str, digit: fn(char) -> bool| {
        unsigned.strip_prefix(prefix).is_some_and(|digits| {
            !digits.is_empty() && digits.chars().all(|c| digit(c) || c == '_')
        })
    };
    if based("0x", |c| c.is_ascii_hexdigit())
        || based("0o", |c| c.is_digit(8))
        || based("0b", |c| c.is_digit(2))
    {
        return true;
    }
    // A float needs a digit somewhere and nothing but digits, `_`, one `.` and one exponent; the
    // standard library agrees with YAML on that but for words such as `inf` and for `_`.
    unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned
            .chars()
            .all(|c| c.is_ascii_digit() || "._eE+-".contains(c))
        && unsigned.replace('_', "").parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_mean_what_kubernetes_makes_of_them() {
        let table = [
            ("", Plain::Null),
            ("~", Plain::Null),
            ("null", Plain::Null),
            ("yes", Plain::Boolean(true)),
            ("off", Plain::Boolean(false)),
            ("8080", Plain::Number),
            ("-1", Plain::Number),
            ("1_000", Plain::Number),
            ("1.5e3", Plain::Number),
            ("0x1F", Plain::Number),
            (".inf", Plain::Number),
            ("1.2.3", Plain::Text),
            ("10.0.0.0/8", Plain::Text),
            ("GET", Plain::Text),
            ("5s", Plain::Text),
            ("infinity", Plain::Text),
            ("2024-01-01T00:00:00Z", Plain::Text),
            ("...", Plain::Text),
            ("*", Plain::Text),
        ];
        for (text, meaning) in table {
            assert_eq!(classify(text), meaning, "{text}");
        }
    }
}
