//! Query parameters, and which of them may hold an end user's token.

use std::borrow::Cow;

use super::path::escaped;

/// The parameters of a query: keys and values as they were written, cut at the first `=`.
///
/// Bytes are looked at one by one: every request with a query comes this way, and queries are
/// short.
pub fn parameters(query: &str) -> impl Iterator<Item = (&[u8], &[u8])> {
    query.as_bytes().split(|byte| *byte == b'&').map(parameter)
}

/// Whether a key as it was written is this name.
#[must_use]
pub fn is_name(key: &[u8], name: &str) -> bool {
    key == name.as_bytes() || (key.contains(&b'%') && *percent_decode(key) == *name.as_bytes())
}

/// Decodes `%XX` to its byte; a `%` without two digits stays.
#[must_use]
pub fn percent_decode(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    Cow::Owned(decoded(text).collect())
}

/// A target, from its path on, without the parameters that `is_dropped` says of, given key and
/// value; `None` when there are none of them. The others stay as they were written.
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

/// Whether a parameter may hold a bearer token, where no rule names the parameters (security rule
/// J-25): by the name that RFC 6750 §2.3 gives it, or by its value, which has the form of a JWS
/// (RFC 7515 §7.1).
///
/// The form is what a guard may accept: three parts with dots between them, of base64url, white
/// space and padding, with any of it as percent signs, and not so short that it cannot be signed. A
/// name of a host with three labels can look like one.
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

/// White space in C's sense, which Rust's does not have.
const VERTICAL_TAB: u8 = 0x0b;

fn parameter(pair: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = pair.splitn(2, |byte| *byte == b'=');
    let mut next = || parts.next().unwrap_or_default();
    (next(), next())
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
