//! What a new configuration changes about the limits.

use super::limits::Limits;
use super::running::RunningLimit;

/// How a limit differs between two configurations.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change<'a> {
    /// It is gone: requests pass that it would have refused.
    Removed(&'a str),
    /// It was changed, and its buckets begin full.
    Replaced(&'a str),
    /// It refuses nothing any more.
    ReportsOnly(&'a str),
}

impl Change<'_> {
    /// Logs it: whatever opens the workload is a warning.
    pub(crate) fn tell(&self) {
        const TARGET: &str = "tower_mesh::config";
        match self {
            Self::Removed(limit) => tracing::warn!(
                target: TARGET, limit, "fewer limits apply than before: a limit is gone"
            ),
            Self::ReportsOnly(limit) => tracing::warn!(
                target: TARGET, limit, "a limit only reports now, and refuses nothing"
            ),
            Self::Replaced(limit) => tracing::info!(
                target: TARGET, limit, "a limit has changed, and begins to count anew"
            ),
        }
    }
}

impl Limits {
    /// What is different in the limits of another configuration. A limit that stays as it was, or
    /// is new, is not told.
    pub(crate) fn changes<'a>(&'a self, next: &'a Self) -> Vec<Change<'a>> {
        let changes = self.iter().filter_map(|before| {
            let name = &**before.counts().name();
            let Some(after) = next.iter().find(|after| after.is_named(before.limit())) else {
                return Some(Change::Removed(name));
            };
            let reports = |limit: &RunningLimit| limit.limit().spec.report_only;
            if reports(after) && !reports(before) {
                return Some(Change::ReportsOnly(name));
            }
            let counts_on = after.limit().spec.local == before.limit().spec.local;
            (!counts_on).then_some(Change::Replaced(name))
        });
        changes.collect()
    }
}
