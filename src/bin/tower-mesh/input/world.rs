//! The loaded configuration, and one engine for each set of services and port.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use tower_mesh::Workload;
use tower_mesh::istio::Problems;
use tower_mesh::policy::{Engine, Request, compile, near_misses};
use tower_mesh::source::{Configuration, Directory};
use tower_mesh::telemetry::EffectiveTelemetry;

use super::options::{Guarded, Options, ServiceName, tell_assumed_trust_domain};
use crate::printable::printable;

/// Engines beyond these are made anew when they are asked for again.
const MAX_ENGINES: usize = 256;

/// A configuration that was read, and the engines made of it.
#[derive(Debug)]
pub(crate) struct World<'o> {
    guarded: &'o Guarded,
    configuration: Configuration,
    engine: Engine,
    /// Engines for other services, and for services without a port as seen on other ports.
    others: HashMap<(Vec<ServiceName>, u16), Engine>,
    /// A caller was of another trust domain than the one that is assumed.
    has_met_others: bool,
}

impl<'o> World<'o> {
    /// Reads and compiles the configuration; says on stderr what is allowed and probably not meant.
    pub(crate) fn load(options: &'o Options) -> Result<Self, Problems> {
        Self::read(&options.config, &options.guarded)
    }

    /// The same for the configuration at these paths.
    pub(crate) fn read(paths: &[PathBuf], guarded: &'o Guarded) -> Result<Self, Problems> {
        let directory = directory(paths, guarded.mesh_config.as_ref());
        let configuration = directory.read(guarded.namespace())?;
        let engine = engine(guarded, &configuration, &guarded.services, guarded.port())?;
        let world = Self {
            guarded,
            configuration,
            engine,
            others: HashMap::new(),
            has_met_others: false,
        };
        world.warn();
        Ok(world)
    }

    /// Whether rules depend on a trust domain that nothing states.
    pub(crate) fn assumes_trust_domain(&self) -> bool {
        self.engine.program().assumes_trust_domain
    }

    /// Keeps in mind whether that matters for this caller.
    pub(crate) fn meet(&mut self, caller: &Request) {
        self.has_met_others |= self.engine.program().assumes_trust_domain_of(caller);
    }

    /// Whether it mattered for some caller.
    pub(crate) fn has_met_others(&self) -> bool {
        self.has_met_others
    }

    /// Says on stderr which trust domain was assumed, where that mattered for some caller.
    pub(crate) fn tell_if_it_has_met_others(&self) {
        if self.has_met_others {
            tell_assumed_trust_domain();
        }
    }

    /// The port that a request goes to which does not say so.
    pub(crate) fn port(&self) -> u16 {
        self.guarded.port()
    }

