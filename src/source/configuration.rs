use std::sync::Arc;

use crate::istio::{Loader, MeshConfig, Problems, Resources};

/// One whole configuration: resources and the mesh's settings.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Configuration {
    /// The resources.
    pub resources: Resources,
    /// The mesh's settings: those given explicitly, else those of a ConfigMap `istio` among the resources, else the defaults.
    pub mesh_config: Arc<MeshConfig>,
}

impl Configuration {
    /// Puts resources and settings together.
    #[must_use]
    pub fn new(resources: Resources, mesh_config: Option<MeshConfig>) -> Self {
        let mesh_config = mesh_config
            .map(Arc::new)
            .or_else(|| resources.mesh_config.clone())
            .unwrap_or_default();
        Self {
            resources,
            mesh_config,
        }
    }

    /// What a loader and a reader of settings found; the problems of both.
    pub(super) fn finish(
        mut loader: Loader,
        mesh_config: Option<Result<MeshConfig, Problems>>,
    ) -> Result<Self, Problems> {
        let mesh_config = match mesh_config.transpose() {
            Ok(mesh_config) => mesh_config,
            Err(problems) => {
                problems
                    .into_iter()
                    .for_each(|problem| loader.report(problem));
                None
            }
        };
        let resources = loader.finish()?;
        Ok(Self::new(resources, mesh_config))
    }
}
