//! Which services a workload sees, and on which ports: the Sidecar resource.

use std::collections::HashMap;
use std::sync::Arc;

use super::registry::Registry;
use super::service::Service;
use crate::identity::Workload;
use crate::istio::Text;
use crate::istio::traffic::{EgressListener, OutboundTrafficPolicy, Protocol, Sidecar};
use crate::routing::host::{host_contains, hosts_overlap};

/// What one workload sees of the mesh.
#[derive(Clone, Debug)]
pub struct SidecarScope {
    listeners: Vec<EgressScope>,
    sidecar: Option<Arc<Sidecar>>,
}

/// What it sees through one of its Sidecar's `egress[]`.
#[derive(Clone, Debug)]
pub struct EgressScope {
    listener: Option<EgressListener>,
    namespace: String,
    services: Vec<Arc<Service>>,
}

impl SidecarScope {
    /// The scope that the Sidecars give to a workload. Of those in its own namespace, the oldest
    /// whose selector fits it decides, else the oldest without selector; else the oldest without
    /// selector in the root namespace; else it sees all that is exported to it.
    #[must_use]
    pub fn new(
        workload: &Workload,
        root_namespace: &str,
        sidecars: &[Arc<Sidecar>],
        registry: &Registry,
    ) -> Self {
        let namespace = workload.namespace();
        let visible = registry.visible_to(namespace);
        let sidecar = choose(workload, root_namespace, sidecars);
        let egress = sidecar.map_or(&[][..], |sidecar| &sidecar.egress);
        let mut listeners: Vec<_> = egress
            .iter()
            .map(|listener| EgressScope::new(Some(listener), namespace, &visible))
            .collect();
        if listeners.is_empty() {
            listeners.push(EgressScope::new(None, namespace, &visible));
        }
        Self {
            listeners,
            sidecar: sidecar.cloned(),
        }
    }

    /// The Sidecar, if there is one for this workload.
    #[must_use]
    pub fn sidecar(&self) -> Option<&Sidecar> {
        self.sidecar.as_deref()
    }

    /// Its `outboundTrafficPolicy`.
    #[must_use]
    pub fn outbound_traffic_policy(&self) -> Option<&OutboundTrafficPolicy> {
        self.sidecar.as_ref()?.outbound_traffic_policy.as_ref()
    }

    /// One for each of its Sidecar's `egress[]`, in order; without these a single one.
    #[must_use]
    pub fn listeners(&self) -> &[EgressScope] {
        &self.listeners
    }

    /// What decides about calls to a port: the first listener of this port or of all ports.
    #[must_use]
    pub fn for_port(&self, port: u16) -> Option<&EgressScope> {
        let mut listeners = self.listeners.iter();
        listeners.find(|scope| scope.port().is_none_or(|of_scope| of_scope == port))
    }
}

impl EgressScope {
    fn new(listener: Option<&EgressListener>, namespace: &str, visible: &[&Arc<Service>]) -> Self {
        let mut scope = Self {
            listener: listener.cloned(),
            namespace: namespace.to_owned(),
            services: Vec::new(),
        };
        scope.services = scope.select(visible);
        scope
    }

