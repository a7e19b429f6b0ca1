//! Reads texts of the old resources.

/// Whether a pattern of a service or a name (`*`, `x*`, `*x`, else exact) takes a text that is
/// known already.
pub(super) fn takes(pattern: &str, text: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(suffix), _) => text.ends_with(suffix),
        (None, Some(prefix)) => text.starts_with(prefix),
        (None, None) => pattern == text,
    }
}

pub(super) fn is_pattern(text: &str) -> bool {
    text.starts_with('*') || text.ends_with('*')
}

/// The service's full name.
pub(super) fn host(service: &str, namespace: &str) -> String {
    format!("{service}.{namespace}{DOMAIN}")
}

/// Short name and namespace of a full name.
pub(super) fn service_of(host: &str) -> Option<(&str, &str)> {
    let (service, namespace) = host.strip_suffix(DOMAIN)?.split_once('.')?;
    (!service.is_empty() && !namespace.is_empty() && !namespace.contains('.'))
        .then_some((service, namespace))
}

/// `name` of `prefix[name]`.
pub(super) fn bracketed<'k>(key: &'k str, prefix: &str) -> Option<&'k str> {
    key.strip_prefix(prefix)?
        .strip_prefix('[')?
        .strip_suffix(']')
}

const DOMAIN: &str = ".svc.cluster.local";
