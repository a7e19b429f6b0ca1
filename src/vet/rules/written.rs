//! How a value is written: where its wildcard is, and which part is literal.

/// What is wrong with a value, and what to do about it.
#[derive(Clone, Debug)]
pub(in crate::vet) struct Fault {
    pub(in crate::vet) message: String,
    pub(in crate::vet) help: String,
}

impl Fault {
    pub(in crate::vet) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: help.into(),
        }
    }
}

/// A value of a list: its text but for the one star that Istio reads.
#[derive(Clone, Copy, Debug)]
pub(in crate::vet) struct Written<'v> {
    /// The literal part.
    pub(in crate::vet) literal: &'v str,
    /// Any text may come before it.
    pub(in crate::vet) open_start: bool,
    /// Any text may come after it.
    pub(in crate::vet) open_end: bool,
}

impl<'v> Written<'v> {
    /// `None`: a lone star, which is anything. Of two stars only the first is read, as in Istio.
    pub(in crate::vet) fn from_value(value: &'v str) -> Option<Self> {
        if value == "*" {
            return None;
        }
        let (start, end) = (value.strip_prefix('*'), value.strip_suffix('*'));
        let literal = start.or(end).unwrap_or(value);
        Some(Self {
            literal,
            open_start: start.is_some(),
            open_end: start.is_none() && end.is_some(),
        })
    }

    /// Whether the literal is the whole text.
    pub(in crate::vet) fn is_whole(&self) -> bool {
        !self.open_start && !self.open_end
    }

    /// Whether the compared text starts or ends with a blank.
    pub(in crate::vet) fn outer_blank(&self) -> bool {
        !self.open_start && self.literal.starts_with(char::is_whitespace)
            || !self.open_end && self.literal.ends_with(char::is_whitespace)
    }
}

/// What a tool should have exchanged for a value: `${NS}`, `$(NS)`, `{{ .ns }}`, `%{ns}`.
pub(in crate::vet) fn placeholder(text: &str) -> Option<&str> {
    let forms = [("${", "}"), ("$(", ")"), ("{{", "}}"), ("%{", "}")];
    forms.iter().find_map(|(open, close)| {
        let rest = text.get(text.find(open)?..)?;
        let end = rest.find(close).map_or(rest.len(), |end| end + close.len());
        rest.get(..end)
    })
}

/// Why no `noun` is like a value, for the reasons that hold of every name: a placeholder, a blank.
pub(in crate::vet) fn no_name(value: &str, noun: &str) -> Option<Fault> {
    let literal = Written::from_value(value)?.literal;
    if let Some(placeholder) = placeholder(literal) {
        let message = format!(
            "no {noun} is like `{value}`: `{placeholder}` was to be filled in, and was not"
        );
        return Some(Fault::new(message, FILL_IN));
    }
    if let Some(blank) = literal.chars().find(|c| c.is_whitespace()) {
        let what = match blank {
            '\n' => "a line break",
            _ => "a blank",
        };
        let message = format!(
            "no {noun} is like `{}`: it holds {what}",
            value.escape_debug()
        );
        let trimmed = value.trim();
        let help = match trimmed.contains(char::is_whitespace) {
            true => "write one name a value".to_owned(),
            false => format!("write `{trimmed}`"),
        };
        return Some(Fault::new(message, help));
    }
    None
}

/// Why no `noun` is like a value that holds a second star.
pub(in crate::vet) fn no_star(value: &str, noun: &str) -> Option<Fault> {
    let literal = Written::from_value(value)?.literal;
    literal.contains('*').then(|| {
        Fault::new(
            format!("no {noun} is like `{value}`: {STAR}, and no {noun} holds one otherwise"),
            ONE_STAR,
        )
    })
}

/// A fault when part of a value is taken literally and probably not meant so; `instead` is what to
/// write for a star.
pub(in crate::vet) fn literally(value: &str, instead: &str) -> Option<Fault> {
    let literal = Written::from_value(value)?.literal;
    if let Some(placeholder) = placeholder(literal) {
        return Some(Fault::new(
            format!(
                "`{placeholder}` in `{value}` is compared as it stands: nothing has filled it in"
            ),
            FILL_IN,
        ));
    }
    literal.contains('*').then(|| {
        Fault::new(
            format!("`{value}` asks for a star in the text itself: {STAR}"),
            instead,
        )
    })
}

/// What to write for a star that is not read.
pub(in crate::vet) const ONE_STAR: &str =
    "write one star, at the start or at the end, or list the values";
const STAR: &str = "a star is a wildcard only once, as the first or the last letter";
const FILL_IN: &str = "write the value itself, or let the tool fill it in before this is read";
