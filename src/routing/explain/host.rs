use std::fmt;

use serde::Serialize;

use crate::routing::hosts::{Unknown, VirtualHost, rank, without_port};

/// The virtual host of a call, and why it is this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HostReport {
    /// `HOST:PORT`, or what is done with unknown hosts: `allow_any`, `allow_any_dynamic_dns`,
    /// `block_all`.
    pub name: String,
    /// Whether it is of a service or a VirtualService, and not of hosts that nobody knows.
    pub known: bool,
    /// The domain that fits the call's host best.
    pub domain: String,
    /// How it fits.
    pub by: DomainMatch,
}

/// How a domain fits a host; the first that some domain does is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum DomainMatch {
    /// It is the same, but for case.
    Exact,
    /// `*.example.com`, the longest that fits.
    Suffix,
    /// `example.*`, the longest that fits.
    Prefix,
    /// `*`.
    Any,
}

impl HostReport {
    pub(super) fn new(
        virtual_host: &VirtualHost,
        unknown: &Unknown,
        authority: &str,
    ) -> Option<Self> {
        let host = without_port(authority);
        let ranked = virtual_host.domains.iter();
        let ranked = ranked.filter_map(|domain| Some((rank(domain, host)?, domain)));
        let ((kind, _), domain) = ranked.max_by_key(|(rank, _)| *rank)?;
        Some(Self {
            name: virtual_host.name.clone(),
            known: virtual_host.name != unknown.name(),
            domain: domain.clone(),
            by: match kind {
                3 => DomainMatch::Exact,
                2 => DomainMatch::Suffix,
                1 => DomainMatch::Prefix,
                _ => DomainMatch::Any,
            },
        })
    }
}

impl fmt::Display for HostReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, domain, .. } = self;
        match self.by {
            _ if !self.known => write!(f, "{name}: nobody knows it"),
            DomainMatch::Exact => write!(f, "{name}: the exact domain {domain}"),
            DomainMatch::Suffix => write!(f, "{name}: the suffix {domain}"),
            DomainMatch::Prefix => write!(f, "{name}: the prefix {domain}"),
            DomainMatch::Any => write!(f, "{name}: any host, as none fits better"),
        }
    }
}
