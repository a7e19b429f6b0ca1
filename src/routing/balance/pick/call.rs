//! What a pick needs to know, and what it answers.

use std::sync::Arc;
use std::time::Duration;

use crate::routing::balance::host::Host;

use super::attempts::Attempts;

/// What a pick needs to know of a call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Call<'a> {
    /// The time of a monotonic clock since any beginning, the same as for
    /// [`Host::new`]. It counts for warm-up and for latencies.
    pub now: Duration,
    /// The hash, if the route has hash policies that found something.
    pub hash: Option<u64>,
    /// The tries before this one.
    pub attempts: Option<&'a Attempts>,
}

/// The host of a call.
#[derive(Clone, Copy, Debug)]
pub struct Pick<'a> {
    /// The host. [`Host::start`] counts the call.
    pub host: &'a Arc<Host>,
    /// Its priority; 0 is the highest.
    pub priority: usize,
    /// Too few hosts of the priority are available, so it may be one that is not.
    pub is_panic: bool,
}

/// What a pool needs to know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draw {
    pub(super) now: Duration,
    pub(super) hash: Option<u64>,
    /// How many picks of this try there were before.
    pub(super) attempt: u32,
}
