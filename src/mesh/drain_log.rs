//! The log lines about how a server ends.

use std::time::Duration;

/// Logs that a server begins to drain.
pub(super) fn draining(address: &str, notice: Duration, grace: Duration, open: usize) {
    tracing::info!(
        target: "tower_mesh::mesh",
        %address,
        notice_seconds = seconds(notice),
        grace_seconds = seconds(grace),
        connections = open,
        "draining"
    );
}

/// Logs how a server has ended.
pub(super) fn drained(address: &str, cut: usize, cut_streams: usize, took: Duration) {
    let seconds = seconds(took);
    if cut > 0 {
        tracing::warn!(
            target: "tower_mesh::mesh",
            %address,
            cut,
            cut_streams,
            seconds,
            "drained: cut what did not end in time"
        );
    } else {
        tracing::info!(target: "tower_mesh::mesh", %address, cut, cut_streams, seconds, "drained");
    }
}

/// Seconds, to the millisecond.
fn seconds(time: Duration) -> f64 {
    // No drain takes 2^53 milliseconds.
    time.as_millis() as f64 / 1000.0
}
