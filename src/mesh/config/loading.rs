//! Loads a configuration at the start, for a mesh and for `Guards`: read, compile, begin, and make
//! the driver. Each stage is a type: [`ConfigLoader`], [`ReadConfig`], [`ValidConfig`],
//! [`LoadedConfig`].

use std::sync::Arc;

use tokio::time::timeout;

use super::driver::Driver;
use super::first_answer::{BESIDE_FAULTS, first_answer};
use super::keys::{self, Keys};
#[cfg(feature = "rate-limit")]
use super::limits::LimitCompiler;
use super::live::{CompiledConfig, Compiler, LiveConfig, ModeChoice};
use super::reload::{
    Judge, PortProtections, Reloads, refuse_strict, require_allow, warn_of_foreign,
    warn_without_allow,
};
use super::svid_keys::SvidFeed;
use super::token_terms;
use crate::identity::{TraceServiceName, Workload};
use crate::istio::{Position, Problem, Problems, TracingServiceName};
use crate::jwt::{Counts, Keyring, SvidKeys, Terms};
use crate::mesh::client::pool::compiled_outbound::CompiledOutbound;
use crate::mesh::error::Faults;
use crate::mesh::options::TokenOptions;
#[cfg(feature = "external")]
use crate::mesh::providers::ProviderCompiler;
use crate::mesh::telemetry::{TelemetryCompiler, exporter};
use crate::metrics::Registry;
use crate::propagation::SpanSink;
use crate::source::{ConfigSource, Configuration, Source};
use crate::tls::{Credentials, JwtBundleSource, Rotation, Settings};

/// The options that decide what is loaded, and how.
pub(in crate::mesh) struct ConfigLoader<'a> {
    pub(in crate::mesh) source: ConfigSource,
    pub(in crate::mesh) modes: ModeChoice,
    /// Whether the mesh speaks plaintext, so that no port may be STRICT.
    pub(in crate::mesh) is_plaintext: bool,
    pub(in crate::mesh) requires_policy: bool,
    pub(in crate::mesh) tokens: TokenOptions,
    /// The TLS settings for the servers of keys.
    pub(in crate::mesh) tls: &'a Settings,
}

/// What was read, before it is compiled for a workload.
pub(in crate::mesh) struct ReadConfig {
    configuration: Option<Configuration>,
    modes: ModeChoice,
    is_plaintext: bool,
    requires_policy: bool,
    source: Option<ConfigSource>,
    keys: Option<Keys>,
    loopback_http: bool,
    terms: Terms,
    svid_keys: Option<SvidKeys>,
    #[cfg(feature = "external")]
    providers: Option<ProviderCompiler>,
    #[cfg(feature = "rate-limit")]
    limits: Option<LimitCompiler>,
    telemetry: Option<TelemetryCompiler>,
    #[cfg(feature = "audit")]
    audits: bool,
}

/// What was compiled without problems. Nothing runs yet.
pub(in crate::mesh) struct ValidConfig {
    cells: LiveConfig,
    compiler: Compiler,
    configuration: Configuration,
    is_plaintext: bool,
    requires_policy: bool,
    source: Option<ConfigSource>,
    keys: Keys,
    loopback_http: bool,
    terms: Terms,
}

/// The live rules, and what a driver needs to keep them up to date.
pub(in crate::mesh) struct LoadedConfig {
    pub(in crate::mesh) cells: LiveConfig,
    pub(in crate::mesh) reloads: Reloads,
    /// How the guard treats end-user tokens.
    pub(in crate::mesh) terms: Terms,
    compiler: Compiler,
    judge: Judge,
    source: Option<ConfigSource>,
    keys: Keys,
}

impl ConfigLoader<'_> {
    /// Reads the configuration. Adds everything that is wrong with it, and with the options for the
    /// servers of keys, to `faults`.
    pub(in crate::mesh) async fn read(self, namespace: &str, faults: &mut Faults) -> ReadConfig {
        let mut source = self.source;
        faults.mistakes("tokens: ", &self.tokens.mistakes);
        let first = first_update(source.as_source(), namespace, faults).await;
        ReadConfig {
            loopback_http: self.tokens.loopback_http,
            terms: self.tokens.terms.clone(),
            svid_keys: self.tokens.svid_keys.clone(),
            keys: faults.option(Keys::new(self.tokens, self.tls)),
            configuration: first.and_then(|first| faults.configuration(first)),
            modes: self.modes,
            is_plaintext: self.is_plaintext,
            requires_policy: self.requires_policy,
            source: source.as_source().may_change().then_some(source),
            #[cfg(feature = "external")]
            providers: None,
            #[cfg(feature = "rate-limit")]
            limits: None,
            telemetry: None,
            #[cfg(feature = "audit")]
            audits: false,
        }
    }
}

