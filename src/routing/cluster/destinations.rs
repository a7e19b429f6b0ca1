//! Services that a workload does not import, but that routes it imports lead to.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::identity::Workload;
use crate::istio::MeshConfig;
use crate::istio::traffic::{Destination, HttpMatch, L4Match, TrafficResources};
use crate::routing::gateway_api::mesh_routes;
use crate::routing::services::{EgressScope, Registry, Service, SidecarScope};
use crate::routing::virtual_service::{MESH, Resolved, merge_delegates};

/// The services that are seen, each host once with the ports that any listener shows, then those
/// that are destinations or mirrors of imported VirtualServices, with the ports named there only; a
/// destination without a port counts where the service has one port.
pub(super) fn services(
    workload: &Workload,
    mesh: &MeshConfig,
    resources: &TrafficResources,
    scope: &SidecarScope,
    domain: &str,
) -> Vec<Arc<Service>> {
    let mut found: Vec<Arc<Service>> = Vec::new();
    for service in scope.listeners().iter().flat_map(EgressScope::services) {
        add(&mut found, service);
    }
    let namespace = workload.namespace();
    let default_export = &mesh.traffic.default_virtual_service_export_to;
    let written = resources.virtual_services.iter();
    let resolved = written.map(|it| Resolved::new(it, default_export, domain));
    let mut resolved = merge_delegates(resolved.collect());
    resolved.extend(mesh_routes(resources, domain));
    resolved.retain(|it| {
        let mut listeners = scope.listeners().iter();
        it.gateways.iter().any(|gateway| gateway == MESH)
            && it.reach(namespace).is_some()
            && listeners.any(|listener| listener.imports_route_of(&it.namespace, &it.hosts))
    });
    let mut wanted: BTreeMap<&str, Vec<Option<u16>>> = BTreeMap::new();
    for destination in resolved.iter().flat_map(|it| destinations(it, namespace)) {
        let ports = wanted.entry(destination.host.as_str()).or_default();
        ports.push(destination.port);
    }
    let registry = Registry::new(resources, &mesh.traffic.default_service_export_to, domain);
    let visible = registry.visible_to(namespace);
    for (host, ports) in wanted {
        let of_host = visible.iter().filter(|service| service.host == host);
        // Our own first, as everywhere, then Kubernetes'.
        let best = of_host.min_by_key(|it| (it.namespace != namespace, !it.is_kubernetes()));
        if let Some(service) = best.and_then(|service| narrowed(service, &ports)) {
            add(&mut found, &service);
        }
    }
    found
}

/// Adds a service, or its ports to the one of its host.
fn add(found: &mut Vec<Arc<Service>>, service: &Arc<Service>) {
    match found.iter_mut().find(|known| known.host == service.host) {
        None => found.push(Arc::clone(service)),
        Some(known) if known.namespace == service.namespace => {
            let ports = service.ports.iter();
            let ports = ports.filter(|it| known.port(it.number).is_none());
            let ports: Vec<_> = ports.cloned().collect();
            if !ports.is_empty() {
                Arc::make_mut(known).ports.extend(ports);
            }
        }
        Some(_) => {}
    }
}

fn narrowed(service: &Arc<Service>, ports: &[Option<u16>]) -> Option<Arc<Service>> {
    if service.ports.len() == 1 && ports.contains(&None) {
        return Some(Arc::clone(service));
    }
    let mut narrowed = Service::clone(service);
    narrowed
        .ports
        .retain(|port| ports.contains(&Some(port.number)));
    (!narrowed.ports.is_empty()).then(|| Arc::new(narrowed))
}

/// The destinations of routes that a caller in this namespace may take.
fn destinations<'r>(
    resolved: &'r Resolved,
    namespace: &'r str,
) -> impl Iterator<Item = &'r Destination> {
    let is_ours = move |written: Option<&crate::istio::Text>| {
        written.is_none_or(|written| written.as_str() == namespace)
    };
    let of_http = move |it: &HttpMatch| is_ours(it.source_namespace.as_ref());
    let of_l4 = move |it: &L4Match| is_ours(it.source_namespace.as_ref());
    let http = resolved.http.iter();
    let http = http.filter(move |it| it.matches.is_empty() || it.matches.iter().any(of_http));
    let http = http.flat_map(|route| {
        let mirrors = route.mirrors.iter().map(|it| &it.destination);
        route.route.iter().map(|it| &it.destination).chain(mirrors)
    });
    let tls = resolved.tls.iter();
    let tls = tls.filter(move |it| it.matches.iter().any(|it| of_l4(&it.l4)));
    let tls = tls.flat_map(|route| route.route.iter().map(|it| &it.destination));
    let tcp = resolved.tcp.iter();
    let tcp = tcp.filter(move |it| it.matches.is_empty() || it.matches.iter().any(of_l4));
    let tcp = tcp.flat_map(|route| route.route.iter().map(|it| &it.destination));
    http.chain(tls).chain(tcp)
}
