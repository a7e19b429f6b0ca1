//! Addresses as they may be shown: in logs, errors and `Debug`.

/// An address without userinfo, query and fragment, where passwords and access keys stand. Of a
/// malformed one, only what cannot be such.
pub(crate) fn shown_uri(uri: &str) -> String {
    let is_scheme = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    };
    match uri.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => {
            let rest = before_query(rest);
            let (authority, path) = match rest.find('/') {
                Some(start) => rest.split_at(start),
                None => (rest, ""),
            };
            match authority.rsplit('@').next().filter(|host| is_host(host)) {
                Some(host) => format!("{scheme}://{host}{path}"),
                None => format!("{scheme}://…"),
            }
        }
        _ if uri.contains('@') => "…".to_owned(),
        _ => before_query(uri).to_owned(),
    }
}

fn before_query(text: &str) -> &str {
    text.split(['?', '#']).next().unwrap_or_default()
}

/// A name or an address, with or without a port.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        // The colons of an IPv6 address stand in brackets.
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (text, ""),
    };
    let inner = host.strip_prefix('[').and_then(|v6| v6.strip_suffix(']'));
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_v6 = |byte: u8| byte.is_ascii_hexdigit() || b":.".contains(&byte);
    let is_host = match inner {
        Some(v6) => v6.bytes().all(is_v6),
        None => host.bytes().all(is_good),
    };
    is_host && !host.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_is_left_out() {
        for (uri, shown) in [
            ("https://a.b/c", "https://a.b/c"),
            ("https://u:p@a.b:1/c@d?q=s#f", "https://a.b:1/c@d"),
            ("https://u@v@a/c", "https://a/c"),
            ("https://u:p@[::1]:8443/c", "https://[::1]:8443/c"),
            ("https://a?q=x@y", "https://a"),
            ("https://a#f", "https://a"),
            ("https://u:p/w@a/c", "https://…"),
            ("https://u:p?w@a/c", "https://…"),
            ("https://u:p@", "https://…"),
            ("https://u:p@a b/c", "https://…"),
            ("u:p@a/c", "…"),
            ("u:p?@a/c", "…"),
            ("u:p@a?x=https://b", "…"),
            ("/keys?q", "/keys"),
            ("issuer.example", "issuer.example"),
            ("", ""),
        ] {
            assert_eq!(shown_uri(uri), shown, "{uri}");
        }
    }
}
