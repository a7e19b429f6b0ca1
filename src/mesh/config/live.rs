//! The configuration in use: how it is compiled, and the order in which its parts are published.
//!
//! # The order of publishing
//!
//! A configuration is live in three cells, each replaced at once: `inbound` (rules and token
//! rules), `modes` (TLS modes of ports) and `outbound` (the client's hosts, which change on their
//! own). One change is published in this order:
//!
//! - First the driver fetches the keys of new issuers, within a bound. Thus a token that is good by
//!   the new rules is not refused because its key is missing.
//! - Then `inbound` is stored: requests that begin from now on are judged by the new rules. A
//!   request loads the cell once, so one generation judges it to the end.
//! - Then `modes` is stored: connections that are accepted from now on are handled by the new
//!   modes.
//!
//! Between the last two steps the new rules judge requests on connections of the old mode. That is
//! safe in either direction: when a mode grows laxer, the new rules are in force before it; when it
//! grows stricter, a connection without an identity matches no rule that names identities.

use std::sync::Arc;

#[cfg(feature = "rate-limit")]
use super::limits::{LimitCompiler, warn_of_unapplied};
use super::policy_names::applying;
use super::reading_log;
use crate::context::Exchange;
use crate::identity::Workload;
use crate::istio::{MeshConfig, MtlsMode, Position, Problem, Problems, Resources};
use crate::jwt::{Authenticator, Keyring};
use crate::live::Live;
#[cfg(feature = "audit")]
use crate::mesh::audit::AuditedConfig;
use crate::mesh::client::pool::compiled_outbound::CompiledOutbound;
#[cfg(feature = "external")]
use crate::mesh::providers::{ProviderCompiler, Providers};
use crate::mesh::telemetry::{CompiledTelemetry, TelemetryCompiler};
use crate::mesh::trust_domain;
use crate::policy::{Engine, PerPort, Program, compile};
#[cfg(feature = "rate-limit")]
use crate::rate_limit::Limits;
use crate::rbac::PolicyCheck;
use crate::source::{Configuration, Holdings};
use crate::tls::{Mode, Modes};

/// One generation of inbound configuration, as the layers read it.
#[derive(Debug)]
pub(in crate::mesh) struct CompiledInbound {
    pub(in crate::mesh) engine: Engine,
    pub(in crate::mesh) authenticators: Arc<PerPort<Authenticator>>,
    /// Whether a CUSTOM policy applies to the workload, on any port.
    pub(in crate::mesh) asks_providers: bool,
    /// The providers of CUSTOM policies that can be asked.
    #[cfg(feature = "external")]
    pub(in crate::mesh) providers: Providers,
    /// How many requests the workload takes.
    #[cfg(feature = "rate-limit")]
    pub(in crate::mesh) limits: Limits,
    /// `None` where nothing applies it.
    pub(in crate::mesh) telemetry: Option<CompiledTelemetry>,
    /// The files that it was read from, and which of them hold documents.
    pub(in crate::mesh) holdings: Holdings,
    /// How many policies were read, for any workload.
    pub(in crate::mesh) policies: usize,
    /// `None` where nothing is recorded.
    #[cfg(feature = "audit")]
    pub(in crate::mesh) audited: Option<AuditedConfig>,
}

impl CompiledInbound {
    /// The token rules of the port that the request's connection was accepted on.
    pub(in crate::mesh) fn authenticator(&self, exchange: &Exchange) -> &Authenticator {
        let port = exchange.peer().map_or(0, |peer| peer.local_addr().port());
        self.authenticators.get(port)
    }

    /// How many policies apply to the workload.
    pub(in crate::mesh) fn applying(&self) -> usize {
        applying(self.engine.program()).len()
    }
}

/// A compiled configuration: what judges requests, and where calls go.
#[derive(Debug)]
pub(in crate::mesh) struct CompiledConfig {
    pub(in crate::mesh) inbound: CompiledInbound,
    pub(in crate::mesh) outbound: CompiledOutbound,
}

/// The configuration in use. Each part is replaced while the mesh runs: a request loads `inbound`
/// once, a call `outbound`, and an accepted connection `modes`.
#[derive(Clone, Debug)]
pub(in crate::mesh) struct LiveConfig {
    pub(in crate::mesh) inbound: Live<CompiledInbound>,
    pub(in crate::mesh) outbound: Live<CompiledOutbound>,
    pub(in crate::mesh) modes: Live<Modes>,
    choice: ModeChoice,
}

/// How the TLS modes of ports are chosen.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::mesh) struct ModeChoice {
    /// The mode of every port, which overrides resources.
    pub(in crate::mesh) forced: Option<Mode>,
    /// The mode of ports that no resource covers: STRICT, unless the application chooses another
    /// (security rule M-20).
    pub(in crate::mesh) otherwise: Mode,
    /// Whether something else terminates TLS, and has to enforce the modes.
    pub(in crate::mesh) elsewhere: bool,
}

