//! What a mesh and guards without one share: a configuration that is loaded, judged, and kept fresh by a driver.

use super::cells::{Cells, Compiler, ModeChoice};
use super::driver::Driver;
use super::error::BuildError;
use super::fetch::{self, Fetch, FetchOptions};
use super::keys;
use super::reload::{
    Guarded, Judge, Reloads, refuse_strict, require_allow, warn_of_foreign, warn_without_allow,
};
use super::sources::Feed;
use crate::identity::Workload;
use crate::istio::Problems;
use crate::jwt::{Counts, Keyring};
use crate::metrics::Registry;
use crate::source::{Configuration, Watch};
use crate::tls::{Credentials, Rotation, Settings};

/// What is to be loaded, and how.
pub(super) struct Rules<'a> {
    pub(super) workload: &'a Workload,
    /// Our own identity; none where another terminates TLS.
    pub(super) credentials: Option<&'a Credentials>,
    /// Whether no port may be STRICT.
    pub(super) is_plaintext: bool,
    pub(super) registry: &'a Registry,
    pub(super) feed: Feed,
    pub(super) modes: ModeChoice,
    pub(super) requires_policy: bool,
    pub(super) fetch: FetchOptions,
    /// How TLS is spoken with the servers of keys.
    pub(super) tls: &'a Settings,
}

/// What was loaded, and all that a driver needs to keep it fresh.
pub(super) struct LoadedRules {
    pub(super) cells: Cells,
    pub(super) reloads: Reloads,
    compiler: Compiler,
    judge: Judge,
    watch: Option<Watch>,
    fetch: Fetch,
}

impl Rules<'_> {
    /// Reads and compiles the configuration, and shows the metrics of what becomes of it.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the configuration; an option for the servers of keys that is wrong.
    pub(super) fn load(mut self) -> Result<LoadedRules, BuildError> {
        let mut compiler = Compiler {
            workload: self.workload.clone(),
            keyring: Keyring::new().counting(token_counts(self.registry)),
        };
        keys::metrics(self.registry, compiler.keyring.moved());
        let configuration = self.feed.load(self.workload.namespace())?;
        let cells = Cells::new(compiler.compile(&configuration)?, self.modes);
        if self.is_plaintext {
            let config = cells.config.load();
            refuse_strict(config.engine.program(), &configuration, self.workload)?;
        }
        check_presence(&cells, &configuration, self.workload, self.requires_policy)?;
        if let Some(credentials) = self.credentials {
            let config = cells.config.snapshot();
            warn_of_foreign(config.engine.program(), &configuration, credentials);
        }
        let reloads = Reloads::new();
        let config = cells.config.clone();
        reloads.show(self.registry, move || config.generation());
        Ok(LoadedRules {
            cells,
            judge: Judge::new(
                reloads.clone(),
                self.requires_policy,
                self.credentials.cloned(),
            )
            .plaintext(self.is_plaintext),
            reloads,
            compiler,
            watch: self.feed.into_watch(),
            fetch: fetch::client(self.fetch, self.tls)?,
        })
    }
}

impl LoadedRules {
    /// The driver that keeps the rules fresh, and an identity that is followed; every key set has had its first chance to come.
    pub(super) async fn driver(self, rotation: Option<Rotation>) -> Driver {
        let Self {
            cells,
            compiler,
            judge,
            watch,
            fetch,
            ..
        } = self;
        let mut driver = Driver::new(compiler, cells, judge, watch, fetch, rotation);
        driver.fetch_first().await;
        driver
    }
}

/// Whether some ALLOW policy selects the workload; an error where one is required, else a word in the log.
fn check_presence(
    cells: &Cells,
    configuration: &Configuration,
    workload: &Workload,
    is_required: bool,
) -> Result<(), Problems> {
    let (config, modes) = (cells.config.snapshot(), cells.modes.snapshot());
    let guarded = Guarded {
        program: config.engine.program(),
        modes: &modes,
    };
    if is_required {
        return require_allow(guarded, configuration, workload);
    }
    warn_without_allow(guarded, configuration, workload);
    Ok(())
}

/// What becomes of end-user tokens, as metrics.
fn token_counts(registry: &Registry) -> Counts {
    const GOOD: &str = "End-user tokens found good, by signature or because they were good before.";
    const REFUSED: &str = "Requests refused for their end-user tokens.";
    Counts::new(
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
    )
}