impl ReadConfig {
    /// Takes keys of JWT-SVIDs from this source of bundles, unless the options have such keys.
    pub(in crate::mesh) fn svid_bundles(
        mut self,
        source: Option<Box<dyn JwtBundleSource>>,
    ) -> Self {
        if let (None, Some(source), Some(keys)) = (&self.svid_keys, source, &mut self.keys) {
            let feed = SvidFeed::new(source);
            self.svid_keys = Some(feed.keys());
            keys.feed(feed);
        }
        self
    }

    /// Makes providers of CUSTOM policies, which are refused otherwise.
    #[cfg(feature = "external")]
    pub(in crate::mesh) fn providers(self, providers: ProviderCompiler) -> Self {
        Self {
            providers: Some(providers),
            ..self
        }
    }

    /// Applies the telemetry of the configuration.
    pub(in crate::mesh) fn telemetry(self, telemetry: TelemetryCompiler) -> Self {
        Self {
            telemetry: Some(telemetry),
            ..self
        }
    }

    /// Sets whether records tell of the configuration.
    #[cfg(feature = "audit")]
    pub(in crate::mesh) fn audits(self, audits: bool) -> Self {
        Self { audits, ..self }
    }

    /// Applies the limits of the configuration.
    #[cfg(feature = "rate-limit")]
    pub(in crate::mesh) fn limits(self, limits: LimitCompiler) -> Self {
        Self {
            limits: Some(limits),
            ..self
        }
    }

    /// The trust domain that the MeshConfig states, if it does.
    pub(in crate::mesh) fn stated_trust_domain(&self) -> Option<&str> {
        let configuration = self.configuration.as_ref()?;
        configuration.mesh_config.trust_domain.as_deref()
    }

    /// The name of the service in traces that the MeshConfig chooses, if it does.
    pub(in crate::mesh) fn trace_service_name(&self) -> Option<TraceServiceName> {
        let configuration = self.configuration.as_ref()?;
        let chosen = configuration.mesh_config.telemetry.tracing_service_name?;
        Some(match chosen {
            TracingServiceName::AppLabelAndNamespace => TraceServiceName::AppLabelAndNamespace,
            TracingServiceName::CanonicalNameOnly => TraceServiceName::CanonicalNameOnly,
            TracingServiceName::CanonicalNameAndNamespace => {
                TraceServiceName::CanonicalNameAndNamespace
            }
        })
    }

    /// The exporter of spans that the configuration names, if it does.
    pub(in crate::mesh) fn exporter(
        &self,
        workload: &Workload,
        faults: &mut Faults,
    ) -> Option<Arc<dyn SpanSink>> {
        let configuration = self.configuration.as_ref()?;
        faults.configuration(exporter(configuration, workload).map_err(Problems::from))?
    }

    /// Compiles the configuration for a workload whose trust domain is known. Adds everything that
    /// is wrong with it to `faults`.
    pub(in crate::mesh) fn compile(
        self,
        workload: &Workload,
        outbound: CompiledOutbound,
        registry: &Registry,
        faults: &mut Faults,
    ) -> Option<ValidConfig> {
        let mut keyring = Keyring::new().counting(token_counts(registry));
        if let Some(keys) = self.svid_keys {
            keyring = keyring.svid_keys(keys);
        }
        let mut compiler = Compiler {
            workload: workload.clone(),
            is_plaintext: self.is_plaintext,
            #[cfg(feature = "external")]
            providers: self.providers,
            #[cfg(feature = "rate-limit")]
            limits: self.limits,
            telemetry: self.telemetry,
            #[cfg(feature = "audit")]
            audits: self.audits,
            keyring: match self.loopback_http {
                true => keyring.loopback_http(),
                false => keyring,
            },
        };
        let configuration = self.configuration?;
        let inbound = faults.configuration(compiler.compile(&configuration))?;
        if !compiler.claims(&inbound) {
            faults.mistake(SHARED_REGISTRY);
        }
        let cells = LiveConfig::new(CompiledConfig { inbound, outbound }, self.modes);
        let kept = match self.is_plaintext {
            true => {
                let config = cells.inbound.snapshot();
                refuse_strict(config.engine.program(), &configuration, workload)
            }
            false => Ok(()),
        };
        let kept = faults.configuration(kept);
        let present = check_presence(&cells, &configuration, workload, self.requires_policy);
        faults.configuration(present).and(kept)?;
        Some(ValidConfig {
            cells,
            compiler,
            configuration,
            is_plaintext: self.is_plaintext,
            requires_policy: self.requires_policy,
            source: self.source,
            keys: self.keys?,
            loopback_http: self.loopback_http,
            terms: self.terms,
        })
    }
}

impl ValidConfig {
    /// The keys of issuers, which are not fetched yet.
    #[cfg(feature = "audit")]
    pub(in crate::mesh) fn keyring(&self) -> &Keyring {
        &self.compiler.keyring
    }

