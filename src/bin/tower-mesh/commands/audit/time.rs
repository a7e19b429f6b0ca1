//! Times on the command line.

use std::time::SystemTime;

use tower_mesh::audit::parse_time;

use crate::failure::Failure;

/// A time in UTC, or a date, which is its beginning.
pub(super) fn time(text: &str) -> Result<SystemTime, String> {
    parse_time(text).ok_or_else(|| {
        "a time is written as 2026-01-31T12:00:00Z, in UTC, or as a date: 2026-01-31".to_owned()
    })
}

/// A period in which no time is would find nothing, and look like nothing had happened.
pub(super) fn refuse_empty(
    from: Option<SystemTime>,
    to: Option<SystemTime>,
) -> Result<(), Failure> {
    match (from, to) {
        (Some(from), Some(to)) if to <= from => Err(Failure::Question(
            "--to is not after --from: the period is empty".to_owned(),
        )),
        _ => Ok(()),
    }
}
