//! Times on the command line.

use std::time::SystemTime;

use tower_mesh::audit::parse_time;

/// A time in UTC, or a date, which is its beginning.
pub(super) fn time(text: &str) -> Result<SystemTime, String> {
    parse_time(text).ok_or_else(|| {
        "a time is written as 2026-01-31T12:00:00Z, in UTC, or as a date: 2026-01-31".to_owned()
    })
}
