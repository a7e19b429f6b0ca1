//! Walks a document's tree. A cursor knows the path of its field, and its sink collects all
//! problems of the document instead of stopping at the first.

use std::cell::RefCell;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::suggest::nearest;
use super::tree::{Mark, Node, Plain, Style, Value};
use crate::istio::{Position, Problem, ProblemKind, Problems, Text};

/// Where problems and notes of one text go.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    file: Arc<str>,
    problems: RefCell<Vec<Problem>>,
    notes: RefCell<Vec<Problem>>,
    /// Offsets of a text inside another one.
    line_offset: u32,
    column_offset: u32,
}

/// More problems than this in one text are not worth their memory.
const MAX_PROBLEMS: usize = 1_000;

impl Sink {
    pub(crate) fn new(file: &str) -> Self {
        Self {
            file: file.into(),
            ..Self::default()
        }
    }

    /// A sink for a text inside another one, at these offsets.
    pub(crate) fn inside(&self, lines: u32, columns: u32) -> Self {
        Self {
            file: Arc::clone(&self.file),
            line_offset: self.line_offset.saturating_add(lines),
            column_offset: self.column_offset.saturating_add(columns),
            ..Self::default()
        }
    }

    pub(super) fn position(&self, at: Mark) -> Position {
        let line = at.line.saturating_add(self.line_offset);
        let column = at.column.saturating_add(self.column_offset);
        Position::new(Arc::clone(&self.file), line, column)
    }

    pub(crate) fn report(&self, problem: Problem) {
        keep(&self.problems, problem);
    }

    pub(crate) fn note(&self, note: Problem) {
        keep(&self.notes, note);
    }

    pub(super) fn is_full(&self) -> bool {
        self.problems.borrow().len() > MAX_PROBLEMS
    }

    /// Whether nothing is wrong so far.
    pub(crate) fn is_good(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    /// What was made of the text, or what is wrong with it; `nothing` when neither is there.
    pub(crate) fn finish<T>(self, made: Option<T>, nothing: &str) -> Result<T, Problems> {
        match Problems::from_list(self.problems.into_inner()) {
            Some(problems) => Err(problems),
            None => made.ok_or_else(|| Problem::of_file(self.file, nothing).into()),
        }
    }

    /// The problems and the notes.
    pub(crate) fn into_parts(self) -> (Vec<Problem>, Vec<Problem>) {
        (self.problems.into_inner(), self.notes.into_inner())
    }
}

fn keep(list: &RefCell<Vec<Problem>>, problem: Problem) {
    let mut list = list.borrow_mut();
    if list.len() < MAX_PROBLEMS {
        list.push(problem);
    } else if list.len() == MAX_PROBLEMS {
        let message = format!("more than {MAX_PROBLEMS} of these; the rest is not listed");
        let at = Position::new(problem.at.file, u32::MAX, 0);
        list.push(Problem::new(at, "", message));
    }
}

/// The way from a document's root to a node; printed only when something is wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path<'p> {
    parent: Option<&'p Self>,
    step: Step<'p>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Step<'p> {
    Root,
    Field(&'p str),
    Index(usize),
    /// A key that the writer chose.
    Key(&'p str),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        let is_root = |parent: &Self| matches!(parent.step, Step::Root);
        let at_start = self.parent.is_none_or(is_root);
        match self.step {
            Step::Root => Ok(()),
            Step::Field(name) if at_start => f.write_str(name),
            Step::Field(name) => write!(f, ".{name}"),
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Key(key) => write!(f, "[{key}]"),
        }
    }
}

/// A node and the way to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'t, 'p> {
    node: &'p Node<'t>,
    pub(super) path: Path<'p>,
    sink: &'p Sink,
}

impl<'t, 'p> Cursor<'t, 'p> {
    pub(crate) fn root(node: &'p Node<'t>, sink: &'p Sink) -> Self {
        let path = Path {
            parent: None,
            step: Step::Root,
        };
        Self { node, path, sink }
    }

