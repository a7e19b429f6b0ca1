//! Shows how a guard treats end-user tokens, where that differs from a sidecar.

use crate::jwt::{Terms, TokenMode};
use crate::metrics::Registry;

/// Logs what a sidecar would not do, and registers the gauge of the mode.
pub(in crate::mesh) fn show(registry: &Registry, terms: &Terms) {
    if terms.mode == TokenMode::ReportOnly {
        tracing::warn!(
            target: "tower_mesh::jwt",
            "bad end-user tokens are not refused: requests with one pass as requests without a \
             token (`TokenMode::ReportOnly`)"
        );
    }
    for path in terms.excluded.iter() {
        tracing::info!(
            target: "tower_mesh::jwt",
            %path,
            "end-user tokens are neither demanded nor read at this path"
        );
    }
    registry.gauge_of(
        "mesh_jwt_mode",
        "What becomes of requests without a good token: 1 for the mode in use.",
        &[("mode", terms.mode.label())],
        || Some(1.0),
    );
}
