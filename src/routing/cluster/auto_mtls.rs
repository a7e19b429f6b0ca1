//! Mutual TLS where no DestinationRule says anything of TLS.

use crate::istio::MtlsMode;
use crate::istio::traffic::{
    ClientTlsMode, DestinationRule, Location, MeshTraffic, Resolution, SimpleLb, TrafficPolicy,
};
use crate::routing::destination_rule::Policy;
use crate::routing::endpoints::{Endpoint, EndpointAddress};
use crate::routing::services::Service;

use super::peer_modes::PeerModes;

/// Whether calls use mutual TLS by themselves: not to services outside the mesh, not where the
/// mesh or the servers' namespace switches it off, and of those that are called at the address that
/// the caller has resolved only if all endpoints are known, and take it.
///
/// `level` is `trafficPolicy` of the rule or of the subset, whose own `PASSTHROUGH` counts here.
pub(super) fn is_on(
    service: &Service,
    level: Option<&TrafficPolicy>,
    endpoints: &[Endpoint],
    mesh: &MeshTraffic,
    modes: &PeerModes<'_>,
) -> bool {
    if service.location == Location::MeshExternal || mesh.enable_auto_mtls == Some(false) {
        return false;
    }
    let balancer = level.and_then(|level| level.load_balancer.as_ref());
    let is_original = service.resolution == Resolution::None
        || balancer.is_some_and(|it| it.simple == SimpleLb::Passthrough);
    let all_take_it = || !endpoints.is_empty() && endpoints.iter().all(|it| it.takes_mtls);
    (!is_original || all_take_it()) && modes.of_namespace(&service.namespace) != MtlsMode::Disable
}

/// Marks the endpoints that mutual TLS is used to: all or none where the rule has a mode, else
/// those that take it and whose PeerAuthentication does not switch it off.
pub(super) fn mark(
    endpoints: &mut [Endpoint],
    rule: Option<&DestinationRule>,
    subset: &str,
    port: u16,
    modes: &PeerModes<'_>,
) {
    let mode = rule.and_then(|rule| mode_of(rule, subset, port));
    for endpoint in endpoints {
        let own_port = match endpoint.address {
            EndpointAddress::Ip(_, port) | EndpointAddress::Name(_, port) => Some(port),
            EndpointAddress::Unix(_) => None,
        };
        endpoint.takes_mtls = match mode {
            Some(mode) => mode == ClientTlsMode::IstioMutual,
            None => {
                let of_server = modes.of_workload(&endpoint.namespace, &endpoint.labels, own_port);
                endpoint.takes_mtls && of_server != MtlsMode::Disable
            }
        };
    }
}

/// Unlike in a [`Policy`], settings of a port without `tls` leave the level's here.
fn mode_of(rule: &DestinationRule, subset: &str, port: u16) -> Option<ClientTlsMode> {
    let of_level = |policy: &TrafficPolicy| {
        let ports = policy.port_level_settings.iter();
        let mut of_port = ports.filter(|settings| settings.port == port);
        let of_port = of_port.find_map(|settings| settings.tls.as_ref());
        of_port.or(policy.tls.as_ref()).map(|tls| tls.mode)
    };
    let of_subset = Policy::subset(rule, subset).and_then(|it| it.traffic_policy.as_ref());
    let of_rule = || rule.traffic_policy.as_ref().and_then(of_level);
    of_subset.and_then(of_level).or_else(of_rule)
}
