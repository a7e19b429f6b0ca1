//! What a request or a call reads of the telemetry in use.

#[cfg(feature = "cel")]
use std::sync::Arc;

#[cfg(feature = "cel")]
use super::tags::Tags;
use crate::access_log::AccessLogs;

/// What of one generation of telemetry is read for each request, or for each call: once.
#[derive(Clone, Debug, Default)]
pub(in crate::mesh) struct Reports {
    pub(in crate::mesh) server: SideReports,
    pub(in crate::mesh) client: SideReports,
}

/// What is reported about requests, or about calls.
#[derive(Clone, Debug, Default)]
pub(in crate::mesh) struct SideReports {
    pub(in crate::mesh) access_logs: AccessLogs,
    /// The labels of metrics that have an expression; `None` if there are none.
    #[cfg(feature = "cel")]
    pub(in crate::mesh) tags: Option<Arc<Tags>>,
}
