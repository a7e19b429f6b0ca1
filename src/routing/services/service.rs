//! One service.

use std::net::IpAddr;
use std::sync::Arc;

use super::Exports;
use crate::istio::traffic::{KubernetesService, Location, Protocol, Resolution, ServiceEntry};

/// A host that resources route to, from a Service of Kubernetes or from one host of a ServiceEntry.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Service {
    /// The full name, or a wildcard of a ServiceEntry.
    pub host: String,
    /// The namespace of its resource.
    pub namespace: String,
    /// Further hosts that lead to it: Services of type ExternalName that name it.
    pub aliases: Vec<String>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// Where its endpoints come from. A Service of Kubernetes is [`Resolution::Static`], and a
    /// headless one [`Resolution::None`].
    pub resolution: Resolution,
    /// Whether it is part of the mesh. A Service of Kubernetes is.
    pub location: Location,
    /// Its virtual addresses.
    pub addresses: Vec<IpAddr>,
    /// Whether it is a headless Service of Kubernetes, whose endpoints have names of their own.
    pub is_headless: bool,
    /// `creationTimestamp`, as written.
    pub created: Option<String>,
    /// The name of its resource.
    pub name: String,
    /// Who sees it.
    pub exports: Exports,
    /// Its resource.
    pub source: ServiceSource,
}

impl Service {
    /// The port of this number.
    #[must_use]
    pub fn port(&self, number: u16) -> Option<&ServicePort> {
        self.ports.iter().find(|port| port.number == number)
    }

    /// Whether it comes from Kubernetes.
    #[must_use]
    pub fn is_kubernetes(&self) -> bool {
        matches!(self.source, ServiceSource::Kubernetes(_))
    }
}

/// The resource that a [`Service`] comes from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ServiceSource {
    /// A Service of Kubernetes.
    Kubernetes(Arc<KubernetesService>),
    /// A ServiceEntry.
    Entry(Arc<ServiceEntry>),
}

/// A port of a [`Service`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServicePort {
    /// Its number.
    pub number: u16,
    /// Its name; may be empty for the only port of a Service of Kubernetes.
    pub name: String,
    /// What it speaks.
    pub protocol: Protocol,
}

impl ServicePort {
    /// Whether calls to it are routed by their heads: also where nothing is known of its protocol,
    /// and a call turns out to be HTTP.
    #[must_use]
    pub fn takes_http(&self) -> bool {
        self.protocol.is_http() || self.protocol == Protocol::Unspecified
    }
}
