//! All clusters of a workload.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::identity::{TrustDomain, Workload};
use crate::istio::traffic::{
    ClientTlsMode, DestinationRule, Locality, Protocol, Resolution, SimpleLb,
};
use crate::istio::{MeshConfig, Resources};
use crate::routing::destination_rule::{DestinationRules, Policy};
use crate::routing::endpoints::{Caller, Endpoint, Inventory, LocalityGroup, LocalitySetting};
use crate::routing::host::is_wildcard;
use crate::routing::route::ClusterName;
use crate::routing::services::{Service, ServicePort, SidecarScope};

use super::auto_mtls;
use super::connections::{Connections, UpstreamProtocol};
use super::destinations::services;
use super::identities::{ExpectedIdentities, KnownIdentities};
use super::options::ClusterOptions;
use super::peer_modes::PeerModes;
use super::tls::{MeshTls, TlsOrigination, TlsRefusal, UpstreamTls};
use super::upstream::{Discovery, UpstreamCluster};

/// The clusters that a workload's calls may go to.
#[derive(Clone, Debug, Default)]
pub struct Clusters {
    clusters: BTreeMap<ClusterName, Arc<UpstreamCluster>>,
}

impl Clusters {
    /// The clusters of all services that the workload sees: one for each port that is not UDP, and
    /// one for each subset of the DestinationRule that holds for it.
    ///
    /// A service whose names are resolved and that has none has no cluster; nor has a port of a
    /// DYNAMIC_DNS service that speaks neither HTTP nor TLS.
    #[must_use]
    pub fn new(
        workload: &Workload,
        mesh: &MeshConfig,
        resources: &Resources,
        scope: &SidecarScope,
        options: &ClusterOptions,
    ) -> Self {
        let traffic = &resources.traffic;
        let domain = options.domain.as_str();
        let default_export = &mesh.traffic.default_destination_rule_export_to;
        let locality = Locality {
            region: workload.region().unwrap_or_default().to_owned(),
            zone: workload.zone().unwrap_or_default().to_owned(),
            subzone: options.subzone.clone(),
        };
        let own_domain = workload.own_trust_domain().map(TrustDomain::as_str);
        let trust_domain = mesh.trust_domain_or(own_domain);
        let aliases = mesh.trust_domain_aliases.iter().map(String::as_str);
        let builder = Builder {
            mesh,
            options,
            inventory: Inventory::new(traffic),
            modes: PeerModes::new(&resources.peer_authentications, &mesh.root_namespace),
            caller: Caller {
                locality: &locality,
                network: &options.network,
                labels: workload.labels(),
            },
            trust_domains: [trust_domain].into_iter().chain(aliases).collect(),
        };
        let rules = DestinationRules::new(
            &traffic.destination_rules,
            default_export,
            domain,
            &mesh.root_namespace,
        );
        let mut clusters = BTreeMap::new();
        for service in services(workload, mesh, traffic, scope, domain) {
            let rule = rules.find(workload, &service).map(|rule| &**rule);
            for cluster in builder.of_service(&service, rule) {
                clusters.insert(cluster.name.clone(), Arc::new(cluster));
            }
        }
        Self { clusters }
    }

    /// The cluster of this name; without one a call to it is 503, `NC`.
    #[must_use]
    pub fn get(&self, name: &ClusterName) -> Option<&Arc<UpstreamCluster>> {
        self.clusters.get(name)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<UpstreamCluster>> {
        self.clusters.values()
    }
}

struct Builder<'b> {
    mesh: &'b MeshConfig,
    options: &'b ClusterOptions,
    inventory: Inventory<'b>,
    modes: PeerModes<'b>,
    caller: Caller<'b>,
    trust_domains: Vec<&'b str>,
}

/// What is known before a subset is looked at.
struct Place<'p> {
    service: &'p Arc<Service>,
    port: &'p ServicePort,
    rule: Option<&'p DestinationRule>,
    known: &'p KnownIdentities,
    discovery: Discovery,
    endpoints: &'p [Endpoint],
}

