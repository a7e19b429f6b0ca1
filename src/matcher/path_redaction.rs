//! Keeps what identifies people out of the paths of logs, events and spans.

use std::error::Error;
use std::fmt;
use std::ops::Range;

/// What a log leaves out of targets.
#[derive(Clone, Debug, Default)]
pub(crate) struct PathRedaction {
    templates: Vec<Template>,
    pub(crate) full_queries: bool,
}

/// Segments that follow one another somewhere in a path.
#[derive(Clone, Debug)]
struct Template(Vec<Segment>);

#[derive(Clone, Debug)]
enum Segment {
    /// In lower case.
    Literal(Box<str>),
    /// Left out; printed as this text, with its braces.
    Parameter(Box<str>),
}

/// Why a template of a path cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError(&'static str);

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for TemplateError {}

impl PathRedaction {
    /// Leaves the parameters of this template out.
    pub(crate) fn add(&mut self, template: &str) -> Result<(), TemplateError> {
        let Some(inside) = template.strip_prefix('/') else {
            return Err(TemplateError("a template begins with /: /patients/{id}"));
        };
        let inside = inside.strip_suffix('/').unwrap_or(inside);
        let segments: Result<Vec<_>, _> = inside.split('/').map(Segment::parse).collect();
        let segments = segments?;
        let literal = |segment: &Segment| matches!(segment, Segment::Literal(_));
        if segments.iter().all(literal) {
            return Err(TemplateError(
                "a template has a parameter in braces: /patients/{id}",
            ));
        }
        self.templates.push(Template(segments));
        Ok(())
    }

    /// Leaves out what another one does, too.
    #[cfg_attr(
        not(all(feature = "server", feature = "client")),
        allow(dead_code, reason = "for the spans and events of a mesh")
    )]
    pub(crate) fn merge(&mut self, other: &Self) {
        self.templates.extend(other.templates.iter().cloned());
    }

    /// The path without its chosen parameters.
    #[cfg_attr(
        not(all(feature = "server", feature = "client")),
        allow(dead_code, reason = "for the spans and events of a mesh")
    )]
    pub(crate) fn shown(&self, path: &str) -> String {
        let mut out = Vec::with_capacity(path.len());
        self.write_path(&mut out, path);
        String::from_utf8(out).unwrap_or_default()
    }

    /// Whether paths are written as they are.
    pub(crate) fn is_empty(&self) -> bool {
        self.templates.is_empty()
    }

    /// Appends the path without its chosen parameters.
    pub(crate) fn write_path(&self, out: &mut Vec<u8>, path: &str) {
        if self.templates.is_empty() {
            out.extend_from_slice(path.as_bytes());
            return;
        }
        let segments = segments(path);
        if segments.iter().any(|segment| is_dots(path, segment)) {
            // Which segments follow one another is not clear, as `/patients/x/../7` shows.
            out.extend_from_slice("/…".as_bytes());
            return;
        }
        let mut shown: Vec<Option<&str>> = vec![None; segments.len()];
        for template in &self.templates {
            for start in 0..segments.len() {
                template.mark(path, &segments, &mut shown, start);
            }
        }
        let mut written = 0;
        for (range, parameter) in segments.iter().zip(shown) {
            if let Some(parameter) = parameter {
                let before = path.get(written..range.start).unwrap_or_default();
                out.extend_from_slice(before.as_bytes());
                out.extend_from_slice(parameter.as_bytes());
                written = range.end;
            }
        }
        out.extend_from_slice(path.get(written..).unwrap_or_default().as_bytes());
    }

    /// Appends a query with its `?`, or a mark that there was one.
    pub(crate) fn write_query(&self, out: &mut Vec<u8>, query: &str) {
        if self.full_queries {
            out.push(b'?');
            out.extend_from_slice(query.as_bytes());
        } else {
            out.extend_from_slice("?…".as_bytes());
        }
    }

    /// Appends a URL that a header holds.
    pub(crate) fn write_url(&self, out: &mut Vec<u8>, url: &str) {
        let (url, fragment) = match url.split_once('#') {
            Some((url, _)) => (url, true),
            None => (url, false),
        };
        match url.split_once('?') {
            Some((path, query)) => {
                self.write_path(out, path);
                self.write_query(out, query);
            }
            None => self.write_path(out, url),
        }
        if fragment {
            out.extend_from_slice("#…".as_bytes());
        }
    }
}

