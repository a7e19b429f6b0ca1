//! Faults, mirrors and CORS, as data.

use std::time::Duration;

use super::cluster::Cluster;
use crate::istio::traffic::FractionalPercent;
use crate::matcher::StringMatcher;

/// Whether a share holds for a random number.
#[must_use]
pub fn holds(share: FractionalPercent, random: u64) -> bool {
    let millionths = u64::from(FractionalPercent::ALL.millionths());
    random % millionths < u64::from(share.millionths())
}

/// Faults that are injected on purpose: the delay first, then the abort, by draws of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// How long, and for which share of calls.
    pub delay: Option<(Duration, FractionalPercent)>,
    /// With what, and for which share of calls.
    pub abort: Option<(Abort, FractionalPercent)>,
}

impl Fault {
    /// The delay for a random number.
    #[must_use]
    pub fn delay(&self, random: u64) -> Option<Duration> {
        let (delay, share) = self.delay?;
        holds(share, random).then_some(delay)
    }

    /// The abort for a random number.
    #[must_use]
    pub fn abort(&self, random: u64) -> Option<Abort> {
        let (abort, share) = self.abort?;
        holds(share, random).then_some(abort)
    }
}

/// The answer of an aborted call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abort {
    /// A status of HTTP.
    Http(u16),
    /// A status of gRPC, in an answer without a body to a call of gRPC, else with Envoy's text.
    Grpc(u8),
}

/// A copy of calls, whose answers nobody waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Where to.
    pub cluster: Cluster,
    /// Of which share of calls.
    pub share: FractionalPercent,
}

/// What browsers are answered that ask whether another origin may call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cors {
    /// The origins that may; an exact `*` is any.
    pub allow_origins: Vec<StringMatcher>,
    /// `access-control-allow-methods`; empty: none.
    pub allow_methods: String,
    /// `access-control-allow-headers`; empty: none.
    pub allow_headers: String,
    /// `access-control-expose-headers`; empty: none.
    pub expose_headers: String,
    /// `access-control-max-age`, in seconds.
    pub max_age: Option<u64>,
    /// `access-control-allow-credentials`.
    pub allow_credentials: Option<bool>,
    /// Whether preflights of other origins go upstream; otherwise they are answered here.
    pub forward_unmatched_preflights: bool,
}
