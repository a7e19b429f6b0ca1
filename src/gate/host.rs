//! Makes policy and the application agree on the host that a request is for.

use http::header::{HOST, HeaderValue};
use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{Uri, Version};

use super::Refusal;
use crate::matcher::authority;

/// In `Strict` the host must be a plain one (rule B-05), and the target and `Host` must name the
/// same (rule B-04); case makes no difference.
pub(super) fn check_strictly(head: &Parts) -> Result<(), Refusal> {
    let line = head.headers.get(HOST).map(HeaderValue::as_bytes);
    let named = head.uri.authority().map(|named| named.as_str().as_bytes());
    if named.is_none() && line.is_some_and(<[u8]>::is_empty) {
        return Err(Refusal::NoHost);
    }
    if !line.is_none_or(is_plain) || !named.is_none_or(is_plain) {
        return Err(Refusal::Host);
    }
    let is_one = line
        .zip(named)
        .is_none_or(|(line, named)| line.eq_ignore_ascii_case(named));
    if is_one {
        Ok(())
    } else {
        Err(Refusal::OtherHost)
    }
}

/// Whether a host is a name or an address, with or without a port, and nothing else.
fn is_plain(host: &[u8]) -> bool {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if host.iter().copied().all(is_name) {
        return !host.is_empty();
    }
    let text = std::str::from_utf8(host).ok();
    let Some((host, _)) = text.and_then(authority::split_port) else {
        return false;
    };
    let is_host = |byte: u8| is_name(byte) || byte == b':';
    !host.is_empty() && host.bytes().all(is_host)
}

/// Makes the request name one host, as Envoy does. The authority of the target replaces the `Host`
/// header (RFC 9112 §3.2.2, RFC 9113 §8.3.1), and a user, which HTTP/1 may name, is removed.
///
/// In HTTP/2 the `:authority` is enough, so no `Host` is added.
///
/// # Errors
///
/// An invalid host, several hosts, and a user in HTTP/2.
pub(super) fn unite(head: &mut Parts) -> Result<(), Refusal> {
    let is_http1 = is_http1(head);
    let line = the_line(head)?;
    let Some(named) = head.uri.authority().map(Authority::as_str) else {
        let Some(line) = line else { return Ok(()) };
        if !names_user(line.as_bytes()) {
            return Ok(());
        }
        let host = line.to_str().map(authority::without_user);
        let host = host.ok().filter(|host| is_http1 && !host.is_empty());
        let host = HeaderValue::from_str(host.ok_or(Refusal::Host)?).map_err(|_| Refusal::Host)?;
        head.headers.insert(HOST, host);
        return Ok(());
    };
    let host = authority::without_user(named);
    let is_legal = match is_http1 {
        true => {
            is_web(&head.uri)
                && authority::of_target(named) == Some(host)
                && authority::is_legal(named.as_bytes())
        }
        false => authority::is_legal(named.as_bytes()) && host == named,
    };
    let line_is_legal = is_http1 || line.is_none_or(|line| !names_user(line.as_bytes()));
    if !is_legal || !line_is_legal {
        return Err(Refusal::Host);
    }
    let differs = line.map_or(is_http1, |line| line.as_bytes() != host.as_bytes());
    let line = differs.then(|| HeaderValue::from_str(host));
    let bare = (host != named).then(|| Authority::try_from(host));
    if let Some(line) = line.transpose().map_err(|_| Refusal::Host)? {
        head.headers.insert(HOST, line);
    }
    if let Some(bare) = bare.transpose().map_err(|_| Refusal::Host)? {
        let mut parts = std::mem::take(&mut head.uri).into_parts();
        parts.authority = Some(bare);
        head.uri = Uri::from_parts(parts).map_err(|_| Refusal::Host)?;
    }
    Ok(())
}

/// Refuses what [`unite`] would rewrite. For a guard that may be behind a router that has already
/// read the host.
///
/// # Errors
///
/// As [`unite`]; also if the target and the `Host` header differ in any byte, or name a user.
pub(super) fn refuse_other(head: &Parts) -> Result<(), Refusal> {
    let line = the_line(head)?;
    let named = head.uri.authority().map(Authority::as_str);
    let is_good = match named {
        None => true,
        Some(named) if is_http1(head) => {
            is_web(&head.uri) && authority::of_target(named) == Some(named)
        }
        Some(named) => authority::is_legal(named.as_bytes()) && !names_user(named.as_bytes()),
    };
    let line = line.map(HeaderValue::as_bytes);
    if !is_good || line.is_some_and(names_user) {
        return Err(Refusal::Host);
    }
    match line.zip(named) {
        Some((line, named)) if line != named.as_bytes() => Err(Refusal::OtherHost),
        _ => Ok(()),
    }
}

/// The one `Host` line. Envoy joins several lines to a value that no exact rule matches; RFC 9112
/// §3.2 demands that they are refused. Over HTTP/2 it may not be empty.
fn the_line(head: &Parts) -> Result<Option<&HeaderValue>, Refusal> {
    let mut lines = head.headers.get_all(HOST).iter();
    let line = lines.next();
    if lines.next().is_some() {
        return Err(Refusal::SeveralHosts);
    }
    let is_good = |line: &HeaderValue| {
        authority::is_legal(line.as_bytes()) && (is_http1(head) || !line.is_empty())
    };
    match line.is_none_or(is_good) {
        true => Ok(line),
        false => Err(Refusal::Host),
    }
}

fn names_user(host: &[u8]) -> bool {
    host.contains(&b'@')
}

/// Whether the scheme of an absolute HTTP/1 target is one that Envoy accepts.
fn is_web(target: &Uri) -> bool {
    let scheme = target.scheme();
    scheme.is_none_or(|scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS)
}

fn is_http1(head: &Parts) -> bool {
    head.version < Version::HTTP_2
}
