use std::fmt;
use std::sync::Arc;

use http::HeaderValue;

use crate::context::Hide;
use crate::identity::Workload;

/// The identity of this process, as spans show it.
#[derive(Clone, Default)]
pub(in crate::propagation) struct Identity {
    /// The one that the application has set.
    pub(in crate::propagation) node_id: Option<Arc<str>>,
    /// The workload's own.
    workload_id: Option<Arc<str>>,
    zone: Option<Arc<str>>,
    /// Istio's tags that all spans have, worked out once.
    pub(super) constant: Vec<(&'static str, Arc<str>)>,
    /// Takes parameters out of paths.
    pub(in crate::propagation) hide: Option<Hide>,
    /// The operation that each port of ours serves.
    operations: Vec<(u16, Operation)>,
}

/// What we call the requests to one of our services.
#[derive(Clone, Debug)]
pub(in crate::propagation) struct Operation {
    pub(in crate::propagation) name: Arc<str>,
    /// The same for a header; `None` when it cannot stand in one.
    pub(in crate::propagation) value: Option<HeaderValue>,
    /// Envoy's name for the port.
    cluster: Arc<str>,
}

impl Operation {
    fn new(service: &str, namespace: &str, port: u16) -> Self {
        let name = format!("{service}.{namespace}.svc.cluster.local:{port}/*");
        Self {
            value: HeaderValue::from_str(&name).ok(),
            name: name.into(),
            cluster: inbound_cluster(port),
        }
    }
}

impl Identity {
    pub(in crate::propagation) fn be(&mut self, workload: &Workload) {
        let or = |text: &str, default: &str| match text {
            "" => default.into(),
            text => text.into(),
        };
        let namespace = workload.namespace();
        self.workload_id = Some(workload.node_id().into());
        self.zone = workload.zone().map(Arc::from);
        self.constant = vec![
            (
                "istio.canonical_service",
                workload.canonical_service().into(),
            ),
            (
                "istio.canonical_revision",
                workload.canonical_revision().into(),
            ),
            (
                "istio.mesh_id",
                or(workload.mesh_id().unwrap_or_default(), "unknown"),
            ),
            ("istio.cluster_id", or(workload.cluster_id(), "unknown")),
            ("istio.namespace", or(namespace, "default")),
        ];
        let operation = |name: &str, port| Operation::new(name, namespace, port);
        self.operations = workload
            .services()
            .iter()
            .map(|service| (service.port, operation(&service.name, service.port)))
            .collect();
    }

    /// The tags that name this process.
    pub(super) fn process(&self) -> impl Iterator<Item = (&'static str, &Arc<str>)> {
        let node_id = self.node_id.as_ref().or(self.workload_id.as_ref());
        let node_id = node_id.map(|node_id| ("node_id", node_id));
        let zone = self.zone.as_ref().map(|zone| ("zone", zone));
        node_id.into_iter().chain(zone)
    }

    /// The operation of a request that came in on this port; the only service's when the port is
    /// not known.
    pub(in crate::propagation) fn operation(&self, port: Option<u16>) -> Option<&Operation> {
        match (self.at(port), self.operations.as_slice()) {
            (Some(operation), _) | (None, [(_, operation)]) => Some(operation),
            _ => None,
        }
    }

    /// Envoy's name for a port of ours.
    pub(in crate::propagation) fn cluster(&self, port: u16) -> Arc<str> {
        match self.at(Some(port)) {
            Some(operation) => Arc::clone(&operation.cluster),
            None => inbound_cluster(port),
        }
    }

    fn at(&self, port: Option<u16>) -> Option<&Operation> {
        let mut served = self.operations.iter();
        served
            .find(|(served, _)| Some(*served) == port)
            .map(|(_, operation)| operation)
    }
}

fn inbound_cluster(port: u16) -> Arc<str> {
    format!("inbound|{port}||").into()
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}
