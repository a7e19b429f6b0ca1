//! The labels of this workload, which every series has at its own end.

use crate::identity::{SpiffeId, TrustDomain, Workload};
use crate::metrics::store::labels::EndLabels;

/// The labels of this workload.
#[derive(Clone, Debug)]
pub(in crate::metrics) struct LocalLabels {
    workload: Workload,
    identity: Option<SpiffeId>,
}

impl LocalLabels {
    /// `identity` is that of this workload's certificate. Without one, it is the identity that
    /// Istio gives to such a workload.
    pub(in crate::metrics) fn new(workload: &Workload, identity: Option<&SpiffeId>) -> Self {
        let istio = || {
            let default = TrustDomain::new("cluster.local").ok();
            let trust_domain = workload.own_trust_domain().or(default.as_ref())?;
            workload.spiffe_id(trust_domain).ok()
        };
        Self {
            workload: workload.clone(),
            identity: identity.cloned().or_else(istio),
        }
    }

    pub(in crate::metrics) fn namespace(&self) -> &str {
        self.workload.namespace()
    }

    pub(in crate::metrics) const fn has_principal(&self) -> bool {
        self.identity.is_some()
    }

    /// On a connection without TLS, this workload shows no certificate, so its principal is
    /// unknown.
    pub(in crate::metrics) fn labels(&self, is_tls: bool) -> EndLabels<'_> {
        let Self { workload, identity } = self;
        let label = |key: &str| workload.labels().get(key).map(String::as_str);
        EndLabels {
            workload: Some(workload.workload_name()),
            namespace: Some(workload.namespace()),
            principal: identity.as_ref().filter(|_| is_tls).map(SpiffeId::as_str),
            app: label("app"),
            version: label("version"),
            canonical_service: Some(workload.canonical_service()),
            canonical_revision: Some(workload.canonical_revision()),
            cluster: Some(workload.cluster_id()),
        }
    }
}
