//! Gives an engine builder a whole configuration.

use super::Configuration;
use crate::policy::EngineBuilder;

impl EngineBuilder<'_> {
    /// Adds a whole configuration from a source: its resources, and its mesh settings, which
    /// replace any that were set before.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_mesh::Workload;
    /// use tower_mesh::policy::{Engine, Request};
    /// use tower_mesh::source::Fixed;
    ///
    /// let configuration = Fixed::yaml("ward.yaml", "
    /// apiVersion: security.istio.io/v1
    /// kind: AuthorizationPolicy
    /// metadata: {name: readers}
    /// spec:
    ///   rules: [{to: [{operation: {methods: [GET]}}]}]
    /// ").load("clinic")?;
    /// let engine = Engine::builder(&Workload::new("clinic", "patients"))
    ///     .configuration(&configuration)
    ///     .build()?;
    /// assert!(engine.decide(&Request::new().get("/7")).is_allowed());
    /// assert!(!engine.decide(&Request::new().delete("/7")).is_allowed());
    /// # Ok::<(), tower_mesh::istio::Problems>(())
    /// ```
    pub fn configuration(self, configuration: &Configuration) -> Self {
        let settings = configuration.mesh_config.as_ref().clone();
        self.resources(configuration.resources.clone())
            .mesh_config(settings)
    }
}
