//! Services of Kubernetes.

use std::sync::Arc;

use super::Exports;
use super::service::{Service, ServicePort, ServiceSource};
use crate::istio::Text;
use crate::istio::traffic::{KubernetesService, Location, Protocol, Resolution};

/// The service, under its full name. `default_export` is MeshConfig's `defaultServiceExportTo`.
pub(super) fn service(
    service: &Arc<KubernetesService>,
    default_export: &[Text],
    domain: &str,
) -> Service {
    let meta = &service.meta;
    let ports = service.ports.iter();
    let ports = ports.filter(|port| port.protocol != Protocol::Udp);
    let ports = ports.map(|port| ServicePort {
        number: port.number,
        name: port.name.clone(),
        protocol: port.protocol,
    });
    Service {
        host: full_name(service, domain),
        namespace: meta.namespace.clone(),
        aliases: Vec::new(),
        ports: ports.collect(),
        resolution: if service.is_headless {
            Resolution::None
        } else {
            Resolution::Static
        },
        location: Location::MeshInternal,
        addresses: service.cluster_ips.clone(),
        is_headless: service.is_headless,
        created: meta.created.clone(),
        name: meta.name.clone(),
        exports: Exports::new(&service.export_to, default_export, &meta.namespace),
        source: ServiceSource::Kubernetes(Arc::clone(service)),
    }
}

/// `NAME.NAMESPACE.svc.DOMAIN`.
pub(super) fn full_name(service: &KubernetesService, domain: &str) -> String {
    format!(
        "{}.{}.svc.{domain}",
        service.meta.name, service.meta.namespace
    )
}
