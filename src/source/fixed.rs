//! Reads configuration from texts in memory.

use crate::istio::{Loader, Problems, parse_mesh_config};

use super::Configuration;
use super::configuration::settings;
use super::expressions;

/// Configuration from texts in memory: part of the program, or of a test.
#[derive(Clone, Debug, Default)]
pub struct Fixed {
    texts: Vec<(String, String)>,
    mesh_config: Option<(String, String)>,
}

impl Fixed {
    /// Resources as YAML or JSON text. Problems refer to the text by `name`.
    #[must_use]
    pub fn yaml(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self::default().and(name, text)
    }

    /// Adds more resources.
    #[must_use]
    pub fn and(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.texts.push((name.into(), text.into()));
        self
    }

    /// Sets the mesh's settings as YAML. They override a ConfigMap `istio` among the resources.
    #[must_use]
    pub fn mesh_config(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.mesh_config = Some((name.into(), text.into()));
        self
    }

    /// Parses all texts. Resources without a namespace belong to `default_namespace`.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with any of the texts.
    pub fn load(&self, default_namespace: &str) -> Result<Configuration, Problems> {
        let mut loader = Loader::new(default_namespace);
        for (name, text) in &self.texts {
            loader.read(name, text);
        }
        let mesh_config = self.mesh_config.as_ref();
        let mesh_config = mesh_config.map(|(name, text)| parse_mesh_config(name, text));
        let mesh_config = settings(&mut loader, mesh_config);
        expressions::check(&mut loader);
        Ok(Configuration::new(loader.finish()?, mesh_config))
    }
}
