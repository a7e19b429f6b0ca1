//! Services of a ServiceEntry.

use std::sync::Arc;

use super::Exports;
use super::service::{Service, ServicePort, ServiceSource};
use crate::istio::Text;
use crate::istio::traffic::ServiceEntry;
use crate::matcher::Cidr;

/// One service for each host. `default_export` is MeshConfig's `defaultServiceExportTo`.
pub(super) fn services<'e>(
    entry: &'e Arc<ServiceEntry>,
    default_export: &'e [Text],
) -> impl Iterator<Item = Service> + 'e {
    let exports = Exports::new(&entry.export_to, default_export, &entry.meta.namespace);
    let ports = entry.ports.iter().map(|port| ServicePort {
        number: port.number,
        name: port.name.as_str().to_owned(),
        protocol: port.protocol,
    });
    let ports: Vec<_> = ports.collect();
    // A block of addresses is no name that a call can have.
    let addresses = entry.addresses.iter();
    let addresses = addresses.filter_map(|text| single_address(text.as_str()));
    let addresses: Vec<_> = addresses.collect();
    entry.hosts.iter().map(move |host| Service {
        host: host.as_str().to_owned(),
        namespace: entry.meta.namespace.clone(),
        aliases: Vec::new(),
        ports: ports.clone(),
        resolution: entry.resolution,
        location: entry.location,
        addresses: addresses.clone(),
        is_headless: false,
        created: entry.meta.created.clone(),
        name: entry.meta.name.clone(),
        exports: exports.clone(),
        source: ServiceSource::Entry(Arc::clone(entry)),
    })
}

/// The address of a text that means a single one: `10.0.0.1`, `10.0.0.1/32`.
fn single_address(text: &str) -> Option<std::net::IpAddr> {
    let range = Cidr::parse(text).ok()?;
    let whole = if range.address().is_ipv4() { 32 } else { 128 };
    (range.prefix() == whole).then(|| range.address())
}