    /// Registers the metrics of the configuration, and logs warnings about what is valid and yet
    /// dangerous. `credentials` is our own identity; `None` where something else terminates TLS,
    /// and in plaintext.
    pub(in crate::mesh) fn begin(
        self,
        registry: &Registry,
        credentials: Option<&Credentials>,
    ) -> LoadedConfig {
        let Self {
            cells,
            mut compiler,
            configuration,
            ..
        } = self;
        compiler.serves(&cells.inbound.snapshot());
        if self.loopback_http {
            tracing::warn!(
                target: "tower_mesh::jwt",
                "keys are fetched over plain HTTP from loopback addresses (`loopback_http_jwks`): \
                 for development only"
            );
        }
        keys::metrics(registry, compiler.keyring.moved());
        token_terms::show(registry, &self.terms);
        if let Some(credentials) = credentials {
            let config = cells.inbound.snapshot();
            warn_of_foreign(config.engine.program(), &configuration, credentials);
        }
        let reloads = Reloads::new();
        let config = cells.inbound.clone();
        reloads.show(registry, move || config.generation());
        let judge = Judge::new(reloads.clone(), self.requires_policy, credentials.cloned());
        LoadedConfig {
            judge: judge.plaintext(self.is_plaintext),
            cells,
            reloads,
            terms: self.terms,
            compiler,
            source: self.source,
            keys: self.keys,
        }
    }
}

impl LoadedConfig {
    /// Warns of what can be known once the client of the mesh is there.
    #[cfg(any(feature = "external", feature = "rate-limit-service"))]
    pub(in crate::mesh) fn warn_of_unknown_hosts(&self) {
        #[cfg(feature = "rate-limit-service")]
        if let Some(limits) = &self.compiler.limits {
            limits.warn_of_unknown_hosts();
        }
        #[cfg(feature = "external")]
        if let Some(providers) = &self.compiler.providers {
            providers.warn_of_unknown_hosts();
        }
    }

    /// Makes the driver of the rules, and of an identity that is followed. Every key set has been
    /// fetched once by then, or has had its time.
    pub(in crate::mesh) async fn driver(self, rotation: Option<Rotation>) -> Driver {
        let Self {
            cells,
            compiler,
            judge,
            mut source,
            keys,
            ..
        } = self;
        if let Some(source) = &mut source {
            source.as_source().answered(Ok(()));
        }
        let mut driver = Driver::new(compiler, cells, judge, source, keys, rotation);
        driver.fetch_first().await;
        driver
    }
}

/// The first update; `None` when something else is wrong already and it does not come in time.
async fn first_update(
    source: &mut dyn Source,
    namespace: &str,
    faults: &Faults,
) -> Option<Result<Configuration, Problems>> {
    let next = source.next(namespace);
    let update = match faults.is_empty() {
        true => first_answer(next, "the configuration").await,
        false => timeout(BESIDE_FAULTS, next).await.ok()?,
    };
    Some(match update {
        Some(update) => update.configuration,
        None => Err(Problem::new(Position::default(), "", ENDED).into()),
    })
}

const SHARED_REGISTRY: &str = "telemetry: metrics: another mesh counts in this registry and has \
                               other `metrics` in its Telemetry resources, and a registry is shown \
                               in one way: give each mesh a registry of its own, or both the same \
                               resources";
const ENDED: &str = "the source of the configuration has ended before it gave any";

/// Checks that an ALLOW policy selects the workload: an error where one is required, else a warning
/// in the log.
fn check_presence(
    cells: &LiveConfig,
    configuration: &Configuration,
    workload: &Workload,
    is_required: bool,
) -> Result<(), Problems> {
    let (config, modes) = (cells.inbound.snapshot(), cells.modes.snapshot());
    let protections = PortProtections {
        program: config.engine.program(),
        modes: &modes,
    };
    if is_required {
        return require_allow(protections, configuration, workload);
    }
    warn_without_allow(protections, configuration, workload);
    Ok(())
}

/// Registers the counters of end-user tokens.
fn token_counts(registry: &Registry) -> Counts {
    const GOOD: &str = "End-user tokens found good, by signature or because they were good before.";
    const REFUSED: &str = "Requests refused for their end-user tokens.";
    const REPORTED: &str = "Requests that passed as without a token, although their token was bad.";
    let counts = Counts::new(
        |result| {
            registry
                .counter("mesh_jwt_tokens_total", GOOD, &[("result", result)])
                .into()
        },
        |reason| {
            registry
                .counter("mesh_jwt_refusals_total", REFUSED, &[("reason", reason)])
                .into()
        },
    );
    counts.reporting(|reason| {
        registry
            .counter("mesh_jwt_reported_total", REPORTED, &[("reason", reason)])
            .into()
    })
}
