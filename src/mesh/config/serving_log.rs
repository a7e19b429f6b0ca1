//! The log lines about where a mesh serves, and by which policies.

use std::net::SocketAddr;

use super::live::LiveConfig;
use crate::identity::Workload;
use crate::tls::{Credentials, Listener, Modes, Rfc3339};

/// Logs who serves where, and by which policies.
pub(in crate::mesh) fn serving(
    workload: &Workload,
    credentials: Option<&Credentials>,
    cells: &LiveConfig,
    listener: &Listener,
) {
    let config = cells.inbound.snapshot();
    let mode = cells.modes.load().for_port(listener.local_addr().port());
    tracing::info!(
        target: "tower_mesh::mesh",
        id = credentials.map(|credentials| display(credentials.spiffe_id())),
        workload = %format_args!("{}/{}", workload.namespace(), workload.workload_name()),
        certificate_ends = credentials.map(|credentials| display(Rfc3339(credentials.not_after()))),
        address = %listener.place(),
        mode = %mode,
        policies = config.policies,
        apply = config.applying(),
        generation = cells.inbound.generation(),
        "serving"
    );
}

/// Logs which policies guard the layers of [`Guards`](crate::mesh::Guards), which have no listener.
pub(in crate::mesh) fn guarding(workload: &Workload, cells: &LiveConfig) {
    let config = cells.inbound.snapshot();
    tracing::info!(
        target: "tower_mesh::mesh",
        workload = %format_args!("{}/{}", workload.namespace(), workload.workload_name()),
        policies = config.policies,
        apply = config.applying(),
        generation = cells.inbound.generation(),
        "guards are ready for layers"
    );
}

/// Logs an address that accepts every client.
pub(in crate::mesh) fn serving_in_plaintext(workload: &Workload, address: SocketAddr) {
    tracing::info!(
        target: "tower_mesh::mesh",
        workload = %format_args!("{}/{}", workload.namespace(), workload.workload_name()),
        %address,
        "serving in plaintext, without any guard"
    );
}

/// Logs that another configuration is in use, and how it changes the TLS modes of ports.
pub(in crate::mesh) fn replaced(cells: &LiveConfig, before: &Modes) {
    let config = cells.inbound.snapshot();
    let modes = cells.modes.load();
    let modes = (*modes != *before).then(|| format!("{before} before, now {}", *modes));
    tracing::info!(
        target: "tower_mesh::config",
        generation = cells.inbound.generation(),
        policies = config.policies,
        apply = config.applying(),
        modes,
        "configuration replaced"
    );
}
