//! Notes as workflow commands of GitHub Actions, which show them at the lines of a pull request.

use tower_mesh::istio::{Position, Problem};
use tower_mesh::vet::{Note, Silenced};

/// A note; an error is `::error`, a warning `::warning`.
pub(crate) fn note(note: &Note) -> String {
    let command = note.severity().as_str();
    line(command, &note.at, note.code.as_str(), &body(note, ""))
}

/// A note that is silenced, with the reason, as a `::notice`.
pub(crate) fn silenced(silenced: &Silenced) -> String {
    let Silenced { note, reason, .. } = silenced;
    let reason = format!("\nsilenced: {reason}");
    line("notice", &note.at, note.code.as_str(), &body(note, &reason))
}

/// What keeps a file from being read, as an `::error`.
pub(crate) fn problem(problem: &Problem) -> String {
    let message = match problem.field.as_str() {
        "" => problem.message.clone(),
        field => format!("{field}: {}", problem.message),
    };
    line("error", &problem.at, "unreadable", &message)
}

/// A word about the whole, or about a file, as a `::notice`.
pub(crate) fn notice(at: &Position, message: &str) -> String {
    line("notice", at, "tower-mesh vet", message)
}

fn body(note: &Note, more: &str) -> String {
    let within = match note.resource.as_str() {
        "" => String::new(),
        resource => format!("\nin: {resource}"),
    };
    format!("{}{within}\nhelp: {}{more}", note.message, note.help)
}

fn line(command: &str, at: &Position, title: &str, message: &str) -> String {
    let mut properties = Vec::new();
    if !at.file.is_empty() {
        properties.push(format!("file={}", property(&at.file)));
    }
    for (name, number) in [("line", at.line), ("col", at.column)] {
        if number > 0 && !at.file.is_empty() {
            properties.push(format!("{name}={number}"));
        }
    }
    properties.push(format!("title={}", property(title)));
    format!("::{command} {}::{}", properties.join(","), data(message))
}

/// As `@actions/core` escapes what is behind the second pair of colons. Of other control characters
/// it leaves what a terminal would obey.
fn data(text: &str) -> String {
    let mut data = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '%' => data.push_str("%25"),
            '\r' => data.push_str("%0D"),
            '\n' => data.push_str("%0A"),
            control if control.is_control() => data.extend(control.escape_default()),
            letter => data.push(letter),
        }
    }
    data
}

/// As `@actions/core` escapes the value of a property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_as_github_reads_it() {
        let at = Position::new("a:b,c%/d.yaml".into(), 3, 7);
        assert_eq!(
            line("error", &at, "x", "100%\r\nof: all, really"),
            "::error file=a%3Ab%2Cc%25/d.yaml,line=3,col=7,title=x::100%25%0D%0Aof: all, really"
        );
        assert_eq!(
            notice(&Position::default(), "whole"),
            "::notice title=tower-mesh vet::whole"
        );
    }
}
