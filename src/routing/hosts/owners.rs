//! Which VirtualService routes which service.

use std::collections::HashMap;

use crate::routing::host::{host_contains, is_wildcard};
use crate::routing::services::Service;
use crate::routing::virtual_service::Resolved;

/// For each service that a host of a VirtualService fits, the VirtualService (by its place) of the
/// most specific such host: an exact one, else the longest wildcard. Of equal ones the first counts.
pub(super) fn most_specific<'s>(
    services: impl Iterator<Item = &'s Service>,
    ordered: &[&Resolved],
) -> HashMap<&'s str, usize> {
    let mut exact: HashMap<&str, usize> = HashMap::new();
    let mut wildcards: Vec<(&str, usize)> = Vec::new();
    for (place, resolved) in ordered.iter().enumerate() {
        for host in &resolved.hosts {
            match is_wildcard(host) {
                true => wildcards.push((host, place)),
                false => {
                    exact.entry(host).or_insert(place);
                }
            }
        }
    }
    wildcards.sort_by_key(|(host, _)| std::cmp::Reverse(host.len()));
    let owner = |host: &str| {
        let of_exact = exact.get(host).copied();
        of_exact.or_else(|| {
            let mut wildcards = wildcards.iter();
            let fitting = wildcards.find(|(pattern, _)| host_contains(pattern, host));
            fitting.map(|(_, place)| *place)
        })
    };
    services
        .filter_map(|service| Some((service.host.as_str(), owner(&service.host)?)))
        .collect()
}

/// What the hosts of a VirtualService stand for on one port.
pub(super) struct Split<'s> {
    /// Services, in the order of the hosts.
    pub(super) services: Vec<&'s Service>,
    /// Hosts that are none. A wildcard that fits services is not among them, even where a more
    /// specific host has them all.
    pub(super) others: Vec<&'s str>,
}

/// Splits the hosts of the VirtualService in this place.
pub(super) fn split<'s>(
    resolved: &'s Resolved,
    place: usize,
    services: &HashMap<&str, &'s Service>,
    owners: &HashMap<&str, usize>,
) -> Split<'s> {
    let mut split = Split {
        services: Vec::new(),
        others: Vec::new(),
    };
    let (wildcards, exact): (Vec<_>, Vec<_>) =
        resolved.hosts.iter().partition(|host| is_wildcard(host));
    for host in exact {
        match services.get(host.as_str()) {
            Some(service) => split.services.push(service),
            None => split.others.push(host),
        }
    }
    for host in wildcards {
        let fitting = services
            .values()
            .filter(|service| host_contains(host, &service.host));
        let mut fitting: Vec<_> = fitting.collect();
        fitting.sort_by_key(|service| &service.host);
        if fitting.is_empty() {
            split.others.push(host);
        }
        for service in fitting {
            let is_ours = owners.get(service.host.as_str()) == Some(&place);
            let mut known = split.services.iter();
            if is_ours && !known.any(|known| known.host == service.host) {
                split.services.push(service);
            }
        }
    }
    split
}