impl Builder<'_> {
    fn of_service(
        &self,
        service: &Arc<Service>,
        rule: Option<&DestinationRule>,
    ) -> Vec<UpstreamCluster> {
        let endpoints = service.ports.iter();
        let endpoints = endpoints.flat_map(|port| self.inventory.endpoints(service, port));
        let upstream = self.options.upstreams.get(&service.host);
        let upstream = upstream.map_or(&[][..], Vec::as_slice);
        let domains = &self.trust_domains;
        let all: Vec<_> = endpoints.collect();
        let known = KnownIdentities::new(service, &all, domains, upstream);
        let mut clusters = Vec::new();
        for port in &service.ports {
            let Some(discovery) = self.discovery(service, port) else {
                continue;
            };
            let endpoints = self.inventory.addresses(service, port);
            let place = Place {
                service,
                port,
                rule,
                known: &known,
                discovery,
                endpoints: &endpoints,
            };
            let subsets = rule.iter().flat_map(|rule| &rule.subsets);
            // Who has no fixed endpoints has no subsets of them.
            let subsets = subsets.filter(|_| discovery != Discovery::DynamicDns);
            let subsets = subsets.map(|subset| subset.name.as_str());
            let names = [""].into_iter().chain(subsets);
            clusters.extend(names.filter_map(|subset| self.cluster(&place, subset)));
        }
        clusters
    }

    fn discovery(&self, service: &Service, port: &ServicePort) -> Option<Discovery> {
        let refresh = self.mesh.traffic.dns_refresh_rate.unwrap_or(REFRESH);
        match service.resolution {
            _ if port.protocol == Protocol::Udp => None,
            Resolution::None => Some(Discovery::OriginalDestination),
            Resolution::Dns => Some(Discovery::StrictDns { refresh }),
            Resolution::DnsRoundRobin => Some(Discovery::LogicalDns { refresh }),
            Resolution::DynamicDns if is_wildcard(&service.host) => {
                let known = [
                    Protocol::Http,
                    Protocol::Http2,
                    Protocol::Grpc,
                    Protocol::Tls,
                ];
                known
                    .contains(&port.protocol)
                    .then_some(Discovery::DynamicDns)
            }
            _ => Some(Discovery::Endpoints),
        }
    }

    fn cluster(&self, place: &Place<'_>, subset: &str) -> Option<UpstreamCluster> {
        let Place {
            service,
            port,
            rule,
            ..
        } = *place;
        let policy = Policy::new(rule, subset, port.number, &self.mesh.traffic);
        let of_subset = rule.and_then(|rule| Policy::subset(rule, subset));
        let balancer = policy.load_balancer.as_ref();
        let is_original = balancer.is_some_and(|it| it.simple == SimpleLb::Passthrough);
        let discovery = match place.discovery {
            Discovery::DynamicDns => Discovery::DynamicDns,
            _ if is_original => Discovery::OriginalDestination,
            discovery => discovery,
        };
        let mut endpoints = match discovery {
            Discovery::OriginalDestination | Discovery::DynamicDns => Vec::new(),
            _ => place.endpoints.to_vec(),
        };
        if let Some(of_subset) = of_subset {
            endpoints.retain(|endpoint| endpoint.has_labels(&of_subset.labels));
        }
        let is_dns = matches!(
            discovery,
            Discovery::StrictDns { .. } | Discovery::LogicalDns { .. }
        );
        if is_dns && endpoints.is_empty() {
            return None;
        }
        auto_mtls::mark(&mut endpoints, rule, subset, port.number, &self.modes);
        let pool = policy.connection_pool.as_ref();
        let connections = Connections::new(pool, port.protocol, &self.mesh.traffic);
        let name = ClusterName {
            port: port.number,
            subset: subset.to_owned(),
            host: service.host.clone(),
        };
        let tls = self.tls(place, &policy, &name, discovery, connections.protocol);
        let locality = LocalitySetting::new(balancer, service, &self.mesh.traffic);
        let detects = policy.detects_by_rule || (is_dns && policy.outlier_detection.is_some());
        let groups = LocalityGroup::all(endpoints, &locality, &self.caller, detects);
        Some(UpstreamCluster {
            name,
            service: Arc::clone(service),
            port: port.clone(),
            discovery,
            policy,
            connections,
            locality,
            tls,
            groups,
        })
    }

    fn tls(
        &self,
        place: &Place<'_>,
        policy: &Policy,
        name: &ClusterName,
        discovery: Discovery,
        protocol: UpstreamProtocol,
    ) -> UpstreamTls {
        let is_http2 = protocol == UpstreamProtocol::Http2;
        let Place {
            service,
            rule,
            known,
            ..
        } = *place;
        let Some(tls) = &policy.tls else {
            let subset = rule.and_then(|rule| Policy::subset(rule, &name.subset));
            let level = match subset {
                Some(subset) => subset.traffic_policy.as_ref(),
                None => rule.and_then(|rule| rule.traffic_policy.as_ref()),
            };
            let traffic = &self.mesh.traffic;
            if !auto_mtls::is_on(service, level, place.endpoints, traffic, &self.modes) {
                return UpstreamTls::Plain;
            }
            let mesh = Box::new(self.mesh_tls(place, &[], None, name, discovery, is_http2));
            // To an address that the caller has resolved nothing says who takes it and who not.
            return match discovery {
                Discovery::OriginalDestination => UpstreamTls::Mesh(mesh),
                _ => UpstreamTls::Auto(mesh),
            };
        };
        match tls.mode {
            ClientTlsMode::Disable => UpstreamTls::Plain,
            ClientTlsMode::IstioMutual => {
                let sni = tls.sni.as_deref().filter(|sni| !sni.is_empty());
                let names = &tls.subject_alt_names;
                let mesh = self.mesh_tls(place, names, sni, name, discovery, is_http2);
                UpstreamTls::Mesh(Box::new(mesh))
            }
            ClientTlsMode::Simple | ClientTlsMode::Mutual => {
                let is_selected = rule.is_some_and(|rule| rule.workload_selector.is_some());
                if tls.credential_name.is_some() && !is_selected {
                    return UpstreamTls::Refused(TlsRefusal { at: tls.at.clone() });
                }
                let names = match service.is_kubernetes() {
                    true => Vec::new(),
                    false => known.of_resources(),
                };
                UpstreamTls::Origination(Box::new(TlsOrigination::new(tls, names, is_http2)))
            }
        }
    }

    fn mesh_tls(
        &self,
        place: &Place<'_>,
        of_rule: &[crate::istio::Text],
        sni: Option<&str>,
        name: &ClusterName,
        discovery: Discovery,
        is_http2: bool,
    ) -> MeshTls {
        let ClusterName { port, subset, host } = name;
        let sni = match sni {
            Some(sni) => sni.to_owned(),
            None if discovery == Discovery::DynamicDns => String::new(),
            None => format!("outbound_.{port}_.{subset}_.{host}"),
        };
        let mut identities = place.known.expected(host, of_rule);
        if identities.is_err() && self.options.trusts_domain(host) {
            let domain = self.trust_domains.first().copied().unwrap_or_default();
            if let Ok(domain) = TrustDomain::new(domain) {
                identities = Ok(ExpectedIdentities::TrustDomain(domain));
            }
        }
        let stated = of_rule.iter().map(|it| it.as_str().to_owned());
        let istio_names: Vec<_> = match of_rule {
            [] if discovery == Discovery::DynamicDns => Vec::new(),
            [] => place.known.of_resources(),
            _ => stated.collect(),
        };
        MeshTls {
            sni,
            alpn: if is_http2 {
                vec!["istio", "h2"]
            } else {
                vec!["istio"]
            },
            identities,
            istio_names,
        }
    }
}

/// MeshConfig's default.
const REFRESH: Duration = Duration::from_secs(60);