/// Compiles configuration into what the layers read.
#[derive(Debug)]
pub(in crate::mesh) struct Compiler {
    pub(in crate::mesh) workload: Workload,
    pub(in crate::mesh) keyring: Keyring,
    /// Whether the mesh speaks plaintext: callers have no identity, so no policy can depend on a
    /// trust domain.
    pub(in crate::mesh) is_plaintext: bool,
    /// `None` where no provider can be asked.
    #[cfg(feature = "external")]
    pub(in crate::mesh) providers: Option<ProviderCompiler>,
    /// `None` where nothing applies limits.
    #[cfg(feature = "rate-limit")]
    pub(in crate::mesh) limits: Option<LimitCompiler>,
    /// `None` where nothing applies telemetry.
    pub(in crate::mesh) telemetry: Option<TelemetryCompiler>,
    /// Whether records tell of the configuration.
    #[cfg(feature = "audit")]
    pub(in crate::mesh) audits: bool,
}

impl Compiler {
    /// Compiles a configuration; publishes nothing.
    ///
    /// # Errors
    /// Everything that is wrong with it. Token rules are checked even when other resources do not
    /// compile.
    pub(in crate::mesh) fn compile(
        &mut self,
        configuration: &Configuration,
    ) -> Result<CompiledInbound, Problems> {
        let program = match self.program(&configuration.resources, &configuration.mesh_config) {
            Ok(program) => program,
            Err(problems) => return Err(self.with_tokens(problems, configuration)),
        };
        reading_log::tell(configuration, &program);
        trust_domain::warn(&configuration.mesh_config, &self.workload);
        if !self.is_plaintext {
            trust_domain::warn_of_assumed(&program);
        }
        let authenticators = self.authenticators(&program)?;
        #[cfg(feature = "external")]
        let providers = match &self.providers {
            Some(compiler) => compiler.compile(&program),
            None => Providers::default(),
        };
        #[cfg(feature = "rate-limit")]
        let limits = self.limits(&program)?;
        #[cfg(not(feature = "rate-limit"))]
        self.limits(&program)?;
        let telemetry = self.telemetry(configuration)?;
        let engine = Engine::new(program);
        #[cfg(feature = "external")]
        PolicyCheck::warn_of_unasked_providers(&engine, |name| providers.get(name).is_some());
        #[cfg(not(feature = "external"))]
        PolicyCheck::warn_of_unasked_providers(&engine, |_| false);
        let resources = &configuration.resources;
        Ok(CompiledInbound {
            asks_providers: asks_providers(&engine),
            engine,
            authenticators: Arc::new(authenticators),
            #[cfg(feature = "external")]
            providers,
            #[cfg(feature = "rate-limit")]
            limits,
            telemetry,
            holdings: configuration.holdings.clone(),
            policies: resources.authorization_policies.len() + resources.service_roles.len(),
            #[cfg(feature = "audit")]
            audited: self.audits.then(|| AuditedConfig::new(configuration)),
        })
    }

    /// Whether no other mesh that counts in the same registry shows it otherwise.
    pub(in crate::mesh) fn claims(&self, config: &CompiledInbound) -> bool {
        let telemetry = self.telemetry.as_ref().zip(config.telemetry.as_ref());
        telemetry.is_none_or(|(telemetry, compiled)| telemetry.claims(compiled))
    }

    /// Notes that this configuration is in use.
    pub(in crate::mesh) fn serves(&mut self, config: &CompiledInbound) {
        #[cfg(feature = "external")]
        if let Some(providers) = &mut self.providers {
            providers.serves(&config.providers);
        }
        #[cfg(feature = "rate-limit")]
        if let Some(limits) = &mut self.limits {
            limits.serves(&config.limits);
        }
        if let (Some(telemetry), Some(compiled)) = (&mut self.telemetry, &config.telemetry) {
            telemetry.serves(compiled);
        }
    }

    fn program(
        &self,
        resources: &Resources,
        mesh_config: &MeshConfig,
    ) -> Result<Program, Problems> {
        #[cfg(feature = "external")]
        let with_registered = self.providers.as_ref();
        #[cfg(feature = "external")]
        let with_registered =
            with_registered.and_then(|providers| providers.with_registered(mesh_config));
        #[cfg(feature = "external")]
        let mesh_config = with_registered.as_ref().unwrap_or(mesh_config);
        compile(resources, mesh_config, &self.workload)
    }

    fn telemetry(
        &mut self,
        configuration: &Configuration,
    ) -> Result<Option<CompiledTelemetry>, Problems> {
        let Some(compiler) = &mut self.telemetry else {
            if let Some(first) = configuration.resources.telemetries.first() {
                tracing::warn!(
                    target: "tower_mesh::config",
                    at = %first.meta.at,
                    documents = configuration.resources.telemetries.len(),
                    "Telemetry has no effect on guards: spans, metrics and access logs are those of \
                     your own layers"
                );
            }
            return Ok(None);
        };
        compiler.compile(configuration, &self.workload).map(Some)
    }

