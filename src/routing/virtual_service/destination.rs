//! Destinations.

use super::context::Context;
use crate::istio::traffic::Destination;
use crate::routing::route::{Cluster, ClusterName};

/// The cluster of a destination with its host in full. Without a port it is the one of the call,
/// also of a service that has only another: Istio looks at the services of the call's port.
pub(in crate::routing) fn cluster(destination: &Destination, context: &Context<'_>) -> Cluster {
    let host = destination.host.as_str();
    if host == UNKNOWN {
        return Cluster::Unknown;
    }
    let host = (context.service_host)(host).unwrap_or_else(|| host.to_owned());
    let subset = destination.subset.as_deref().unwrap_or_default().to_owned();
    Cluster::Service(ClusterName {
        port: destination.port.unwrap_or(context.port),
        subset,
        host,
    })
}

/// The host of a destination that may not be referred to; a name of a host has no capitals.
pub(in crate::routing) const UNKNOWN: &str = "UnknownService";
