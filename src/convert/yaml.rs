use std::fmt::{self, Write};

/// A value to be written, its fields in the order in which people write them.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Yaml {
    Bool(bool),
    Text(String),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
}

impl Yaml {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A list of texts; `None` without any.
    pub(super) fn texts<T: ToString>(texts: impl IntoIterator<Item = T>) -> Option<Self> {
        let texts = texts.into_iter();
        Self::list(texts.map(|text| Self::Text(text.to_string())))
    }

    /// A list of values; `None` without any.
    pub(super) fn list(items: impl IntoIterator<Item = Self>) -> Option<Self> {
        let items: Vec<_> = items.into_iter().collect();
        (!items.is_empty()).then_some(Self::List(items))
    }

    /// A map of the fields that are there.
    pub(super) fn map<K: Into<String>>(
        fields: impl IntoIterator<Item = (K, Option<Self>)>,
    ) -> Self {
        let fields = fields.into_iter();
        let fields = fields.filter_map(|(name, value)| Some((name.into(), value?)));
        Self::Map(fields.collect())
    }

    /// Whether it fits on the line of its key.
    fn is_inline(&self) -> bool {
        match self {
            Self::Bool(_) | Self::Text(_) => true,
            Self::List(items) => items
                .iter()
                .all(|item| matches!(item, Self::Text(_) | Self::Bool(_))),
            Self::Map(fields) => fields.is_empty(),
        }
    }

    fn inline(&self, out: &mut impl Write) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(out, "{value}"),
            Self::Text(text) => scalar(out, text),
            Self::Map(_) => out.write_str("{}"),
            Self::List(items) => {
                out.write_char('[')?;
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.write_str(", ")?;
                    }
                    item.inline(out)?;
                }
                out.write_char(']')
            }
        }
    }

    /// Writes the value; the cursor is where its first line begins, indented by `indent`.
    fn block(&self, out: &mut impl Write, indent: usize) -> fmt::Result {
        match self {
            Self::Map(fields) if !fields.is_empty() => {
                for (index, (key, value)) in fields.iter().enumerate() {
                    if index > 0 {
                        write!(out, "{:indent$}", "")?;
                    }
                    scalar(out, key)?;
                    out.write_char(':')?;
                    if value.is_inline() {
                        out.write_char(' ')?;
                        value.inline(out)?;
                        out.write_char('\n')?;
                    } else {
                        // A list begins under its key, a map two columns further in.
                        let inner = match value {
                            Self::List(_) => indent,
                            _ => indent + 2,
                        };
                        write!(out, "\n{:inner$}", "")?;
                        value.block(out, inner)?;
                    }
                }
                Ok(())
            }
            Self::List(items) if !self.is_inline() => {
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        write!(out, "{:indent$}", "")?;
                    }
                    out.write_str("- ")?;
                    item.block(out, indent + 2)?;
                }
                Ok(())
            }
            other => {
                other.inline(out)?;
                out.write_char('\n')
            }
        }
    }
}

impl fmt::Display for Yaml {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.block(f, 0)
    }
}

/// A text, in quotes unless it is plainly a text for every reader of YAML 1.1 and 1.2.
fn scalar(out: &mut impl Write, text: &str) -> fmt::Result {
    let words = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    let is_word = words.iter().any(|word| text.eq_ignore_ascii_case(word));
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if starts_well && !is_word && text.chars().all(inner) {
        return out.write_str(text);
    }
    out.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(out, "\\{c}")?,
            // What could be taken for the end of a line, or not be seen at all.
            c if c.is_control() || ('\u{2028}'..='\u{2029}').contains(&c) || c == '\u{feff}' => {
                write!(out, "\\U{:08x}", u32::from(c))?;
            }
            c => out.write_char(c)?,
        }
    }
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_and_lists_are_written_as_people_write_them() {
        let rule = Yaml::map([
            (
                "from",
                Some(Yaml::List(vec![Yaml::map([(
                    "source",
                    Some(Yaml::map([("principals", Yaml::texts(["*", "a/b"]))])),
                )])])),
            ),
            ("to", None),
            ("open", Some(Yaml::Bool(true))),
        ]);
        let spec = Yaml::map([
            ("action", Some(Yaml::text("DENY"))),
            ("rules", Some(Yaml::List(vec![rule, Yaml::Map(Vec::new())]))),
        ]);
        assert_eq!(
            spec.to_string(),
            "\
action: DENY
rules:
- from:
  - source:
      principals: [\"*\", a/b]
  open: true
- {}
"
        );
    }

    #[test]
    fn what_a_reader_could_take_for_something_else_is_quoted() {
        for (text, written) in [
            ("GET", "GET"),
            ("/a/b.txt", "/a/b.txt"),
            ("on", "\"on\""),
            ("No", "\"No\""),
            ("8080", "\"8080\""),
            ("1e3", "\"1e3\""),
            (".5", "\".5\""),
            ("", "\"\""),
            ("*", "\"*\""),
            ("a: b", "\"a: b\""),
            ("a #b", "\"a #b\""),
            ("say \"a\\b\"", "\"say \\\"a\\\\b\\\"\""),
            ("a\nb", "\"a\\U0000000ab\""),
            ("10.0.0.0/8", "\"10.0.0.0/8\""),
        ] {
            assert_eq!(Yaml::text(text).to_string(), format!("{written}\n"));
        }
    }
}
