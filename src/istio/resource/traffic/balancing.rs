//! `loadBalancer`: how an endpoint is chosen.

use std::collections::BTreeMap;
use std::time::Duration;

use super::FractionalPercent;
use crate::istio::{Position, Text};

/// `loadBalancer`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadBalancer {
    /// `simple`.
    pub simple: SimpleLb,
    /// `consistentHash`, which beats `simple`.
    pub consistent_hash: Option<ConsistentHash>,
    /// `localityLbSetting`; never with the next.
    pub locality_lb_setting: Option<LocalityLbSetting>,
    /// `zoneAwareLbSetting`.
    pub zone_aware_lb_setting: Option<ZoneAwareLbSetting>,
    /// `warmup`, else the older `warmupDurationSecs`.
    pub warmup: Option<Warmup>,
    /// Where it was written.
    pub at: Position,
}

/// `simple`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SimpleLb {
    /// `LEAST_REQUEST`, and `UNSPECIFIED` and `LEAST_CONN`.
    #[default]
    LeastRequest,
    /// `RANDOM`.
    Random,
    /// `ROUND_ROBIN`.
    RoundRobin,
    /// `PASSTHROUGH`: the original destination.
    Passthrough,
}

/// `consistentHash`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsistentHash {
    /// What is hashed.
    pub key: HashKey,
    /// `ringHash`, `maglev` or the older `minimumRingSize`.
    pub algorithm: HashAlgorithm,
    /// Where it was written.
    pub at: Position,
}

/// What a [`ConsistentHash`] hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HashKey {
    /// `httpHeaderName`.
    HttpHeader(Text),
    /// `httpCookie`.
    HttpCookie(HashCookie),
    /// `useSourceIp`.
    SourceIp,
    /// `httpQueryParameterName`.
    HttpQueryParameter(Text),
}

/// `httpCookie`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HashCookie {
    /// `name`.
    pub name: Text,
    /// `path`.
    pub path: Option<Text>,
    /// `ttl`: it is made where it is missing; zero: for the session. `None`: it is never made.
    pub ttl: Option<Duration>,
    /// `attributes[]`: names and values.
    pub attributes: Vec<(Text, Text)>,
}

/// The table of a [`ConsistentHash`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HashAlgorithm {
    /// A ring with at least so many entries; 1024 where nothing is written.
    RingHash(u64),
    /// A Maglev table of this size, a prime below 5,000,011.
    Maglev(u64),
}

impl Default for HashAlgorithm {
    fn default() -> Self {
        Self::RingHash(1024)
    }
}

/// `warmup`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warmup {
    /// `duration`, at least 1 ms.
    pub duration: Duration,
    /// `minimumPercent`; `None`: 10.
    pub minimum_percent: Option<FractionalPercent>,
    /// `aggression` in thousandths, at least 1; `None`: 1,000.
    pub aggression_thousandths: Option<u32>,
}

/// `localityLbSetting`, of a rule and of MeshConfig.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LocalityLbSetting {
    /// `enabled`; `None`: true.
    pub enabled: Option<bool>,
    /// `distribute[]`; never with one of the next two.
    pub distribute: Vec<LocalityDistribute>,
    /// `failover[]`.
    pub failover: Vec<LocalityFailover>,
    /// `failoverPriority[]`: `LABEL` or `LABEL=VALUE`.
    pub failover_priority: Vec<Text>,
    /// Where it was written.
    pub at: Position,
}

/// `distribute[]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LocalityDistribute {
    /// `from`: a locality, of which parts may be `*`.
    pub from: Text,
    /// `to`: localities and their shares of 100.
    pub to: BTreeMap<String, u32>,
    /// Where it was written.
    pub at: Position,
}

/// `failover[]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LocalityFailover {
    /// `from`: a region.
    pub from: Text,
    /// `to`: another region.
    pub to: Text,
}

/// `zoneAwareLbSetting`, of a rule and of MeshConfig.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ZoneAwareLbSetting {
    /// `enabled`; `None`: true.
    pub enabled: Option<bool>,
    /// `failover[]`.
    pub failover: Vec<LocalityFailover>,
    /// `failoverPriority[]`: `LABEL` or `LABEL=VALUE`.
    pub failover_priority: Vec<Text>,
    /// `minClusterSize`; `None`: 6.
    pub min_cluster_size: Option<u32>,
    /// Where it was written.
    pub at: Position,
}
