//! Finds actions of Go templates, as Helm charts hold them, in a text that should be YAML.

use super::tree::Mark;

/// Where the first action of each line that has one begins, in a place where YAML would read it:
/// not in a comment, not behind a quotation mark.
pub(super) fn templates(text: &str) -> Vec<Mark> {
    let lines = (1..).zip(text.lines());
    let found = lines.filter_map(|(line, text)| {
        let (before, action) = text.split_once("{{")?;
        let column = u32::try_from(before.chars().count() + 1).unwrap_or(u32::MAX);
        let is_read = !before.trim_start().starts_with('#') && !before.ends_with(['"', '\'']);
        (is_read && is_action(action)).then_some(Mark { line, column })
    });
    found.collect()
}

/// Whether this, behind the braces, begins as an action does. A map in a map would be no key of
/// ours, but is no template either.
fn is_action(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    if text.starts_with("/*") {
        return true;
    }
    let text = text.trim_start();
    let word = text
        .split(|c: char| !c.is_ascii_alphanumeric())
        .next()
        .unwrap_or_default();
    text.starts_with(['.', '$', '(']) || text.starts_with("/*") || WORDS.contains(&word)
}

/// The words that an action may begin with, if it does not begin with a value.
const WORDS: &[&str] = &[
    "and", "block", "coalesce", "default", "define", "else", "end", "eq", "fail", "first", "if",
    "include", "index", "join", "list", "lookup", "ne", "not", "or", "print", "printf", "quote",
    "range", "required", "template", "ternary", "tpl", "toJson", "toYaml", "trunc", "upper",
    "with",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_actions_and_nothing_else() {
        for (text, column) in [
            ("{{- if .Values.mesh.enabled }}", Some(1)),
            ("  name: {{ .Release.Name }}-deny", Some(9)),
            ("  {{- toYaml .Values.labels | nindent 4 }}", Some(3)),
            ("{{/* a word */}}", Some(1)),
            ("{{ $name }}", Some(1)),
            ("# {{ .Values.x }}", None),
            ("  name: '{{ .Values.x }}'", None),
            ("  path: /{{a}}", None),
            ("a: {b: {c: d}}", None),
        ] {
            let found = templates(text).first().map(|at| at.column);
            assert_eq!(found, column, "{text}");
        }
    }
}
