//! Counts the connections that were refused.

use crate::metrics::{Counter, Registry};

/// Why a connection was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// By policy.
    Policy,
    /// A provider would have to be asked.
    Provider,
    /// The word of a trusted proxy cannot be believed.
    Proxy,
    /// Its first byte has not come in time.
    Silent,
    /// Its record in the audit trail is not durable.
    #[cfg(feature = "audit")]
    Audit,
}

/// The counters, made before the first connection.
#[derive(Clone, Debug)]
pub(super) struct RefusedCounts {
    policy: Counter,
    provider: Counter,
    proxy: Counter,
    silent: Counter,
    #[cfg(feature = "audit")]
    audit: Counter,
}

impl RefusedCounts {
    pub(super) fn new(registry: &Registry) -> Self {
        let help = "Connections without HTTP that were refused, by reason.";
        let name = "mesh_tcp_connections_refused_total";
        let counter = |reason| registry.counter(name, help, &[("reason", reason)]);
        Self {
            policy: counter("policy"),
            provider: counter("provider"),
            proxy: counter("proxy"),
            silent: counter("silent"),
            #[cfg(feature = "audit")]
            audit: counter("audit"),
        }
    }

    pub(super) fn count(&self, refused: Refused) {
        let counter = match refused {
            Refused::Policy => &self.policy,
            Refused::Provider => &self.provider,
            Refused::Proxy => &self.proxy,
            Refused::Silent => &self.silent,
            #[cfg(feature = "audit")]
            Refused::Audit => &self.audit,
        };
        counter.add(1);
    }
}
