//! A request as it goes over the wire, and what can be read in it without a parser of HTTP.

use std::borrow::Cow;

/// A request of the comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    /// The rule that it is about.
    pub(crate) rule: &'static str,
    pub(crate) message: Message,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// The bytes of an HTTP/1 connection.
    Http1(Vec<u8>),
    /// The header fields of an HTTP/2 stream, and its body.
    Http2(Vec<Field>, Vec<u8>),
}

/// The name and the value of a header, or of a pseudo-header.
pub(crate) type Field = (Vec<u8>, Vec<u8>);

impl Message {
    pub(crate) fn is_http1(&self) -> bool {
        matches!(self, Self::Http1(_))
    }

    pub(crate) fn method(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Http1(bytes) => request_line(bytes).0.into(),
            Self::Http2(..) => self.first(":method"),
        }
    }

    /// The request target: in HTTP/2 the `:path`.
    pub(crate) fn target(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Http1(bytes) => request_line(bytes).1.into(),
            Self::Http2(..) => self.first(":path"),
        }
    }

    /// The path of the target, without its query.
    pub(crate) fn path(&self) -> Vec<u8> {
        let target = self.target();
        let rest = match target.windows(3).position(|part| part == b"://") {
            Some(at) if !target.starts_with(b"/") => {
                let rest = &target[at + 3..];
                let end = rest.iter().position(|byte| b"/?#".contains(byte));
                &rest[end.unwrap_or(rest.len())..]
            }
            _ => &target[..],
        };
        let end = rest.iter().position(|byte| b"?#".contains(byte));
        rest[..end.unwrap_or(rest.len())].to_vec()
    }

    /// The authority of an absolute HTTP/1 target, or the `:authority`.
    pub(crate) fn authority(&self) -> Option<Vec<u8>> {
        if let Self::Http2(..) = self {
            return self.values(":authority").into_iter().next();
        }
        let target = self.target();
        let at = target.windows(3).position(|part| part == b"://")?;
        let rest = &target[at + 3..];
        let end = rest.iter().position(|byte| b"/?#".contains(byte));
        (!target.starts_with(b"/")).then(|| rest[..end.unwrap_or(rest.len())].to_vec())
    }

    /// The values of a header, whatever the case of its name; trimmed.
    pub(crate) fn values(&self, name: &str) -> Vec<Vec<u8>> {
        let wanted = |(found, _): &Field| found.eq_ignore_ascii_case(name.as_bytes());
        let fields = self.fields().into_iter().filter(wanted);
        fields
            .map(|(_, value)| value.trim_ascii().to_vec())
            .collect()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        !self.values(name).is_empty()
    }

    /// The header fields; of HTTP/1, each line of the head with a colon.
    pub(crate) fn fields(&self) -> Vec<Field> {
        match self {
            Self::Http1(bytes) => lines(bytes).skip(1).filter_map(split).collect(),
            Self::Http2(fields, _) => fields.clone(),
        }
    }

    /// The head of an HTTP/1 request in lines, without their ends; of HTTP/2 none.
    pub(crate) fn lines(&self) -> Vec<&[u8]> {
        match self {
            Self::Http1(bytes) => lines(bytes).collect(),
            Self::Http2(..) => Vec::new(),
        }
    }

    fn first(&self, name: &str) -> Cow<'_, [u8]> {
        self.values(name)
            .into_iter()
            .next()
            .unwrap_or_default()
            .into()
    }

    /// The request in one line that can be read, shortened.
    pub(crate) fn show(&self) -> String {
        let text = match self {
            Self::Http1(bytes) => bytes.escape_ascii().to_string(),
            Self::Http2(fields, body) => {
                let show = |(name, value): &Field| {
                    format!("{}: {}", name.escape_ascii(), value.escape_ascii())
                };
                let fields: Vec<_> = fields.iter().map(show).collect();
                format!("h2 {} | {}", fields.join("; "), body.escape_ascii())
            }
        };
        match text.char_indices().nth(240) {
            Some((end, _)) => format!("{}.. ({} characters)", &text[..end], text.len()),
            None => text,
        }
    }
}

/// The lines of a head, without their ends.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = bytes.split(|byte| *byte == b'\n');
    lines
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .skip_while(|line| line.is_empty())
        .take_while(|line| !line.is_empty())
}

fn request_line(bytes: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let line = lines(bytes).next().unwrap_or_default();
    let first = line.iter().position(|byte| *byte == b' ');
    let (method, rest) = match first {
        Some(at) => (&line[..at], &line[at + 1..]),
        None => (line, &line[line.len()..]),
    };
    match rest.iter().rposition(|byte| *byte == b' ') {
        Some(at) => (method, &rest[..at], &rest[at + 1..]),
        None => (method, rest, &rest[rest.len()..]),
    }
}

fn split(line: &[u8]) -> Option<Field> {
    let at = line.iter().position(|byte| *byte == b':')?;
    Some((line[..at].to_vec(), line[at + 1..].to_vec()))
}