    #[cfg(feature = "rate-limit")]
    fn limits(&self, program: &Program) -> Result<Limits, Problems> {
        let Some(compiler) = &self.limits else {
            warn_of_unapplied(program);
            return Ok(Limits::default());
        };
        compiler.compile(program, &self.workload)
    }

    /// A limit that nothing applies would open the workload in silence.
    #[cfg(not(feature = "rate-limit"))]
    #[allow(clippy::unused_self, reason = "as the one with limits")]
    fn limits(&self, program: &Program) -> Result<(), Problems> {
        let unable = program.limits.iter().map(|limit| {
            let message = "a RateLimit is applied with the feature `rate-limit`";
            Problem::new(limit.at.clone(), "kind", message)
        });
        Problems::from_list(unable.collect()).map_or(Ok(()), Err)
    }

    fn authenticators(&mut self, program: &Program) -> Result<PerPort<Authenticator>, Problems> {
        let Program { authentication, .. } = program;
        let mut problems = Vec::new();
        let mut compile = |authentication| {
            let compiled = Authenticator::compile(authentication, &mut self.keyring);
            compiled.map_err(|found| problems.extend(found)).ok()
        };
        let default = compile(&authentication.default);
        let by_port = authentication.by_port.iter();
        let by_port: Vec<_> = by_port
            .filter_map(|(port, authentication)| Some((*port, compile(authentication)?)))
            .collect();
        if let Some(problems) = Problems::from_list(problems) {
            return Err(problems);
        }
        // INVARIANT: without problems, all of them compiled.
        let default = default.ok_or_else(|| Problem::new(Position::default(), "", "no rules"))?;
        let mut authenticators = PerPort::same(default);
        authenticators.by_port.extend(by_port);
        Ok(authenticators)
    }

    /// Adds the problems of the token rules to those of resources that do not compile.
    fn with_tokens(&mut self, problems: Problems, configuration: &Configuration) -> Problems {
        let Configuration {
            resources,
            mesh_config,
            ..
        } = configuration;
        let tokens = Resources {
            request_authentications: resources.request_authentications.clone(),
            ..Resources::default()
        };
        let Ok(program) = self.program(&tokens, mesh_config) else {
            return problems;
        };
        match self.authenticators(&program) {
            Ok(_) => problems,
            Err(more) => {
                let all = problems.clone().into_iter().chain(more);
                Problems::from_list(all.collect()).unwrap_or(problems)
            }
        }
    }
}

fn asks_providers(engine: &Engine) -> bool {
    let chains = &engine.program().http;
    let mut chains = chains.by_port.values().chain([&chains.default]);
    chains.any(|chain| !chain.custom.is_empty())
}

impl LiveConfig {
    pub(in crate::mesh) fn new(config: CompiledConfig, choice: ModeChoice) -> Self {
        let CompiledConfig { inbound, outbound } = config;
        let modes = Live::new(choice.modes(&inbound.engine));
        choice.warn_of_strict(&inbound.engine);
        Self {
            inbound: Live::new(inbound),
            outbound: Live::new(outbound),
            modes,
            choice,
        }
    }

    /// The TLS modes that follow from a configuration.
    pub(in crate::mesh) fn modes_of(&self, config: &CompiledInbound) -> Modes {
        self.choice.modes(&config.engine)
    }

    /// Publishes the rules for requests, then the TLS modes. The module's documentation gives the
    /// reasons for the order.
    ///
    /// The caller has fetched the keys of new issuers, within a bound.
    pub(in crate::mesh) fn publish(&self, inbound: CompiledInbound) {
        let modes = self.modes_of(&inbound);
        self.choice.warn_of_strict(&inbound.engine);
        self.inbound.store(inbound);
        self.modes.store(modes);
    }

    /// Publishes the client's hosts. Endpoints that both the old and the new have keep their
    /// connections.
    pub(in crate::mesh) fn publish_outbound(&self, outbound: CompiledOutbound) {
        let outbound = outbound.in_place_of(&self.outbound.load());
        self.outbound.store(outbound);
    }
}

impl ModeChoice {
    fn modes(self, engine: &Engine) -> Modes {
        if let Some(forced) = self.forced {
            return Modes::new(forced);
        }
        Modes::from_resources(&engine.program().mtls, self.otherwise)
    }

    /// Warns when a port is STRICT and something else terminates TLS.
    fn warn_of_strict(self, engine: &Engine) {
        let mtls = &engine.program().mtls;
        let mut all = mtls.by_port.values().chain([&mtls.default]);
        if self.elsewhere && all.any(|mode| *mode == Some(MtlsMode::Strict)) {
            tracing::warn!(
                target: "tower_mesh::config",
                "PeerAuthentication makes this workload STRICT, and guards have no listener that \
                 could enforce it: let your TLS terminator refuse plaintext and callers without a \
                 certificate"
            );
        }
    }
}
