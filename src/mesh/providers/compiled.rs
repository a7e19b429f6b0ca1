//! Makes providers from the configuration.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use super::cache_metrics::CacheMetrics;
use super::registered::Registered;
use crate::external::{
    Counts, DecisionCache, Decisions, Definition, Kind as CountKind, Provider, Stage,
};
use crate::istio::{AuthorizerCache, ExtensionProvider, MeshConfig, ProviderKind};
use crate::mesh::client::LateClient;
use crate::metrics::Registry;
use crate::policy::Program;

/// The providers that one generation of configuration can ask, by name. A provider that is not
/// among them cannot be asked, so requests for it are refused.
#[derive(Clone, Debug, Default)]
pub(in crate::mesh) struct Providers(BTreeMap<Box<str>, Compiled>);

/// A provider, and what it was made from.
#[derive(Clone, Debug)]
struct Compiled {
    meaning: Meaning,
    provider: Arc<Provider>,
}

impl Providers {
    pub(in crate::mesh) fn get(&self, name: &str) -> Option<&Arc<Provider>> {
        self.0.get(name).map(|compiled| &compiled.provider)
    }
}

/// Compiles the providers of one configuration after the other. A provider that stays as it is in
/// the configuration in use stays the same, with all that it holds, such as its cache; connections
/// are the client's, and stay in any case.
#[derive(Debug)]
pub(in crate::mesh) struct ProviderCompiler {
    client: LateClient,
    /// Our own SPIFFE id.
    own: Box<str>,
    registry: Registry,
    registered: Registered,
    /// The providers in use.
    serving: Providers,
    /// Counts go on when a provider changes, or comes back.
    counts: BTreeMap<Box<str>, Arc<Counts>>,
    caches: CacheMetrics,
}

/// What a name means. A provider whose meaning stays is kept.
#[derive(Clone, Debug, PartialEq)]
struct Meaning {
    kind: Kind,
    cache: Option<DecisionCache>,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Network(Box<Definition>),
    /// A rule in CEL.
    #[cfg(feature = "cel")]
    Rule(Box<str>),
    Application,
}

impl ProviderCompiler {
    pub(in crate::mesh) fn new(
        client: LateClient,
        own: String,
        registry: &Registry,
        registered: Registered,
    ) -> Self {
        Self {
            client,
            own: own.into(),
            registry: registry.clone(),
            registered,
            serving: Providers::default(),
            counts: BTreeMap::new(),
            caches: CacheMetrics::new(registry),
        }
    }

    /// The mesh's settings, with the providers of the application.
    pub(in crate::mesh) fn with_registered(&self, mesh: &MeshConfig) -> Option<MeshConfig> {
        let is_empty = self.registered.is_empty();
        (!is_empty).then(|| self.registered.add_to(mesh))
    }

    /// The providers that the program's CUSTOM policies name. Nothing is shown and nothing is
    /// called before they [serve](Self::serves).
    pub(in crate::mesh) fn compile(&self, program: &Program) -> Providers {
        let chains = &program.http;
        let chains = std::iter::once(&chains.default).chain(chains.by_port.values());
        let mut providers = Providers::default();
        for filter in chains.flat_map(|chain| &chain.custom) {
            let Some(named) = &filter.usable else {
                continue;
            };
            let name = &*named.name;
            if providers.0.contains_key(name) {
                continue;
            }
            if let Some(compiled) = self.provider(named, filter.cache.as_ref()) {
                providers.0.insert(name.into(), compiled);
            }
        }
        providers
    }

    /// Notes that these providers are in use: shows their counts and caches, warns of what is
    /// dangerous about new ones, and connects to them.
    pub(in crate::mesh) fn serves(&mut self, providers: &Providers) {
        let before = mem::replace(&mut self.serving, providers.clone());
        for (name, Compiled { meaning, provider }) in &providers.0 {
            self.show(name, provider.counts());
            let stays = before
                .get(name)
                .is_some_and(|old| Arc::ptr_eq(old, provider));
            if stays {
                continue;
            }
            if let (Some(_), Some(cache)) = (provider.cache(), &meaning.cache) {
                warn_of_useless_cache(provider, name, cache);
            }
            if let Kind::Network(definition) = &meaning.kind {
                warn_of_dangers(definition);
                self.warn_of_unknown_host(definition);
                if definition.is_grpc() {
                    self.client.warm(definition.origin());
                }
            }
        }
        let caches = providers.0.iter();
        let caches = caches.filter_map(|(name, Compiled { provider, .. })| {
            Some((&**name, Arc::clone(provider.cache()?)))
        });
        self.caches.show(caches);
    }

