use granit_parser::{Event, Options, Parser};

/// A comment of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Comment {
    /// The text after the `#`.
    pub(super) text: String,
    /// The line on which the document it belongs to starts: that of the first field.
    pub(super) document: u32,
}

/// The comments of a text whose documents start on these lines, each with its document
/// or before.
pub(super) fn comments(text: &str, starts: &[u32]) -> Vec<Comment> {
    let mut options = Options::default();
    options.set_emit_comments(true);
    let mut sorted = starts.to_vec();
    sorted.sort_unstable();
    let mut found = Vec::new();
    let mut separator = 0;
    for event in Parser::new_from_str_with_options(text, options) {
        // What cannot be read was refused before; what was read keeps its comments.
        let Ok((event, span)) = event else { break };
        let line = u32::try_from(span.start.line()).unwrap_or(u32::MAX);
        match event {
            Event::DocumentStart(..) => separator = line,
            Event::Comment(text, _) => {
                let place = sorted.partition_point(|start| *start <= line);
                let before = place.checked_sub(1).and_then(|last| sorted.get(last));
                let after = sorted.get(place);
                let inside = before.filter(|start| **start >= separator);
                if let Some(document) = inside.or(after).or(before) {
                    found.push(Comment {
                        text: text.trim_end().to_owned(),
                        document: *document,
                    });
                }
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_belongs_to_the_document_it_stands_in_or_before() {
        let text = "\
# first
a: 1 # beside
b: \"# no comment\"
# at the end of the first
---
# before the second
c: |
  # text
d: 1
";
        let found = comments(text, &[2, 7]);
        let found: Vec<_> = found
            .iter()
            .map(|comment| (comment.text.as_str(), comment.document))
            .collect();
        assert_eq!(
            found,
            [
                (" first", 2),
                (" beside", 2),
                (" at the end of the first", 2),
                (" before the second", 7),
            ]
        );
    }
}
