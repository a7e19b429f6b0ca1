//! What the log says of where we serve, under which policies, and of how that ends.

use std::net::SocketAddr;
use std::time::Duration;

use super::config::live::Cells;
use crate::identity::Workload;
use crate::tls::{Credentials, Modes, Rfc3339};

/// Says who serves where, and under which policies.
pub(super) fn serving(
    workload: &Workload,
    credentials: Option<&Credentials>,
    cells: &Cells,
    address: SocketAddr,
) {
    let config = cells.config.snapshot();
    let mode = cells.modes.load().for_port(address.port());
    tracing::info!(
        target: "tower_mesh::mesh",
        id = credentials.map(|credentials| display(credentials.spiffe_id())),
        workload = %format_args!("{}/{}", workload.namespace(), workload.workload_name()),
        certificate_ends = credentials.map(|credentials| display(Rfc3339(credentials.not_after()))),
        %address,
        mode = %mode,
        policies = config.policies,
        apply = config.applying(),
        generation = cells.config.generation(),
        "serving"
    );
}

/// Says which policies guard layers that have no listener of ours.
pub(super) fn guarding(workload: &Workload, cells: &Cells) {
    let config = cells.config.snapshot();
    tracing::info!(
        target: "tower_mesh::mesh",
        workload = %format_args!("{}/{}", workload.namespace(), workload.workload_name()),
        policies = config.policies,
        apply = config.applying(),
        generation = cells.config.generation(),
        "guards are ready for layers"
    );
}

/// Says where anyone may connect.
pub(super) fn serving_in_plaintext(workload: &Workload, address: SocketAddr) {
    tracing::info!(
        target: "tower_mesh::mesh",
        workload = %format_args!("{}/{}", workload.namespace(), workload.workload_name()),
        %address,
        "serving in plaintext, without any guard"
    );
}

/// Says that another configuration is in use, and what it changes of how ports are served.
pub(super) fn replaced(cells: &Cells, before: &Modes) {
    let config = cells.config.snapshot();
    let modes = cells.modes.load();
    let modes = (*modes != *before).then(|| format!("{before} before, now {}", *modes));
    tracing::info!(
        target: "tower_mesh::config",
        generation = cells.config.generation(),
        policies = config.policies,
        apply = config.applying(),
        modes,
        "configuration replaced"
    );
}

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
