//! Checks `referer` headers.

use super::authority;

/// Whether a `referer` is valid: a URL or a relative reference without user and fragment (RFC 9110
/// §10.1.3). Envoy removes any other.
pub(super) fn is_one(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else {
        return false;
    };
    match text.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => {
            let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
            authority::of_target(authority) == Some(authority)
                && path
                    .bytes()
                    .all(|byte| byte.is_ascii_graphic() && byte != b'#')
        }
        _ => is_relative(text),
    }
}

fn is_scheme(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// The first segment may not contain a `:` (RFC 3986 §4.2).
fn is_relative(text: &str) -> bool {
    let first = text.split('/').next().unwrap_or_default();
    let is_taken =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:@/?".contains(&byte);
    !first.contains(':') && text.bytes().all(is_taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The observed behaviour of Envoy 1.40.
    #[test]
    fn a_referer_is_a_url_or_a_relative_reference() {
        for good in [
            "",
            "http://a",
            "HTTP://a/b?c",
            "x://a/b?c|d",
            "http://[::1]/",
            "http://a/|",
            "a",
            "a/b",
            "/a:b",
            "//a/b",
            "a?b",
            "a,b;c%zz",
            "'*!@&=+~$()",
            "..",
        ] {
            assert!(is_one(good.as_bytes()), "{good}");
        }
        for bad in [
            "http://a/b#c",
            "http://u@a/b",
            "http://@a",
            "http:",
            "http://",
            "http://a b",
            "http://a/ b",
            "http://a/é",
            "http://a:99999/",
            "a:b",
            "about:blank",
            "?a:b",
            "a#b",
            "é",
            "a\"b",
            "a|b",
            "a<b",
            "[x]",
            "a^b",
            "a`b",
            "{",
            "\\",
            "q, q",
        ] {
            assert!(!is_one(bad.as_bytes()), "{bad}");
        }
    }
}
