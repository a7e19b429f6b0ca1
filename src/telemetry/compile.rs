//! Everything in order.

use super::access_logging;
use super::effective::{EffectiveTelemetry, ModeTelemetry};
use super::metrics;
use super::mode::Mode;
use super::providers::Providers;
use super::selection::select;
use super::tracing;
use crate::identity::Workload;
use crate::istio::{MeshConfig, Resources};

impl EffectiveTelemetry {
    /// What the resources and the mesh's settings mean for a workload.
    #[must_use]
    pub fn compile(resources: &Resources, mesh: &MeshConfig, workload: &Workload) -> Self {
        let mut providers = Providers::new(mesh);
        let mut notes = Vec::new();
        let selected = select(resources, &mesh.root_namespace, workload, &mut notes);
        let mut mode = |mode| ModeTelemetry {
            tracing: tracing::merge(&selected, mesh, mode, &mut providers),
            metrics: metrics::merge(&selected, mesh, mode, &mut providers),
            access_logs: access_logging::merge(&selected, mesh, mode, &mut providers),
        };
        let (server, client) = (mode(Mode::Server), mode(Mode::Client));
        notes.append(&mut providers.notes);
        Self {
            server,
            client,
            notes,
            problems: providers.problems,
            resources: selected.len(),
        }
    }
}
