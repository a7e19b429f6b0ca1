//! All services, in Istio's order.

use std::collections::HashMap;
use std::sync::Arc;

use super::service::Service;
use super::{from_entry, from_kubernetes};
use crate::istio::Text;
use crate::istio::traffic::TrafficResources;

/// The services of all resources, oldest first, then by name and namespace.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    services: Vec<Arc<Service>>,
    domain: String,
}

impl Registry {
    /// The services of Kubernetes and of ServiceEntries. `default_export` is MeshConfig's
    /// `defaultServiceExportTo`, and `domain` the one under which Services have their full names,
    /// such as `cluster.local`.
    ///
    /// A Service of type ExternalName is no service of its own: it is an
    /// [alias](Service::aliases) of the service that it names, through other aliases too, and
    /// nothing where there is no such service.
    #[must_use]
    pub fn new(resources: &TrafficResources, default_export: &[Text], domain: &str) -> Self {
        let mut services: Vec<Service> = Vec::new();
        let mut targets: HashMap<String, &str> = HashMap::new();
        for service in &resources.services {
            match &service.external_name {
                Some(target) => {
                    targets.insert(from_kubernetes::full_name(service, domain), target.as_str());
                }
                None => services.push(from_kubernetes::service(service, default_export, domain)),
            }
        }
        let entries = resources.service_entries.iter();
        services.extend(entries.flat_map(|entry| from_entry::services(entry, default_export)));
        let mut aliases: Vec<(&str, &String)> = Vec::new();
        for alias in targets.keys() {
            if let Some(target) = end_of(&targets, alias) {
                aliases.push((target, alias));
            }
        }
        aliases.sort_unstable();
        for (target, alias) in aliases {
            let of_target = services.iter_mut();
            for service in of_target.filter(|service| service.host == target) {
                service.aliases.push(alias.clone());
            }
        }
        services.sort_by(|one, other| age(one).cmp(&age(other)));
        Self {
            services: services.into_iter().map(Arc::new).collect(),
            domain: domain.to_owned(),
        }
    }

    /// All of them.
    #[must_use]
    pub fn services(&self) -> &[Arc<Service>] {
        &self.services
    }

    /// The domain of full names.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Those that workloads of a namespace see: what is private to it first, then what is exported
    /// to it by name, then what everybody sees; each in the registry's order.
    #[must_use]
    pub fn visible_to(&self, namespace: &str) -> Vec<&Arc<Service>> {
        let reached = self.services.iter().filter_map(|service| {
            let reach = service.exports.reach(&service.namespace, namespace)?;
            Some((reach, service))
        });
        let mut reached: Vec<_> = reached.collect();
        reached.sort_by_key(|(reach, _)| *reach);
        reached.into_iter().map(|(_, service)| service).collect()
    }
}

/// What Istio sorts services by.
fn age(service: &Service) -> impl Ord + use<'_> {
    (&service.created, &service.name, &service.namespace)
}

/// The first name, following aliases, that is no alias; `None` where they go in a circle.
fn end_of<'t>(targets: &HashMap<String, &'t str>, alias: &str) -> Option<&'t str> {
    let mut target = *targets.get(alias)?;
    for _ in 0..targets.len() {
        match targets.get(target) {
            Some(next) => target = next,
            None => return Some(target),
        }
    }
    None
}
