//! Decodes VirtualService.

use std::net::IpAddr;

use super::http_route::{Owner, check_weights, http_route, weight};
use super::name::{self, Exports, HostSet};
use super::value::{destination, port};
use crate::istio::decode::meta::no_dry_run;
use crate::istio::decode::value::{checked, ip_block};
use crate::istio::traffic::{
    L4Match, RouteDestination, TcpRoute, TlsMatch, TlsRoute, VirtualService,
};
use crate::istio::yaml::cursor::Cursor;
use crate::istio::yaml::fields::Fields;
use crate::istio::{Meta, Text};

const SPEC: &[&str] = &["hosts", "gateways", "http", "tls", "tcp", "exportTo"];
const TLS_MATCH: &[&str] = &[
    "sniHosts",
    "destinationSubnets",
    "port",
    "sourceLabels",
    "gateways",
    "sourceNamespace",
];
const L4_MATCH: &[&str] = &[
    "destinationSubnets",
    "port",
    "sourceSubnet",
    "sourceLabels",
    "gateways",
    "sourceNamespace",
];

/// The gateway that stands for the sidecars.
const MESH: &str = "mesh";

/// `VirtualService`, `spec`.
pub(in crate::istio) fn virtual_service(
    meta: Meta,
    spec: &Cursor<'_, '_>,
) -> Option<VirtualService> {
    no_dry_run(&meta, spec);
    let fields = spec.fields(SPEC)?;
    let gateways = fields.texts("gateways", name::gateway);
    let names_mesh = gateways.iter().any(|gateway| &**gateway == MESH);
    let bound = Bound {
        to_mesh: gateways.is_empty() || names_mesh,
        names_mesh,
        has_sni: has_sni_hosts(fields),
    };
    let hosts = hosts(fields, bound);
    let own = HostSet::new(hosts.iter().map(|host| &**host));
    let owner = Owner {
        is_delegate: fields.listed("hosts").is_none(),
        is_for_gateways: !bound.to_mesh,
    };
    if owner.is_delegate {
        for name in ["gateways", "tls", "tcp"] {
            if let Some(at) = fields.listed(name) {
                at.wrong("does not belong into a delegate, a VirtualService without hosts; write hosts, or leave it out");
            }
        }
    }
    let routes = ["http", "tls", "tcp"];
    if routes.into_iter().all(|name| fields.listed(name).is_none()) {
        spec.missing("http", "is missing, and so are tls and tcp; write routes");
    }
    Some(VirtualService {
        http: fields.each("http", |at| http_route(at, owner)),
        tls: fields.each("tls", |at| tls_route(at, &own, bound)),
        tcp: fields.each("tcp", tcp_route),
        export_to: name::export_to(fields, "exportTo", &meta.namespace, Exports::Config),
        hosts,
        gateways,
        meta,
    })
}

/// What a VirtualService is bound to.
#[derive(Clone, Copy, Debug)]
struct Bound {
    to_mesh: bool,
    names_mesh: bool,
    /// Some of its routes match SNI.
    has_sni: bool,
}

fn has_sni_hosts(fields: Fields<'_, '_>) -> bool {
    let tls = fields.get("tls");
    let routes = tls.iter().flat_map(|tls| match &tls.node().value {
        crate::istio::yaml::tree::Value::List(routes) => routes.as_slice(),
        _ => &[],
    });
    let mut matches = routes.flat_map(|route| route.items("match"));
    matches.any(|matched| {
        !matched.items("sniHosts").is_empty() || !matched.items("sni_hosts").is_empty()
    })
}

fn hosts(fields: Fields<'_, '_>, bound: Bound) -> Vec<Text> {
    let hosts = fields.texts("hosts", |at, host| {
        if bound.to_mesh && host == "*" {
            at.wrong("`*` is for gateways only; in the mesh write the hosts that are called");
        } else if host.parse::<IpAddr>().is_err() {
            sni_or_domain(at, host, bound.has_sni && !bound.to_mesh);
        }
    });
    if let (Some(host), Some(list)) = (name::overlapping(&hosts), fields.get("hosts")) {
        list.wrong(format!("`{host}` and another host overlap; keep one"));
    }
    hosts
}

