//! The names of segments. They sort in the order in which the segments were made.

use crate::audit::scalar::{Timestamp, parse_timestamp};
use std::fmt;
use std::io;
use std::path::Path;

/// `20260102T030405.000006Z-STREAM-000001.jsonl`: when the stream began, its id, and which of its
/// segments it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) began: Timestamp,
    pub(crate) stream: String,
    pub(crate) part: Part,
}

/// Which part of its stream a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// From 1.
    Number(u32),
    /// The one file of a stream that says what was removed.
    Prune,
}

impl Name {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_suffix(SEGMENT)?.split('-');
        let (began, stream, part) = (parts.next()?, parts.next()?, parts.next()?);
        let (date, time) = began.split_once('T')?;
        let [year, month, day] = [date.get(..4)?, date.get(4..6)?, date.get(6..)?];
        let [hour, minute, second] = [time.get(..2)?, time.get(2..4)?, time.get(4..)?];
        let name = Self {
            began: parse_timestamp(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}"))?,
            stream: stream.to_owned(),
            part: match part {
                "prune" => Part::Prune,
                number => Part::Number(number.parse().ok()?),
            },
        };
        // Only the one form that is written.
        (is_id(stream) && name.to_string() == text).then_some(name)
    }

    pub(crate) fn next(&self) -> Self {
        let part = match self.part {
            Part::Number(number) => Part::Number(number.saturating_add(1)),
            Part::Prune => Part::Prune,
        };
        Self {
            part,
            ..self.clone()
        }
    }
}

fn is_id(stream: &str) -> bool {
    stream.len() == 32
        && stream
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let began = self.began.to_string().replace(['-', ':'], "");
        let stream = &self.stream;
        match self.part {
            Part::Number(number) => write!(f, "{began}-{stream}-{number:06}{SEGMENT}"),
            Part::Prune => write!(f, "{began}-{stream}-prune{SEGMENT}"),
        }
    }
}

/// The segments of a folder, in their order.
pub(crate) fn segments(folder: &Path) -> io::Result<Vec<Name>> {
    let mut names = Vec::new();
    for entry in folder.read_dir()? {
        let name = entry?.file_name();
        names.extend(name.to_str().and_then(Name::parse));
    }
    names.sort();
    Ok(names)
}

/// The files of a folder that hold what a crash has left of lines, sorted.
pub(crate) fn torn_files(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in folder.read_dir()? {
        let name = entry?.file_name();
        names.extend(
            name.to_str()
                .filter(|name| name.ends_with(TORN))
                .map(str::to_owned),
        );
    }
    names.sort();
    Ok(names)
}

pub(crate) const SEGMENT: &str = ".jsonl";
pub(crate) const TORN: &str = ".torn";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_and_read_and_sort() {
        let stream = "0123456789abcdef0123456789abcdef";
        let text = format!("20260102T030405.000006Z-{stream}-000001.jsonl");
        let name = Name::parse(&text).unwrap();
        assert_eq!(name.to_string(), text);
        assert_eq!(name.part, Part::Number(1));
        let next = name.next();
        assert!(next > name && next.to_string() > text);
        let prune = format!("20260102T030405.000006Z-{stream}-prune.jsonl");
        assert_eq!(Name::parse(&prune).unwrap().to_string(), prune);
        for other in [
            "audit.lock",
            "x.jsonl",
            &text.replace("jsonl", "torn"),
            &text.replace("000001", "1"),
            &text.replace("000001", "+00001"),
            &text.replace("-0123", "-A123"),
            &text.replace("Z-", "Z-é"),
            &text.replace("2026", "202é"),
            &format!("x-{text}"),
        ] {
            assert_eq!(Name::parse(other), None, "{other}");
        }
    }
}
