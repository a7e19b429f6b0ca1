use std::collections::BTreeMap;

use crate::identity::Workload;
use crate::istio::{
    AuthorizationPolicy, Deployed, DeployedService, MeshConfig, Meta, PeerAuthentication, Position,
    RequestAuthentication, Resources, Selector, Text,
};

/// What is vetted: the resources, the mesh's settings, and the workloads that are known.
#[derive(Clone, Copy, Debug)]
pub(super) struct World<'r> {
    pub(super) resources: &'r Resources,
    pub(super) mesh: &'r MeshConfig,
    /// Whether the settings were given, and are not mere defaults.
    pub(super) mesh_is_known: bool,
    /// All workloads of their namespaces; empty: nothing is known.
    pub(super) workloads: &'r [Known],
}

/// A workload that is known, and where it is written, when it is.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) kind: String,
    pub(super) workload: Workload,
    pub(super) at: Position,
}

/// The workloads that were stated, and those that the resources deploy.
pub(super) fn known(stated: &[Workload], resources: &Resources) -> Vec<Known> {
    let stated = stated.iter().map(|workload| Known {
        kind: "Workload".to_owned(),
        workload: workload.clone(),
        at: Position::default(),
    });
    let deployed = resources.workloads.iter().map(|deployed| Known {
        kind: deployed.kind.clone(),
        workload: workload(deployed, &resources.services),
        at: deployed.at.clone(),
    });
    stated.chain(deployed).collect()
}

/// A deployed workload, behind the services that select it.
fn workload(deployed: &Deployed, services: &[DeployedService]) -> Workload {
    let workload = Workload::new(&deployed.namespace, &deployed.service_account);
    let labels = deployed.labels.iter();
    let mut workload = labels.fold(workload.name(&deployed.name), |workload, (key, value)| {
        workload.label(key, value)
    });
    let selects = |service: &&DeployedService| {
        let mut labels = service.selector.iter();
        service.namespace == deployed.namespace
            && !service.selector.is_empty()
            && labels.all(|(key, value)| deployed.labels.get(key) == Some(value))
    };
    for service in services.iter().filter(selects) {
        for port in &service.ports {
            let named = deployed.ports.get(&port.target).copied();
            let Some(number) = named.or_else(|| port.target.parse().ok()) else {
                continue;
            };
            workload = workload.service_with_port_name(&service.name, number, &port.protocol);
        }
    }
    workload
}

/// The workloads that a resource selects, as it writes them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'r> {
    pub(super) namespace: &'r str,
    labels: &'r BTreeMap<String, Text>,
    /// It attaches to gateways, waypoints or services; of these nothing is known.
    pub(super) is_attached: bool,
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
    pub(super) fn is_wide(&self) -> bool {
        self.labels.is_empty() && !self.is_attached
    }

    /// What its labels must be.
    pub(super) fn label_values(&self) -> impl Iterator<Item = &'r str> {
        self.labels.values().map(Text::as_str)
    }
}

impl<'r> From<&'r AuthorizationPolicy> for Scope<'r> {
    fn from(policy: &'r AuthorizationPolicy) -> Self {
        let is_attached = !policy.target_refs.is_empty();
        Self::new(&policy.meta, &policy.selector, is_attached)
    }
}

impl<'r> From<&'r RequestAuthentication> for Scope<'r> {
    fn from(resource: &'r RequestAuthentication) -> Self {
        let is_attached = !resource.target_refs.is_empty();
        Self::new(&resource.meta, &resource.selector, is_attached)
    }
}

impl<'r> From<&'r PeerAuthentication> for Scope<'r> {
    fn from(resource: &'r PeerAuthentication) -> Self {
        Self::new(&resource.meta, &resource.selector, false)
    }
}

impl<'r> World<'r> {
    pub(super) fn is_root(&self, namespace: &str) -> bool {
        namespace == self.mesh.root_namespace
    }

    /// Whether a resource in `scope` touches the workload.
    pub(super) fn selects(&self, scope: Scope<'_>, workload: &Workload) -> bool {
        let in_reach = scope.namespace == workload.namespace() || self.is_root(scope.namespace);
        let labels = workload.labels();
        let has = |(key, value): (&String, &Text)| labels.get(key).is_some_and(|l| *l == **value);
        in_reach && !scope.is_attached && scope.labels.iter().all(has)
    }

    /// The known workloads that a resource in `scope` touches.
    pub(super) fn selected(&self, scope: Scope<'_>) -> impl Iterator<Item = &'r Workload> {
        let world = *self;
        let (namespace, labels, is_attached) = (
            scope.namespace.to_owned(),
            scope.labels.clone(),
            scope.is_attached,
        );
        let workloads = self.workloads.iter().map(|known| &known.workload);
        workloads.filter(move |workload| {
            let scope = Scope {
                namespace: &namespace,
                labels: &labels,
                is_attached,
            };
            world.selects(scope, workload)
        })
    }

    /// Whether the workloads that `scope` could select are all known.
    pub(super) fn is_known(&self, scope: Scope<'_>) -> bool {
        let workloads = self.workloads.iter();
        let mut namespaces = workloads.map(|known| known.workload.namespace());
        match self.is_root(scope.namespace) {
            // Labels may be those of the root namespace's own workloads, which a deployment elsewhere says nothing about.
            true if scope.labels.is_empty() => !self.workloads.is_empty(),
            _ => namespaces.any(|namespace| namespace == scope.namespace),
        }
    }

    /// Whether every workload that `narrow` selects is selected by `wide`, too, whatever workloads there are.
    pub(super) fn covers(&self, wide: Scope<'_>, narrow: Scope<'_>) -> bool {
        let in_reach = wide.namespace == narrow.namespace || self.is_root(wide.namespace);
        let has = |(key, value): (&String, &Text)| narrow.labels.get(key) == Some(value);
        in_reach && !wide.is_attached && !narrow.is_attached && wide.labels.iter().all(has)
    }

    /// Whether some workload may be selected by both.
    pub(super) fn may_meet(&self, a: Scope<'_>, b: Scope<'_>) -> bool {
        let in_reach =
            a.namespace == b.namespace || self.is_root(a.namespace) || self.is_root(b.namespace);
        let agree = |(key, value): (&String, &Text)| b.labels.get(key).is_none_or(|l| l == value);
        // What gateways and waypoints are is not known here.
        in_reach && (a.is_attached || b.is_attached || a.labels.iter().all(agree))
    }

    /// Whether a legacy resource of `namespace` may concern a workload that `scope` selects; no namespace is every one.
    pub(super) fn reaches(&self, namespace: &str, scope: Scope<'_>) -> bool {
        namespace.is_empty() || namespace == scope.namespace || self.is_root(scope.namespace)
    }
}
