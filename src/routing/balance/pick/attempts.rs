//! Where the tries of a call went, so that retries go elsewhere.

use std::sync::Arc;

use crate::routing::balance::host::Host;
use crate::routing::balance::priority::{AttemptedPriorities, Priorities};

/// The tries of one call. Nothing is allocated before the first is recorded, which is when it has
/// failed and will be retried.
#[derive(Clone, Debug, Default)]
pub struct Attempts {
    avoids_hosts: bool,
    avoids_priorities: bool,
    hosts: Vec<Arc<Host>>,
    priorities: AttemptedPriorities,
}

impl Attempts {
    /// No tries yet.
    ///
    /// `avoids_hosts` is `retryIgnorePreviousHosts`, Envoy's `previous_hosts` with five further
    /// attempts: a host that was tried is picked only if five more picks found no other.
    /// `avoids_priorities` is `retryRemoteLocalities`: see [`AttemptedPriorities`].
    #[must_use]
    pub fn new(avoids_hosts: bool, avoids_priorities: bool) -> Self {
        Self {
            avoids_hosts,
            avoids_priorities,
            ..Self::default()
        }
    }

    /// A try went to this host of this priority.
    pub fn record(&mut self, host: &Arc<Host>, priority: usize, priorities: &Priorities) {
        if self.avoids_hosts {
            self.hosts.push(Arc::clone(host));
        }
        if self.avoids_priorities {
            self.priorities.record(priority, priorities);
        }
    }

    /// Whether another host should be picked instead.
    pub(super) fn avoids(&self, host: &Arc<Host>) -> bool {
        // A host that discovery took away and brought back is another one of the same address.
        let is_same =
            |tried: &Arc<Host>| Arc::ptr_eq(tried, host) || tried.address() == host.address();
        self.hosts.iter().any(is_same)
    }

    /// How many picks there are at most.
    pub(super) fn most_picks(&self) -> u32 {
        if self.hosts.is_empty() { 1 } else { MOST_PICKS }
    }

    pub(super) fn priorities(&self) -> &AttemptedPriorities {
        &self.priorities
    }
}

/// Istio's `host_selection_retry_max_attempts` is 5, besides the first pick.
const MOST_PICKS: u32 = 6;
