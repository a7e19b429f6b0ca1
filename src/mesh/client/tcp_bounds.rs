//! How long connections that carry no HTTP may be idle, and last.

use std::time::Duration;

/// How long a connection may be idle, and how long it may last.
#[derive(Clone, Copy, Debug)]
pub(in crate::mesh) struct Bounds {
    pub(in crate::mesh) idle: Duration,
    pub(in crate::mesh) max_duration: Option<Duration>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(3600),
            max_duration: None,
        }
    }
}
