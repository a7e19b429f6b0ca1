//! The known workloads, the mesh settings, and which resources select which workloads.

use std::collections::BTreeMap;

use super::protocol::Protocols;
use crate::gate::Gate;
use crate::identity::Workload;
#[cfg(feature = "routing")]
use crate::istio::traffic::KubernetesService;
use crate::istio::{
    AuthorizationPolicy, Deployed, DeployedService, MeshConfig, Meta, PeerAuthentication, Position,
    RateLimit, RequestAuthentication, Resources, Selector, Text,
};

/// What is vetted: the resources, the mesh's settings, and the workloads that are known.
#[derive(Clone, Copy, Debug)]
pub(in crate::vet) struct World<'r> {
    pub(in crate::vet) resources: &'r Resources,
    pub(in crate::vet) mesh: &'r MeshConfig,
    /// The gate in front of the policies, if there is one.
    pub(in crate::vet) gate: Option<Gate>,
    /// Whether the settings were given, and are not mere defaults.
    pub(in crate::vet) mesh_is_known: bool,
    /// All workloads of their namespaces; empty: nothing is known.
    pub(in crate::vet) workloads: &'r [Known],
}

/// A workload that is known, and where it is written, when it is.
#[derive(Clone, Debug)]
pub(in crate::vet) struct Known {
    pub(in crate::vet) kind: String,
    pub(in crate::vet) workload: Workload,
    /// What its ports speak.
    pub(in crate::vet) protocols: Protocols,
    pub(in crate::vet) at: Position,
}

impl Known {
    /// Whether it was stated, and not found among the resources.
    pub(in crate::vet) fn is_stated(&self) -> bool {
        self.kind == STATED
    }
}

/// The kind of what no resource deploys.
const STATED: &str = "Workload";

/// The workloads that were stated, and those that the resources deploy.
pub(in crate::vet) fn known(stated: &[Workload], resources: &Resources) -> Vec<Known> {
    let stated = stated.iter().map(|workload| Known {
        kind: STATED.to_owned(),
        workload: workload.clone(),
        protocols: spoken(workload, &resources.services),
        at: Position::default(),
    });
    let deployed = resources.workloads.iter();
    let deployed = deployed.map(|deployed| found(deployed, &resources.services));
    stated.chain(deployed).collect()
}

/// What the ports of a stated workload speak: as it is stated, else as the services say that select
/// it.
fn spoken(workload: &Workload, services: &[DeployedService]) -> Protocols {
    let mut protocols = Protocols::default();
    for service in workload.services() {
        if let Some(said) = &service.port_name {
            protocols.add(service.port, Some(service.port), said);
        }
    }
    let (namespace, labels) = (workload.namespace(), workload.labels());
    protocols.complete(said_before(services, namespace, labels));
    let mut numbers = Protocols::default();
    for service in workload.services() {
        numbers.add(service.port, Some(service.port), "");
    }
    protocols.complete(numbers);
    protocols
}

/// The services that select a workload of these labels.
fn before<'r>(
    services: &'r [DeployedService],
    namespace: &str,
    labels: &BTreeMap<String, String>,
) -> impl Iterator<Item = &'r DeployedService> {
    services.iter().filter(move |service| {
        let mut wanted = service.selector.iter();
        service.namespace == namespace
            && !service.selector.is_empty()
            && wanted.all(|(key, value)| labels.get(key) == Some(value))
    })
}

/// What the services that select a workload of these labels say of ports with a number.
fn said_before(
    services: &[DeployedService],
    namespace: &str,
    labels: &BTreeMap<String, String>,
) -> Protocols {
    let mut said = Protocols::default();
    for port in before(services, namespace, labels).flat_map(|service| &service.ports) {
        if let Ok(number) = port.target.parse() {
            said.add(number, port.number, &port.protocol);
        }
    }
    said
}

/// A deployed workload, behind the services that select it.
fn found(deployed: &Deployed, services: &[DeployedService]) -> Known {
    let mut protocols = Protocols::default();
    let workload = Workload::new(&deployed.namespace, &deployed.service_account);
    let labels = deployed.labels.iter();
    let mut workload = labels.fold(workload.name(&deployed.name), |workload, (key, value)| {
        workload.label(key, value)
    });
    for service in before(services, &deployed.namespace, &deployed.labels) {
        for port in &service.ports {
            let named = deployed.ports.get(&port.target).copied();
            let Some(number) = named.or_else(|| port.target.parse().ok()) else {
                continue;
            };
            protocols.add(number, port.number, &port.protocol);
            workload = workload.service_with_port_name(&service.name, number, &port.protocol);
        }
    }
    Known {
        kind: deployed.kind.clone(),
        workload,
        protocols,
        at: deployed.at.clone(),
    }
}

/// The workloads that a resource selects, as it writes them.
#[derive(Clone, Copy, Debug)]
pub(in crate::vet) struct Scope<'r> {
    pub(in crate::vet) namespace: &'r str,
    labels: &'r BTreeMap<String, Text>,
    /// It attaches to gateways, waypoints or services; of these nothing is known.
    pub(in crate::vet) is_attached: bool,
}

