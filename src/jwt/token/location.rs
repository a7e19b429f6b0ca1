//! Finds tokens in a request, and removes them.

use std::borrow::Cow;

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, Uri, header};
use smallvec::SmallVec;

use crate::context::Exchange;
use crate::jwt::encoding::Reading;
use crate::matcher::header::is_joined;
use crate::matcher::query::{self, is_name, parameters, percent_decode};

/// A part of the request that may hold a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// A header, and the prefix before the token.
    Header {
        name: HeaderName,
        prefix: Box<str>,
        /// Envoy joins several lines of this header with a comma.
        joined: bool,
    },
    /// A query parameter.
    Parameter(Box<str>),
    /// A cookie.
    Cookie(Box<str>),
}

/// A token and the location it was found in.
#[derive(Debug)]
pub(crate) struct Found<'r, 'p> {
    pub(crate) token: Cow<'r, [u8]>,
    pub(crate) location: &'p Location,
}

impl Location {
    /// A token in a header.
    pub(crate) fn header(name: HeaderName, prefix: &str) -> Self {
        Self::Header {
            joined: is_joined(name.as_str()),
            name,
            prefix: prefix.into(),
        }
    }

    /// The locations of a rule that names none.
    pub(crate) fn defaults() -> Vec<Self> {
        vec![
            Self::header(header::AUTHORIZATION, "Bearer "),
            Self::Parameter("access_token".into()),
        ]
    }

    /// Adds the tokens of this location to `found`.
    pub(crate) fn find<'r, 'p>(
        &'p self,
        uri: &'r Uri,
        headers: &'r HeaderMap,
        reading: Reading,
        found: &mut SmallVec<[Found<'r, 'p>; 1]>,
    ) {
        let mut push = |token: Cow<'r, [u8]>| {
            found.push(Found {
                token,
                location: self,
            })
        };
        match self {
            Self::Header {
                name,
                prefix,
                joined,
            } => {
                let mut lines = headers
                    .get_all(name)
                    .iter()
                    .map(|value| value.as_bytes().trim_ascii());
                let Some(first) = lines.next() else { return };
                if *joined && let Some(second) = lines.next() {
                    let line = match reading {
                        Reading::Envoy => join([first, second].into_iter().chain(lines)),
                        // The header is not a list (RFC 9110 §5.3), and the application may read
                        // either line: an empty token, which is refused.
                        Reading::Strict => return push(Cow::Borrowed(b"")),
                    };
                    if let Some(token) = after_prefix(&line, prefix, reading) {
                        push(Cow::Owned(token.to_vec()));
                    }
                    return;
                }
                for line in std::iter::once(first).chain(lines) {
                    if let Some(token) = after_prefix(line, prefix, reading) {
                        push(Cow::Borrowed(token));
                    }
                }
            }
            // A shorter query cannot hold the name, however it is escaped.
            Self::Parameter(name) => uri
                .query()
                .filter(|query| query.len() > name.len())
                .into_iter()
                .flat_map(parameters)
                .filter(|(key, _)| is_name(key, name))
                .take(reading.most_of_a_name())
                .for_each(|(_, value)| push(percent_decode(value))),
            Self::Cookie(name) => cookies(headers, reading)
                .filter(|(key, _)| *key == name.as_bytes())
                .take(reading.most_of_a_name())
                .for_each(|(_, value)| push(Cow::Borrowed(value))),
        }
    }

    /// Removes the tokens of this location from the request, and from the URI that axum's routers
    /// keep. Cookies stay, as in Envoy.
    pub(crate) fn remove(&self, head: &mut Parts) {
        match self {
            Self::Header { name, .. } => {
                head.headers.remove(name);
            }
            Self::Parameter(name) => {
                let kept = Exchange::kept_uri(&mut head.extensions);
                for uri in std::iter::once(&mut head.uri).chain(kept) {
                    if let Some(stripped) = without_parameters(uri, |key, _| is_name(key, name)) {
                        *uri = stripped;
                    }
                }
            }
            Self::Cookie(_) => {}
        }
    }
}

impl Reading {
    /// How many parameters or cookies of one name are read: Envoy takes the first, an application
    /// may take any.
    fn most_of_a_name(self) -> usize {
        match self {
            Self::Envoy => 1,
            Self::Strict => usize::MAX,
        }
    }
}

/// The target without the query parameters for which `is_dropped` is true; `None` when it has none
/// of them.
pub(crate) fn without_parameters(
    uri: &Uri,
    is_dropped: impl Fn(&[u8], &[u8]) -> bool,
) -> Option<Uri> {
    let mut target = query::without(uri.path_and_query()?.as_str(), is_dropped)?;
    if !target.starts_with(['/', '*']) {
        target.insert(0, '/');
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Uri::from_parts(parts).ok()
}

/// The text after the first occurrence of the prefix, from the first byte that a token may have;
/// `None` when the prefix is missing.
fn after_prefix<'v>(value: &'v [u8], prefix: &str, reading: Reading) -> Option<&'v [u8]> {
    if prefix.is_empty() {
        return Some(value);
    }
    if reading == Reading::Strict {
        return after_scheme(value, prefix);
    }
    let at = value
        .windows(prefix.len())
        .position(|window| window == prefix.as_bytes())?;
    let rest = value.get(at + prefix.len()..)?;
    let start = rest.iter().position(|byte| is_token_byte(*byte));
    rest.get(start.unwrap_or(rest.len())..)
}

/// Rule J-24: the value must start with the prefix. A scheme (a prefix that ends in a space) is
/// compared without case; any number of spaces may follow it. A scheme alone is an empty token.
fn after_scheme<'v>(value: &'v [u8], prefix: &str) -> Option<&'v [u8]> {
    let Some(scheme) = prefix.strip_suffix(' ') else {
        return value.strip_prefix(prefix.as_bytes());
    };
    let (start, rest) = value.split_at_checked(scheme.len())?;
    let is_scheme = start.eq_ignore_ascii_case(scheme.as_bytes());
    (is_scheme && (rest.is_empty() || rest.starts_with(b" "))).then(|| rest.trim_ascii_start())
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// Joins several lines of a header as Envoy does: with commas, but none next to an empty line.
fn join<'v>(lines: impl Iterator<Item = &'v [u8]>) -> Vec<u8> {
    let mut joined = Vec::new();
    for line in lines {
        if !joined.is_empty() && !line.is_empty() {
            joined.push(b',');
        }
        joined.extend_from_slice(line);
    }
    joined
}

/// The names and values of cookies, without the quotes around values. Envoy strips only the blanks
/// before a name; applications strip more.
fn cookies(headers: &HeaderMap, reading: Reading) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
        .filter_map(move |cookie| {
            let start = cookie.iter().position(|byte| *byte != b' ')?;
            let cookie = cookie.get(start..)?;
            let equals = cookie.iter().position(|byte| *byte == b'=')?;
            let (mut name, value) = cookie.split_at(equals);
            let mut value = value.strip_prefix(b"=")?;
            if reading == Reading::Strict {
                (name, value) = (name.trim_ascii(), value.trim_ascii());
            }
            let bare = value
                .strip_prefix(b"\"")
                .and_then(|value| value.strip_suffix(b"\""));
            Some((name, bare.unwrap_or(value)))
        })
}
