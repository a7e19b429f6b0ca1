//! The routes of one port, as data.

use super::choice::Choice;
use super::lookup;
use super::virtual_host::VirtualHost;
use crate::routing::route::{CallHead, eval};

/// What Envoy calls a route configuration: the virtual hosts of one port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteTable {
    /// Its name, which is the port, or `HOST:PORT`.
    pub name: String,
    /// The virtual hosts. A domain is of one of them only.
    pub virtual_hosts: Vec<VirtualHost>,
}

impl RouteTable {
    /// The virtual host for a call, plainly: an exact domain, else the longest `*.suffix`, else the
    /// longest `prefix.*`, else `*`. Case and the port do not count.
    #[must_use]
    pub fn virtual_host(&self, authority: &str) -> Option<&VirtualHost> {
        let host = lookup::without_port(authority);
        let ranked = self.virtual_hosts.iter().filter_map(|virtual_host| {
            let domains = virtual_host.domains.iter();
            let best = domains
                .filter_map(|domain| lookup::rank(domain, host))
                .max()?;
            Some((best, virtual_host))
        });
        // Equal ranks are of equal domains, of which there is one.
        ranked.max_by_key(|(best, _)| *best).map(|(_, found)| found)
    }

    /// What becomes of a call, plainly: this is the reference. `None`: no virtual host, or no route
    /// of it, takes the call.
    #[must_use]
    pub fn choose(&self, call: &dyn CallHead) -> Option<Choice<'_>> {
        let virtual_host = self.virtual_host(call.authority())?;
        let mut routes = virtual_host.routes.iter();
        let route = routes.find(|route| eval::matches(&route.matches, call))?;
        Some(Choice {
            virtual_host,
            route,
        })
    }
}
