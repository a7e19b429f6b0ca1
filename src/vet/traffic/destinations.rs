//! Checks that destinations exist: their hosts and subsets.

use super::view::{View, near};
use crate::istio::Meta;
use crate::istio::traffic::Destination;
use crate::vet::Code;
use crate::vet::report::notes::Notes;

/// Adds notes about destinations that nothing defines.
pub(super) fn check(view: &View<'_>, notes: &mut Notes) {
    for service in &view.traffic().virtual_services {
        let meta = &service.meta;
        for route in &service.http {
            let mirrors = route.mirrors.iter().map(|mirror| &mirror.destination);
            let routes = route.route.iter().map(|to| &to.destination);
            for destination in routes.chain(mirrors) {
                one(view, meta, destination, notes);
            }
        }
        let of_tls = service.tls.iter().flat_map(|route| &route.route);
        let of_tcp = service.tcp.iter().flat_map(|route| &route.route);
        for to in of_tls.chain(of_tcp) {
            one(view, meta, &to.destination, notes);
        }
    }
}

fn one(view: &View<'_>, meta: &Meta, destination: &Destination, notes: &mut Notes) {
    let host = view.full(&destination.host, meta);
    if is_missing(view, &host) {
        let message = format!(
            "no Service or ServiceEntry has the host `{host}`: calls that this route takes get 503"
        );
        let services = view.registry.services().iter();
        let help = match near(&host, services.map(|service| service.host.as_str())) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write the full name (NAME.NAMESPACE.svc.cluster.local) of a Service, or the host of a ServiceEntry".to_owned(),
        };
        let at = destination.host.at();
        notes.add(Code::DestinationUnknown, meta, at, message, help);
        return;
    }
    let Some(subset) = &destination.subset else {
        return;
    };
    let subsets = view.rules(&host).flat_map(|rule| &rule.subsets);
    let names: Vec<&str> = subsets.map(|it| it.name.as_str()).collect();
    if names.contains(&subset.as_str()) {
        return;
    }
    let message = format!(
        "no DestinationRule for `{host}` has a subset `{subset}`: calls that this route takes get 503"
    );
    let help = match near(subset, names.into_iter()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("add the subset to a DestinationRule for `{host}`"),
    };
    notes.add(Code::SubsetUndefined, meta, subset.at(), message, help);
}

/// Whether a host is none of those that are known. The Services of a namespace are known as soon
/// as one of them is, and all other hosts as soon as anything is.
fn is_missing(view: &View<'_>, host: &str) -> bool {
    let services = || view.traffic().services.iter();
    let is_known = match view.namespace_of(host) {
        Some(namespace) => services().any(|service| service.meta.namespace == namespace),
        None => services().next().is_some() || !view.traffic().service_entries.is_empty(),
    };
    is_known && !view.has_host(host)
}
