//! Makes policy and the application agree on the host that a request is for.

use http::header::{HOST, HeaderValue};
use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, Uri, Version};

use super::target;
use crate::matcher::authority;
use crate::matcher::path::PathRefusal;
use crate::message::LocalReply;

/// Makes the request name one host, as Envoy does. The authority of the target replaces the `Host`
/// header (RFC 9112 §3.2.2, RFC 9113 §8.3.1), and a user, which HTTP/1 may name, is removed.
///
/// In HTTP/2 the `:authority` is enough, so no `Host` is added.
///
/// # Errors
///
/// 400 for an invalid host, for several hosts, and for a user in HTTP/2.
pub(crate) fn unite(head: &mut Parts) -> Result<(), LocalReply> {
    let is_http1 = is_http1(head);
    let line = the_line(&head.headers)?;
    let Some(named) = head.uri.authority().map(Authority::as_str) else {
        let Some(line) = line else { return Ok(()) };
        if !names_user(line.as_bytes()) {
            return Ok(());
        }
        let host = line.to_str().map(authority::without_user);
        let host = host.ok().filter(|host| is_http1 && !host.is_empty());
        let host = HeaderValue::from_str(host.ok_or_else(refuse)?).map_err(|_| refuse())?;
        head.headers.insert(HOST, host);
        return Ok(());
    };
    let host = authority::without_user(named);
    let is_legal = match is_http1 {
        true => {
            is_web(&head.uri)
                && authority::of_target(host) == Some(host)
                && authority::is_legal(named.as_bytes())
        }
        false => authority::is_legal(named.as_bytes()) && host == named,
    };
    let line_is_legal = is_http1 || line.is_none_or(|line| !names_user(line.as_bytes()));
    if !is_legal || !line_is_legal {
        return Err(refuse());
    }
    let differs = line.map_or(is_http1, |line| line.as_bytes() != host.as_bytes());
    let line = differs.then(|| HeaderValue::from_str(host));
    let bare = (host != named).then(|| Authority::try_from(host));
    if let Some(line) = line.transpose().map_err(|_| refuse())? {
        head.headers.insert(HOST, line);
    }
    if let Some(bare) = bare.transpose().map_err(|_| refuse())? {
        let mut parts = std::mem::take(&mut head.uri).into_parts();
        parts.authority = Some(bare);
        head.uri = Uri::from_parts(parts).map_err(|_| refuse())?;
    }
    Ok(())
}

/// Refuses what [`unite`] would rewrite. For a guard that may be behind a router that has already
/// read the host.
///
/// # Errors
///
/// As [`unite`]; also 400 if the target and the `Host` header differ in any byte, or name a user.
pub(crate) fn refuse_other(head: &Parts) -> Result<(), LocalReply> {
    let line = the_line(&head.headers)?;
    let named = head.uri.authority().map(Authority::as_str);
    let is_good = match named {
        None => true,
        Some(named) if is_http1(head) => {
            is_web(&head.uri) && authority::of_target(named) == Some(named)
        }
        Some(named) => authority::is_legal(named.as_bytes()) && !names_user(named.as_bytes()),
    };
    let is_one = line.is_none_or(|line| {
        let line = line.as_bytes();
        !names_user(line) && named.is_none_or(|named| named.as_bytes() == line)
    });
    if is_good && is_one {
        Ok(())
    } else {
        Err(refuse())
    }
}

/// The one `Host` line. Envoy joins several lines to a value that no exact rule matches; RFC 9112
/// §3.2 demands that they are refused.
fn the_line(headers: &HeaderMap) -> Result<Option<&HeaderValue>, LocalReply> {
    let mut lines = headers.get_all(HOST).iter();
    let line = lines.next();
    let is_legal = line.is_none_or(|line| authority::is_legal(line.as_bytes()));
    if is_legal && lines.next().is_none() {
        Ok(line)
    } else {
        Err(refuse())
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

fn refuse() -> LocalReply {
    target::refuse(PathRefusal::Authority)
}