    pub(crate) fn child<'c>(&'c self, node: &'c Node<'t>, step: Step<'c>) -> Cursor<'t, 'c> {
        let path = Path {
            parent: Some(&self.path),
            step,
        };
        Cursor {
            node,
            path,
            sink: self.sink,
        }
    }

    pub(crate) fn node(&self) -> &'p Node<'t> {
        self.node
    }

    pub(crate) fn sink(&self) -> &'p Sink {
        self.sink
    }

    pub(crate) fn at(&self) -> Position {
        self.sink.position(self.node.at)
    }

    /// Reports that this value is wrong.
    pub(crate) fn wrong(&self, message: impl Into<String>) {
        let problem = Problem::new(self.at(), self.path.to_string(), message);
        self.sink.report(problem);
    }

    /// Reports something that is allowed and probably not meant.
    pub(crate) fn note(&self, message: impl Into<String>) {
        let note = Problem::new(self.at(), self.path.to_string(), message);
        self.sink.note(note);
    }

    /// Reports that a field below this one is missing.
    pub(crate) fn missing(&self, field: &str, message: impl Into<String>) {
        let path = Path {
            parent: Some(&self.path),
            step: Step::Field(field),
        };
        let problem = Problem::new(self.at(), path.to_string(), message);
        self.sink.report(problem);
    }

    /// The entries of a map whose keys the writer chooses. Empty when this is no map, which is
    /// reported.
    pub(crate) fn pairs<'c>(&'c self) -> impl Iterator<Item = (&'c str, Cursor<'t, 'c>)> {
        if self.node.entries().is_none() {
            self.wrong(format!("this is {}; write a map", self.node.describe()));
        }
        let entries = self.node.entries().unwrap_or_default().iter();
        entries.map(|entry| (&*entry.key, self.child(&entry.value, Step::Key(&entry.key))))
    }

    /// The items of a list. Empty when this is no list, which is reported.
    pub(crate) fn items<'c>(&'c self) -> impl ExactSizeIterator<Item = Cursor<'t, 'c>> {
        let items: &[Node<'t>] = match &self.node.value {
            Value::List(items) => items,
            Value::Map(_) | Value::Scalar(_) => {
                let is = self.node.describe();
                self.wrong(format!("this is {is}; write a list, even for one value"));
                &[]
            }
        };
        let items = items.iter().enumerate();
        items.map(|(index, node)| self.child(node, Step::Index(index)))
    }

    /// Text. Anything else is reported and gives `None`.
    pub(crate) fn str(&self) -> Option<&'p str> {
        let Some(scalar) = self.node.scalar() else {
            self.wrong(format!("this is {}; write text", self.node.describe()));
            return None;
        };
        let text: &'p str = &scalar.text;
        match scalar.meaning() {
            Plain::Text => {}
            Plain::Null if text.is_empty() => {
                self.wrong("is empty; write text");
                return None;
            }
            _ => {
                self.wrong(format!(
                    "YAML reads {text} as {}; write \"{text}\" in quotes to make it text",
                    self.node.describe()
                ));
                return None;
            }
        }
        if let Some(quote) = typographic_quote(text, scalar.style) {
            let message = format!(
                "contains the typographic quotation mark {quote} (U+{:04X}), part of the text for YAML; write plain quotes",
                u32::from(quote)
            );
            let problem = Problem::new(self.at(), self.path.to_string(), message);
            self.sink
                .report(problem.of_kind(ProblemKind::TypographicQuotes));
            // A survey goes on with the text that was meant; every other reader gets the problem.
            return Some(text.trim_matches(is_quotation_mark));
        }
        Some(text)
    }

    /// Text with its place.
    pub(crate) fn text(&self) -> Option<Text> {
        self.str().map(|text| Text::new(text, self.at()))
    }

    /// Text that must not be empty.
    pub(crate) fn filled(&self) -> Option<Text> {
        let text = self.text()?;
        if text.is_empty() {
            self.wrong("is empty; write a value or leave the field out");
            return None;
        }
        Some(text)
    }

    pub(crate) fn boolean(&self) -> Option<bool> {
        match self.node.scalar().map(|scalar| scalar.meaning()) {
            Some(Plain::Boolean(value)) => Some(value),
            _ => {
                let is = self.node.describe();
                self.wrong(format!("this is {is}; write true or false, without quotes"));
                None
            }
        }
    }

    /// A number from 1 to 65535, quoted or not (as proto3 JSON allows).
    pub(crate) fn port(&self) -> Option<u16> {
        let text = self.node.scalar().map_or("", |scalar| &scalar.text);
        let port = digits(text).and_then(|port| u16::try_from(port).ok());
        match port {
            Some(port) if port > 0 => Some(port),
            _ => {
                self.wrong("is no port; write a number from 1 to 65535");
                None
            }
        }
    }

    /// A whole number within these bounds, quoted or not (as proto3 JSON allows).
    pub(crate) fn number(&self, bounds: RangeInclusive<u32>) -> Option<u32> {
        let text = self.node.scalar().map_or("", |scalar| &scalar.text);
        let number = digits(text).filter(|number| bounds.contains(number));
        if number.is_none() {
            let (least, most) = bounds.into_inner();
            let shown = match text {
                "" => self.node.describe().to_owned(),
                text => format!("`{text}`"),
            };
            self.wrong(format!(
                "this is {shown}; write a whole number from {least} to {most}"
            ));
        }
        number
    }

    /// A duration such as `5s`, `1.5s` or `1m30s`.
    pub(crate) fn duration(&self) -> Option<Duration> {
        if let Some(scalar) = self.node.scalar()
            && scalar.meaning() == Plain::Number
        {
            let number = &scalar.text;
            self.wrong(format!(
                "{number} is a number, and without a unit it is no duration, also in quotes; write for example 5s"
            ));
            return None;
        }
        let text = self.str()?;
        let duration = parse_duration(text);
        if duration.is_none() {
            self.wrong(format!("`{text}` is no duration; write for example 5s"));
        }
        duration
    }

    /// One of several words.
    pub(crate) fn word<T: Copy>(&self, words: &[(&'static str, T)]) -> Option<T> {
        let text = self.str()?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let list: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let near = nearest(text, list.iter().copied());
            let near = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
            self.wrong(format!("`{text}` is not one of {}{near}", list.join(", ")));
        }
        found.map(|(_, value)| *value)
    }
}

