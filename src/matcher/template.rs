//! Path templates with `{*}` and `{**}`.

use std::fmt;

/// An Envoy URI template in Istio's syntax: `{*}` stands for the text of one path segment, `{**}`
/// for any text.
///
/// Matching reads the path once: `{*}` cannot cross a `/`, and `{**}` is the last operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate {
    source: String,
    /// The parts before `{**}`, or all parts.
    front: Vec<Part>,
    /// The literal after `{**}`; `None` without a `{**}`.
    back: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Segment,
}

impl PathTemplate {
    /// Whether a path is written as a template: it contains `{*}` or `{**}`.
    #[must_use]
    pub fn is_template(path: &str) -> bool {
        path.contains("{*}") || path.contains("{**}")
    }

    /// Parses a template in Istio's syntax (`/patients/{*}/{**}`).
    ///
    /// # Errors
    /// When the text does not start with a single `/`, is longer than 256 bytes in Envoy's syntax,
    /// has an empty segment inside, an operator that is not a whole segment, an operator after
    /// `{**}`, or a literal with characters that a path cannot have. It is stricter than Istio
    /// where Envoy would refuse the result (`{*}/x`, `//{*}`).
    pub fn new(text: &str) -> Result<Self, PathTemplateError> {
        let error = |why| Err(PathTemplateError(why));
        if to_envoy(text).len() > MAX_LENGTH {
            return error("it is longer than Envoy's 256 bytes");
        }
        let Some(inside) = text.strip_prefix('/') else {
            return error("it must start with '/'");
        };
        let count = inside.split('/').count();
        let mut template = Self {
            source: text.to_owned(),
            front: Vec::new(),
            back: None,
        };
        for (index, segment) in inside.split('/').enumerate() {
            let last = index + 1 == count;
            template.push("/");
            match segment {
                "{*}" | "{**}" if template.back.is_some() => {
                    return error("no operator may follow '{**}'");
                }
                "{*}" => template.front.push(Part::Segment),
                "{**}" => template.back = Some(String::new()),
                "" if last => {}
                "" => return error("it has an empty segment"),
                _ if segment.contains("{*}") || segment.contains("{**}") => {
                    return error("'{*}' and '{**}' must be whole segments");
                }
                _ if !segment.bytes().all(is_literal_byte) => {
                    return error("a segment has a character outside [a-zA-Z0-9-._~%!$&'()+,;:@=]");
                }
                _ => template.push(segment),
            }
        }
        Ok(template)
    }

    /// Adds a literal.
    fn push(&mut self, text: &str) {
        match (&mut self.back, self.front.last_mut()) {
            (Some(literal), _) | (None, Some(Part::Literal(literal))) => *literal += text,
            (None, _) => self.front.push(Part::Literal(text.to_owned())),
        }
    }

    /// The template in Istio's syntax.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// The template in Envoy's syntax: `*` and `**` without braces.
    #[must_use]
    pub fn to_envoy(&self) -> String {
        to_envoy(&self.source)
    }

    /// The start that every matching path has; never empty.
    pub(crate) fn literal_prefix(&self) -> &str {
        match self.front.first() {
            Some(Part::Literal(text)) => text,
            _ => "/",
        }
    }

    /// Whether the template matches a path without its query.
    #[must_use]
    pub fn matches(&self, path: &[u8]) -> bool {
        let mut rest = path;
        for part in &self.front {
            let after = match part {
                Part::Literal(text) => rest.strip_prefix(text.as_bytes()),
                Part::Segment => {
                    let segment = rest.iter().take_while(|byte| is_segment_byte(**byte));
                    let length = segment.count();
                    rest.get(length..).filter(|_| length > 0)
                }
            };
            let Some(after) = after else { return false };
            rest = after;
        }
        match &self.back {
            None => rest.is_empty(),
            Some(back) => {
                let is_any = |byte: &u8| *byte == b'/' || is_segment_byte(*byte);
                let any = rest.strip_suffix(back.as_bytes());
                any.is_some_and(|any| any.iter().all(is_any))
            }
        }
    }
}

fn to_envoy(template: &str) -> String {
    template.replace("{**}", "**").replace("{*}", "*")
}

/// The bytes that `{*}` matches: the characters of a path segment, and also `%` and `*`.
fn is_segment_byte(byte: u8) -> bool {
    is_literal_byte(byte) || byte == b'*'
}

