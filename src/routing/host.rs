//! Names of hosts, as resources write them.

use std::borrow::Cow;

/// The name that a resource of `namespace` means by `host`: a short name, one without a dot, is of
/// a service of that namespace; any other, `a.ns` among them, is taken as written.
#[must_use]
pub fn resolve_host<'h>(host: &'h str, namespace: &str, domain: &str) -> Cow<'h, str> {
    let is_short = !host.is_empty() && host != "*" && !host.contains(['.', ':']);
    if !is_short {
        return Cow::Borrowed(host);
    }
    Cow::Owned(format!("{host}.{namespace}.svc.{domain}"))
}

/// Whether a name is a wildcard: `*`, or `*` and a suffix.
pub(super) fn is_wildcard(host: &str) -> bool {
    host.starts_with('*')
}

/// Whether every name that `host` stands for is one of those that `pattern` stands for.
#[must_use]
pub fn host_contains(pattern: &str, host: &str) -> bool {
    match (pattern.strip_prefix('*'), host.strip_prefix('*')) {
        (Some(suffix), Some(of_host)) => of_host.ends_with(suffix),
        (Some(suffix), None) => host.ends_with(suffix),
        (None, Some(_)) => false,
        (None, None) => pattern == host,
    }
}

/// Whether some name is one of both: wildcards count in both directions.
#[must_use]
pub fn hosts_overlap(one: &str, other: &str) -> bool {
    host_contains(one, other) || host_contains(other, one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_without_a_dot_is_short() {
        let table = [
            ("a", "a.srv.svc.cluster.local"),
            ("a.srv", "a.srv"),
            ("a.test", "a.test"),
            ("*", "*"),
            ("*.a", "*.a"),
            ("::1", "::1"),
            ("", ""),
        ];
        for (host, resolved) in table {
            assert_eq!(resolve_host(host, "srv", "cluster.local"), resolved);
        }
    }

    #[test]
    fn a_wildcard_stands_for_what_ends_so() {
        let table = [
            ("*", "a.test", true, true),
            ("*.test", "a.test", true, true),
            ("*.test", "test", false, false),
            ("*.test", "*.b.test", true, true),
            ("*.b.test", "*.test", false, true),
            ("a.test", "*.test", false, true),
            ("a.test", "a.test", true, true),
            ("a.test", "b.test", false, false),
            ("*.a.test", "*.b.test", false, false),
        ];
        for (pattern, host, contains, overlap) in table {
            assert_eq!(host_contains(pattern, host), contains, "{pattern} {host}");
            assert_eq!(hosts_overlap(pattern, host), overlap, "{pattern} {host}");
        }
    }
}
