use std::net::{Ipv4Addr, Ipv6Addr};

use crate::matcher::authority::{split_port, without_user};

/// Which keys may be fetched over plain HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "jwt"),
    expect(dead_code, reason = "only who fetches keys chooses")
)]
pub(crate) enum PlainHttp {
    #[default]
    Refused,
    /// Those of this machine: see [`is_loopback`].
    Loopback,
    Accepted,
}

/// The discovery document of an issuer.
pub(crate) fn discovery_uri(issuer: &str) -> String {
    let issuer = issuer.strip_suffix('/').unwrap_or(issuer);
    format!("{issuer}/.well-known/openid-configuration")
}

/// Whether a host is this machine by what it says, not by where it leads: `localhost`, or an
/// address of 127.0.0.0/8 or ::1, without brackets.
pub(crate) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<Ipv4Addr>().is_ok_and(|v4| v4.is_loopback())
        || host.parse::<Ipv6Addr>().is_ok_and(|v6| v6.is_loopback())
}

/// Rule J-47: keys are fetched over https only, unless an option allows more.
///
/// # Errors
/// What is wrong with the URI.
pub(crate) fn check_key_uri(uri: &str, http: PlainHttp) -> Result<(), &'static str> {
    let Some((scheme, rest)) = uri.split_once("://") else {
        return Err("not an absolute URI; write https://HOST/PATH");
    };
    let is = |known: &str| scheme.eq_ignore_ascii_case(known);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at_checked(end).unwrap_or((rest, ""));
    if is("http") && !http.lets(authority) {
        return Err(FORGEABLE);
    }
    if !is("https") && !is("http") {
        return Err("use https");
    }
    // More than one URI parser reads it, and the shortest bound is theirs.
    let is_short = uri.len() <= MAX_LENGTH;
    match is_short && is_authority(authority) && is_target(target) {
        true => Ok(()),
        false => Err("not a URI"),
    }
}

impl PlainHttp {
    fn lets(self, authority: &str) -> bool {
        match self {
            Self::Refused => false,
            // What is no authority is refused for that.
            Self::Loopback => {
                split_port(without_user(authority)).is_none_or(|(host, _)| is_loopback(host))
            }
            Self::Accepted => true,
        }
    }
}

fn is_authority(authority: &str) -> bool {
    let (user, host_and_port) = authority.rsplit_once('@').unwrap_or(("", authority));
    let is_user = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%:".contains(&byte);
    if !user.bytes().all(is_user) || user.matches(':').count() > 8 {
        return false;
    }
    // Of hosts only an IPv6 address has colons.
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte);
    split_port(host_and_port).is_some_and(|(host, port)| {
        !host.is_empty() && host.bytes().all(is_host) && port != Some(0)
    })
}

fn is_target(target: &str) -> bool {
    target
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte))
}

const FORGEABLE: &str = "keys fetched over plain HTTP can be forged on the way; use https, TokenOptions::loopback_http_jwks where the server is on a loopback address, or jwt::Keyring::danger_accept_http";
const MAX_LENGTH: usize = 8192;
