//! The names that a service answers to.

use crate::routing::services::Service;

/// Names of a service, for callers of a namespace.
pub(super) struct Names {
    /// All of them.
    pub(super) domains: Vec<String>,
    /// Those that are no full names, and give way to the full name of another service.
    pub(super) short: Vec<String>,
}

/// A service's host and aliases, each with a trailing dot, too; the short forms of those in the
/// mesh's domain; of a headless one also `*.` and each of these; and its addresses.
pub(super) fn of_service(service: &Service, namespace: &str, domain: &str) -> Names {
    let mut domains = Vec::new();
    let mut short = Vec::new();
    for host in std::iter::once(&service.host).chain(&service.aliases) {
        domains.push(host.clone());
        domains.push(format!("{host}."));
        let forms = short_forms(host, namespace, domain);
        domains.extend(forms.iter().cloned());
        short.extend(forms);
    }
    if service.is_headless {
        let of_endpoints: Vec<_> = domains.iter().map(|name| format!("*.{name}")).collect();
        domains.extend(of_endpoints);
    }
    domains.extend(service.addresses.iter().map(|address| match address {
        std::net::IpAddr::V4(address) => address.to_string(),
        std::net::IpAddr::V6(address) => format!("[{address}]"),
    }));
    Names { domains, short }
}

/// `NAME.NAMESPACE.svc`, `NAME.NAMESPACE`, and in its own namespace `NAME`.
fn short_forms(host: &str, namespace: &str, domain: &str) -> Vec<String> {
    let in_svc = host
        .strip_suffix(domain)
        .and_then(|it| it.strip_suffix(".svc."));
    let Some((name, of)) = in_svc.and_then(|in_svc| in_svc.rsplit_once('.')) else {
        return Vec::new();
    };
    let mut forms = vec![format!("{name}.{of}"), format!("{name}.{of}.svc")];
    if of == namespace {
        forms.push(name.to_owned());
    }
    forms
}
