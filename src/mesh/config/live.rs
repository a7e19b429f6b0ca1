use std::sync::Arc;

use super::applying::applying;
use super::resources;
use crate::context::Exchange;
use crate::identity::Workload;
use crate::istio::{MeshConfig, MtlsMode, Position, Problem, Problems, Resources};
use crate::jwt::{Authenticator, Keyring};
use crate::live::Live;
use crate::mesh::client::pool::upstreams::CompiledOutbound;
use crate::mesh::trust_domain;
use crate::policy::{Engine, PerPort, Program, compile};
use crate::rbac::PolicyCheck;
use crate::source::{Configuration, Holdings};
use crate::tls::{Mode, Modes};

/// What the layers read: one generation of configuration, whole.
#[derive(Debug)]
pub(in crate::mesh) struct CompiledInbound {
    pub(in crate::mesh) engine: Engine,
    pub(in crate::mesh) authenticators: Arc<PerPort<Authenticator>>,
    /// Which files it was read from.
    pub(in crate::mesh) holdings: Holdings,
    /// How many policies were read, for whichever workload.
    pub(in crate::mesh) policies: usize,
}

impl CompiledInbound {
    /// The token rules of the port that a request came in by.
    pub(in crate::mesh) fn authenticator(&self, exchange: &Exchange) -> &Authenticator {
        let port = exchange.peer().map_or(0, |peer| peer.local_addr().port());
        self.authenticators.get(port)
    }

    /// How many policies apply to the workload.
    pub(in crate::mesh) fn applying(&self) -> usize {
        applying(self.engine.program()).len()
    }
}

/// One configuration, compiled: what requests are judged by, and where calls go.
#[derive(Debug)]
pub(in crate::mesh) struct CompiledConfig {
    pub(in crate::mesh) inbound: CompiledInbound,
    pub(in crate::mesh) outbound: CompiledOutbound,
}

/// The configuration in use, each half of which is replaced while the mesh runs. A request loads
/// `inbound` once, a call `outbound`, and an accepted connection `modes`.
#[derive(Clone, Debug)]
pub(in crate::mesh) struct LiveConfig {
    pub(in crate::mesh) inbound: Live<CompiledInbound>,
    pub(in crate::mesh) outbound: Live<CompiledOutbound>,
    pub(in crate::mesh) modes: Live<Modes>,
    choice: ModeChoice,
}

/// How the modes of the ports come about.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::mesh) struct ModeChoice {
    /// On every port, whatever resources say.
    pub(in crate::mesh) forced: Option<Mode>,
    /// Where no resource says anything: STRICT, unless another is asked for (security rule M-20).
    pub(in crate::mesh) otherwise: Mode,
    /// Something else terminates TLS, and has to enforce the modes.
    pub(in crate::mesh) elsewhere: bool,
}

/// Turns configuration into what the layers read.
#[derive(Debug)]
pub(in crate::mesh) struct Compiler {
    pub(in crate::mesh) workload: Workload,
    pub(in crate::mesh) keyring: Keyring,
    /// Whether callers prove no identity, so that no policy can depend on a trust domain.
    pub(in crate::mesh) is_plaintext: bool,
}

impl Compiler {
    /// Compiles a configuration; nothing is published.
    ///
    /// # Errors
    /// Everything that is wrong with it. Token rules are judged even where other resources already have no meaning.
    pub(in crate::mesh) fn compile(
        &mut self,
        configuration: &Configuration,
    ) -> Result<CompiledInbound, Problems> {
        let program = match self.program(&configuration.resources, &configuration.mesh_config) {
            Ok(program) => program,
            Err(problems) => return Err(self.with_tokens(problems, configuration)),
        };
        resources::tell(configuration, &program);
        trust_domain::warn(&configuration.mesh_config, &self.workload);
        if !self.is_plaintext {
            trust_domain::warn_of_assumed(&program);
        }
        let authenticators = self.authenticators(&program)?;
        let engine = Engine::new(program);
        PolicyCheck::warn_of_unasked_providers(&engine);
        let resources = &configuration.resources;
        Ok(CompiledInbound {
            engine,
            authenticators: Arc::new(authenticators),
            holdings: configuration.holdings.clone(),
            policies: resources.authorization_policies.len() + resources.service_roles.len(),
        })
    }

    fn program(
        &self,
        resources: &Resources,
        mesh_config: &MeshConfig,
    ) -> Result<Program, Problems> {
        compile(resources, mesh_config, &self.workload)
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
        // INVARIANT: without a problem all compiled.
        let default = default.ok_or_else(|| Problem::new(Position::default(), "", "no rules"))?;
        let mut authenticators = PerPort::same(default);
        authenticators.by_port.extend(by_port);
        Ok(authenticators)
    }

    /// The problems of resources that do not compile, and beside them those of the token rules.
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

impl LiveConfig {
    pub(in crate::mesh) fn new(config: CompiledConfig, choice: ModeChoice) -> Self {
        let CompiledConfig { inbound, outbound } = config;
        let modes = Live::new(choice.modes(&inbound.engine));
        choice.tell(&inbound.engine);
        Self {
            inbound: Live::new(inbound),
            outbound: Live::new(outbound),
            modes,
            choice,
        }
    }

    /// The modes that a configuration makes.
    pub(in crate::mesh) fn modes_of(&self, config: &CompiledInbound) -> Modes {
        self.choice.modes(&config.engine)
    }

    /// Publishes the rules for requests, then the TLS modes. The order does not matter for safety:
    /// a rule that reads identities matches no connection without one.
    ///
    /// What rules refer to is there before them: the keys of their issuers have been fetched, or
    /// had their time.
    pub(in crate::mesh) fn publish(&self, inbound: CompiledInbound) {
        let modes = self.modes_of(&inbound);
        self.choice.tell(&inbound.engine);
        self.inbound.store(inbound);
        self.modes.store(modes);
    }

    /// Calls go to these hosts from now on. Endpoints that both have keep their connections.
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

    /// Says so when a port is STRICT that no listener of ours has.
    fn tell(self, engine: &Engine) {
        let said = &engine.program().mtls;
        let mut all = said.by_port.values().chain([&said.default]);
        if self.elsewhere && all.any(|mode| *mode == Some(MtlsMode::Strict)) {
            tracing::warn!(
                target: "tower_mesh::config",
                "PeerAuthentication says STRICT for this workload, and guards have no listener that could enforce it: let your TLS terminator refuse plaintext and callers without a certificate"
            );
        }
    }
}
