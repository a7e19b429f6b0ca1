//! Reads the fields of a map by name. Which fields a kind has is in `decode`, a file for each kind.

use std::fmt::Write as _;

use super::cursor::{Cursor, Step, is_quotation_mark};
use super::suggest::nearest;
use super::tree::{Node, Value};
use crate::istio::{Problem, Text};

/// The fields of a map. A field that is null or absent is not there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'t, 'c> {
    cursor: &'c Cursor<'t, 'c>,
}

impl<'t, 'c> Fields<'t, 'c> {
    /// The fields of the map at a cursor.
    pub(crate) fn new(cursor: &'c Cursor<'t, 'c>) -> Self {
        Self { cursor }
    }

    /// A field by its camelCase name, however it is spelled.
    pub(crate) fn get(self, name: &'static str) -> Option<Cursor<'t, 'c>> {
        self.raw(name).filter(|value| !value.node().is_null())
    }

    /// A field, or `empty` in its place.
    pub(crate) fn get_or(self, name: &'static str, empty: &'c Node<'t>) -> Cursor<'t, 'c> {
        self.get(name)
            .unwrap_or_else(|| self.cursor.child(empty, Step::Field(name)))
    }

    /// A field, even when it is null.
    pub(crate) fn raw(self, name: &'static str) -> Option<Cursor<'t, 'c>> {
        let entries = self.cursor.node().entries().unwrap_or_default();
        let entry = entries.iter().find(|entry| is_spelling(&entry.key, name))?;
        Some(self.cursor.child(&entry.value, Step::Field(name)))
    }

    /// A field that is not an empty list, which counts as absent.
    pub(crate) fn listed(self, name: &'static str) -> Option<Cursor<'t, 'c>> {
        self.get(name).filter(|value| !is_empty_list(value.node()))
    }

    /// The map itself.
    pub(crate) fn whole(self) -> &'c Cursor<'t, 'c> {
        self.cursor
    }

    /// The keys of all fields but these.
    pub(crate) fn other_than(self, known: &[&str]) -> Vec<String> {
        let entries = self.cursor.node().entries().unwrap_or_default();
        entries
            .iter()
            .filter(|entry| !known.iter().any(|name| is_spelling(&entry.key, name)))
            .map(|entry| entry.key.clone().into_owned())
            .collect()
    }

    /// Whether no field is there, empty lists counted as absent.
    pub(crate) fn is_empty(self) -> bool {
        let entries = self.cursor.node().entries().unwrap_or_default();
        let mut values = entries.iter().map(|entry| &entry.value);
        values.all(|value| value.is_null() || is_empty_list(value))
    }

    /// A field that must be there; `message` says what to write where it is not.
    pub(crate) fn demand(self, name: &'static str, message: &str) -> Option<Cursor<'t, 'c>> {
        let field = self.get(name);
        if field.is_none() {
            self.cursor.missing(name, message);
        }
        field
    }

    /// The text of a field; empty where it is not there.
    pub(in crate::istio) fn string(self, name: &'static str) -> String {
        let text = self.text(name).map(String::from);
        text.unwrap_or_default()
    }

    pub(crate) fn text(self, name: &'static str) -> Option<Text> {
        self.get(name)?.text()
    }

    pub(crate) fn filled(self, name: &'static str) -> Option<Text> {
        self.get(name)?.filled()
    }

    pub(crate) fn boolean(self, name: &'static str) -> bool {
        let value = self.get(name).and_then(|value| value.boolean());
        value.unwrap_or_default()
    }

    pub(crate) fn word<T: Copy + Default>(
        self,
        name: &'static str,
        words: &[(&'static str, T)],
    ) -> T {
        let value = self.get(name).and_then(|value| value.word(words));
        value.unwrap_or_default()
    }

    /// What `decode` makes of each item of a list; items it refuses are left out. Null items are
    /// reported.
    pub(crate) fn each<T>(
        self,
        name: &'static str,
        mut decode: impl FnMut(&Cursor<'t, '_>) -> Option<T>,
    ) -> Vec<T> {
        let Some(list) = self.get(name) else {
            return Vec::new();
        };
        let items = list.items();
        // Most lists hold one item or two, and would otherwise have room for four: of ten thousand
        // policies that is most of their memory.
        let mut decoded = Vec::with_capacity(items.len());
        decoded.extend(items.filter_map(|item| {
            if item.node().is_null() {
                item.wrong("is null; write a value or leave the entry out");
                return None;
            }
            decode(&item)
        }));
        decoded
    }

    /// A list of texts, none of them empty, each passed by `check` (which reports what it
    /// dislikes).
    pub(crate) fn texts(
        self,
        name: &'static str,
        check: impl Fn(&Cursor<'t, '_>, &str),
    ) -> Vec<Text> {
        self.each(name, |item| {
            let text = item.filled()?;
            check(item, &text);
            Some(text)
        })
    }
}

fn is_empty_list(node: &Node<'_>) -> bool {
    matches!(&node.value, Value::List(items) if items.is_empty())
}

impl<'t> Cursor<'t, '_> {
    /// The fields of a map with a fixed set of keys; unknown ones are reported.
    pub(crate) fn fields<'c>(&'c self, known: &'static [&'static str]) -> Option<Fields<'t, 'c>> {
        let Some(entries) = self.node().entries() else {
            self.wrong(format!(
                "this is {}; write a map with the fields {}",
                self.node().describe(),
                known.join(", ")
            ));
            return None;
        };
        for (index, entry) in entries.iter().enumerate() {
            // A guess at what each of a million unknown keys meant would take long.
            if self.sink().is_full() {
                break;
            }
            let field = known.iter().find(|field| is_spelling(&entry.key, field));
            let mut earlier = entries.iter().take(index);
            let message = match field {
                None => unknown_field(&entry.key, known),
                Some(field) if earlier.any(|other| is_spelling(&other.key, field)) => {
                    format!("`{field}` is written twice, in two spellings; keep one")
                }
                Some(_) => continue,
            };
            let at = self.sink().position(entry.at);
            let path = self.child(&entry.value, Step::Field(&entry.key)).path;
            self.sink()
                .report(Problem::new(at, path.to_string(), message));
        }
        Some(Fields::new(self))
    }

    /// The fields of a map that may hold others than we know.
    pub(crate) fn any_fields<'c>(&'c self) -> Option<Fields<'t, 'c>> {
        if self.node().entries().is_none() {
            self.wrong(format!("this is {}; write a map", self.node().describe()));
            return None;
        }
        Some(Fields::new(self))
    }
}

