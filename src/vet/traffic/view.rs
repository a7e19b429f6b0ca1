//! The resources with full names.

use std::borrow::Cow;

use crate::istio::traffic::{DestinationRule, KubernetesService, TrafficResources};
use crate::istio::{Meta, distance};
use crate::routing::services::{Registry, Service};
use crate::routing::{RoutingOptions, host_contains, resolve_host};
use crate::vet::world::known::World;

/// All that routes and balances, and the services that are known.
pub(super) struct View<'r> {
    pub(super) world: World<'r>,
    pub(super) registry: Registry,
    domain: String,
}

impl<'r> View<'r> {
    pub(super) fn new(world: World<'r>) -> Self {
        let domain = RoutingOptions::default().domain;
        let default_export = &world.mesh.traffic.default_service_export_to;
        Self {
            registry: Registry::new(&world.resources.traffic, default_export, &domain),
            world,
            domain,
        }
    }

    pub(super) fn traffic(&self) -> &'r TrafficResources {
        &self.world.resources.traffic
    }

    /// The full name that a resource means by `host`.
    pub(super) fn full<'h>(&self, host: &'h str, meta: &Meta) -> Cow<'h, str> {
        resolve_host(host, &meta.namespace, &self.domain)
    }

    /// The known services whose name `pattern`, a full one, stands for.
    pub(super) fn services<'v>(&'v self, pattern: &'v str) -> impl Iterator<Item = &'v Service> {
        let services = self.registry.services().iter();
        let services = services.map(|service| &**service);
        services.filter(move |service| host_contains(pattern, &service.host))
    }

    /// The DestinationRules for a full name.
    pub(super) fn rules<'v>(&'v self, host: &'v str) -> impl Iterator<Item = &'r DestinationRule> {
        let rules = self.traffic().destination_rules.iter();
        let rules = rules.map(|rule| &**rule);
        rules.filter(move |rule| host_contains(&self.full(&rule.host, &rule.meta), host))
    }

    /// Whether a full name is the one that a Service, also one of type ExternalName, or a
    /// ServiceEntry has.
    pub(super) fn has_host(&self, host: &str) -> bool {
        let is_named = |service: &KubernetesService| self.name_of(service) == host;
        let mut services = self.registry.services().iter();
        services.any(|service| host_contains(&service.host, host))
            || self.traffic().services.iter().any(|it| is_named(it))
    }

    /// The full name of a Service.
    fn name_of(&self, service: &KubernetesService) -> String {
        let Meta {
            name, namespace, ..
        } = &service.meta;
        format!("{name}.{namespace}.svc.{}", self.domain)
    }

    /// The namespace of a full name that only a Service can have.
    pub(super) fn namespace_of<'h>(&self, host: &'h str) -> Option<&'h str> {
        let name = host.strip_suffix(self.domain.as_str())?;
        let name = name.strip_suffix(".svc.")?;
        name.split_once('.').map(|(_, namespace)| namespace)
    }
}

/// The name that is meant by a misspelt one, if one is near.
pub(super) fn near<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let known = known.map(|known| (distance(name, known), known));
    let near = known.filter(|(distance, _)| *distance <= (name.len() / 3).clamp(1, 3));
    near.min().map(|(_, known)| known)
}
