//! `networking.istio.io` DestinationRule.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{ConnectionPool, FractionalPercent, LoadBalancer, OutlierDetection};
use crate::istio::{Meta, Position, Selector, Text};

/// `DestinationRule`: how the endpoints of hosts are called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DestinationRule {
    /// Name, namespace, position.
    pub meta: Meta,
    /// `host`, as written: a short name, without a dot, is of the resource's namespace. It may be a
    /// wildcard.
    pub host: Text,
    /// `trafficPolicy`.
    pub traffic_policy: Option<TrafficPolicy>,
    /// `subsets[]`, each of a name of its own.
    pub subsets: Vec<Subset>,
    /// `exportTo[]`: `.`, `*` or names of namespaces. Empty: MeshConfig's
    /// `defaultDestinationRuleExportTo`.
    pub export_to: Vec<Text>,
    /// `workloadSelector`: the calling workloads. `None`: all.
    pub workload_selector: Option<Selector>,
}

/// `subsets[]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subset {
    /// `name`.
    pub name: Text,
    /// `labels` that an endpoint must carry, each exactly. Empty: all endpoints.
    pub labels: BTreeMap<String, Text>,
    /// `trafficPolicy`.
    pub traffic_policy: Option<TrafficPolicy>,
    /// Where it was written.
    pub at: Position,
}

/// `trafficPolicy`, of a rule or of a subset. `tunnel` and `proxyProtocol` are refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrafficPolicy {
    /// `loadBalancer`.
    pub load_balancer: Option<LoadBalancer>,
    /// `connectionPool`.
    pub connection_pool: Option<ConnectionPool>,
    /// `outlierDetection`.
    pub outlier_detection: Option<OutlierDetection>,
    /// `tls`.
    pub tls: Option<ClientTls>,
    /// `portLevelSettings[]`.
    pub port_level_settings: Vec<PortTrafficPolicy>,
    /// `retryBudget`.
    pub retry_budget: Option<RetryBudget>,
    /// Where it was written.
    pub at: Position,
}

/// `portLevelSettings[]`: what takes the place of all four for a port of the service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PortTrafficPolicy {
    /// `port.number`.
    pub port: u16,
    /// `loadBalancer`.
    pub load_balancer: Option<LoadBalancer>,
    /// `connectionPool`.
    pub connection_pool: Option<ConnectionPool>,
    /// `outlierDetection`.
    pub outlier_detection: Option<OutlierDetection>,
    /// `tls`.
    pub tls: Option<ClientTls>,
    /// Where it was written.
    pub at: Position,
}

/// `retryBudget`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryBudget {
    /// `percent` of the calls in flight; `None`: 20.
    pub percent: Option<FractionalPercent>,
    /// `minRetryConcurrency`; `None`: 3, also where 0 is written.
    pub min_retry_concurrency: Option<u32>,
    /// `budgetInterval`, in which calls count; `None`: those in flight.
    pub budget_interval: Option<Duration>,
}

/// `tls`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientTls {
    /// `mode`.
    pub mode: ClientTlsMode,
    /// `clientCertificate`: the path of a file.
    pub client_certificate: Option<Text>,
    /// `privateKey`: the path of a file.
    pub private_key: Option<Text>,
    /// `caCertificates`: the path of a file; `None`: the system's.
    pub ca_certificates: Option<Text>,
    /// `caCrl`: the path of a file.
    pub ca_crl: Option<Text>,
    /// `credentialName`, of a rule with a workload selector.
    pub credential_name: Option<Text>,
    /// `caCertCredentialName`, likewise.
    pub ca_cert_credential_name: Option<Text>,
    /// `subjectAltNames[]`.
    pub subject_alt_names: Vec<Text>,
    /// `sni`.
    pub sni: Option<Text>,
    /// `insecureSkipVerify`.
    pub insecure_skip_verify: Option<bool>,
    /// Where it was written.
    pub at: Position,
}

/// `tls.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClientTlsMode {
    /// `DISABLE`: none, also not that of the mesh.
    #[default]
    Disable,
    /// `SIMPLE`: the server alone is authenticated.
    Simple,
    /// `MUTUAL`: with a certificate from files.
    Mutual,
    /// `ISTIO_MUTUAL`: with the workload's identity.
    IstioMutual,
}
