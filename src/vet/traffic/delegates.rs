//! Checks delegates of VirtualServices: that they are there, named, and agree with their roots.

use std::collections::{HashMap, HashSet};

use super::view::View;
use crate::istio::traffic::{Delegate, HttpRoute, VirtualService};
use crate::routing::delegate_agrees;
use crate::routing::services::Exports;
use crate::vet::Code;
use crate::vet::report::note::resource_name;
use crate::vet::report::notes::Notes;

/// A namespace and a name.
type Key<'r> = (&'r str, &'r str);

/// Adds notes about delegates.
pub(super) fn check(view: &View<'_>, notes: &mut Notes) {
    let services = view.traffic().virtual_services.iter();
    let services: HashMap<Key<'_>, &VirtualService> = services
        .map(|it| ((it.meta.namespace.as_str(), it.meta.name.as_str()), &**it))
        .collect();
    let mut named = HashSet::new();
    for root in view.traffic().virtual_services.iter() {
        for route in &root.http {
            let Some(delegate) = &route.delegate else {
                continue;
            };
            let namespace = delegate.namespace.as_ref();
            let namespace = namespace.map_or(root.meta.namespace.as_str(), |it| it.as_str());
            let key = (namespace, delegate.name.as_str());
            named.insert(key);
            let found = services.get(&key).copied();
            match lost(view, root, found, key) {
                Some(why) => missing(root, delegate, &why, notes),
                None => disagreeing(root, route, found, notes),
            }
        }
    }
    let services = view.traffic().virtual_services.iter();
    for service in services.filter(|service| service.hosts.is_empty()) {
        let meta = &service.meta;
        if named.contains(&(meta.namespace.as_str(), meta.name.as_str())) {
            continue;
        }
        let message =
            "this VirtualService has no hosts, and no route of another one delegates to it";
        let help = "name it as the delegate of a route, or give it hosts";
        notes.add(Code::DelegateUnused, meta, &meta.at, message, help);
    }
}

/// Why nothing can be delegated to what was found under a name.
fn lost(
    view: &View<'_>,
    root: &VirtualService,
    found: Option<&VirtualService>,
    (namespace, name): Key<'_>,
) -> Option<String> {
    let Some(found) = found else {
        return Some(format!(
            "there is no VirtualService `{name}` in the namespace `{namespace}`"
        ));
    };
    if !found.hosts.is_empty() {
        return Some(format!(
            "`{namespace}/{name}` has hosts, and so is no delegate"
        ));
    }
    let default = &view.world.mesh.traffic.default_virtual_service_export_to;
    let exports = Exports::new(&found.export_to, default, namespace);
    let own = root.meta.namespace.as_str();
    let is_seen = exports.reach(namespace, own).is_some();
    (!is_seen).then(|| format!("`{namespace}/{name}` is not exported to the namespace `{own}`"))
}

fn missing(root: &VirtualService, delegate: &Delegate, why: &str, notes: &mut Notes) {
    let message = format!("{why}: this route is dropped, and its calls go on to the next");
    let help = "name a VirtualService without hosts that is exported to this namespace";
    let at = delegate.name.at();
    notes.add(Code::DelegateNotFound, &root.meta, at, message, help);
}

/// Routes of a delegate that match nothing under their root.
fn disagreeing(
    root: &VirtualService,
    route: &HttpRoute,
    delegate: Option<&VirtualService>,
    notes: &mut Notes,
) {
    let Some(delegate) = delegate else { return };
    for own in &delegate.http {
        if delegate_agrees(route, own) {
            continue;
        }
        let message = format!(
            "a match of this route excludes every match of the route of {} that delegates to it (at {}): the whole route is dropped",
            resource_name(&root.meta),
            route.at
        );
        let help = "write matches within the root's: a path that begins with its prefix, and the same values; neither with a regex";
        notes.add(
            Code::DelegateConflict,
            &delegate.meta,
            &own.at,
            message,
            help,
        );
    }
}