impl Template {
    /// Marks the parameters of the segments from `start` on, if they are those of the template.
    fn mark<'a>(
        &'a self,
        path: &str,
        segments: &[Range<usize>],
        shown: &mut [Option<&'a str>],
        start: usize,
    ) {
        let Self(parts) = self;
        let Some(found) = segments.get(start..) else {
            return;
        };
        let fits = found.len() >= parts.len()
            && parts.iter().zip(found).all(|(part, range)| match part {
                Segment::Literal(literal) => is_same(path, range, literal),
                Segment::Parameter(_) => true,
            });
        if !fits {
            return;
        }
        for (part, shown) in parts.iter().zip(shown.iter_mut().skip(start)) {
            if let Segment::Parameter(name) = part {
                *shown = Some(name);
            }
        }
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Self, TemplateError> {
        match text.strip_prefix('{') {
            Some(name) => match name.strip_suffix('}') {
                Some(name)
                    if !name.is_empty()
                        && name
                            .bytes()
                            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') =>
                {
                    Ok(Self::Parameter(text.into()))
                }
                _ => Err(TemplateError(
                    "a parameter is a whole segment: a name of letters, digits and _ in braces",
                )),
            },
            None if text.is_empty() => Err(TemplateError("a template has no empty segments")),
            None if text.contains(['{', '}', '%', '?', '*', '\\']) => Err(TemplateError(
                "a literal segment of a template has no braces, wildcards, escapes or query",
            )),
            None => Ok(Self::Literal(text.to_ascii_lowercase().into())),
        }
    }
}

/// The segments that are not empty. A server may take a backslash, or a separator that is written
/// as an escape, for a slash, so they separate here, too.
fn segments(path: &str) -> Vec<Range<usize>> {
    let bytes = path.as_bytes();
    let (mut found, mut start, mut at) = (Vec::new(), 0, 0);
    while at < bytes.len() {
        let length = match bytes.get(at) {
            Some(b'/' | b'\\') => 1,
            Some(b'%') => match escaped(bytes, at) {
                Some(b'/' | b'\\') => 3,
                _ => 0,
            },
            _ => 0,
        };
        if length == 0 {
            at += 1;
            continue;
        }
        found.push(start..at);
        at += length;
        start = at;
    }
    found.push(start..bytes.len());
    found.retain(|range| !range.is_empty() && !is_dot(path, range));
    found
}

/// The byte that `%XX` at this place stands for.
fn escaped(bytes: &[u8], at: usize) -> Option<u8> {
    let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    let value = digit(at + 1)? << 4 | digit(at + 2)?;
    u8::try_from(value).ok()
}

/// The bytes of a segment without escapes, up to its parameters after `;`, in lower case.
fn plain<'a>(path: &'a str, range: &Range<usize>) -> impl Iterator<Item = u8> + 'a {
    let bytes = path.as_bytes().get(range.clone()).unwrap_or_default();
    let mut at = 0;
    std::iter::from_fn(move || {
        let byte = *bytes.get(at)?;
        match escaped(bytes, at).filter(|_| byte == b'%') {
            Some(escaped) => {
                at += 3;
                Some(escaped.to_ascii_lowercase())
            }
            None if byte == b';' => None,
            None => {
                at += 1;
                Some(byte.to_ascii_lowercase())
            }
        }
    })
}

fn is_same(path: &str, range: &Range<usize>, literal: &str) -> bool {
    plain(path, range).eq(literal.bytes())
}

fn is_dot(path: &str, range: &Range<usize>) -> bool {
    plain(path, range).eq(*b".")
}

fn is_dots(path: &str, range: &Range<usize>) -> bool {
    plain(path, range).eq(*b"..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(templates: &[&str], path: &str) -> String {
        let mut redaction = PathRedaction::default();
        for template in templates {
            redaction.add(template).unwrap();
        }
        let mut out = Vec::new();
        redaction.write_path(&mut out, path);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn parameters_are_left_out_however_the_path_is_written() {
        for (path, expected) in [
            ("/patients", "/patients"),
            ("/patients/", "/patients/"),
            ("/patients/7", "/patients/{id}"),
            ("/patients/7/", "/patients/{id}/"),
            ("/patients/7/charts/9", "/patients/{id}/charts/{chart}"),
            ("/api/v1/patients/7/notes", "/api/v1/patients/{id}/notes"),
            ("/PATIENTS/7", "/PATIENTS/{id}"),
            ("/%70atients/7", "/%70atients/{id}"),
            ("//patients//7", "//patients//{id}"),
            ("/patients/./7", "/patients/./{id}"),
            ("/patients;v=1/7", "/patients;v=1/{id}"),
            ("/patients%2f7", "/patients%2f{id}"),
            ("/patients\\7", "/patients\\{id}"),
            ("/patients/x/../7", "/…"),
            ("/patients/x/%2e%2e/7", "/…"),
            ("/doctors/7", "/doctors/7"),
            ("*", "*"),
            ("", ""),
            ("/patients/%zz", "/patients/{id}"),
        ] {
            let templates = ["/patients/{id}", "/patients/{id}/charts/{chart}"];
            assert_eq!(written(&templates, path), expected, "{path}");
        }
        assert_eq!(
            written(&["/{tenant}/notes/{id}"], "/a/notes/7"),
            "/{tenant}/notes/{id}"
        );
    }

    #[test]
    fn a_url_loses_its_query_and_its_parameters() {
        let mut redaction = PathRedaction::default();
        redaction.add("/patients/{id}").unwrap();
        for (url, expected) in [
            (
                "https://a.example/patients/7?q=1",
                "https://a.example/patients/{id}?…",
            ),
            ("https://a.example/#patients/7", "https://a.example/#…"),
        ] {
            let mut out = Vec::new();
            redaction.write_url(&mut out, url);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn a_template_that_hides_nothing_is_refused() {
        for template in [
            "patients/{id}",
            "/patients",
            "/a//{id}",
            "/a{id}",
            "/{}",
            "/{a-b}",
            "/*/{id}",
            "/",
        ] {
            assert!(
                PathRedaction::default().add(template).is_err(),
                "{template}"
            );
        }
    }
}
