//! Validates single values.

use std::net::IpAddr;

use crate::istio::Text;
use crate::istio::resource::uri::shown_uri;
use crate::istio::yaml::cursor::{Cursor, digits};
use crate::istio::yaml::fields::Fields;
use crate::istio::yaml::tree::Value;

/// An address or a CIDR block.
pub(super) fn ip_block(at: &Cursor<'_, '_>, text: &str) {
    let good = match text.split_once('/') {
        None => text.parse::<IpAddr>().is_ok(),
        Some((address, length)) => address.parse::<IpAddr>().is_ok_and(|address| {
            let bits = if address.is_ipv4() { 32 } else { 128 };
            let padded = length.len() > 1 && length.starts_with('0');
            !padded && digits(length).is_some_and(|length| length <= bits)
        }),
    };
    if !good {
        at.wrong(format!(
            "`{text}` is no address and no CIDR block; write for example 10.1.0.0/16 or 2001:db8::1"
        ));
    }
}

/// A port of an AuthorizationPolicy: a decimal text.
pub(super) fn port(at: &Cursor<'_, '_>, text: &str) {
    if digits(text).is_none_or(|port| port > 65_535) {
        at.wrong(format!(
            "`{text}` is no port; write a decimal number from 0 to 65535"
        ));
    }
}

/// A path, which is a template when it holds `{*}` or `{**}`.
pub(super) fn path(at: &Cursor<'_, '_>, text: &str) {
    if let Err(message) = check_path(text) {
        at.wrong(format!("`{text}`: {message}"));
    }
}

fn check_path(text: &str) -> Result<(), &'static str> {
    let literal = text.replace("{**}", "").replace("{*}", "");
    if literal.contains(['{', '}']) {
        return Err(
            "braces are allowed only in {*} (one segment) and {**} (any number of segments)",
        );
    }
    if literal.len() == text.len() {
        return Ok(());
    }
    // Istio trims outer slashes first and so lets pass what Envoy refuses: no slash at the start,
    // or several.
    let Some(inner) = text.strip_prefix('/').filter(|rest| !rest.starts_with('/')) else {
        return Err("a path with {*} or {**} must start with a single /");
    };
    if text.len() > 256 {
        return Err("a path with {*} or {**} has at most 256 characters");
    }
    let mut after_any = false;
    for segment in inner.strip_suffix('/').unwrap_or(inner).split('/') {
        let operator = ["{*}", "{**}"].contains(&segment);
        if operator && after_any {
            return Err("{**} must be the last operator");
        }
        after_any |= segment == "{**}";
        if segment.is_empty() {
            return Err("a path with {*} or {**} has no empty segment; write a single /");
        }
        if !operator && segment.contains('{') {
            return Err("{*} and {**} must be a segment of their own, between slashes");
        }
        if !operator && !segment.bytes().all(is_template_literal) {
            return Err(
                "outside {*} and {**} a segment holds only letters, digits and -._~%!$&'()+,;:@=",
            );
        }
    }
    Ok(())
}

fn is_template_literal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()+,;:@=".contains(&byte)
}

/// A service account, `sa` or `ns/sa`.
pub(super) fn service_account(at: &Cursor<'_, '_>, text: &str) {
    let parts: Vec<&str> = text.split('/').collect();
    if text.contains('*') {
        at.wrong("a service account takes no `*`; list the accounts, or use principals");
    } else if text.len() > 320 {
        at.wrong("a service account has at most 320 characters");
    } else if parts.len() > 2 || parts.iter().any(|part| part.is_empty()) {
        at.wrong(format!(
            "`{text}` is no service account; write NAME or NAMESPACE/NAME"
        ));
    }
}

/// How many service accounts one list takes.
pub(super) const MAX_SERVICE_ACCOUNTS: usize = 16;

/// A caller's identity without its scheme. Istio puts `spiffe://` before it, so one that is written
/// can never match.
pub(super) fn principal(at: &Cursor<'_, '_>, text: &str) {
    if text.starts_with("spiffe://") {
        at.note("matches no caller: the scheme is added by Istio; leave spiffe:// out");
    }
}

/// A trust domain of `source.trustDomains`.
pub(super) fn trust_domain(at: &Cursor<'_, '_>, text: &str) {
    if text.contains('/') {
        at.wrong(format!(
            "`{text}` is no trust domain; leave out the / and what follows"
        ));
    } else {
        trust_domain_pattern(at, text);
    }
}

/// A trust domain where a `/` is not looked for.
pub(super) fn trust_domain_pattern(at: &Cursor<'_, '_>, text: &str) {
    let stars = text.matches('*').count();
    let outer = text.starts_with('*') || text.ends_with('*');
    if stars > 1 || (stars == 1 && !outer) {
        at.wrong(format!(
            "`{text}`: a trust domain takes one `*`, at its start or at its end"
        ));
    }
}

