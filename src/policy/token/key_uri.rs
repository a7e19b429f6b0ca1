use std::net::Ipv6Addr;

/// The discovery document of an issuer.
pub(crate) fn discovery_uri(issuer: &str) -> String {
    let issuer = issuer.strip_suffix('/').unwrap_or(issuer);
    format!("{issuer}/.well-known/openid-configuration")
}

/// Rule J-47: keys are fetched over https only, unless told otherwise.
///
/// # Errors
/// What is wrong with the URI.
pub(crate) fn check_key_uri(uri: &str, accepts_http: bool) -> Result<(), &'static str> {
    let Some((scheme, rest)) = uri.split_once("://") else {
        return Err("not an absolute URI; write https://HOST/PATH");
    };
    let is = |known: &str| scheme.eq_ignore_ascii_case(known);
    if is("http") && !accepts_http {
        return Err(
            "keys fetched over plain HTTP can be forged on the way; use https, or jwt::Keyring::danger_accept_http",
        );
    }
    if !is("https") && !is("http") {
        return Err("use https");
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at_checked(end).unwrap_or((rest, ""));
    // More than one URI parser reads it, and the shortest bound is theirs.
    let is_short = uri.len() <= MAX_LENGTH;
    match is_short && is_authority(authority) && is_target(target) {
        true => Ok(()),
        false => Err("not a URI"),
    }
}

fn is_authority(authority: &str) -> bool {
    let (user, host_and_port) = authority.rsplit_once('@').unwrap_or(("", authority));
    let is_user = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%:".contains(&byte);
    if !user.bytes().all(is_user) || user.matches(':').count() > 8 {
        return false;
    }
    let (host_is_good, port) = match host_and_port.strip_prefix('[') {
        Some(bracketed) => match bracketed.split_once(']') {
            Some((address, port)) => (address.parse::<Ipv6Addr>().is_ok(), port),
            None => return false,
        },
        None => {
            let end = host_and_port.find(':').unwrap_or(host_and_port.len());
            let (host, port) = host_and_port.split_at_checked(end).unwrap_or_default();
            let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            (!host.is_empty() && host.bytes().all(is_host), port)
        }
    };
    let port_is_good = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(digits) => {
            digits.bytes().all(|byte| byte.is_ascii_digit())
                && digits.parse::<u16>().is_ok_and(|port| port > 0)
        }
    };
    host_is_good && port_is_good
}

fn is_target(target: &str) -> bool {
    target
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte))
}

const MAX_LENGTH: usize = 8192;
