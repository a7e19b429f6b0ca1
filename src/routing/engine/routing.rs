//! All routes of a workload.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::identity::Workload;
use crate::istio::traffic::TrafficResources;
use crate::istio::{MeshConfig, Problems};
use crate::routing::explain::{Explanation, Sources, explain};
use crate::routing::gateway_api::mesh_routes;
use crate::routing::hosts::{
    Choice, L4Routes, Parts, RouteTable, Unknown, table, table_of_address,
};
use crate::routing::index::TableIndex;
use crate::routing::route::CallHead;
use crate::routing::services::{EgressScope, Registry, Service, SidecarScope};
use crate::routing::virtual_service::{Context, HashLookup, MESH, Resolved, merge_delegates};

/// What a workload's calls are routed by: a table for each port of the services that it sees.
#[derive(Clone, Debug)]
pub struct Routing {
    tables: BTreeMap<u16, Indexed>,
    /// Of ports without a known protocol, by host and port.
    by_address: BTreeMap<(String, u16), RouteTable>,
    connections: BTreeMap<(String, u16), L4Routes>,
    unknown: Unknown,
    scope: SidecarScope,
    /// Where routes are written.
    sources: Sources,
}

/// A table, and what finds its routes.
#[derive(Clone, Debug)]
struct Indexed {
    table: RouteTable,
    index: TableIndex,
}

impl Indexed {
    fn new(table: RouteTable) -> Self {
        let index = TableIndex::new(&table);
        Self { table, index }
    }
}

/// How [`Routing`] is made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoutingOptions {
    /// The domain of full names; `cluster.local` by default.
    pub domain: String,
    /// Whether a host of a VirtualService that is no service is known on the ports of all services.
    /// Off by default, as in Istio, which knows it on port 80 only, and on ports of services that
    /// the same VirtualService names.
    pub hosts_on_any_port: bool,
}

impl Default for RoutingOptions {
    fn default() -> Self {
        Self {
            domain: "cluster.local".to_owned(),
            hosts_on_any_port: false,
        }
    }
}

impl Routing {
    /// The routes for calls of a workload. `hashes` knows which destinations are balanced by hash;
    /// `()` knows of none.
    ///
    /// # Errors
    /// What Envoy would refuse, with its place: regular expressions that are none, statuses out of
    /// range.
    pub fn new(
        workload: &Workload,
        mesh: &MeshConfig,
        resources: &TrafficResources,
        hashes: &dyn HashLookup,
        options: &RoutingOptions,
    ) -> Result<Self, Problems> {
        let traffic = &mesh.traffic;
        let domain = options.domain.as_str();
        let registry = Registry::new(resources, &traffic.default_service_export_to, domain);
        let sidecars = &resources.sidecars;
        let scope = SidecarScope::new(workload, &mesh.root_namespace, sidecars, &registry);
        let services = resources.virtual_services.iter();
        let default_export = &traffic.default_virtual_service_export_to;
        let resolved = services.map(|it| Resolved::new(it, default_export, domain));
        let mut resolved = merge_delegates(resolved.collect());
        resolved.extend(mesh_routes(resources, domain));
        resolved.sort_by(Resolved::age_order);
        let namespace = workload.namespace();
        let seen = resolved.iter().filter_map(|it| {
            let is_ours = it.gateways.iter().any(|gateway| gateway == MESH);
            Some((it.reach(namespace).filter(|_| is_ours)?, it))
        });
        let mut seen: Vec<_> = seen.collect();
        seen.sort_by_key(|(reach, _)| *reach);
        let ordered: Vec<&Resolved> = seen.into_iter().map(|(_, it)| it).collect();
        let policy = scope.outbound_traffic_policy();
        let unknown = Unknown::new(policy, traffic.outbound_mode, namespace, domain);

        let mut routing = Self {
            tables: BTreeMap::new(),
            by_address: BTreeMap::new(),
            connections: BTreeMap::new(),
            unknown,
            scope,
            sources: Sources::new(resources),
        };
        let mut problems = Vec::new();
        for port in ports(&routing.scope) {
            let Some(egress) = routing.scope.for_port(port) else {
                continue;
            };
            let aliases = aliases(egress);
            let service_host = |host: &str| aliases.get(host).map(|host| (*host).to_owned());
            let context = Context {
                workload,
                gateway: MESH,
                port,
                service_host: &service_host,
                default_retry: traffic.default_http_retry_policy.as_ref(),
                hashes,
            };
            let imported = ordered
                .iter()
                .filter(|it| egress.imports_route_of(&it.namespace, &it.hosts));
            let parts = Parts {
                services: egress.services().iter().map(|service| &**service).collect(),
                ordered: imported.copied().collect(),
                unknown: &routing.unknown,
                domain,
                on_any_port: options.hosts_on_any_port,
            };
            let of_port = table(&parts, &context, &mut problems);
            for service in &parts.services {
                let Some(of_service) = service.port(port) else {
                    continue;
                };
                let key = (service.host.clone(), port);
                if of_service.takes_http() && !of_service.protocol.is_http() && has_address(service)
                {
                    let of_address = table_of_address(&of_port, service, port);
                    routing.by_address.insert(key.clone(), of_address);
                }
                if !of_service.protocol.is_http() {
                    let routes = L4Routes::new(service, &parts.ordered, &routing.unknown, &context);
                    routing.connections.insert(key, routes);
                }
            }
            routing.tables.insert(port, Indexed::new(of_port));
        }
        match Problems::from_list(problems) {
            Some(problems) => Err(problems),
            None => Ok(routing),
        }
    }

