//! What the application says about providers.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::external::{AuthorizerOptions, DecisionCache, DynAuthorizer};
use crate::istio::{ExtensionProvider, MeshConfig, Position, ProviderKind, Text};

/// The providers of the application, and its caches of providers' decisions, by the providers'
/// names.
#[derive(Debug, Default)]
pub(in crate::mesh) struct Registered {
    authorizers: BTreeMap<String, (Arc<dyn DynAuthorizer>, AuthorizerOptions)>,
    caches: BTreeMap<String, DecisionCache>,
    /// Each begins with the name of the builder's method.
    pub(in crate::mesh) mistakes: Vec<String>,
}

impl Registered {
    pub(in crate::mesh) fn authorizer(
        &mut self,
        name: String,
        authorizer: Arc<dyn DynAuthorizer>,
        options: AuthorizerOptions,
    ) {
        if !is_provider_name(&name) {
            self.mistakes.push(format!(
                "authorizer: {name:?} is no provider name: write 1 to 63 of a-z, 0-9 and -, no \
                 hyphen at the ends"
            ));
        }
        if options.question_timeout().is_zero() {
            let mistake = format!("authorizer {name:?}: with a timeout of zero it never answers");
            self.mistakes.push(mistake);
        }
        let is_second = self.authorizers.contains_key(&name);
        if is_second {
            let mistake = format!("authorizer: {name:?} is registered twice; keep one");
            self.mistakes.push(mistake);
        }
        self.authorizers.insert(name, (authorizer, options));
    }

    pub(in crate::mesh) fn cache(&mut self, name: String, cache: DecisionCache) {
        if let Some(mistake) = cache.mistake() {
            let mistake = format!("decision_cache {name:?}: {mistake}");
            self.mistakes.push(mistake);
        }
        if self.caches.contains_key(&name) {
            let mistake = format!("decision_cache: {name:?} has two caches; keep one");
            self.mistakes.push(mistake);
        }
        self.caches.insert(name, cache);
    }

    /// The mesh's settings, with the providers of the application among the others. A name that is
    /// there already then has two meanings, and the provider is not usable.
    pub(in crate::mesh) fn add_to(&self, mesh: &MeshConfig) -> MeshConfig {
        let mut mesh = mesh.clone();
        for name in self.authorizers.keys() {
            let name = Text::new(name, Position::default());
            let provider = ExtensionProvider::new(name, ProviderKind::Application);
            mesh.extension_providers.push(provider);
        }
        mesh
    }

    pub(in crate::mesh) fn is_empty(&self) -> bool {
        self.authorizers.is_empty() && self.caches.is_empty()
    }

    pub(super) fn find(&self, name: &str) -> Option<&(Arc<dyn DynAuthorizer>, AuthorizerOptions)> {
        self.authorizers.get(name)
    }

    pub(super) fn cache_of(&self, name: &str) -> Option<&DecisionCache> {
        self.caches.get(name)
    }
}

fn is_provider_name(name: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_long = (1..=63).contains(&name.len());
    is_long && name.bytes().all(is_good) && !name.starts_with('-') && !name.ends_with('-')
}
