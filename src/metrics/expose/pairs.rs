//! Reads written labels back, for libraries that write them in their own way.

/// The names and values of labels as the text formats write them, `a="x",b="y"`.
///
/// A character that no text shows stays as the labels show it, `\u{1b}`.
pub(in crate::metrics) fn pairs(labels: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut rest = labels;
    while let Some((name, after)) = rest.split_once("=\"") {
        let (value, after) = value(after);
        pairs.push((name.to_owned(), value));
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    pairs
}

/// A value up to its closing quote, and what follows the quote.
fn value(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.chars();
    while let Some(next) = chars.next() {
        match next {
            '"' => break,
            '\\' => match chars.next() {
                Some('n') => value.push('\n'),
                Some(escaped) => value.push(escaped),
                None => {}
            },
            plain => value.push(plain),
        }
    }
    (value, chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::store::labels::write_label;

    #[test]
    fn what_is_written_is_read_again() {
        let given = [
            ("a", "x"),
            ("b", ""),
            ("c", "1\\2\"3\n4,d=\"5\""),
            ("e", "é"),
        ];
        let mut text = String::new();
        for (name, value) in given {
            write_label(&mut text, name, value);
        }
        let read = pairs(&text);
        let read: Vec<_> = read.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(read, given);
        assert_eq!(pairs(""), []);
    }
}
