//! The tables of docs/mistakes.md, and whether what is seen is what they say.

use std::collections::BTreeSet;

/// Where words are seen; `command` alone is not of the library.
const PLACES: [&str; 7] = [
    "answer", "build", "call", "command", "log", "probe", "serve",
];

/// A mistake, and its words, a line each.
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) place: String,
    pub(crate) words: Vec<String>,
}

pub(crate) fn rows() -> Vec<Row> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/mistakes.md");
    let page = std::fs::read_to_string(path).unwrap();
    let rows: Vec<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"))
        .map(|line| {
            let cells: Vec<_> = line.split(" | ").collect();
            let [id, _, place, words, _] = cells.as_slice() else {
                panic!("five columns, and no other `|`: {line}");
            };
            assert!(PLACES.contains(place), "{line}");
            Row {
                id: id.trim_end_matches('`').to_owned(),
                place: (*place).to_owned(),
                words: words.split("<br>").map(code).collect(),
            }
        })
        .collect();
    let ids: BTreeSet<_> = rows.iter().map(|row| &row.id).collect();
    assert_eq!(ids.len(), rows.len(), "an id is there twice");
    rows
}

/// The text of a span of code, which has as many backticks around it as it needs.
fn code(span: &str) -> String {
    let text = span.trim_matches('`');
    let ticks = (span.len() - text.len()) / 2;
    let ticks = "`".repeat(ticks);
    let inner = span.strip_prefix(&ticks).unwrap();
    let inner = inner.strip_suffix(&ticks).unwrap();
    assert!(!ticks.is_empty(), "no code: {span}");
    match inner
        .strip_prefix(' ')
        .and_then(|text| text.strip_suffix(' '))
    {
        Some(text) => text.to_owned(),
        None => inner.to_owned(),
    }
}

/// Whether a line is the pattern's, in which `...` stands for any text.
fn is_of(pattern: &str, line: &str) -> bool {
    let Some((start, rest)) = pattern.split_once("...") else {
        return pattern == line;
    };
    let Some(mut line) = line.strip_prefix(start) else {
        return false;
    };
    let mut pieces: Vec<_> = rest.split("...").collect();
    let end = pieces.pop().unwrap_or_default();
    for piece in pieces {
        let Some((_, after)) = line.split_once(piece) else {
            return false;
        };
        line = after;
    }
    line.ends_with(end)
}

/// What is written, without the space around it.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

/// Each row of these places was made once, with the words of the page, and nothing was made that is no row.
pub(crate) fn compare(seen: &[(&'static str, String)], is_own: impl Fn(&Row) -> bool) {
    let rows: Vec<_> = rows().into_iter().filter(is_own).collect();
    let mut wrong = Vec::new();
    for row in &rows {
        let made: Vec<_> = seen.iter().filter(|(id, _)| *id == row.id).collect();
        let [(_, text)] = made.as_slice() else {
            wrong.push(format!("{}: made {} times", row.id, made.len()));
            continue;
        };
        let lines: Vec<_> = lines(text).collect();
        let same = lines.len() == row.words.len()
            && row
                .words
                .iter()
                .zip(&lines)
                .all(|(word, line)| is_of(word, line));
        if !same {
            wrong.push(format!(
                "{}: not {:?} but\n{}",
                row.id,
                row.words,
                lines.join("\n")
            ));
        }
    }
    for (id, text) in seen {
        if !rows.iter().any(|row| row.id == *id) {
            let lines: Vec<_> = lines(text).collect();
            wrong.push(format!("{id}: not on the page:\n{}", lines.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn a_pattern_is_the_whole_line() {
    for (pattern, line, is_so) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("a...", "ab", true),
        ("...b", "ab", true),
        ("...b", "abc", false),
        ("a...c...e", "abcde", true),
        ("a...c...e", "abde", false),
        ("a...a", "a", false),
    ] {
        assert_eq!(is_of(pattern, line), is_so, "{pattern} {line}");
    }
    assert_eq!(code("`` a `b` ``"), "a `b`");
    assert_eq!(code("`a`"), "a");
}