    /// The table of a port; `None` where no service has it, and every host is unknown.
    #[must_use]
    pub fn table(&self, port: u16) -> Option<&RouteTable> {
        self.tables.get(&port).map(|indexed| &indexed.table)
    }

    /// All tables, by port.
    pub fn tables(&self) -> impl Iterator<Item = (u16, &RouteTable)> {
        self.tables
            .iter()
            .map(|(port, indexed)| (*port, &indexed.table))
    }

    /// The tables for calls to the address of one service, of a port that shows no protocol.
    pub fn tables_by_address(&self) -> impl Iterator<Item = &RouteTable> {
        self.by_address.values()
    }

    /// The routes of connections to a port of a service that is not known to speak HTTP.
    #[must_use]
    pub fn connections(&self, host: &str, port: u16) -> Option<&L4Routes> {
        self.connections.get(&(host.to_owned(), port))
    }

    /// What becomes of a call to a port, without allocation. `None`: no virtual host, or no route of it, takes
    /// the call, or the port is not known.
    #[must_use]
    pub fn choose(&self, port: u16, call: &dyn CallHead) -> Option<Choice<'_>> {
        let Indexed { table, index } = self.tables.get(&port)?;
        index.choose(table, call)
    }

    /// Why a call to a port is routed as it is.
    ///
    /// It tries the routes one by one and takes its time: it is for people and tools, not for the
    /// path of requests.
    #[must_use]
    pub fn explain(&self, port: u16, call: &dyn CallHead) -> Explanation {
        explain(self.table(port), &self.unknown, &self.sources, port, call)
    }

    /// What is done with hosts and ports that nobody knows.
    #[must_use]
    pub fn unknown(&self) -> &Unknown {
        &self.unknown
    }

    /// What the workload sees.
    #[must_use]
    pub fn scope(&self) -> &SidecarScope {
        &self.scope
    }
}

/// The ports of all services that are seen, and port 80, where hosts that are no services live.
fn ports(scope: &SidecarScope) -> BTreeSet<u16> {
    let of_listeners = scope.listeners().iter().filter_map(EgressScope::port);
    let services = scope.listeners().iter().flat_map(EgressScope::services);
    let of_services = services.flat_map(|service| service.ports.iter().map(|port| port.number));
    of_listeners.chain(of_services).chain([80]).collect()
}

/// The hosts of services by their aliases.
fn aliases(egress: &EgressScope) -> HashMap<&str, &str> {
    let services = egress.services().iter();
    let aliases = services.flat_map(|service| {
        let aliases = service.aliases.iter();
        aliases.map(|alias| (alias.as_str(), service.host.as_str()))
    });
    aliases.collect()
}

fn has_address(service: &Service) -> bool {
    !service.addresses.is_empty()
}