/// A host, or at gateways the SNI that another proxy makes of one: `outbound_.80_._.a.example`.
fn sni_or_domain(at: &Cursor<'_, '_>, host: &str, may_be_made: bool) {
    let is_made = may_be_made && host.starts_with("outbound_");
    if !is_made {
        return name::domain(at, host);
    }
    let parts: Vec<&str> = host.split('_').collect();
    let port = parts.get(1).map_or("", |port| port.trim_matches('.'));
    let name = parts.get(3).map_or("", |name| name.trim_matches('.'));
    let has_digit = port.bytes().any(|byte| byte.is_ascii_digit());
    let has_letter = name.bytes().any(|byte| byte.is_ascii_alphabetic());
    if !has_digit || !has_letter {
        at.wrong(format!(
            "`{host}` is no SNI of a proxy; write outbound_.PORT_.SUBSET_.HOST"
        ));
    }
}

fn tls_route(at: &Cursor<'_, '_>, hosts: &HostSet, bound: Bound) -> Option<TlsRoute> {
    let fields = at.fields(&["match", "route"])?;
    if fields.listed("match").is_none() {
        at.missing(
            "match",
            "is missing; write at least one match with sniHosts",
        );
    }
    Some(TlsRoute {
        matches: fields.each("match", |at| tls_match(at, hosts, bound)),
        route: destinations(fields),
        at: at.at(),
    })
}

fn tls_match(at: &Cursor<'_, '_>, hosts: &HostSet, bound: Bound) -> Option<TlsMatch> {
    let fields = at.fields(TLS_MATCH)?;
    if fields.listed("sniHosts").is_none() {
        at.missing(
            "sniHosts",
            "is missing; write the names that clients ask for",
        );
    }
    let sni_hosts = fields.texts("sniHosts", |at, sni| {
        if sni.parse::<IpAddr>().is_ok() {
            at.note("is an address, and SNI has names only: most clients send none");
            return;
        }
        sni_or_domain(at, sni, !bound.names_mesh);
        if !hosts.covers(sni) {
            at.wrong(format!(
                "`{sni}` lies within none of the hosts of the resource; add it there"
            ));
        }
    });
    Some(TlsMatch {
        sni_hosts,
        l4: l4(fields),
    })
}

fn tcp_route(at: &Cursor<'_, '_>) -> Option<TcpRoute> {
    let fields = at.fields(&["match", "route"])?;
    Some(TcpRoute {
        matches: fields.each("match", |at| {
            let fields = at.fields(L4_MATCH)?;
            if let Some(subnet) = fields.get("sourceSubnet") {
                subnet.wrong("has no effect in Istio; write sourceLabels or sourceNamespace");
            }
            Some(l4(fields))
        }),
        route: destinations(fields),
        at: at.at(),
    })
}

fn l4(fields: Fields<'_, '_>) -> L4Match {
    L4Match {
        destination_subnets: fields.texts("destinationSubnets", ip_block),
        port: port(fields, "port"),
        source_labels: name::labels(fields, "sourceLabels"),
        source_namespace: checked(fields, "sourceNamespace", name::namespace),
        gateways: fields.texts("gateways", name::gateway),
        at: fields.whole().at(),
    }
}

fn destinations(fields: Fields<'_, '_>) -> Vec<RouteDestination> {
    if fields.listed("route").is_none() {
        let message = "is missing; write where the connections go";
        fields.whole().missing("route", message);
    }
    let route = fields.each("route", |at| {
        let fields = at.fields(&["destination", "weight"])?;
        let to = fields.demand("destination", "is missing; write where the connections go");
        Some(RouteDestination {
            weight: weight(fields),
            destination: to.and_then(|at| destination(&at))?,
            at: at.at(),
        })
    });
    check_weights(fields, route.iter().map(|to| to.weight));
    route
}
