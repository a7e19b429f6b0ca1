//! Where calls go.

use std::fmt;

use super::headers::HeaderChanges;

/// What a call is sent to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cluster {
    /// A port of a service, or a subset of it.
    Service(ClusterName),
    /// The address that the caller has resolved, `PassthroughCluster`.
    Passthrough,
    /// Nothing, `BlackHoleCluster`: the connection is closed.
    BlackHole,
    /// None: what was written names nothing that may be called, `UnknownService`.
    Unknown,
    /// The host that the call names, resolved for it, `AllowAnyDynamicDNSCluster`.
    DynamicDns,
}

impl fmt::Display for Cluster {
    /// As Istio names it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(name) => name.fmt(f),
            Self::Passthrough => f.write_str("PassthroughCluster"),
            Self::BlackHole => f.write_str("BlackHoleCluster"),
            Self::Unknown => f.write_str("UnknownService"),
            Self::DynamicDns => f.write_str("AllowAnyDynamicDNSCluster"),
        }
    }
}

/// `outbound|PORT|SUBSET|HOST`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterName {
    /// The port of the service.
    pub port: u16,
    /// The subset; empty: the whole service.
    pub subset: String,
    /// The full name of the host.
    pub host: String,
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { port, subset, host } = self;
        write!(f, "outbound|{port}|{subset}|{host}")
    }
}

/// One cluster, or several of which one is drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Split {
    /// Always this one.
    One(Cluster),
    /// One by weight.
    Weighted(Vec<WeightedCluster>),
}

/// One of several clusters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightedCluster {
    /// The cluster.
    pub cluster: Cluster,
    /// Its share of the sum of all weights.
    pub weight: u32,
    /// Changes of the request's headers, before those of the route.
    pub request_headers: HeaderChanges,
    /// Changes of the response's headers, before those of the route.
    pub response_headers: HeaderChanges,
    /// The host to name, unless the route names one.
    pub host_rewrite: Option<String>,
}

impl Split {
    /// The cluster for a random number, with what is of this cluster only; the remainder by the sum
    /// of weights decides. `None` if the weights are all 0.
    ///
    /// A call draws once: its retries stay in the cluster.
    #[must_use]
    pub fn draw(&self, random: u64) -> Option<(&Cluster, Option<&WeightedCluster>)> {
        let all = match self {
            Self::One(cluster) => return Some((cluster, None)),
            Self::Weighted(all) => all,
        };
        let sum: u64 = all.iter().map(|each| u64::from(each.weight)).sum();
        let mut left = random.checked_rem(sum)?;
        for each in all {
            match left.checked_sub(u64::from(each.weight)) {
                Some(rest) => left = rest,
                None => return Some((&each.cluster, Some(each))),
            }
        }
        None
    }

    /// All its clusters.
    pub fn clusters(&self) -> impl Iterator<Item = &Cluster> {
        let (one, all) = match self {
            Self::One(cluster) => (Some(cluster), &[][..]),
            Self::Weighted(all) => (None, all.as_slice()),
        };
        one.into_iter().chain(all.iter().map(|each| &each.cluster))
    }
}
