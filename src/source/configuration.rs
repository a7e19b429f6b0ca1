//! The result of reading a source: resources and mesh settings.

use std::sync::Arc;

use super::holdings::Holdings;
use crate::istio::{Loader, MeshConfig, Problem, Problems, Resources};

/// One whole configuration: resources and the mesh's settings.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Configuration {
    /// The resources.
    pub resources: Resources,
    /// The mesh's settings: those given explicitly, else those of a ConfigMap `istio` among the
    /// resources, else the defaults.
    pub mesh_config: Arc<MeshConfig>,
    /// The files of a [`Directory`](super::Directory) that were skipped, and why:
    /// `kustomization.yaml` and the patches that it lists, `Chart.yaml`, `values.yaml` and
    /// `values-*.yaml`. If such a file would change a resource that was read, the
    /// [resources](Resources::notes) also have a note about it.
    pub passed_over: Vec<Problem>,
    /// Which files held documents, if the configuration was read from a
    /// [`Directory`](super::Directory).
    pub holdings: Holdings,
}

impl Configuration {
    /// Combines resources and settings.
    #[must_use]
    pub fn new(resources: Resources, mesh_config: Option<MeshConfig>) -> Self {
        let mesh_config = mesh_config
            .map(Arc::new)
            .or_else(|| resources.mesh_config.clone())
            .unwrap_or_default();
        Self {
            resources,
            mesh_config,
            passed_over: Vec::new(),
            holdings: Holdings::default(),
        }
    }
}

/// The settings that were read. The loader reports what is wrong with them.
pub(super) fn settings(
    loader: &mut Loader,
    mesh_config: Option<Result<MeshConfig, Problems>>,
) -> Option<MeshConfig> {
    mesh_config.transpose().unwrap_or_else(|problems| {
        let problems = problems.into_iter();
        problems.for_each(|problem| loader.report(problem));
        None
    })
}