/// An `http` or `https` address.
pub(super) fn http_uri(at: &Cursor<'_, '_>, text: &str) {
    // It may hold a password or an access key.
    let shown = shown_uri(text);
    let rest = ["https://", "http://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let Some(rest) = rest else {
        return at.wrong(format!(
            "`{shown}` is no http or https address; write https://HOST/PATH"
        ));
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        // The colons of an IPv6 address stand in brackets.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    if host.is_empty() || text.contains(char::is_whitespace) {
        at.wrong(format!("`{shown}` names no host; write https://HOST/PATH"));
    } else if port.is_some_and(|port| digits(port).is_none_or(|port| port == 0 || port > 65_535)) {
        at.wrong(format!(
            "`{shown}` has a bad port; write a number from 1 to 65535, or none"
        ));
    } else if text.len() > 2048 {
        at.wrong("an address has at most 2048 characters");
    }
}

/// `jwks`, which may be written only where `jwksUri` is not.
pub(super) fn jwks(fields: Fields<'_, '_>) -> Option<Text> {
    let jwks = checked(fields, "jwks", jwk_set);
    if let Some(jwks) = fields.get("jwks")
        && fields.get("jwksUri").is_some()
    {
        jwks.wrong("cannot be combined with jwksUri; keep one");
    }
    jwks
}

/// A JWK set as JSON text. Its keys never appear in a message.
fn jwk_set(at: &Cursor<'_, '_>, text: &str) {
    let set: Option<serde_json::Value> = serde_json::from_str(text).ok();
    let keys = set.as_ref().and_then(|set| set.get("keys")?.as_array());
    let Some(keys) = keys else {
        return at.wrong("is no JWK set; write a JSON object with a list `keys`");
    };
    let kind = |key: &serde_json::Value| key.get("kty").and_then(|kty| kty.as_str()).map(str::len);
    if keys.is_empty() || !keys.iter().all(|key| kind(key).is_some()) {
        return at.wrong("is no JWK set; each of `keys` is an object with at least `kty`");
    }
    let secret = |key: &serde_json::Value| key.get("d").is_some() || key.get("k").is_some();
    if keys.iter().any(secret) {
        at.note("holds a private or symmetric key: a reader of this configuration can forge tokens; list public keys only");
    }
}

/// Whether a text is a label of DNS: a short name.
pub(super) fn is_label(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    text.len() <= 63 && text.bytes().all(good) && !text.starts_with('-') && !text.ends_with('-')
}

/// A header's name, as HTTP allows it.
pub(super) fn header_name(at: &Cursor<'_, '_>, text: &str) {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !text.bytes().all(good) {
        at.wrong(format!(
            "`{text}` is no header name; write letters, digits and hyphens"
        ));
    }
}

/// The name of a header that receives a claim.
pub(super) fn plain_header_name(at: &Cursor<'_, '_>, text: &str) {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !text.bytes().all(good) {
        at.wrong(format!(
            "`{text}`: only letters, digits, - and _ are allowed here"
        ));
    }
}

/// A text that `check` passes; an empty one counts as absent, as in proto3.
pub(super) fn checked(
    fields: Fields<'_, '_>,
    name: &'static str,
    check: fn(&Cursor<'_, '_>, &str),
) -> Option<Text> {
    let at = fields.get(name)?;
    let text = at.text().filter(|text| !text.is_empty())?;
    check(&at, &text);
    Some(text)
}

/// A text that must be there and not empty.
pub(in crate::istio) fn required(
    fields: Fields<'_, '_>,
    name: &'static str,
    check: fn(&Cursor<'_, '_>, &str),
) -> Option<Text> {
    let at = fields.demand(name, "is missing; write a value")?;
    let text = at.filled()?;
    check(&at, &text);
    Some(text)
}

/// What `decode` makes of each item of a list with a bounded length.
pub(super) fn bounded<'t, T>(
    fields: Fields<'t, '_>,
    name: &'static str,
    most: usize,
    decode: impl FnMut(&Cursor<'t, '_>) -> Option<T>,
) -> Vec<T> {
    if let Some(list) = fields.get(name)
        && let Value::List(items) = &list.node().value
        && items.len() > most
    {
        let written = items.len();
        list.wrong(format!(
            "has {written} entries, more than {most}; write several RateLimits"
        ));
        return Vec::new();
    }
    fields.each(name, decode)
}

/// How many entries a descriptor of a RateLimit has at most, and a list inside an action.
pub(super) const MAX_ENTRIES: usize = 16;

/// Any text.
pub(super) fn anything(_: &Cursor<'_, '_>, _: &str) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_held_to_what_envoy_takes() {
        for good in [
            "/",
            "/a*",
            "*",
            "plain",
            "/foo/{*}",
            "/foo/{**}",
            "/foo/{**}/",
            "/{**}/foo",
            "/foo/{*}/bar/{**}",
            "/{*}",
            "/%20a/{*}",
        ] {
            assert_eq!(check_path(good), Ok(()), "{good}");
        }
        for bad in [
            "/{id}",
            "/a}",
            "/{*",
            "{*}/x",
            "//{*}",
            "/{**}/{*}",
            "/{**}/{**}",
            "/a//{*}",
            "/a{*}",
            "/{*}b",
            "/{*}/x*",
            "/{*}/é",
            "/{*}//",
        ] {
            assert!(check_path(bad).is_err(), "{bad}");
        }
        assert!(check_path(&format!("/{}/{{*}}", "a".repeat(260))).is_err());
    }
}
