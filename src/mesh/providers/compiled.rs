//! Makes providers from the configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::late_client::LateClient;
use crate::external::{Counts, Definition, Kind, Provider};
use crate::istio::ExtensionProvider;
use crate::metrics::Registry;
use crate::policy::Program;

/// The providers that one generation of configuration can ask, by name. A provider that is not
/// among them cannot be asked, so requests for it are refused.
#[derive(Debug, Default)]
pub(in crate::mesh) struct Providers(BTreeMap<Box<str>, Arc<Provider>>);

impl Providers {
    pub(in crate::mesh) fn get(&self, name: &str) -> Option<&Arc<Provider>> {
        self.0.get(name)
    }
}

/// Compiles the providers of one configuration after the other. A provider that stays as it is
/// stays the same, with all that it holds; connections are the client's, and stay in any case.
#[derive(Debug)]
pub(in crate::mesh) struct ProviderCompiler {
    client: LateClient,
    /// Our own SPIFFE id.
    own: Box<str>,
    registry: Registry,
    latest: Vec<(Definition, Arc<Provider>)>,
    /// Counts go on when a provider changes, or comes back.
    counts: BTreeMap<Box<str>, Arc<Counts>>,
}

impl ProviderCompiler {
    pub(in crate::mesh) fn new(client: LateClient, own: String, registry: &Registry) -> Self {
        Self {
            client,
            own: own.into(),
            registry: registry.clone(),
            latest: Vec::new(),
            counts: BTreeMap::new(),
        }
    }

    /// The providers that the program's CUSTOM policies name.
    pub(in crate::mesh) fn compile(&mut self, program: &Program) -> Providers {
        let chains = &program.http;
        let chains = std::iter::once(&chains.default).chain(chains.by_port.values());
        let usable = chains
            .flat_map(|chain| &chain.custom)
            .filter_map(|filter| filter.usable.as_ref());
        let mut latest: Vec<(Definition, Arc<Provider>)> = Vec::new();
        for named in usable {
            let is_known = latest.iter().any(|(known, _)| *known.name() == *named.name);
            if !is_known && let Some(made) = self.provider(named) {
                latest.push(made);
            }
        }
        self.latest = latest;
        let named = self.latest.iter();
        Providers(
            named
                .map(|(definition, provider)| (definition.name().into(), Arc::clone(provider)))
                .collect(),
        )
    }

    fn provider(&mut self, named: &ExtensionProvider) -> Option<(Definition, Arc<Provider>)> {
        let name = &*named.name;
        let definition = match Definition::new(named) {
            Ok(definition) => definition?,
            Err(mistake) => {
                tracing::warn!(
                    target: TARGET, provider = name, mistake,
                    "the provider cannot be asked: requests for it are refused"
                );
                return None;
            }
        };
        let before = self.latest.iter().find(|(before, _)| *before == definition);
        if let Some((definition, provider)) = before {
            return Some((definition.clone(), Arc::clone(provider)));
        }
        if definition.lacks_timeout() {
            tracing::warn!(
                target: TARGET, provider = name,
                "the provider has no `timeout`, so that a request may wait for it for ten minutes, \
                 as in Istio: write one, such as 1s"
            );
        }
        self.warn_of_unknown_host(&definition);
        let counts = self.counts(name);
        let authorizer = definition.over(self.client.clone(), &self.own);
        let provider = Provider::new(name, authorizer, definition.options(), counts);
        Some((definition, Arc::new(provider)))
    }

    /// Warns of providers whose hosts the client does not know, once there is a client.
    pub(in crate::mesh) fn warn_of_unknown_hosts(&self) {
        for (definition, _) in &self.latest {
            self.warn_of_unknown_host(definition);
        }
    }

    fn warn_of_unknown_host(&self, definition: &Definition) {
        if self.client.knows(definition.origin()) == Some(false) {
            let origin = definition.origin();
            tracing::warn!(
                target: TARGET, provider = definition.name(), %origin,
                "the client knows no server for the provider's host, so that requests for the \
                 provider are refused, also if it fails open: add the host with \
                 `MeshBuilder::upstream`, or with `MeshBuilder::outside` if it is not of the mesh"
            );
        }
    }

    /// The counts of a provider. A name whose counts are new gets its metrics.
    fn counts(&mut self, name: &str) -> Arc<Counts> {
        if let Some(counts) = self.counts.get(name) {
            return Arc::clone(counts);
        }
        let counts = Arc::new(Counts::default());
        for kind in Kind::ALL {
            let shown = Arc::clone(&counts);
            self.registry.counter_of(
                "mesh_external_authorization_total",
                "Requests that a provider was asked about, by outcome.",
                &[("provider", name), ("outcome", kind.label())],
                move || Some(shown.count(kind)).filter(|count| *count > 0),
            );
        }
        self.counts.insert(name.into(), Arc::clone(&counts));
        counts
    }
}

const TARGET: &str = "tower_mesh::config";