impl<'r> Scope<'r> {
    fn new(meta: &'r Meta, selector: &'r Selector, is_attached: bool) -> Self {
        Self {
            namespace: &meta.namespace,
            labels: &selector.match_labels,
            is_attached,
        }
    }

    /// Whether it selects whole namespaces.
    pub(in crate::vet) fn is_wide(&self) -> bool {
        self.labels.is_empty() && !self.is_attached
    }

    /// What its labels must be.
    pub(in crate::vet) fn label_values(&self) -> impl Iterator<Item = &'r str> {
        self.labels.values().map(Text::as_str)
    }
}

/// A resource that selects workloads.
pub(in crate::vet) trait Selects {
    /// The workloads that it selects.
    fn scope(&self) -> Scope<'_>;
}

impl Selects for AuthorizationPolicy {
    fn scope(&self) -> Scope<'_> {
        Scope::new(&self.meta, &self.selector, !self.target_refs.is_empty())
    }
}

impl Selects for RequestAuthentication {
    fn scope(&self) -> Scope<'_> {
        Scope::new(&self.meta, &self.selector, !self.target_refs.is_empty())
    }
}

impl Selects for PeerAuthentication {
    fn scope(&self) -> Scope<'_> {
        Scope::new(&self.meta, &self.selector, false)
    }
}

impl Selects for RateLimit {
    fn scope(&self) -> Scope<'_> {
        Scope::new(&self.meta, &self.selector, false)
    }
}

/// The workloads behind a Service.
#[cfg(feature = "routing")]
impl Selects for KubernetesService {
    fn scope(&self) -> Scope<'_> {
        Scope {
            namespace: &self.meta.namespace,
            labels: &self.selector,
            is_attached: false,
        }
    }
}

impl<'r> World<'r> {
    pub(in crate::vet) fn is_root(&self, namespace: &str) -> bool {
        namespace == self.mesh.root_namespace
    }

    /// Whether a resource in `scope` touches the workload.
    pub(in crate::vet) fn selects(&self, scope: Scope<'_>, workload: &Workload) -> bool {
        let in_reach = scope.namespace == workload.namespace() || self.is_root(scope.namespace);
        let labels = workload.labels();
        let has = |(key, value): (&String, &Text)| labels.get(key).is_some_and(|l| *l == **value);
        in_reach && !scope.is_attached && scope.labels.iter().all(has)
    }

    /// The known workloads that a resource in `scope` touches.
    pub(in crate::vet) fn selected(self, scope: Scope<'r>) -> impl Iterator<Item = &'r Workload> {
        self.selected_known(scope).map(|known| &known.workload)
    }

    /// As [`selected`](Self::selected), with what is known of each.
    pub(in crate::vet) fn selected_known(
        self,
        scope: Scope<'r>,
    ) -> impl Iterator<Item = &'r Known> {
        let workloads = self.workloads.iter();
        workloads.filter(move |known| self.selects(scope, &known.workload))
    }

    /// The protocols that services state for every workload that `scope` selects, when no such
    /// workload is known.
    pub(in crate::vet) fn said_by_services(&self, scope: Scope<'_>) -> Protocols {
        if self.is_known(scope) || scope.is_attached {
            return Protocols::default();
        }
        let labels = scope.labels.iter();
        let labels: BTreeMap<String, String> = labels
            .map(|(key, value)| (key.clone(), value.as_str().to_owned()))
            .collect();
        said_before(&self.resources.services, scope.namespace, &labels)
    }

    /// Whether the workloads that `scope` could select are all known.
    pub(in crate::vet) fn is_known(&self, scope: Scope<'_>) -> bool {
        let workloads = self.workloads.iter();
        let mut namespaces = workloads.map(|known| known.workload.namespace());
        match self.is_root(scope.namespace) {
            // Labels may be those of the root namespace's own workloads, which a deployment
            // elsewhere says nothing about.
            true if scope.labels.is_empty() => !self.workloads.is_empty(),
            _ => namespaces.any(|namespace| namespace == scope.namespace),
        }
    }

    /// Whether `wide` selects every possible workload that `narrow` selects.
    pub(in crate::vet) fn covers(&self, wide: Scope<'_>, narrow: Scope<'_>) -> bool {
        let in_reach = wide.namespace == narrow.namespace || self.is_root(wide.namespace);
        let has = |(key, value): (&String, &Text)| narrow.labels.get(key) == Some(value);
        in_reach && !wide.is_attached && !narrow.is_attached && wide.labels.iter().all(has)
    }

    /// Whether some workload may be selected by both.
    pub(in crate::vet) fn may_meet(&self, a: Scope<'_>, b: Scope<'_>) -> bool {
        let in_reach =
            a.namespace == b.namespace || self.is_root(a.namespace) || self.is_root(b.namespace);
        let agree = |(key, value): (&String, &Text)| b.labels.get(key).is_none_or(|l| l == value);
        // What gateways and waypoints are is not known here.
        in_reach && (a.is_attached || b.is_attached || a.labels.iter().all(agree))
    }

    /// Whether a legacy resource of `namespace` may concern a workload that `scope` selects; no
    /// namespace is every one.
    pub(in crate::vet) fn reaches(&self, namespace: &str, scope: Scope<'_>) -> bool {
        namespace.is_empty() || namespace == scope.namespace || self.is_root(scope.namespace)
    }
}
