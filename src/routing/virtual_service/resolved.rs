//! A VirtualService with all names in full.

use std::cmp::Ordering;

use crate::istio::traffic::{
    Destination, HttpMatch, HttpRoute, L4Match, TcpRoute, TlsRoute, VirtualService,
};
use crate::istio::{Meta, Text};
use crate::routing::host::resolve_host;
use crate::routing::services::{Exports, Reach};

/// A VirtualService, or what a route of the Gateway API says, with names in full.
#[derive(Clone, Debug)]
pub(in crate::routing) struct Resolved {
    pub(in crate::routing) namespace: String,
    pub(in crate::routing) name: String,
    pub(in crate::routing) created: Option<String>,
    pub(in crate::routing) hosts: Vec<Text>,
    /// `mesh`, or `NAMESPACE/NAME`; at least one.
    pub(in crate::routing) gateways: Vec<String>,
    pub(in crate::routing) exports: Exports,
    pub(in crate::routing) semantics: Semantics,
    pub(in crate::routing) http: Vec<HttpRoute>,
    pub(in crate::routing) tls: Vec<TlsRoute>,
    pub(in crate::routing) tcp: Vec<TcpRoute>,
}

/// Whose rules decide where Istio's and those of the Gateway API differ: in prefixes, rewrites, and
/// the status where there is no cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::routing) enum Semantics {
    Istio,
    GatewayApi,
}

impl Resolved {
    /// `default_export` is MeshConfig's `defaultVirtualServiceExportTo`.
    pub(in crate::routing) fn new(
        service: &VirtualService,
        default_export: &[Text],
        domain: &str,
    ) -> Self {
        let names = Names {
            meta: &service.meta,
            domain,
        };
        let hosts = service.hosts.iter().map(|host| names.host(host));
        let mut gateways: Vec<_> = service
            .gateways
            .iter()
            .map(|it| names.gateway(it))
            .collect();
        if gateways.is_empty() {
            gateways.push(MESH.to_owned());
        }
        let namespace = &service.meta.namespace;
        Self {
            namespace: namespace.clone(),
            name: service.meta.name.clone(),
            created: service.meta.created.clone(),
            hosts: hosts.collect(),
            gateways,
            exports: Exports::new(&service.export_to, default_export, namespace),
            semantics: Semantics::Istio,
            http: service.http.iter().map(|route| names.http(route)).collect(),
            tls: service.tls.iter().map(|route| names.tls(route)).collect(),
            tcp: service.tcp.iter().map(|route| names.tcp(route)).collect(),
        }
    }

    /// How it reaches callers of a namespace.
    ///
    /// A route of the Gateway API that everybody sees comes first for callers of its own namespace.
    pub(in crate::routing) fn reach(&self, namespace: &str) -> Option<Reach> {
        let reach = self.exports.reach(&self.namespace, namespace);
        let is_own = self.semantics == Semantics::GatewayApi && self.namespace == namespace;
        reach.map(|reach| if is_own { Reach::Private } else { reach })
    }

    /// Istio's order of resources: the oldest first, then by name, then by namespace.
    pub(in crate::routing) fn age_order(&self, other: &Self) -> Ordering {
        let by_age = self.created.cmp(&other.created);
        let by_name = || self.name.cmp(&other.name);
        let by_namespace = || self.namespace.cmp(&other.namespace);
        by_age.then_with(by_name).then_with(by_namespace)
    }
}

/// The gateway that stands for all sidecars.
pub(in crate::routing) const MESH: &str = "mesh";

/// Makes names full, by where they are written.
struct Names<'r> {
    meta: &'r Meta,
    domain: &'r str,
}

impl Names<'_> {
    fn host(&self, host: &Text) -> Text {
        let full = resolve_host(host, &self.meta.namespace, self.domain);
        Text::new(full, host.at().clone())
    }

    fn gateway(&self, gateway: &Text) -> String {
        match gateway.split_once('/') {
            None if gateway.as_str() == MESH => MESH.to_owned(),
            None => format!("{}/{}", self.meta.namespace, gateway.as_str()),
            Some((".", name)) => format!("{}/{name}", self.meta.namespace),
            Some(_) => gateway.as_str().to_owned(),
        }
    }

    fn gateways(&self, gateways: &mut [Text]) {
        for gateway in gateways {
            *gateway = Text::new(self.gateway(gateway), gateway.at().clone());
        }
    }

    fn destination(&self, destination: &mut Destination) {
        destination.host = self.host(&destination.host);
    }

    fn http(&self, route: &HttpRoute) -> HttpRoute {
        let mut route = route.clone();
        for HttpMatch { gateways, .. } in &mut route.matches {
            self.gateways(gateways);
        }
        for to in &mut route.route {
            self.destination(&mut to.destination);
        }
        for mirror in &mut route.mirrors {
            self.destination(&mut mirror.destination);
        }
        route
    }

    fn tls(&self, route: &TlsRoute) -> TlsRoute {
        let mut route = route.clone();
        for each in &mut route.matches {
            self.l4(&mut each.l4);
        }
        for to in &mut route.route {
            self.destination(&mut to.destination);
        }
        route
    }

    fn tcp(&self, route: &TcpRoute) -> TcpRoute {
        let mut route = route.clone();
        for each in &mut route.matches {
            self.l4(each);
        }
        for to in &mut route.route {
            self.destination(&mut to.destination);
        }
        route
    }

    fn l4(&self, of_match: &mut L4Match) {
        self.gateways(&mut of_match.gateways);
    }
}
