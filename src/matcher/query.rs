//! Splits queries into parameters, and recognises those that may hold an end user's token.

use std::borrow::Cow;

use super::path::escaped;

/// The parameters of a query: keys and values as they were written, split at the first `=`.
///
/// This goes byte by byte, because every request with a query takes this path and queries are
/// short.
pub fn parameters(query: &str) -> impl Iterator<Item = (&[u8], &[u8])> {
    query.as_bytes().split(|byte| *byte == b'&').map(parameter)
}

/// Whether a key, as it was written, stands for this name.
#[must_use]
pub fn is_name(key: &[u8], name: &str) -> bool {
    // Decoding only shortens a key.
    key == name.as_bytes()
        || (key.len() > name.len()
            && key.contains(&b'%')
            && *percent_decode(key) == *name.as_bytes())
}

/// Decodes `%XX` to its byte; a `%` without two hex digits stays.
#[must_use]
pub fn percent_decode(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    Cow::Owned(decoded(text).collect())
}

/// A target, from its path on, without the parameters for which `is_dropped` returns `true`, given
/// key and value. `None` if there are no such parameters. The others stay as they were written.
pub fn without(target: &str, is_dropped: impl Fn(&[u8], &[u8]) -> bool) -> Option<String> {
    let (path, query) = target.split_at_checked(target.bytes().position(|byte| byte == b'?')?)?;
    let query = query.get(1..)?;
    if !parameters(query).any(|(key, value)| is_dropped(key, value)) {
        return None;
    }
    let mut kept = String::with_capacity(target.len());
    kept.push_str(path);
    let mut mark = '?';
    for pair in query.split('&') {
        let (key, value) = parameter(pair.as_bytes());
        if !is_dropped(key, value) {
            kept.push(mark);
            kept.push_str(pair);
            mark = '&';
        }
    }
    Some(kept)
}

/// The fewest bytes of a query in which [`is_token`] finds something: the name.
#[cfg(feature = "jwt")]
pub(crate) const SHORTEST_QUERY: usize = "access_token".len();

/// Whether a parameter may hold a bearer token, for use where no rule names the parameters
/// (security rule J-25). It may if it has the name that RFC 6750 §2.3 gives it, or if its value has
/// the form of a JWS (RFC 7515 §7.1).
///
/// That form covers everything that a guard could accept: three parts with dots between them, of
/// base64url characters, whitespace and padding, each possibly percent-encoded, and at least 32
/// bytes long, because a shorter text cannot hold a signature. A host name with three labels can
/// look like a token.
#[must_use]
pub fn is_token(key: &[u8], value: &[u8]) -> bool {
    const SHORTEST: usize = 32;
    if is_name(key, "access_token") {
        return true;
    }
    if value.len() < SHORTEST {
        return false;
    }
    let (mut parts, mut is_inside) = (0, false);
    for byte in decoded(value) {
        match byte {
            b'.' => is_inside = false,
            b'-' | b'_' | b'=' => {}
            byte if byte.is_ascii_whitespace() || byte == VERTICAL_TAB => {}
            byte if byte.is_ascii_alphanumeric() => {
                parts += usize::from(!is_inside);
                is_inside = true;
            }
            _ => return false,
        }
    }
    parts == 3
}

/// Whitespace in C, but not in Rust.
const VERTICAL_TAB: u8 = 0x0b;

fn parameter(pair: &[u8]) -> (&[u8], &[u8]) {
    let equals = pair.iter().position(|byte| *byte == b'=');
    let (key, value) = pair.split_at(equals.unwrap_or(pair.len()));
    (key, value.get(1..).unwrap_or_default())
}

fn decoded(mut rest: &[u8]) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let (byte, after) = rest.split_first()?;
        rest = after;
        if *byte == b'%'
            && let Some(byte) = escaped(after)
        {
            rest = after.get(2..).unwrap_or_default();
            return Some(byte);
        }
        Some(*byte)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_in_the_form_of_a_jws_is_a_token() {
        let part = "eyJhbGciOiJFUzI1NiJ9";
        for (value, expected) in [
            (format!("{part}.{part}.{part}"), true),
            (format!("{part}.{part}.AA"), true),
            (format!(".{part}..{part}.{part}."), true),
            (format!("{part}==.{part}%3d.{part} "), true),
            (format!("{part}%2E{part}%2e{part}%0b"), true),
            (format!("{part}.{part}"), false),
            (format!("{part}.{part}.{part}.{part}"), false),
            (format!("{part}.{part}.{part}/"), false),
            (format!("{part}.{part}.{part}%"), false),
            (format!("https://{part}.{part}.{part}"), false),
            ("1.2.3".to_owned(), false),
        ] {
            assert_eq!(is_token(b"x", value.as_bytes()), expected, "{value}");
        }
        for key in ["access_token", "access%5Ftoken", "%61ccess_token"] {
            assert!(is_token(key.as_bytes(), b""), "{key}");
        }
        assert!(!is_token(b"my_access_token", b"1"));
    }

    #[test]
    fn what_is_dropped_leaves_no_mark() {
        let is_x = |key: &[u8], _: &[u8]| is_name(key, "x");
        for (target, expected) in [
            ("/a", None),
            ("/a?b", None),
            ("/a?x", Some("/a")),
            ("/a?x=1&b&%78=2", Some("/a?b")),
            ("/a?b=?x=1&x", Some("/a?b=?x=1")),
            ("/a?&x&", Some("/a?&")),
        ] {
            assert_eq!(without(target, is_x).as_deref(), expected, "{target}");
        }
    }
}
