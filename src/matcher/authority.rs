//! Checks and splits hosts as Envoy's codec does.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use super::ascii::AsciiSet;

/// Whether a `Host` header or an `:authority` holds only bytes that Envoy's codec accepts (RFC
/// 3986's `authority`). An empty one is accepted.
#[must_use]
pub fn is_legal(authority: &[u8]) -> bool {
    authority.iter().all(|byte| LEGAL.has(*byte))
}

/// Whether an authority is a name of letters, digits, `.`, `-` and `_` that does not end with a dot:
/// the usual case, which needs no second look.
#[cfg(feature = "gate")]
pub(crate) fn is_name(authority: &[u8]) -> bool {
    let is_ended = authority.last().is_some_and(|last| *last != b'.');
    is_ended && authority.iter().all(|byte| NAME.has(*byte))
}

/// The bytes of [`is_name`].
#[cfg(feature = "gate")]
static NAME: AsciiSet = {
    let (mut name, mut byte) = (AsciiSet::EMPTY, 0);
    while byte < 128_u8 {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_') {
            name = name.with(byte);
        }
        byte += 1;
    }
    name
};

/// The bytes that an authority may have. Every request's host is checked.
static LEGAL: AsciiSet = {
    let (mut legal, mut byte) = (AsciiSet::EMPTY, 0);
    while byte < 128_u8 {
        let mut others = b"-._~%!$&'()*+,;=:@[]".as_slice();
        let mut is_legal = byte.is_ascii_alphanumeric();
        while let [other, rest @ ..] = others {
            is_legal |= byte == *other;
            others = rest;
        }
        if is_legal {
            legal = legal.with(byte);
        }
        byte += 1;
    }
    legal
};

/// The `host[:port]` in the authority of an absolute request target, without user and password.
/// This text replaces the `Host` header.
///
/// `None` if Envoy answers 400: the host must consist of letters, digits, `.` and `-`, or be an
/// IPv6 address in brackets, and the port must be a number.
#[must_use]
pub fn of_target(authority: &str) -> Option<&str> {
    let host_and_port = match authority.split_once('@') {
        None => authority,
        Some((user, rest)) => user.bytes().all(is_user).then_some(rest)?,
    };
    let (host, _) = split_port(host_and_port)?;
    // Only IPv6 addresses contain colons.
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-:".contains(&byte);
    (!host.is_empty() && host.bytes().all(is_host)).then_some(host_and_port)
}

/// Splits `host[:port]` into host and port; an IPv6 address loses its brackets. `None` if the port
/// is not a number or the brackets hold no IPv6 address.
pub(crate) fn split_port(host_and_port: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match host_and_port.strip_prefix('[') {
        Some(bracketed) => {
            let (address, port) = bracketed.split_once(']')?;
            address.parse::<Ipv6Addr>().ok()?;
            (address, port)
        }
        None => {
            let end = host_and_port.find(':').unwrap_or(host_and_port.len());
            host_and_port.split_at_checked(end)?
        }
    };
    if port.is_empty() {
        return Some((host, None));
    }
    let digits = port.strip_prefix(':')?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    Some((host, Some(is_number.then(|| digits.parse().ok())??)))
}

/// The other forms of a host that has a port, or dots at its end: without both, and, if it has both,
/// with the port alone.
pub(crate) fn other_forms(authority: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let brackets = authority.rfind(']').map_or(0, |end| end + 1);
    let rest = authority.get(brackets..).unwrap_or_default();
    let end = brackets + rest.find(':').unwrap_or(rest.len());
    let (host, port) = authority.split_at_checked(end).unwrap_or((authority, ""));
    let bare = host.trim_end_matches('.');
    let forms = [
        (bare != authority).then_some(Cow::Borrowed(bare)),
        (bare != host && !port.is_empty()).then(|| Cow::Owned(format!("{bare}{port}"))),
    ];
    let is_host = !bare.is_empty();
    forms.into_iter().flatten().filter(move |_| is_host)
}

/// An authority without the user and password before its last `@`, which are not part of the host.
#[must_use]
pub fn without_user(authority: &str) -> &str {
    let at = authority.bytes().rposition(|byte| byte == b'@');
    let host = at.and_then(|at| authority.get(at + 1..));
    host.unwrap_or(authority)
}