    /// The engine of the workload as the options state it.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The engine for a request to `port`; `services` replaces those of the guarded.
    pub(crate) fn engine_for(
        &mut self,
        services: Option<Vec<ServiceName>>,
        port: u16,
    ) -> Result<&Engine, Problems> {
        let is_own = services.is_none()
            && (port == self.guarded.port()
                || self.guarded.services.iter().all(|one| one.port.is_some()));
        if is_own {
            return Ok(&self.engine);
        }
        let services = services.unwrap_or_else(|| self.guarded.services.clone());
        if self.others.len() >= MAX_ENGINES {
            self.others.clear();
        }
        match self.others.entry((services, port)) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(place) => {
                let (services, port) = place.key();
                let engine = engine(self.guarded, &self.configuration, services, *port)?;
                Ok(place.insert(engine))
            }
        }
    }

    /// Whether an authorization rule is asked about some request to the workload: an
    /// AuthorizationPolicy selects it (that of a dry run, too), or RBAC of 2018 is on for it.
    pub(crate) fn has_rules(&self) -> bool {
        let program = self.engine.program();
        [&program.http, &program.tcp].into_iter().any(|chains| {
            let mut all = std::iter::once(&chains.default).chain(chains.by_port.values());
            all.any(|chain| chain.sets().next().is_some())
        })
    }

    /// Whether the configuration holds authorization rules, for whichever workload.
    pub(crate) fn holds_rules(&self) -> bool {
        let resources = &self.configuration.resources;
        !resources.authorization_policies.is_empty()
            || !resources.service_roles.is_empty()
            || !resources.rbac_configs.is_empty()
    }

    /// Whether rules for tokens apply to the workload.
    pub(crate) fn has_token_rules(&self) -> bool {
        let tokens = &self.engine.program().authentication;
        let mut tokens = std::iter::once(&tokens.default).chain(tokens.by_port.values());
        tokens.any(|tokens| !tokens.rules.is_empty() || tokens.legacy.is_some())
    }

    /// Whether the configuration holds rules for tokens, for whichever workload.
    pub(crate) fn holds_token_rules(&self) -> bool {
        let resources = &self.configuration.resources;
        let mut policies = resources.legacy_policies.iter();
        !resources.request_authentications.is_empty()
            || policies.any(|policy| !policy.origins.is_empty())
    }

    /// Whether something besides rules applies to the workload: it says which connections it
    /// accepts, or which tokens are good.
    pub(crate) fn has_authentication(&self) -> bool {
        let mtls = &self.engine.program().mtls;
        let mut modes = std::iter::once(&mtls.default).chain(mtls.by_port.values());
        modes.any(Option::is_some) || self.has_token_rules()
    }

    /// What nearly applies to the workload, a line each.
    pub(crate) fn near(&self) -> Vec<String> {
        let resources = &self.configuration.resources;
        let mesh_config = &self.configuration.mesh_config;
        let misses = near_misses(resources, mesh_config, &self.workload());
        let mut near: Vec<_> = misses.iter().map(ToString::to_string).collect();
        let roles = resources.service_roles.len();
        if roles > 0 && resources.authorization_policies.is_empty() {
            near.push(format!(
                "{roles} ServiceRoles are read, and no ClusterRbacConfig or RbacConfig switches RBAC on for the workload's services"
            ));
        }
        near
    }

    /// Says on stderr that no rule is asked, and what nearly is.
    pub(crate) fn tell_no_policy(&self) {
        let workload = self.workload();
        let labels = workload.labels().iter();
        let labels = labels.map(|(key, value)| format!("{key}={value}"));
        let labels = match labels.collect::<Vec<_>>().as_slice() {
            [] => "no labels".to_owned(),
            labels => format!("labels {}", labels.join(", ")),
        };
        eprintln!(
            "error: no authorization policy selects the workload {}/{} ({labels}), so everything is allowed; \
             are its namespace and labels right (--workload, --label)? If this is meant, say --allow-no-policy",
            workload.namespace(),
            workload.service_account(),
        );
        for near in self.near() {
            eprintln!("near: {near}");
        }
    }

    /// The workload as the options state it.
    fn workload(&self) -> Workload {
        let guarded = self.guarded;
        guarded.workload(&guarded.services, guarded.port())
    }

    fn warn(&self) {
        let passed_over = &self.configuration.passed_over;
        let notes = self.engine.program().notes.iter();
        for note in notes.filter(|note| !passed_over.contains(note)) {
            eprintln!("warning: {note}");
        }
        let workload = self.workload();
        let Configuration {
            resources,
            mesh_config,
            ..
        } = &self.configuration;
        let telemetry = EffectiveTelemetry::compile(resources, mesh_config, &workload);
        for note in telemetry.notes.iter().chain(&telemetry.problems) {
            eprintln!("warning: {note}");
        }
        tell_unread(&self.configuration);
        let mesh = &self.configuration.mesh_config;
        self.guarded.domain.tell_if_unused(mesh);
        let unused = &mesh.unused;
        if !unused.is_empty() {
            eprintln!("note: fields of MeshConfig not used: {}", unused.join(", "));
        }
    }
}

/// Everything at these paths, with the mesh's settings of a file.
pub(crate) fn directory(paths: &[PathBuf], mesh_config: Option<&PathBuf>) -> Directory {
    let mut paths = paths.iter();
    // INVARIANT: every command demands one path at least.
    let first = paths.next().cloned().unwrap_or_else(|| ".".into());
    let all = paths.fold(Directory::new(first), Directory::and);
    match mesh_config {
        Some(file) => all.mesh_config(file),
        None => all,
    }
}

/// Prints on stderr which files and documents are not used.
pub(crate) fn tell_unread(configuration: &Configuration) {
    let notes = &configuration.resources.notes;
    for file in &configuration.passed_over {
        // It changes what is read.
        let word = match notes.contains(file) {
            true => "warning",
            false => "note",
        };
        eprintln!("{word}: {file}");
    }
    let mut kinds: BTreeMap<_, usize> = BTreeMap::new();
    let resources = &configuration.resources;
    // It wins only where no file of its own holds the settings.
    let is_map_used = resources.mesh_config.as_ref() == Some(&configuration.mesh_config);
    for skipped in &resources.skipped {
        if is_map_used && skipped.is_mesh_config() {
            continue;
        }
        let kind = (&skipped.api_version, &skipped.kind);
        *kinds.entry(kind).or_default() += 1;
    }
    for ((version, kind), count) in kinds {
        let (version, kind) = (printable(version), printable(kind));
        eprintln!("note: not used: {count} of {version} {kind}");
    }
}

fn engine(
    guarded: &Guarded,
    configuration: &Configuration,
    services: &[ServiceName],
    port: u16,
) -> Result<Engine, Problems> {
    let workload = guarded.workload(services, port);
    let (resources, mesh) = (&configuration.resources, &configuration.mesh_config);
    let names = guarded.authorizers.iter();
    let mesh = names.fold((**mesh).clone(), |mesh, name| mesh.with_authorizer(name));
    Ok(Engine::new(compile(resources, &mesh, &workload)?))
}
