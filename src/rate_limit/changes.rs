//! What a new configuration changes about the limits.

use super::limits::Limits;
use crate::policy::limit::{ServiceLimit, Spec};

/// How a limit differs between two configurations.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change<'a> {
    /// It is gone: requests pass that it would have refused.
    Removed(&'a str),
    /// It was changed, and its buckets begin full.
    Replaced(&'a str),
    /// It was changed in other respects, and its buckets stay as they are.
    Changed(&'a str),
    /// It refuses nothing any more.
    ReportsOnly(&'a str),
    /// One of those who counted, this process or a service, does not count any more.
    CountsLess(&'a str),
    /// It lets requests pass when its service gives no answer, which it refused before.
    FailsOpen(&'a str),
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
            Self::CountsLess(limit) => tracing::warn!(
                target: TARGET, limit, "a limit counts less than before: a part of it is gone"
            ),
            Self::FailsOpen(limit) => tracing::warn!(
                target: TARGET, limit,
                "a limit now lets requests pass when its service gives no answer"
            ),
            Self::Changed(limit) => tracing::info!(
                target: TARGET, limit, "a limit has changed, and goes on counting"
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
            change(name, &before.limit().spec, &after.limit().spec)
        });
        changes.collect()
    }
}

/// The gravest difference between two versions of a limit.
fn change<'a>(name: &'a str, before: &Spec, after: &Spec) -> Option<Change<'a>> {
    let is_closed = |service: &Option<ServiceLimit>| {
        let service = service.as_ref();
        service.is_some_and(|service| service.failure_mode_deny)
    };
    let has_less = (before.local.is_some() && after.local.is_none())
        || (before.service.is_some() && after.service.is_none())
        || before.descriptors.len() > after.descriptors.len();
    if after.report_only && !before.report_only {
        Some(Change::ReportsOnly(name))
    } else if has_less {
        Some(Change::CountsLess(name))
    } else if is_closed(&before.service) && !is_closed(&after.service) {
        Some(Change::FailsOpen(name))
    } else if before.local != after.local {
        Some(Change::Replaced(name))
    } else {
        (before != after).then_some(Change::Changed(name))
    }
}
