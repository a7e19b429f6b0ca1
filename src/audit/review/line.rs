//! A record in a line for a person.

use std::fmt;

use crate::audit::record::Entry;

/// A record for a person. Nothing that a caller has sent can change a terminal.
pub(super) struct Readable<'a>(pub(super) &'a Entry<'a>);

/// A text in which signs that change a terminal, or the direction of text, are escaped.
pub(super) struct Plain<'a>(pub(super) &'a str);

impl fmt::Display for Readable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = self.0;
        write!(f, "{} {}", entry.time(), Plain(entry.kind()))?;
        for field in ["phase", "outcome"] {
            if let Some(text) = entry.text(field) {
                write!(f, " {}", Plain(&text))?;
            }
        }
        for field in ["status", "grpc"] {
            if let Some(number) = entry.number(field) {
                write!(f, " {field} {number}")?;
            }
        }
        for field in ["name", "action", "resource.route"] {
            if let Some(text) = entry.text(field) {
                write!(f, " {}", Plain(&text))?;
            }
        }
        write!(f, "{}", Who(entry))?;
        for (word, field) in FIELDS {
            if let Some(text) = entry.text(field) {
                write!(f, " {word} {}", Plain(&text))?;
            }
        }
        for field in ["count", "n"] {
            if let Some(number) = entry.number(field) {
                write!(f, " {field} {number}")?;
            }
        }
        write!(f, " [{}:{}]", Plain(entry.stream()), entry.seq())
    }
}

/// ` by WORKLOAD for SUBJECT`
struct Who<'a>(&'a Entry<'a>);

impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = who(self.0);
        if who.is_empty() {
            return Ok(());
        }
        write!(f, " by {}", Plain(&who))
    }
}

/// The workload and the user, or `anonymous`; empty if the record names no actor.
pub(super) fn who(entry: &Entry<'_>) -> String {
    if entry.field("actor").is_none() {
        return String::new();
    }
    let (spiffe, subject) = (entry.text("actor.spiffe"), entry.text("actor.sub"));
    match (spiffe, subject) {
        (Some(spiffe), Some(subject)) => format!("{subject} at {spiffe}"),
        (Some(one), None) | (None, Some(one)) => one.into_owned(),
        (None, None) => ANONYMOUS.to_owned(),
    }
}

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            let is_risky = c.is_control()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}');
            match is_risky {
                true => write!(f, "{}", c.escape_unicode())?,
                false => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

/// Who a record is about that names an actor without a name.
pub(super) const ANONYMOUS: &str = "anonymous";

const FIELDS: [(&str, &str); 16] = [
    ("via", "actor.via"),
    ("from", "source_ip"),
    ("policy", "policy"),
    ("reason", "reason"),
    ("dry-run", "dry_run"),
    ("purpose", "purpose"),
    ("subject", "subject"),
    ("patient", "patient.id"),
    ("resource", "resource.id"),
    ("source", "source"),
    ("result", "result"),
    ("hash", "hash"),
    ("serial", "identity.serial"),
    ("next", "next"),
    ("trace", "trace"),
    ("request", "request_id"),
];
