//! The documents of Kubernetes that say which services there are and which endpoints they have.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Locality, Protocol};
use crate::istio::{Meta, Position, Text};

/// `v1` Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KubernetesService {
    /// Name, namespace, annotations, position.
    pub meta: Meta,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, Text>,
    /// `type`.
    pub kind: ServiceType,
    /// `clusterIPs[]`, else `clusterIP`, without `None`.
    pub cluster_ips: Vec<IpAddr>,
    /// `clusterIP: None`.
    pub is_headless: bool,
    /// `externalName`, of the type of this name only.
    pub external_name: Option<Text>,
    /// `selector`: labels of the pods behind it. Empty: none that it selects.
    pub selector: BTreeMap<String, Text>,
    /// `ports[]`.
    pub ports: Vec<KubernetesServicePort>,
    /// The annotation `networking.istio.io/exportTo`, split at its commas. Empty: MeshConfig's
    /// `defaultServiceExportTo`.
    pub export_to: Vec<Text>,
    /// `trafficDistribution`, else the annotation `networking.istio.io/traffic-distribution`;
    /// `None`: the namespace's.
    pub traffic_distribution: Option<TrafficDistribution>,
    /// `internalTrafficPolicy: Local`.
    pub is_node_local: bool,
    /// `publishNotReadyAddresses`.
    pub publish_not_ready_addresses: bool,
}

/// `type` of a Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ServiceType {
    /// `ClusterIP`.
    #[default]
    ClusterIp,
    /// `ExternalName`.
    ExternalName,
    /// `LoadBalancer`.
    LoadBalancer,
    /// `NodePort`.
    NodePort,
}

/// Which endpoints of a service are nearest, of a Service or of the annotation
/// `networking.istio.io/traffic-distribution`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TrafficDistribution {
    /// Nothing, or any other word: as far as DestinationRule and MeshConfig say.
    #[default]
    Any,
    /// `PreferSameZone` and the older `PreferClose`: by network, region and zone.
    PreferSameZone,
    /// `PreferSameNode`: by network, region, zone, subzone and node.
    PreferSameNode,
}

/// `ports[]` of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KubernetesServicePort {
    /// `name`; empty, of a single port only.
    pub name: String,
    /// `port`.
    pub number: u16,
    /// What it speaks, by `protocol`, `appProtocol` and name.
    pub protocol: Protocol,
    /// `targetPort`.
    pub target_port: TargetPort,
    /// Where it was written.
    pub at: Position,
}

/// `targetPort` of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TargetPort {
    /// None: the port itself.
    #[default]
    Same,
    /// A number.
    Number(u16),
    /// The name of a port of the pods' containers.
    Name(String),
}

/// `discovery.k8s.io/v1` EndpointSlice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointSlice {
    /// Name, namespace, position.
    pub meta: Meta,
    /// The label `kubernetes.io/service-name`.
    pub service: Option<Text>,
    /// `endpoints[]`.
    pub endpoints: Vec<SliceEndpoint>,
    /// `ports[]`, each of a port of the Service, by name.
    pub ports: Vec<SlicePort>,
}

/// `endpoints[]` of an EndpointSlice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SliceEndpoint {
    /// `addresses[]`: IP addresses, or names if that is the slice's `addressType`.
    pub addresses: Vec<Text>,
    /// `conditions.ready`; true where it is not written.
    pub is_ready: bool,
    /// `conditions.serving`; as ready where it is not written.
    pub is_serving: bool,
    /// `conditions.terminating`.
    pub is_terminating: bool,
    /// `targetRef` of the kind Pod: namespace (empty: the slice's) and name.
    pub pod: Option<(String, String)>,
    /// `nodeName`.
    pub node: Option<String>,
    /// `zone`.
    pub zone: Option<String>,
    /// `hostname`.
    pub hostname: Option<String>,
    /// Where it was written.
    pub at: Position,
}

/// `ports[]` of an EndpointSlice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlicePort {
    /// `name`; empty, of a single port only.
    pub name: String,
    /// `port`; `None`: all.
    pub number: Option<u16>,
}

/// `v1` Pod, as far as it is an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pod {
    /// Name, namespace, position.
    pub meta: Meta,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, Text>,
    /// `status.podIPs[].ip`, else `status.podIP`.
    pub ips: Vec<IpAddr>,
    /// `spec.serviceAccountName`; `default` where it is not written.
    pub service_account: String,
    /// `spec.nodeName`.
    pub node: Option<String>,
    /// The named ports of its containers.
    pub ports: BTreeMap<String, u16>,
    /// Whether the condition `Ready` of its status holds.
    pub is_ready: bool,
}

/// `v1` Node, as far as it says where its pods run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Node {
    /// Name, position.
    pub meta: Meta,
    /// By its labels `topology.kubernetes.io/region`, `topology.kubernetes.io/zone` and
    /// `topology.istio.io/subzone`, else by their older names.
    pub locality: Locality,
}

/// `v1` Namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Namespace {
    /// Name, position.
    pub meta: Meta,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, Text>,
    /// The annotation `networking.istio.io/traffic-distribution`.
    pub traffic_distribution: Option<TrafficDistribution>,
}
