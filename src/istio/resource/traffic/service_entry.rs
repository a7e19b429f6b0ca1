//! `networking.istio.io` ServiceEntry, WorkloadEntry and WorkloadGroup.

use std::collections::BTreeMap;

use super::{Locality, Protocol, TrafficDistribution};
use crate::istio::{Meta, Position, Selector, Text};

/// `ServiceEntry`: a service that Kubernetes does not know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceEntry {
    /// Name, namespace, position.
    pub meta: Meta,
    /// `hosts[]`: names, or `*.` and a suffix.
    pub hosts: Vec<Text>,
    /// `addresses[]`: virtual addresses and CIDR blocks.
    pub addresses: Vec<Text>,
    /// `ports[]`, each of a name and a number of its own.
    pub ports: Vec<ServicePort>,
    /// `location`.
    pub location: Location,
    /// `resolution`.
    pub resolution: Resolution,
    /// `endpoints[]`; never with a selector.
    pub endpoints: Vec<WorkloadEntrySpec>,
    /// `workloadSelector`: the pods and WorkloadEntries of its namespace that are its endpoints.
    pub workload_selector: Option<Selector>,
    /// `exportTo[]`: `.`, `*`, `~` or names of namespaces. Empty: MeshConfig's
    /// `defaultServiceExportTo`.
    pub export_to: Vec<Text>,
    /// `subjectAltNames[]`.
    pub subject_alt_names: Vec<Text>,
    /// The annotation `networking.istio.io/traffic-distribution`; `None`: the namespace's.
    pub traffic_distribution: Option<TrafficDistribution>,
}

/// `ports[]` of a [`ServiceEntry`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServicePort {
    /// `number`.
    pub number: u16,
    /// `name`.
    pub name: Text,
    /// `protocol`.
    pub protocol: Protocol,
    /// `targetPort`; `None`: the number.
    pub target_port: Option<u16>,
    /// Where it was written.
    pub at: Position,
}

/// `location`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Location {
    /// `MESH_EXTERNAL`: no mutual TLS of the mesh.
    #[default]
    MeshExternal,
    /// `MESH_INTERNAL`.
    MeshInternal,
}

/// `resolution`: where endpoints come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Resolution {
    /// `NONE`: the original destination.
    #[default]
    None,
    /// `STATIC`: the addresses that are listed or selected.
    Static,
    /// `DNS`: all addresses of the names.
    Dns,
    /// `DNS_ROUND_ROBIN`: the first address of the name, for each new connection.
    DnsRoundRobin,
    /// `DYNAMIC_DNS`: of the name that is called, within a wildcard.
    DynamicDns,
}

/// `WorkloadEntry`: a workload that Kubernetes does not know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkloadEntry {
    /// Name, namespace, position.
    pub meta: Meta,
    /// The workload.
    pub spec: WorkloadEntrySpec,
}

/// What describes a workload: the `spec` of a [`WorkloadEntry`], the template of a
/// [`WorkloadGroup`], one of a [`ServiceEntry`]'s endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkloadEntrySpec {
    /// `address`: an IP address, a name, or `unix://` and a path. `None` in a template, and for a
    /// workload of another network.
    pub address: Option<Text>,
    /// `ports`: numbers by the names of the service's ports.
    pub ports: BTreeMap<String, u16>,
    /// `labels`; of a [`WorkloadEntry`] also those of its metadata, which win.
    pub labels: BTreeMap<String, Text>,
    /// `network`.
    pub network: Option<Text>,
    /// `locality`.
    pub locality: Option<Locality>,
    /// `weight`; `None`: 1, also where 0 is written.
    pub weight: Option<u32>,
    /// `serviceAccount`.
    pub service_account: Option<Text>,
    /// Where it was written.
    pub at: Position,
}

/// `WorkloadGroup`: what WorkloadEntries that register themselves look like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkloadGroup {
    /// Name, namespace, position.
    pub meta: Meta,
    /// `metadata.labels` of the entries.
    pub labels: BTreeMap<String, Text>,
    /// `metadata.annotations` of the entries.
    pub annotations: BTreeMap<String, Text>,
    /// `template`.
    pub template: WorkloadEntrySpec,
}