/// Whether a key is a field's name in camelCase or in snake_case; proto3 JSON reads both.
pub(crate) fn is_spelling(key: &str, camel: &str) -> bool {
    let mut camel = camel.bytes();
    let mut key = key.bytes();
    while let Some(byte) = key.next() {
        let due = camel.next();
        let fits = if byte == b'_' {
            due.is_some_and(|due| {
                due.is_ascii_uppercase() && key.next() == Some(due.to_ascii_lowercase())
            })
        } else {
            due == Some(byte)
        };
        if !fits {
            return false;
        }
    }
    camel.next().is_none()
}

pub(crate) fn unknown_field(key: &str, known: &[&'static str]) -> String {
    if let Some(quote) = key.chars().find(|c| is_quotation_mark(*c)) {
        return format!(
            "the field's name contains the typographic quotation mark {quote} (U+{:04X}); write plain quotes or none",
            u32::from(quote)
        );
    }
    if key == "<<" {
        return "merge keys are not supported; write the fields out".to_owned();
    }
    let mut message = String::from("unknown field");
    let _ = match nearest(key, known.iter().copied()) {
        Some(meant) => write!(message, "; did you mean `{meant}`?"),
        None => write!(message, "; known here: {}", known.join(", ")),
    };
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_may_be_spelled_in_camel_or_snake_case() {
        assert!(is_spelling("notPrincipals", "notPrincipals"));
        assert!(is_spelling("not_principals", "notPrincipals"));
        assert!(is_spelling("remote_ip_blocks", "remoteIpBlocks"));
        for wrong in [
            "notprincipals",
            "not_Principals",
            "notPrincipal",
            "notPrincipals_",
            "_",
            "",
        ] {
            assert!(!is_spelling(wrong, "notPrincipals"), "{wrong}");
        }
    }
}
