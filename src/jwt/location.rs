//! Where tokens are found in a request, and how they are taken out of it.

use std::borrow::Cow;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, Uri, header};

use super::few::Few;
use super::token::Reading;
use crate::matcher::header::is_joined;

/// One place that may hold a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A header, and what stands before the token in it.
    Header {
        name: HeaderName,
        prefix: Box<str>,
        /// Envoy keeps one line of it: several are joined with a comma.
        joined: bool,
    },
    /// A query parameter.
    Parameter(Box<str>),
    /// A cookie.
    Cookie(Box<str>),
}

/// A token and the place it was found in.
#[derive(Debug)]
pub(crate) struct Found<'r, 'p> {
    pub(crate) token: Cow<'r, [u8]>,
    pub(crate) place: &'p Place,
}

impl Place {
    /// A header location.
    pub(crate) fn header(name: HeaderName, prefix: &str) -> Self {
        Self::Header {
            joined: is_joined(name.as_str()),
            name,
            prefix: prefix.into(),
        }
    }

    /// Where a rule looks that says nothing of it.
    pub(crate) fn defaults() -> Vec<Self> {
        vec![
            Self::header(header::AUTHORIZATION, "Bearer "),
            Self::Parameter("access_token".into()),
        ]
    }

    /// Adds the tokens of this place to `found`.
    pub(crate) fn find<'r, 'p>(
        &'p self,
        uri: &'r Uri,
        headers: &'r HeaderMap,
        reading: Reading,
        found: &mut Few<Found<'r, 'p>>,
    ) {
        let mut push = |token: Cow<'r, [u8]>| found.push(Found { token, place: self });
        match self {
            Self::Header {
                name,
                prefix,
                joined,
            } => {
                let mut values = headers
                    .get_all(name)
                    .iter()
                    .map(|value| value.as_bytes().trim_ascii());
                let Some(first) = values.next() else { return };
                if *joined && let Some(second) = values.next() {
                    let mut line = [first, b",", second].concat();
                    for value in values {
                        line.push(b',');
                        line.extend_from_slice(value);
                    }
                    if let Some(token) = after_prefix(&line, prefix, reading) {
                        push(Cow::Owned(token.to_vec()));
                    }
                    return;
                }
                for value in std::iter::once(first).chain(values) {
                    if let Some(token) = after_prefix(value, prefix, reading) {
                        push(Cow::Borrowed(token));
                    }
                }
            }
            Self::Parameter(name) => {
                let Some(query) = uri.query() else { return };
                if let Some((_, value)) = parameters(query).find(|(key, _)| is_name(key, name)) {
                    push(percent_decode(value));
                }
            }
            Self::Cookie(name) => {
                let token = cookies(headers).find(|(key, _)| *key == name.as_bytes());
                if let Some((_, token)) = token {
                    push(Cow::Borrowed(token));
                }
            }
        }
    }

    /// Takes the tokens of this place out of the request. Cookies stay, as in Envoy.
    pub(crate) fn remove(&self, uri: &mut Uri, headers: &mut HeaderMap) {
        match self {
            Self::Header { name, .. } => {
                headers.remove(name);
            }
            Self::Parameter(name) => {
                if let Some(stripped) = without_parameters(uri, |key| is_name(key, name)) {
                    *uri = stripped;
                }
            }
            Self::Cookie(_) => {}
        }
    }
}

/// The target without the query parameters whose keys may hold a token; `None` when it has none of them. The other parameters stay as
/// they were written.
pub(crate) fn without_parameters(uri: &Uri, is_token: impl Fn(&[u8]) -> bool) -> Option<Uri> {
    let query = uri.query()?;
    if !parameters(query).any(|(key, _)| is_token(key)) {
        return None;
    }
    let kept: Vec<_> = query
        .split('&')
        .filter(|pair| !parameters(pair).any(|(key, _)| is_token(key)))
        .collect();
    let target = match kept.join("&") {
        rest if rest.is_empty() => uri.path().to_owned(),
        rest => format!("{}?{rest}", uri.path()),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Uri::from_parts(parts).ok()
}

/// What follows the first occurrence of the prefix, from the first character that a token may have; `None` when the prefix is missing.
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

/// Rule J-24: the prefix stands first; a scheme (a prefix that ends in a space) is compared without case and followed by any number of
/// spaces. A scheme with nothing behind it is an empty token.
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

/// Keys and values as they were written. Bytes are looked at one by one: every request with a query comes this way, and queries are short.
fn parameters(query: &str) -> impl Iterator<Item = (&[u8], &[u8])> {
    query.as_bytes().split(|byte| *byte == b'&').map(|pair| {
        let mut parts = pair.splitn(2, |byte| *byte == b'=');
        let key = parts.next().unwrap_or_default();
        (key, parts.next().unwrap_or_default())
    })
}

/// Whether a key as it was written is this name.
pub(crate) fn is_name(key: &[u8], name: &str) -> bool {
    key == name.as_bytes() || (key.contains(&b'%') && *percent_decode(key) == *name.as_bytes())
}

/// `%XX` as the byte it stands for; a `%` without two digits stays.
fn percent_decode(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte == b'%'
            && let [high, low, after @ ..] = after
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            decoded.push(high << 4 | low);
            rest = after;
        } else {
            decoded.push(*byte);
        }
    }
    Cow::Owned(decoded)
}

/// Names and values, values without the quotes around them.
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|cookie| {
            let equals = cookie.iter().position(|byte| *byte == b'=')?;
            let (name, value) = cookie.split_at(equals);
            let value = value.strip_prefix(b"=")?.trim_ascii();
            let bare = value
                .strip_prefix(b"\"")
                .and_then(|value| value.strip_suffix(b"\""));
            Some((name.trim_ascii(), bare.unwrap_or(value)))
        })
}
