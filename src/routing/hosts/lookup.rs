//! Domains and the hosts that they are for.

/// The host of an authority: what is before its port.
pub(in crate::routing) fn without_port(authority: &str) -> &str {
    let end = match authority.strip_prefix('[') {
        Some(_) => authority.rfind("]:").map(|at| at + 1),
        None => authority.rfind(':'),
    };
    let port = end.and_then(|end| authority.get(end + 1..));
    let is_port = port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    match end.filter(|_| is_port) {
        Some(end) => authority.get(..end).unwrap_or(authority),
        None => authority,
    }
}

/// How well a domain fits a host; the greater fits better. Case does not count.
pub(in crate::routing) fn rank(domain: &str, host: &str) -> Option<(u8, usize)> {
    let length = domain.len();
    if domain == "*" {
        return Some((0, 1));
    }
    if domain.eq_ignore_ascii_case(host) {
        return Some((3, length));
    }
    // A wildcard stands for one byte at least.
    if host.len() < length {
        return None;
    }
    if let Some(suffix) = domain.strip_prefix('*') {
        let end = host.as_bytes().get(host.len() - suffix.len()..);
        let fits = end.is_some_and(|end| end.eq_ignore_ascii_case(suffix.as_bytes()));
        return fits.then_some((2, length));
    }
    if let Some(prefix) = domain.strip_suffix('*') {
        let start = host.as_bytes().get(..prefix.len());
        let fits = start.is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()));
        return fits.then_some((1, length));
    }
    None
}