    /// The port, if it is of one only.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        let port = self.listener.as_ref()?.port.as_ref()?;
        Some(port.number)
    }

    /// Whether it takes requests for any port, as a proxy that is named as such does.
    #[must_use]
    pub fn is_http_proxy(&self) -> bool {
        let listener = self.listener.as_ref();
        let port = listener.and_then(|listener| listener.port.as_ref());
        port.is_some_and(|port| port.protocol == Protocol::HttpProxy)
    }

    /// The services, each host once.
    #[must_use]
    pub fn services(&self) -> &[Arc<Service>] {
        &self.services
    }

    /// The service of this host.
    #[must_use]
    pub fn service(&self, host: &str) -> Option<&Arc<Service>> {
        let mut services = self.services.iter();
        services.find(|service| service.host == host)
    }

    /// Whether a VirtualService of this namespace with one of these hosts is imported: wildcards
    /// count in both directions.
    #[must_use]
    pub fn imports_route_of(&self, namespace: &str, hosts: &[Text]) -> bool {
        let overlap = |pattern: &str| {
            let mut hosts = hosts.iter();
            hosts.any(|host| hosts_overlap(pattern, host))
        };
        self.imports(namespace, overlap)
    }

    /// Whether any `hosts[]` of the listener names this namespace and a host that passes `test`.
    fn imports(&self, namespace: &str, test: impl Fn(&str) -> bool) -> bool {
        let Some(listener) = &self.listener else {
            return true;
        };
        let names = |written: &str| match written {
            "*" => true,
            "." => namespace == self.namespace,
            name => name == namespace,
        };
        let mut is_imported = false;
        for entry in &listener.hosts {
            let Some((of, host)) = entry.split_once('/') else {
                continue;
            };
            match of.strip_prefix('~') {
                Some("") => {}
                Some(excluded) if names(excluded) && test(host) => return false,
                Some(_) => {}
                None => is_imported = is_imported || (names(of) && test(host)),
            }
        }
        is_imported
    }

    /// Of services with the same host, that of our own namespace wins, then that of Kubernetes,
    /// then the first.
    fn select(&self, visible: &[&Arc<Service>]) -> Vec<Arc<Service>> {
        let port = self.port().filter(|_| !self.is_http_proxy());
        let rank = |service: &Service| {
            let is_own = service.namespace == self.namespace;
            (!is_own, !service.is_kubernetes())
        };
        let mut found: Vec<Arc<Service>> = Vec::new();
        let mut by_host: HashMap<&str, usize> = HashMap::new();
        for service in visible {
            let is_imported = self.imports(&service.namespace, |pattern| {
                let mut hosts = service.aliases.iter().chain([&service.host]);
                hosts.any(|host| host_contains(pattern, host))
            });
            let Some(seen) = is_imported.then(|| narrowed(service, port)).flatten() else {
                continue;
            };
            match by_host.get(service.host.as_str()) {
                Some(&at) => {
                    if let Some(other) = found.get_mut(at)
                        && rank(&seen) < rank(other)
                    {
                        *other = seen;
                    }
                }
                None => {
                    by_host.insert(&service.host, found.len());
                    found.push(seen);
                }
            }
        }
        found
    }
}

/// The service, with this port only if there is one; `None` where it has no such port.
fn narrowed(service: &Arc<Service>, port: Option<u16>) -> Option<Arc<Service>> {
    let Some(number) = port else {
        return Some(Arc::clone(service));
    };
    let ports = vec![service.port(number)?.clone()];
    Some(Arc::new(Service {
        ports,
        ..Service::clone(service)
    }))
}

fn choose<'s>(
    workload: &Workload,
    root_namespace: &str,
    sidecars: &'s [Arc<Sidecar>],
) -> Option<&'s Arc<Sidecar>> {
    let oldest = |namespace: &str, fits: &dyn Fn(&Sidecar) -> bool| {
        let sidecars = sidecars.iter();
        let candidates = sidecars.filter(|it| it.meta.namespace == namespace && fits(it));
        candidates.min_by_key(|sidecar| (&sidecar.meta.created, &sidecar.meta.name))
    };
    let selects = |sidecar: &Sidecar| {
        let selector = sidecar.workload_selector.as_ref();
        selector.is_some_and(|selector| {
            let mut labels = selector.match_labels.iter();
            labels.all(|(key, value)| {
                let own = workload.labels().get(key);
                own.is_some_and(|own| own == value.as_str())
            })
        })
    };
    let is_for_all = |sidecar: &Sidecar| sidecar.workload_selector.is_none();
    oldest(workload.namespace(), &selects)
        .or_else(|| oldest(workload.namespace(), &is_for_all))
        .or_else(|| oldest(root_namespace, &is_for_all))
}
