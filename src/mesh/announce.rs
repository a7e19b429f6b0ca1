//! What the log says of how a server ends.

use std::net::SocketAddr;
use std::time::Duration;

/// Says that a server will end.
pub(super) fn draining(address: SocketAddr, notice: Duration, grace: Duration, open: usize) {
    tracing::info!(
        target: "tower_mesh::mesh",
        %address,
        notice_seconds = seconds(notice),
        grace_seconds = seconds(grace),
        connections = open,
        "draining"
    );
}

/// Says how a server has ended.
pub(super) fn drained(address: SocketAddr, cut: usize, cut_streams: usize, took: Duration) {
    let seconds = seconds(took);
    if cut > 0 {
        tracing::warn!(target: "tower_mesh::mesh", %address, cut, cut_streams, seconds, "drained: cut what did not end in time");
    } else {
        tracing::info!(target: "tower_mesh::mesh", %address, cut, cut_streams, seconds, "drained");
    }
}

/// To the millisecond.
fn seconds(time: Duration) -> f64 {
    // Draining takes no 2^53 milliseconds.
    time.as_millis() as f64 / 1000.0
}
