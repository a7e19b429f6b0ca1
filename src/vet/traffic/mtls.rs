//! Checks that callers and servers agree on TLS.

use super::view::View;
use crate::istio::traffic::{ClientTls, ClientTlsMode, DestinationRule, KubernetesService};
use crate::istio::{MtlsMode, PeerAuthentication};
use crate::routing::services::{Service, ServiceSource};
use crate::vet::Code;
use crate::vet::report::note::name_and_place;
use crate::vet::report::notes::Notes;
use crate::vet::world::known::Selects;

/// Adds notes about calls whose TLS the server does not expect.
pub(super) fn check(view: &View<'_>, notes: &mut Notes) {
    for rule in &view.traffic().destination_rules {
        let host = view.full(&rule.host, &rule.meta);
        for (tls, port) in settings(rule) {
            let mut services = view.services(&host);
            match tls.mode {
                ClientTlsMode::Disable => {
                    let strict = services.find_map(|it| Some((it, demanded(view, it)?)));
                    if let Some((service, peer)) = strict {
                        refused(rule, tls, service, peer, notes);
                    }
                }
                ClientTlsMode::Simple | ClientTlsMode::Mutual => {
                    if let Some(service) = services.find(|it| is_plain(it, port)) {
                        plain(rule, tls, service, notes);
                    }
                }
                ClientTlsMode::IstioMutual => {}
            }
        }
    }
}

/// The settings of a rule, of its subsets and of ports.
fn settings(rule: &DestinationRule) -> impl Iterator<Item = (&ClientTls, Option<u16>)> {
    let subsets = rule.subsets.iter();
    let subsets = subsets.filter_map(|subset| subset.traffic_policy.as_ref());
    let policies = rule.traffic_policy.iter().chain(subsets);
    policies.flat_map(|policy| {
        let whole = policy.tls.iter().map(|tls| (tls, None));
        let ports = policy.port_level_settings.iter();
        whole.chain(ports.filter_map(|port| Some((port.tls.as_ref()?, Some(port.port)))))
    })
}

/// The PeerAuthentication that demands mutual TLS of every workload and port of a service.
fn demanded<'r>(view: &View<'r>, service: &Service) -> Option<&'r PeerAuthentication> {
    let ServiceSource::Kubernetes(service) = &service.source else {
        return None;
    };
    let service: &KubernetesService = service;
    if service.selector.is_empty() {
        return None;
    }
    let world = view.world;
    let peers = world.resources.peer_authentications.iter();
    let reaching = peers.filter(|it| world.may_meet(it.scope(), service.scope()));
    let mut reaching: Vec<&PeerAuthentication> = reaching.map(|peer| &**peer).collect();
    // Mesh, namespace, workload: each later one overwrites.
    reaching.retain(|peer| !world.is_root(&peer.meta.namespace) || peer.scope().is_wide());
    reaching.sort_by_key(|it| (!world.is_root(&it.meta.namespace), !it.scope().is_wide()));
    let covers = |it: &&PeerAuthentication| world.covers(it.scope(), service.scope());
    let opens = |mode: &MtlsMode| matches!(mode, MtlsMode::Permissive | MtlsMode::Disable);
    let is_open = |it: &&PeerAuthentication| it.port_level.values().any(opens);
    let mut found = None;
    for peer in reaching {
        // Some workloads or ports may be open.
        if is_open(&peer) || (!covers(&peer) && opens(&peer.mode)) {
            return None;
        }
        if covers(&peer) && peer.mode != MtlsMode::Unset {
            found = Some(peer);
        }
    }
    found.filter(|peer| peer.mode == MtlsMode::Strict)
}

fn refused(
    rule: &DestinationRule,
    tls: &ClientTls,
    service: &Service,
    peer: &PeerAuthentication,
    notes: &mut Notes,
) {
    let message = format!(
        "calls to `{}` go out in plaintext, and {} demands mutual TLS there: each is refused",
        service.host,
        name_and_place(&peer.meta)
    );
    let help = "write mode: ISTIO_MUTUAL, or leave tls out, which lets the mesh choose";
    notes.add(Code::PlaintextToStrict, &rule.meta, &tls.at, message, help);
}

/// Whether the ports that a setting is for are all declared to speak HTTP without TLS. A
/// ServiceEntry declares what the callers speak, and its calls may well be put into TLS.
fn is_plain(service: &Service, port: Option<u16>) -> bool {
    let is_for = |number: u16| port.is_none_or(|port| port == number);
    let ports = service.ports.iter();
    let mut ports = ports.filter(|port| is_for(port.number)).peekable();
    service.is_kubernetes() && ports.peek().is_some() && ports.all(|it| it.protocol.is_http())
}

fn plain(rule: &DestinationRule, tls: &ClientTls, service: &Service, notes: &mut Notes) {
    let message = format!(
        "calls to `{}` are put into TLS of their own, and its Service declares plain HTTP: a server that speaks it refuses each",
        service.host
    );
    let help = "write mode: ISTIO_MUTUAL for mutual TLS of the mesh; silence this if the server itself speaks TLS";
    notes.add(Code::TlsToPlainPort, &rule.meta, &tls.at, message, help);
}
