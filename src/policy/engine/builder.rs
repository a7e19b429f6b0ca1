use super::judge::Engine;
use crate::identity::Workload;
use crate::istio::{Loader, MeshConfig, Problems, Resources};
use crate::policy::compile;

impl Engine {
    /// Starts an engine for a workload from resources.
    ///
    /// # Example
    /// ```
    /// use tower_mesh::Workload;
    /// use tower_mesh::policy::{Engine, Request};
    ///
    /// let engine = Engine::builder(&Workload::new("default", "patients")).yaml("
    /// apiVersion: security.istio.io/v1
    /// kind: AuthorizationPolicy
    /// metadata: {name: readers}
    /// spec:
    ///   rules:
    ///   - from: [{source: {principals: [cluster.local/ns/default/sa/front-desk]}}]
    ///     to: [{operation: {methods: [GET], paths: [/patients/*]}}]
    /// ").build()?;
    ///
    /// let request = Request::new().get("/patients/7").from("cluster.local/ns/default/sa/front-desk");
    /// assert!(engine.decide(&request).is_allowed());
    /// assert!(!engine.decide(&request.delete("/patients/7")).is_allowed());
    /// # Ok::<(), tower_mesh::istio::Problems>(())
    /// ```
    pub fn builder(workload: &Workload) -> EngineBuilder<'_> {
        EngineBuilder::new(workload)
    }
}

/// Gathers configuration for an [`Engine`]; made by [`Engine::builder`].
#[derive(Debug)]
#[must_use]
pub struct EngineBuilder<'a> {
    workload: &'a Workload,
    loader: Loader,
    texts: usize,
    resources: Resources,
    mesh: Option<MeshConfig>,
}

impl<'a> EngineBuilder<'a> {
    fn new(workload: &'a Workload) -> Self {
        Self {
            workload,
            loader: Loader::new(workload.namespace()),
            texts: 0,
            resources: Resources::default(),
            mesh: None,
        }
    }

    /// Adds the resources of a YAML text, one document or several. Those without a namespace belong
    /// to the workload's. Problems call the texts `yaml#1`, `yaml#2` and so on;
    /// [`named_yaml`](Self::named_yaml) gives them better names.
    pub fn yaml(mut self, text: &str) -> Self {
        self.texts += 1;
        let name = format!("yaml#{}", self.texts);
        self.named_yaml(&name, text)
    }

    /// Adds the resources of a YAML text; `file` is what problems call it.
    pub fn named_yaml(mut self, file: &str, text: &str) -> Self {
        self.loader.read(file, text);
        self
    }

    /// Adds resources that were read elsewhere.
    pub fn resources(mut self, more: Resources) -> Self {
        self.resources.append(more);
        self
    }

    /// Sets the mesh's settings; otherwise those of the ConfigMap `istio` among the resources
    /// count, else Istio's defaults. Where they name no trust domain it is the workload's, see
    /// [`Workload::trust_domain`].
    pub fn mesh_config(mut self, mesh: MeshConfig) -> Self {
        self.mesh = Some(mesh);
        self
    }

    /// Compiles everything.
    ///
    /// # Errors
    /// Everything that is wrong, all at once: fields that do not exist, values that mean nothing.
    /// Nothing is half loaded.
    pub fn build(self) -> Result<Engine, Problems> {
        let mut resources = self.loader.finish()?;
        resources.append(self.resources);
        let found = || resources.mesh_config.as_deref().cloned();
        let mesh = self.mesh.or_else(found).unwrap_or_default();
        Ok(Engine::new(compile(&resources, &mesh, self.workload)?))
    }
}
