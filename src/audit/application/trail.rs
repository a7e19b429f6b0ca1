//! How an event finds the trail of its request.

use std::any::Any;
use std::sync::Arc;

use crate::audit::record::{Event, Text};
use crate::audit::writer::Audit;
use crate::context::{self, Exchange};

/// What the requests of one mesh share: their trail, and the workload that they come to.
#[derive(Clone, Debug)]
pub(crate) struct RequestTrail {
    pub(crate) audit: Audit,
    pub(crate) dest: Text,
}

impl RequestTrail {
    /// The trail of the request that this thread is polling, and its exchange.
    pub(super) fn current() -> Option<(Self, Exchange)> {
        let exchange = context::current()?;
        let trail = exchange.telling()?.audit.as_ref()?;
        let trail = trail.downcast_ref::<Self>()?.clone();
        Some((trail, exchange))
    }

    /// As an exchange keeps it.
    #[cfg_attr(
        not(all(feature = "server", feature = "client")),
        allow(dead_code, reason = "only a mesh has requests with a trail")
    )]
    pub(crate) fn shared(self) -> Arc<dyn Any + Send + Sync> {
        Arc::new(self)
    }

    pub(super) fn to(&self, event: Event) -> Event {
        event.dest(self.dest.clone())
    }
}