/// The host and port of an authority, as a log line, a span or an observer may show them: without a
/// user and password in front of them, and without a path or query that a caller wrote behind them
/// (rule J-25). Empty when it is unclear where a user ends.
#[must_use]
pub fn shown(authority: &str) -> &str {
    // Byte by byte: it is short, and asked for each request.
    let mut bytes = authority.bytes();
    let end = bytes.position(|byte| matches!(byte, b'/' | b'?' | b'#'));
    let end = end.unwrap_or(authority.len());
    let start = authority.bytes().rposition(|byte| byte == b'@');
    let start = start.map_or(0, |at| at + 1);
    authority.get(start..end).unwrap_or_default()
}

fn is_user(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.!~*'()%;:&=+$,".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B-05.
    #[test]
    fn a_host_has_forms_without_port_and_dots() {
        for (authority, expected) in [
            ("app.example:80", &["app.example"][..]),
            ("app.example.", &["app.example"]),
            ("app.example..", &["app.example"]),
            ("app.example.:80", &["app.example", "app.example:80"]),
            ("app.example:", &["app.example"]),
            ("[::1]:80", &["[::1]"]),
            ("app.example", &[]),
            ("[::1]", &[]),
            (":80", &[]),
            (".", &[]),
            ("", &[]),
        ] {
            let forms: Vec<_> = other_forms(authority).collect();
            assert_eq!(forms, expected, "{authority}");
        }
    }

    #[test]
    fn a_host_holds_what_the_codec_takes() {
        for good in [
            "",
            "app.example:80",
            "[::1]:80",
            "u:p@h",
            "a_b,c",
            "a%41",
            "*",
        ] {
            assert!(is_legal(good.as_bytes()), "{good}");
        }
        for bad in [
            "a b", "a/b", "a?b", "a#b", "é", "a\\b", "a\"b", "a<b", "a^b", "a`b", "{a}", "a|b",
            "a\0",
        ] {
            assert!(!is_legal(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn neither_a_user_nor_a_query_is_shown() {
        for (text, host) in [
            ("app:8443", "app:8443"),
            ("[::1]:80", "[::1]:80"),
            ("ada:secret@app:8443", "app:8443"),
            ("a@b@app", "app"),
            ("app/?access_token=secret", "app"),
            ("app?secret", "app"),
            ("app#secret", "app"),
            ("ada:secret@app/?access_token=secret", "app"),
            ("ada:secret/secret@app", ""),
            ("app/?mail=ada@clinic", ""),
            ("ada:secret@", ""),
            ("", ""),
        ] {
            assert_eq!(shown(text), host, "{text}");
        }
    }

    #[test]
    fn a_user_ends_at_the_last_sign() {
        for (text, host) in [
            ("h:1", "h:1"),
            ("u@h", "h"),
            ("u:p@h:1", "h:1"),
            ("a@b@h", "h"),
            ("@h", "h"),
            ("u@", ""),
        ] {
            assert_eq!(without_user(text), host, "{text}");
        }
    }

    /// The observed behaviour of Envoy 1.40.
    #[test]
    fn the_host_of_an_absolute_target_is_strict() {
        for (text, host) in [
            ("h", "h"),
            ("A.b-c:80", "A.b-c:80"),
            ("h..", "h.."),
            ("a:000080", "a:000080"),
            ("a:0", "a:0"),
            ("[::1]", "[::1]"),
            ("[::1]:80", "[::1]:80"),
            ("u:p@h:1", "h:1"),
            (":p@h", "h"),
            ("@h", "h"),
            ("u_~!*'()%&=+$,;:x@h", "h"),
        ] {
            assert_eq!(of_target(text), Some(host), "{text}");
        }
        for bad in [
            "",
            ":80",
            "h:",
            "h:a",
            "h:+1",
            "a:65536",
            "h:80:90",
            "a_b",
            "a~b",
            "a%41",
            "a,b",
            "u@",
            "u@v@h",
            "u[@h",
            "[]",
            "[::g]",
            "[v1.x]",
            "[::1",
            "[::1]x",
            "[::1%25eth0]",
            "é",
            "a b",
        ] {
            assert_eq!(of_target(bad), None, "{bad}");
        }
    }
}
