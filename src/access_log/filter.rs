//! Which exchanges get a line.

use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::format::Facts;
use crate::message::ResponseFlags;

/// Which exchanges get a line: [`AccessLog::only`](super::AccessLog::only). It is asked at the end
/// of each exchange.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use tower_mesh::access_log::{AccessLog, Filter};
///
/// // What failed or was slow.
/// let failed = Filter::status(400..).or(Filter::status(..100));
/// let log = AccessLog::text().only(failed.or(Filter::slower_than(Duration::from_secs(1))));
/// # drop(log);
/// ```
#[derive(Clone)]
pub struct Filter(Arc<Rule>);

#[derive(Debug)]
enum Rule {
    Status(Bound<u16>, Bound<u16>),
    SlowerThan(Duration),
    Flags(ResponseFlags),
    AnyFlag,
    NotHealthChecks(Vec<Box<str>>),
    #[cfg(all(feature = "server", feature = "client"))]
    Test(Arc<dyn Test>),
    And(Filter, Filter),
    Or(Filter, Filter),
    Not(Filter),
}

/// A test of what is known at the end of an exchange.
#[cfg(all(feature = "server", feature = "client"))]
pub(crate) trait Test: fmt::Debug + Send + Sync {
    /// Whether the exchange gets a line.
    fn passes(&self, facts: Facts<'_>) -> bool;
}

impl Filter {
    fn new(rule: Rule) -> Self {
        Self(Arc::new(rule))
    }

    /// Exchanges whose status in the line is in this range. It is 0 if there was no response.
    #[must_use]
    pub fn status(range: impl RangeBounds<u16>) -> Self {
        let (from, to) = (range.start_bound(), range.end_bound());
        Self::new(Rule::Status(from.cloned(), to.cloned()))
    }

    /// Exchanges that took longer than this, from the head of the request to the end of the
    /// response.
    #[must_use]
    pub fn slower_than(duration: Duration) -> Self {
        Self::new(Rule::SlowerThan(duration))
    }

    /// Exchanges with at least one of these response flags.
    #[must_use]
    pub fn flags(flags: ResponseFlags) -> Self {
        Self::new(Rule::Flags(flags))
    }

    /// Exchanges with any response flag.
    #[must_use]
    pub fn any_flag() -> Self {
        Self::new(Rule::AnyFlag)
    }

    /// All exchanges but the health checks that are well: those whose `user-agent` is that of the
    /// kubelet (`kube-probe/`), of Envoy (`Envoy/HC`), of Google's (`GoogleHC/`) or Amazon's
    /// (`ELB-HealthChecker/`) load balancers or of `grpc_health_probe`; calls of gRPC's
    /// `grpc.health.v1.Health`; and requests for one of these paths, which are compared whole.
    ///
    /// Any caller can claim to be a health check. So one that was refused, or that got no status
    /// from 100 to 399, keeps its line.
    #[must_use]
    pub fn not_health_checks<P: Into<Box<str>>>(paths: impl IntoIterator<Item = P>) -> Self {
        let paths = paths.into_iter().map(Into::into);
        Self::new(Rule::NotHealthChecks(paths.collect()))
    }

    /// Exchanges that pass both filters.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self::new(Rule::And(self, other))
    }

    /// Exchanges that pass at least one of both filters.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self::new(Rule::Or(self, other))
    }

    /// Exchanges that do not pass this filter.
    #[expect(clippy::should_implement_trait, reason = "`!filter` would read worse")]
    #[must_use]
    pub fn not(self) -> Self {
        Self::new(Rule::Not(self))
    }

    /// Exchanges that pass this test.
    #[cfg(all(feature = "server", feature = "client"))]
    #[cfg_attr(
        not(feature = "cel"),
        allow(dead_code, reason = "for expressions of Telemetry resources")
    )]
    pub(crate) fn test(test: Arc<dyn Test>) -> Self {
        Self::new(Rule::Test(test))
    }

    pub(super) fn passes(&self, facts: Facts<'_>) -> bool {
        match &*self.0 {
            Rule::Status(from, to) => (*from, *to).contains(&facts.status()),
            Rule::SlowerThan(duration) => facts.report.duration > *duration,
            Rule::Flags(flags) => facts.report.flags.is_any_of(*flags),
            Rule::AnyFlag => !facts.report.flags.is_empty(),
            Rule::NotHealthChecks(paths) => !is_well_health_check(facts, paths),
            #[cfg(all(feature = "server", feature = "client"))]
            Rule::Test(test) => test.passes(facts),
            Rule::And(one, other) => one.passes(facts) && other.passes(facts),
            Rule::Or(one, other) => one.passes(facts) || other.passes(facts),
            Rule::Not(filter) => !filter.passes(facts),
        }
    }
}

fn is_well_health_check(facts: Facts<'_>, paths: &[Box<str>]) -> bool {
    // A gRPC refusal has the status 200.
    if facts.is_local() || !(100..400).contains(&facts.status()) {
        return false;
    }
    let path = facts.path();
    let agent = facts.kept.user_agent.as_ref();
    let agent = agent.map_or(b"".as_slice(), HeaderValue::as_bytes);
    AGENTS
        .iter()
        .any(|known| agent.starts_with(known.as_bytes()))
        || path.starts_with("/grpc.health.v1.Health/")
        || paths.iter().any(|known| **known == *path)
}

const AGENTS: [&str; 5] = [
    "kube-probe/",
    "Envoy/HC",
    "GoogleHC/",
    "ELB-HealthChecker/",
    "grpc_health_probe",
];

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
