//! `tls[]` and `tcp[]`: where connections go whose calls are not seen.

use super::unknown::Unknown;
use crate::istio::traffic::{L4Match, RouteDestination};
use crate::matcher::Cidr;
use crate::routing::host::{host_contains, is_wildcard};
use crate::routing::route::{Cluster, ClusterName, HeaderChanges, Split, WeightedCluster};
use crate::routing::services::Service;
use crate::routing::virtual_service::{Context, Resolved, cluster};

/// The routes of connections to one port of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct L4Routes {
    /// By SNI, of a port that speaks TLS; the most specific name wins, of equal ones the first.
    pub tls: Vec<L4Route>,
    /// For all others, in order.
    pub tcp: Vec<L4Route>,
    /// Where a connection goes that none of these takes.
    pub otherwise: Cluster,
}

/// One route of connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct L4Route {
    /// The names that the client asks for.
    pub sni: SniHosts,
    /// The addresses that it calls; empty: any.
    pub subnets: Vec<Cidr>,
    /// Where it goes; drawn once for a connection.
    pub split: Split,
}

/// Names of servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SniHosts {
    /// Whatever it asks for.
    Any,
    /// One of these: exact, or `*.suffix`.
    Of(Vec<String>),
}

impl L4Routes {
    /// The clusters for a connection that asks for `sni` at `address`.
    #[must_use]
    pub fn choose(&self, sni: Option<&str>, address: Option<std::net::IpAddr>) -> Option<&Split> {
        let is_near = |route: &&L4Route| {
            let mut subnets = route.subnets.iter();
            route.subnets.is_empty()
                || address.is_some_and(|address| subnets.any(|subnet| subnet.contains(address)))
        };
        let mut best: Option<(usize, &L4Route)> = None;
        for route in self.tls.iter().filter(is_near) {
            let rank = sni.and_then(|sni| route.sni.rank(sni));
            if let Some(rank) = rank
                && best.is_none_or(|(so_far, _)| rank > so_far)
            {
                best = Some((rank, route));
            }
        }
        let found = best.map(|(_, route)| route);
        found
            .or_else(|| self.tcp.iter().find(is_near))
            .map(|route| &route.split)
    }

    /// The routes of a service's port.
    ///
    /// `tls[]` count where the port speaks TLS: the service's plain cluster takes what none of them
    /// is for, unless one of them holds for us, with which other names are unknown destinations.
    pub(in crate::routing) fn new(
        service: &Service,
        routes: &[&Resolved],
        unknown: &Unknown,
        context: &Context<'_>,
    ) -> Self {
        let speaks_tls = service
            .port(context.port)
            .is_some_and(|port| port.protocol.is_tls());
        let of_service = |resolved: &&&Resolved| {
            let mut hosts = resolved.hosts.iter();
            hosts.any(|host| host_contains(host, &service.host))
        };
        let routed = routes.iter().filter(of_service);
        let plain = Cluster::Service(ClusterName {
            port: context.port,
            subset: String::new(),
            host: service.host.clone(),
        });
        let (mut tls, mut tcp) = (Vec::new(), Vec::new());
        for resolved in routed {
            if speaks_tls {
                add_tls(&mut tls, resolved, context);
            } else if tcp.is_empty() {
                tcp = tcp_routes(resolved, context);
            }
        }
        // Without an address of its own, a service that speaks TLS is known by its name only.
        if speaks_tls && tls.is_empty() && service.addresses.is_empty() {
            let names = service.aliases.iter().chain([&service.host]);
            tls.push(L4Route {
                sni: SniHosts::Of(names.cloned().collect()),
                subnets: Vec::new(),
                split: Split::One(plain.clone()),
            });
        }
        let otherwise = match tls.is_empty() {
            true => plain,
            false => unknown.tcp_cluster(),
        };
        Self {
            tls,
            tcp,
            otherwise,
        }
    }
}

impl SniHosts {
    fn rank(&self, sni: &str) -> Option<usize> {
        let Self::Of(hosts) = self else {
            return Some(0);
        };
        let fitting = hosts.iter().filter(|host| {
            let sni = sni.to_ascii_lowercase();
            host_contains(host, &sni)
        });
        let ranks = fitting.map(|host| match is_wildcard(host) {
            true => host.len(),
            false => usize::MAX,
        });
        ranks.max()
    }
}

/// Two routes with the same names and subnets: the first only.
fn add_tls(routes: &mut Vec<L4Route>, resolved: &Resolved, context: &Context<'_>) {
    for tls in &resolved.tls {
        for of_match in tls.matches.iter().filter(|it| context.takes(&it.l4)) {
            let mut hosts: Vec<_> = of_match
                .sni_hosts
                .iter()
                .map(|it| it.to_ascii_lowercase())
                .collect();
            hosts.sort();
            let route = L4Route {
                sni: SniHosts::Of(hosts),
                subnets: subnets(&of_match.l4),
                split: split(&tls.route, context),
            };
            let mut known = routes.iter();
            if !known.any(|known| (&known.sni, &known.subnets) == (&route.sni, &route.subnets)) {
                routes.push(route);
            }
        }
    }
}

/// The list ends with a route that takes every address.
fn tcp_routes(resolved: &Resolved, context: &Context<'_>) -> Vec<L4Route> {
    let mut routes = Vec::new();
    for tcp in &resolved.tcp {
        let fitting = tcp.matches.iter().find(|it| context.takes(it));
        if fitting.is_none() && !tcp.matches.is_empty() {
            continue;
        }
        let fitting = tcp.matches.iter().filter(|it| context.takes(it));
        let all: Vec<_> = match tcp.matches.is_empty() {
            true => vec![Vec::new()],
            false => fitting.map(subnets).collect(),
        };
        for subnets in all {
            let is_last = subnets.is_empty();
            routes.push(L4Route {
                sni: SniHosts::Any,
                subnets,
                split: split(&tcp.route, context),
            });
            if is_last {
                return routes;
            }
        }
    }
    routes
}

fn subnets(of_match: &L4Match) -> Vec<Cidr> {
    let all = of_match.destination_subnets.iter();
    all.filter_map(|text| Cidr::parse(text).ok()).collect()
}

fn split(all: &[RouteDestination], context: &Context<'_>) -> Split {
    if let [only] = all {
        return Split::One(cluster(&only.destination, context));
    }
    let with_share = all.iter().filter(|to| to.weight > 0);
    let weighted = with_share.map(|to| WeightedCluster {
        cluster: cluster(&to.destination, context),
        weight: to.weight,
        request_headers: HeaderChanges::default(),
        response_headers: HeaderChanges::default(),
        host_rewrite: None,
    });
    Split::Weighted(weighted.collect())
}
