use crate::identity::Workload;

/// The service through which a port of the workload is looked at. The default is that of the ports
/// that no service names: only namespace-wide and mesh-wide resources reach it.
#[derive(Default)]
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
    /// One service for each port that the workload states: of several on one port the first counts,
    /// as in Istio.
    pub(super) fn of_ports(workload: &'w Workload) -> Vec<Self> {
        let mut services: Vec<Self> = Vec::new();
        for service in workload.services() {
            let port = Some(service.port);
            if services.iter().any(|known| known.port == port) {
                continue;
            }
            let (name, namespace) = (service.name.as_str(), workload.namespace());
            services.push(Self {
                name,
                port,
                port_name: service.port_name.as_deref(),
                host: format!("{name}.{namespace}.svc.cluster.local"),
            });
        }
        services
    }
}
