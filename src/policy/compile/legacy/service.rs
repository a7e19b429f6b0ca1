use crate::identity::Workload;

/// The service through which a port of the workload is looked at.
pub(super) struct Service<'w> {
    /// Its short name; empty for ports that no service names.
    pub(super) name: &'w str,
    /// Its port; `None` for ports that no service names.
    pub(super) port: Option<u16>,
    /// Its port's name.
    pub(super) port_name: Option<&'w str>,
    /// `name.namespace.svc.cluster.local`; empty for ports that no service names.
    pub(super) host: String,
}

impl<'w> Service<'w> {
    /// What stands on the ports that no service names: nothing but namespace-wide and mesh-wide
    /// resources reach it.
    pub(super) fn none() -> Self {
        Self {
            name: "",
            port: None,
            port_name: None,
            host: String::new(),
        }
    }

    /// One service for each port that the workload states: of several on one port the first counts,
    /// as in Istio.
    pub(super) fn of_ports(workload: &'w Workload) -> Vec<Self> {
        let mut services: Vec<Self> = Vec::new();
        for service in workload.services() {
            if services
                .iter()
                .any(|known| known.port == Some(service.port))
            {
                continue;
            }
            services.push(Self {
                name: &service.name,
                port: Some(service.port),
                port_name: service.port_name.as_deref(),
                host: format!(
                    "{}.{}.svc.cluster.local",
                    service.name,
                    workload.namespace()
                ),
            });
        }
        services
    }
}