fn is_literal_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()+,;:@=".contains(&byte)
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

/// Why a text is not a path template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplateError(&'static str);

impl fmt::Display for PathTemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for PathTemplateError {}

const MAX_LENGTH: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::bytes::RegexBuilder;

    use super::*;

    /// The table of paths that Envoy was observed to match.
    #[test]
    fn matches_what_envoy_matches() {
        for (template, good, bad) in [
            (
                "/foo/{*}",
                vec!["/foo/bar", "/foo/b%20r", "/foo/a%2Fb"],
                vec!["/foo", "/foo/", "/foo/a/b"],
            ),
            (
                "/foo/{**}",
                vec!["/foo/", "/foo/a", "/foo/a/b", "/foo//"],
                vec!["/foo", "/fooa"],
            ),
            (
                "/foo/{**}/",
                vec!["/foo/bar/", "/foo//"],
                vec!["/foo/", "/foo/bar", "/foo/bar/baz.txt"],
            ),
            ("/{**}/foo", vec!["/a/foo", "/a/b/foo"], vec!["/foo"]),
            (
                "/foo/{*}/bar/{**}",
                vec!["/foo/x/bar/", "/foo/x/bar/y"],
                vec!["/foo/x/bar", "/foo//bar/x"],
            ),
            (
                "/store/{**}/cart",
                vec!["/store//cart", "/store/a/b/cart"],
                vec!["/store/cart"],
            ),
        ] {
            let template = PathTemplate::new(template).unwrap();
            for path in good {
                assert!(template.matches(path.as_bytes()), "{template} {path}");
            }
            for path in bad {
                assert!(!template.matches(path.as_bytes()), "{template} {path}");
            }
        }
    }

    #[test]
    fn refuses_what_envoy_would_refuse() {
        let braces = format!("/{}{{*}}/{{**}}", "a/".repeat(125));
        assert!(
            PathTemplate::new(&braces).is_ok(),
            "255 bytes without braces"
        );
        let long = format!("/{}", "a".repeat(256));
        for bad in [
            "",
            "{*}/x",
            "//{*}",
            "/a//{*}",
            "/{**}/{*}",
            "/{**}/{**}",
            "/a{*}",
            "/{*}b",
            "/{a}",
            "/a/{",
            "/{***}",
            "/a b/{*}",
            "/é/{*}",
            "/a*/{*}",
            &long,
        ] {
            assert!(PathTemplate::new(bad).is_err(), "{bad}");
        }
    }

    fn reference(template: &str) -> regex::bytes::Regex {
        let class = r"[A-Za-z0-9\-._~%!$&'()*+,;:@=";
        let pattern = regex::escape(template)
            .replace(r"\{\*\*\}", &format!("{class}/]*"))
            .replace(r"\{\*\}", &format!("{class}]+"));
        RegexBuilder::new(&format!(r"\A(?:{pattern})\z"))
            .unicode(false)
            .build()
            .unwrap()
    }

    /// B-60: no byte may make an operator match too little or too much.
    #[test]
    fn every_byte_is_inside_or_outside_as_envoy_has_it() {
        for template in ["/a/{*}", "/a/{**}", "/{*}/a", "/a/{**}/z"] {
            let parsed = PathTemplate::new(template).unwrap();
            let reference = reference(template);
            for byte in 0..=255_u8 {
                for path in [
                    [b"/a/".as_slice(), &[byte]],
                    [b"/a/x".as_slice(), &[byte, b'/', b'z']],
                    [&[b'/', byte], b"/a"],
                ] {
                    let path = path.concat();
                    assert_eq!(
                        parsed.matches(&path),
                        reference.is_match(&path),
                        "{template} {path:?}"
                    );
                }
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_regex(
            segments in prop::collection::vec(prop::sample::select(vec!["{*}", "a", "bc", "%2f"]), 1..4),
            tail in prop::sample::select(vec!["", "/", "/{**}", "/{**}/", "/{**}/a", "/{**}/a/bc"]),
            paths in prop::collection::vec("(/[abcz*%\\[ ]{0,2}){1,5}/?", 8),
        ) {
            let template = format!("/{}{tail}", segments.join("/"));
            let parsed = PathTemplate::new(&template).unwrap();
            let reference = reference(&template);
            for path in paths {
                prop_assert_eq!(parsed.matches(path.as_bytes()), reference.is_match(path.as_bytes()), "{} {}", template, path);
            }
        }
    }
}