    fn provider(
        &self,
        named: &ExtensionProvider,
        cache: Option<&AuthorizerCache>,
    ) -> Option<Compiled> {
        let name = &*named.name;
        let meaning = Meaning {
            kind: self.kind(named)?,
            cache: self.cache(name, cache),
        };
        let before = self.serving.0.get(name);
        if let Some(same) = before.filter(|before| before.meaning == meaning) {
            return Some(same.clone());
        }
        let counts = self.counts.get(name).cloned().unwrap_or_default();
        let provider = match &meaning.kind {
            Kind::Network(definition) => {
                let authorizer = definition.over(self.client.clone(), &self.own);
                Provider::new(name, authorizer, definition.options(), counts)
            }
            #[cfg(feature = "cel")]
            Kind::Rule(text) => {
                // What was read from files is good; resources can also be made in code.
                let rule = crate::cel::Expression::compile(text).inspect_err(|mistake| {
                    tracing::warn!(
                        target: TARGET, provider = name, %mistake,
                        "the rule cannot be used: requests for the provider are refused"
                    );
                });
                Provider::rule(name, rule.ok()?, counts)
            }
            Kind::Application => {
                let (authorizer, options) = self.registered.find(name)?;
                Provider::new(name, Arc::clone(authorizer), *options, counts)
            }
        };
        let provider = match &meaning.cache {
            Some(cache) if !provider.is_rule() => {
                let counters = self.caches.counters(name);
                provider.cached(Arc::new(Decisions::new(name, cache.clone(), counters)))
            }
            _ => provider,
        };
        Some(Compiled {
            meaning,
            provider: Arc::new(provider),
        })
    }

    fn kind(&self, named: &ExtensionProvider) -> Option<Kind> {
        let name = &*named.name;
        match &named.kind {
            #[cfg(feature = "cel")]
            ProviderKind::Expression(text) => Some(Kind::Rule(text.as_str().into())),
            ProviderKind::Application => self.registered.find(name).map(|_| Kind::Application),
            _ => match Definition::new(named) {
                Ok(Some(definition)) => Some(Kind::Network(Box::new(definition))),
                Ok(None) => {
                    tracing::warn!(
                        target: TARGET, provider = name,
                        "this mesh cannot ask the provider (a rule needs the feature `cel`): \
                         requests for it are refused"
                    );
                    None
                }
                Err(mistake) => {
                    tracing::warn!(
                        target: TARGET, provider = name, mistake,
                        "the provider cannot be asked: requests for it are refused"
                    );
                    None
                }
            },
        }
    }

    /// How the decisions of a provider are cached.
    fn cache(&self, name: &str, written: Option<&AuthorizerCache>) -> Option<DecisionCache> {
        let own = self.registered.cache_of(name);
        if let (Some(_), Some(written)) = (own, written) {
            tracing::warn!(
                target: TARGET, provider = name, at = %written.at,
                "the application has a cache for the provider, too, which is used in place of this \
                 one"
            );
        }
        let written = || written.map(DecisionCache::from_resource);
        own.cloned().or_else(written)
    }

    /// Warns of providers whose hosts the client does not know, once there is a client.
    pub(in crate::mesh) fn warn_of_unknown_hosts(&self) {
        for Compiled { meaning, .. } in self.serving.0.values() {
            if let Kind::Network(definition) = &meaning.kind {
                self.warn_of_unknown_host(definition);
            }
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

    /// Shows the counts of a provider, if its name is new.
    fn show(&mut self, name: &str, counts: &Arc<Counts>) {
        if self.counts.contains_key(name) {
            return;
        }
        for kind in CountKind::ALL {
            let shown = Arc::clone(counts);
            self.registry.counter_of(
                "mesh_external_authorization_total",
                "Requests that a provider was asked about, by outcome.",
                &[("provider", name), ("outcome", kind.label())],
                move || Some(shown.count(kind)).filter(|count| *count > 0),
            );
        }
        self.counts.insert(name.into(), Arc::clone(counts));
    }
}

/// Warns of what is valid and yet dangerous.
fn warn_of_dangers(definition: &Definition) {
    let provider = definition.name();
    if definition.lacks_timeout() {
        tracing::warn!(
            target: TARGET, provider,
            "the provider has no `timeout`, so that a request may wait for it for ten minutes, as \
             in Istio: write one, such as 1s"
        );
    }
    if definition.options().fails_open() {
        tracing::warn!(
            target: TARGET, provider,
            "the provider fails open: requests pass when it gives no answer"
        );
    }
}

/// Warns of a cache that keeps nothing.
fn warn_of_useless_cache(provider: &Provider, name: &str, cache: &DecisionCache) {
    if provider.wants_body().is_some() {
        tracing::warn!(
            target: TARGET, provider = name,
            "the provider sees the bodies of requests, by which no decision can be found again: \
             nothing is cached"
        );
    } else if cache.needs_token() && provider.stage() == Stage::BeforeTokens {
        tracing::warn!(
            target: TARGET, provider = name,
            "the provider is asked before tokens are verified, and its cache is keyed by claims: \
             nothing is cached; key by the header authorization"
        );
    }
}

const TARGET: &str = "tower_mesh::config";
