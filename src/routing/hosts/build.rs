//! The route table of one port.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::names::{self, Names};
use super::owners;
use super::table::RouteTable;
use super::unknown::Unknown;
use super::virtual_host::VirtualHost;
use crate::istio::Problem;
use crate::routing::route::{Cluster, ClusterName, Route};
use crate::routing::services::Service;
use crate::routing::virtual_service::{Context, Resolved, default_route, routes};

/// What tables are built of.
pub(in crate::routing) struct Parts<'p> {
    /// The services that are seen.
    pub(in crate::routing) services: Vec<&'p Service>,
    /// The VirtualServices that are seen, in Istio's order.
    pub(in crate::routing) ordered: Vec<&'p Resolved>,
    /// What is done with unknown hosts.
    pub(in crate::routing) unknown: &'p Unknown,
    /// The domain of full names.
    pub(in crate::routing) domain: &'p str,
    /// Whether hosts that are no services have virtual hosts on every port, not only on port 80.
    pub(in crate::routing) on_any_port: bool,
}

/// Hosts and their routes, before names are given.
struct Group<'p> {
    others: Vec<&'p str>,
    services: Vec<&'p Service>,
    routes: Arc<[Route]>,
}

/// The table for calls to the context's port.
pub(in crate::routing) fn table(
    parts: &Parts<'_>,
    context: &Context<'_>,
    problems: &mut Vec<Problem>,
) -> RouteTable {
    let mut table = Table {
        names: HashSet::new(),
        taken: HashSet::new(),
        full: HashSet::new(),
        virtual_hosts: Vec::new(),
    };
    let groups = groups(parts, context, problems);
    let services = groups.iter().flat_map(|group| &group.services);
    table
        .full
        .extend(services.map(|service| service.host.clone()));
    for group in groups {
        for host in group.others {
            let domains = vec![compliant(host)];
            let short = Vec::new();
            table.add(host, context.port, Names { domains, short }, &group.routes);
        }
        for service in group.services {
            let namespace = context.workload.namespace();
            let names = names::of_service(service, namespace, parts.domain);
            table.add(&service.host, context.port, names, &group.routes);
        }
    }
    table.virtual_hosts.push(parts.unknown.virtual_host());
    RouteTable {
        name: context.port.to_string(),
        virtual_hosts: table.virtual_hosts,
    }
}

/// The table of a port that shows no protocol, of a service with an address of its own: whoever
/// calls that address has this virtual host, whatever it names.
pub(in crate::routing) fn table_of_address(
    table: &RouteTable,
    service: &Service,
    port: u16,
) -> RouteTable {
    let name = format!("{}:{port}", service.host);
    let of_service = table.virtual_hosts.iter().filter(|it| it.name == name);
    RouteTable {
        virtual_hosts: of_service
            .map(|virtual_host| VirtualHost {
                domains: vec!["*".to_owned()],
                ..virtual_host.clone()
            })
            .collect(),
        name,
    }
}

fn groups<'p>(
    parts: &Parts<'p>,
    context: &Context<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<Group<'p>> {
    let on_port = |service: &&&Service| service.port(context.port).is_some();
    let services: Vec<&Service> = parts.services.iter().filter(on_port).copied().collect();
    let by_host = services
        .iter()
        .map(|service| (service.host.as_str(), *service));
    let by_host: HashMap<&str, &Service> = by_host.collect();
    let owners = owners::most_specific(services.iter().copied(), &parts.ordered);
    let takes_http = |service: &&Service| {
        let port = service.port(context.port);
        port.is_some_and(|port| port.takes_http())
    };
    let mut routed: HashSet<&str> = HashSet::new();
    let mut groups = Vec::new();
    for (place, resolved) in parts.ordered.iter().enumerate() {
        let routes = routes(resolved, context, problems);
        if routes.is_empty() {
            continue;
        }
        let owners::Split {
            services: mut own,
            others,
        } = owners::split(resolved, place, &by_host, &owners);
        own.retain(takes_http);
        // Istio's quirk: without a service that has the port, only port 80 knows the hosts.
        if own.is_empty() && context.port != 80 && !parts.on_any_port {
            continue;
        }
        routed.extend(own.iter().map(|service| service.host.as_str()));
        groups.push(Group {
            others,
            services: own,
            routes: routes.into(),
        });
    }
    for service in services.iter().filter(|service| takes_http(service)) {
        if !routed.contains(service.host.as_str()) {
            groups.push(Group {
                others: Vec::new(),
                services: vec![*service],
                routes: Arc::new([route_of_service(service, context)]),
            });
        }
    }
    groups
}

/// The route of a service without a VirtualService.
fn route_of_service(service: &Service, context: &Context<'_>) -> Route {
    let cluster = Cluster::Service(ClusterName {
        port: context.port,
        subset: String::new(),
        host: service.host.clone(),
    });
    // Here the port of the service counts as named.
    let hash = context.hashes.hash(&service.host, "", context.port, true);
    default_route(cluster, hash.map(|hash| hash.key), context)
}

struct Table {
    /// Names of virtual hosts.
    names: HashSet<String>,
    /// Domains that are given.
    taken: HashSet<String>,
    /// Full names of services.
    full: HashSet<String>,
    virtual_hosts: Vec<VirtualHost>,
}

impl Table {
    /// Adds a virtual host with the names that no earlier one has; none if nothing is left.
    fn add(&mut self, host: &str, port: u16, names: Names, routes: &Arc<[Route]>) {
        let name = format!("{host}:{port}");
        if self.names.contains(&name) {
            return;
        }
        let Names { domains, short } = names;
        let mut own = Vec::new();
        for domain in domains {
            let gives_way = short.contains(&domain) && self.full.contains(&domain);
            if !gives_way && self.taken.insert(domain.to_ascii_lowercase()) {
                own.push(domain);
            }
        }
        if !own.is_empty() {
            self.names.insert(name.clone());
            self.virtual_hosts.push(VirtualHost {
                name,
                domains: own,
                routes: Arc::clone(routes),
            });
        }
    }
}

/// The host as calls name it: an address of IPv6 in brackets.
fn compliant(host: &str) -> String {
    match host.parse::<std::net::Ipv6Addr>() {
        Ok(_) => format!("[{host}]"),
        Err(_) => host.to_owned(),
    }
}
