//! One endpoint.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use crate::istio::Text;
use crate::istio::traffic::Locality;

/// Something that answers calls to a port of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Endpoint {
    /// Where it is called.
    pub address: EndpointAddress,
    /// Its labels, which subsets select by; with `kubernetes.io/hostname` where its node is known.
    pub labels: BTreeMap<String, String>,
    /// Where it runs.
    pub locality: Locality,
    /// Its network; empty: not stated.
    pub network: String,
    /// Its weight, at least 1.
    pub weight: u32,
    /// The namespace of its workload.
    pub namespace: String,
    /// Its service account, if it is known.
    pub service_account: Option<String>,
    /// What the account is known from.
    pub account_source: AccountSource,
    /// Whether it takes mutual TLS of the mesh: the label `security.istio.io/tlsMode` says `istio`,
    /// or, without that label and outside of Kubernetes, it has a service account.
    pub takes_mtls: bool,
    /// Whether it is well.
    pub health: EndpointHealth,
}

/// What an endpoint is called at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointAddress {
    /// An address and a port.
    Ip(IpAddr, u16),
    /// A name to resolve, and a port.
    Name(String, u16),
    /// The path of a Unix socket.
    Unix(String),
}

/// What says which account an endpoint runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AccountSource {
    /// A WorkloadEntry, or one of a ServiceEntry's `endpoints`.
    WorkloadEntry,
    /// A Pod.
    Pod,
}

/// What discovery says of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndpointHealth {
    /// Nothing: it counts as well.
    Unknown,
    /// It is ready.
    Healthy,
    /// It is not ready. It gets no calls, but counts as one of all.
    Unhealthy,
}

impl EndpointAddress {
    /// The address that resources write as `address`, at a port. `unix://` and a path has none.
    pub(super) fn new(address: &str, port: u16) -> Self {
        if let Some(path) = address.strip_prefix("unix://") {
            return Self::Unix(path.to_owned());
        }
        match address.parse() {
            Ok(ip) => Self::Ip(ip, port),
            Err(_) => Self::Name(address.to_owned(), port),
        }
    }
}

impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V6(ip), port) => write!(f, "[{ip}]:{port}"),
            Self::Ip(ip, port) => write!(f, "{ip}:{port}"),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
            Self::Unix(path) => write!(f, "unix://{path}"),
        }
    }
}

impl Endpoint {
    /// Whether it has all these labels.
    #[must_use]
    pub fn has_labels(&self, labels: &BTreeMap<String, Text>) -> bool {
        has_labels(labels, |key| self.labels.get(key).map(String::as_str))
    }
}

/// Whether each label is there with its value.
pub(super) fn has_labels<'l>(
    wanted: &BTreeMap<String, Text>,
    label: impl Fn(&str) -> Option<&'l str>,
) -> bool {
    let mut wanted = wanted.iter();
    wanted.all(|(key, value)| label(key) == Some(value.as_str()))
}

/// Labels without their places.
pub(super) fn plain(labels: &BTreeMap<String, Text>) -> BTreeMap<String, String> {
    let labels = labels.iter();
    labels
        .map(|(key, value)| (key.clone(), value.as_str().to_owned()))
        .collect()
}

/// The label that says whether an endpoint takes mutual TLS of the mesh.
pub(super) const TLS_MODE: &str = "security.istio.io/tlsMode";

/// The label of an endpoint's node.
pub(super) const HOSTNAME: &str = "kubernetes.io/hostname";