/// The first quotation mark that a word processor put in place of a plain one. An apostrophe inside
/// quoted text may well be meant.
fn typographic_quote(text: &str, style: Style) -> Option<char> {
    if text.is_ascii() || style == Style::Block {
        return None;
    }
    let single = |c: char| "‘’‚‛‹›＇".contains(c);
    text.chars().find(|c| {
        let outermost = text.starts_with(*c) || text.ends_with(*c);
        is_quotation_mark(*c) && (style == Style::Plain || !single(*c) || outermost)
    })
}

pub(crate) fn is_quotation_mark(c: char) -> bool {
    "‘’‚‛“”„‟‹›«»＂＇".contains(c)
}

/// A decimal number without sign.
pub(crate) fn digits(text: &str) -> Option<u32> {
    let decimal = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    decimal.then(|| text.parse().ok()).flatten()
}

/// A duration as proto3 JSON or Go writes it: decimal numbers with a unit each.
fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let scale = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" | "μs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * scale;
        rest = tail;
    }
    let duration = Duration::try_from_secs_f64(seconds).ok();
    duration.filter(|_| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        let millis = |text| parse_duration(text).map(|duration| duration.as_millis());
        assert_eq!(millis("5s"), Some(5_000));
        assert_eq!(millis("1.5s"), Some(1_500));
        assert_eq!(millis("1m30s"), Some(90_000));
        assert_eq!(millis("20ms"), Some(20));
        for wrong in ["", "5", "s", "5 s", "-5s", "1e400s", "5s5", "1..5s"] {
            assert_eq!(millis(wrong), None, "{wrong}");
        }
    }
}
