//! `ClusterLoadAssignment`s.

use serde_json::{Value, json};

use super::json::sparse;
use crate::routing::cluster::UpstreamCluster;
use crate::routing::endpoints::{Endpoint, EndpointAddress, EndpointHealth, LocalityGroup};

/// The endpoints of a cluster, as Istio's EDS has them: an endpoint that takes mutual TLS of the
/// mesh has the metadata `tlsMode: istio`, by which Envoy chooses the transport.
#[must_use]
pub fn load_assignment(cluster: &UpstreamCluster) -> Value {
    let endpoints: Vec<_> = cluster.groups.iter().map(group).collect();
    sparse(json!({"cluster_name": cluster.name.to_string(), "endpoints": endpoints}))
}

fn group(group: &LocalityGroup) -> Value {
    let named = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    sparse(json!({
        "locality": sparse(json!({
            "region": named(&group.locality.region),
            "zone": named(&group.locality.zone),
            "sub_zone": named(&group.locality.subzone),
        })),
        "lb_endpoints": group.endpoints.iter().map(endpoint).collect::<Vec<_>>(),
        "load_balancing_weight": group.weight,
        "priority": (group.priority > 0).then_some(group.priority),
    }))
}

fn endpoint(endpoint: &Endpoint) -> Value {
    let socket = |address: String, port: u16| json!({"socket_address": {"address": address, "port_value": port}});
    let address = match &endpoint.address {
        EndpointAddress::Ip(ip, port) => socket(ip.to_string(), *port),
        EndpointAddress::Name(name, port) => socket(name.clone(), *port),
        EndpointAddress::Unix(path) => json!({"pipe": {"path": path}}),
    };
    let metadata = endpoint.takes_mtls.then(
        || json!({"filter_metadata": {"envoy.transport_socket_match": {"tlsMode": "istio"}}}),
    );
    sparse(json!({
        "endpoint": {"address": address},
        "health_status": match endpoint.health {
            EndpointHealth::Unknown => None,
            EndpointHealth::Healthy => Some("HEALTHY"),
            EndpointHealth::Unhealthy => Some("UNHEALTHY"),
        },
        "metadata": metadata,
        "load_balancing_weight": endpoint.weight,
    }))
}
