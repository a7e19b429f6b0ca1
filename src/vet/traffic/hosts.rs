//! Checks who routes a host, and who sees it.

use std::collections::HashMap;

use super::view::View;
use crate::istio::traffic::VirtualService;
use crate::istio::{Meta, Text};
use crate::routing::services::{Exports, ServiceSource};
use crate::vet::Code;
use crate::vet::report::note::{name_and_place, resource_name};
use crate::vet::report::notes::Notes;

/// Adds notes about hosts that two VirtualServices route, and about those that nobody sees.
pub(super) fn check(view: &View<'_>, notes: &mut Notes) {
    twice(view, notes);
    hidden(view, notes);
}

/// A host of a VirtualService that another one has before it, for the same callers. One that is
/// exported to fewer is meant to be before the others.
fn twice(view: &View<'_>, notes: &mut Notes) {
    let default = &view.world.mesh.traffic.default_virtual_service_export_to;
    let services = view.traffic().virtual_services.iter();
    let mut services: Vec<&VirtualService> = services.map(|service| &**service).collect();
    services.sort_by_key(|service| age(&service.meta));
    let mut first: HashMap<String, Vec<(&VirtualService, &Text, Exports)>> = HashMap::new();
    for service in services.into_iter().filter(|service| is_of_mesh(service)) {
        let meta = &service.meta;
        let exports = Exports::new(&service.export_to, default, &meta.namespace);
        for host in &service.hosts {
            let full = view.full(host, meta).into_owned();
            let known = first.entry(full).or_default();
            let mut same = known.iter().filter(|(.., other)| *other == exports);
            let Some((other, of_other, _)) = same.next() else {
                known.push((service, host, exports.clone()));
                continue;
            };
            let message = format!(
                "{} has the host `{host}`, too (at {}), and comes first, by its age, else its name: no call goes by the routes here",
                resource_name(&other.meta),
                of_other.at()
            );
            let help = "write the routes of a host into one VirtualService, or let it delegate";
            notes.add(Code::HostRoutedTwice, meta, host.at(), message, help);
        }
    }
}

/// Istio's order: the oldest first, then by name, then by namespace.
fn age(meta: &Meta) -> impl Ord + use<'_> {
    (&meta.created, &meta.name, &meta.namespace)
}

fn is_of_mesh(service: &VirtualService) -> bool {
    let mut gateways = service.gateways.iter();
    service.gateways.is_empty() || gateways.any(|gateway| gateway.as_str() == "mesh")
}

/// Services that no namespace sees, and that some resource speaks of.
fn hidden(view: &View<'_>, notes: &mut Notes) {
    for service in view.registry.services() {
        if service.exports != Exports::Nobody {
            continue;
        }
        let (meta, written) = match &service.source {
            ServiceSource::Kubernetes(it) => (&it.meta, it.export_to.first()),
            ServiceSource::Entry(it) => (&it.meta, it.export_to.first()),
        };
        let host = service.host.as_str();
        let Some(user) = user(view, host) else {
            continue;
        };
        let message = format!(
            "`exportTo` shows `{host}` to nobody, and {} is about it: calls to it go to an unknown destination",
            name_and_place(user)
        );
        let help = "export it to `.`, its own namespace, or to those that call it";
        let at = written.map_or(&meta.at, Text::at);
        notes.add(Code::ServiceHidden, meta, at, message, help);
    }
}

/// The first resource that routes or balances a host by its name.
fn user<'r>(view: &View<'r>, host: &str) -> Option<&'r Meta> {
    let is_it = |text: &Text, meta: &Meta| view.full(text, meta) == host;
    let mut rules = view.traffic().destination_rules.iter();
    let mut services = view.traffic().virtual_services.iter();
    let rule = rules.find(|rule| is_it(&rule.host, &rule.meta));
    rule.map(|rule| &rule.meta).or_else(|| {
        let service = services.find(|service| {
            let meta = &service.meta;
            let to = service.http.iter().flat_map(|route| &route.route);
            let mut to = to.map(|to| &to.destination.host);
            service.hosts.iter().any(|host| is_it(host, meta)) || to.any(|host| is_it(host, meta))
        });
        service.map(|service| &service.meta)
    })
}
