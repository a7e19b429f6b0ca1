//! A table of the callers that gain access and those that lose it.

use std::cmp::Ordering;
use std::fmt;

use serde_json::Value;

use super::answer::Answer;
use crate::printable::printable;

/// Rows of a section; of any more the table shows only the number.
const ROWS: usize = 25;

/// Changed answers by what they mean for the caller.
#[derive(Debug, Default)]
pub(crate) struct AccessTable {
    /// Goes without saying.
    port: u16,
    gains: Section,
    loses: Section,
    /// As before, for another reason.
    same: Section,
}

#[derive(Debug, Default)]
struct Section {
    rows: Vec<[String; 4]>,
    count: usize,
}

impl AccessTable {
    pub(crate) fn new(port: u16) -> Self {
        Self {
            port,
            ..Self::default()
        }
    }

    /// Adds a request, as a line of `check --requests` says it.
    pub(crate) fn add(&mut self, request: &Value, old: &Answer, new: &Answer) {
        let section = match old.access().cmp(&new.access()) {
            Ordering::Less => &mut self.gains,
            Ordering::Greater => &mut self.loses,
            Ordering::Equal => &mut self.same,
        };
        section.count += 1;
        if section.rows.len() < ROWS {
            let row = [
                caller(request),
                call(request, self.port),
                old.to_string(),
                new.to_string(),
            ];
            section.rows.push(row.map(|text| printable(&text)));
        }
    }
}

impl fmt::Display for AccessTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (title, section) in [
            ("Gains access", &self.gains),
            ("Loses access", &self.loses),
            ("Access as before, answered otherwise", &self.same),
        ] {
            if section.count > 0 {
                writeln!(f, "{title} ({}):", section.count)?;
                section.fmt(f)?;
                writeln!(f)?;
            }
        }
        let (gain, lose, same) = (self.gains.count, self.loses.count, self.same.count);
        if gain + lose + same == 0 {
            return writeln!(f, "No answer differs.");
        }
        writeln!(
            f,
            "Answers that differ: {} (gaining access {gain}, losing it {lose}, otherwise {same}).",
            gain + lose + same
        )
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["CALLER", "REQUEST", "OLD", "NEW"].map(str::to_owned);
        let rows: Vec<_> = std::iter::once(&head).chain(&self.rows).collect();
        let widths: Vec<usize> = (0..head.len())
            .map(|column| {
                let cells = rows.iter().filter_map(|row| row.get(column));
                cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
            })
            .collect();
        for row in rows {
            let mut line = String::from("  ");
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:width$}  "));
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        match self.count.saturating_sub(self.rows.len()) {
            0 => Ok(()),
            more => writeln!(f, "  and {more} more; --format json prints each"),
        }
    }
}

/// Who sends it.
fn caller(request: &Value) -> String {
    let source = request.get("source").unwrap_or(&Value::Null);
    let names = ["principal", "uri_sans", "dns_sans", "subject"];
    let names = names.iter().filter_map(|key| source.get(key));
    let names: Vec<_> = names.map(brief).collect();
    let peer = match names.as_slice() {
        [] => "plaintext".to_owned(),
        names => names.join(" "),
    };
    let Some(claims) = request.get("claims").filter(|claims| claims.is_object()) else {
        return peer;
    };
    let claim = |name| claims.get(name).map_or_else(|| "-".to_owned(), brief);
    format!("{peer}, user {}/{}", claim("iss"), claim("sub"))
}

/// What is sent.
fn call(request: &Value, port: u16) -> String {
    let text = |key| request.get(key).map(brief);
    let mut words: Vec<String> = match text("method") {
        Some(method) => [Some(method), text("path")].into_iter().flatten().collect(),
        None => vec!["TCP".to_owned()],
    };
    words.extend(text("authority").map(|host| format!("host={host}")));
    let fields = |key: &str| request.get(key).and_then(Value::as_object);
    for (name, value) in fields("headers").into_iter().flatten() {
        words.push(format!("{name}={}", brief(value)));
    }
    for (name, value) in fields("claims").into_iter().flatten() {
        if name != "iss" && name != "sub" {
            words.push(format!("claims[{name}]={}", brief(value)));
        }
    }
    words.extend(text("sni").map(|name| format!("sni={name}")));
    for (name, value) in fields("source").into_iter().flatten() {
        if name.ends_with("ip") {
            words.push(format!("source.{name}={}", brief(value)));
        }
    }
    for (name, value) in fields("destination").into_iter().flatten() {
        if name != "services" && *value != u64::from(port) {
            words.push(format!("{name}={}", brief(value)));
        }
    }
    words.join(" ")
}

/// A text without its quotes; anything else as JSON.
fn brief(value: &Value) -> String {
    match value {
        Value::String(text) if !text.is_empty() => text.clone(),
        Value::Array(list) if list.len() == 1 => list.first().map(brief).unwrap_or_default(),
        other => other.to_string(),
    }
}
