//! The builder of [`Guards`].

use super::handle::Guards;
use super::parts::Parts;
use crate::identity::Workload;
use crate::mesh::client::pool::compiled_outbound::CompiledOutbound;
use crate::mesh::config::driver::Driver;
use crate::mesh::config::live::ModeChoice;
use crate::mesh::config::loading::ConfigLoader;
use crate::mesh::config::serving_log;
use crate::mesh::error::{BuildError, Faults};
use crate::mesh::options::TokenOptions;
use crate::metrics::Registry;
use crate::source::ConfigSource;
use crate::tls::Settings;

/// Describes guards: options in, [`Guards`] and their [`Driver`] out. Every mistake is found by
/// [`build`](Self::build).
///
/// Each option means the same as that of [`MeshBuilder`](crate::MeshBuilder) by the same name. There
/// is none for providers of external authorization: guards refuse with 403 what a CUSTOM policy
/// matches.
#[derive(Debug)]
#[must_use = "nothing happens until `build`"]
pub struct GuardsBuilder {
    workload: Workload,
    source: ConfigSource,
    registry: Registry,
    requires_policy: bool,
    tokens: TokenOptions,
    tls: Settings,
}

impl Guards {
    /// Begins to describe the guards of this workload.
    pub fn builder(workload: Workload) -> GuardsBuilder {
        GuardsBuilder::new(workload)
    }
}

impl GuardsBuilder {
    pub(super) fn new(workload: Workload) -> Self {
        Self {
            workload,
            source: ConfigSource::default(),
            registry: Registry::new(),
            requires_policy: false,
            tokens: TokenOptions::default(),
            tls: Settings::default(),
        }
    }

    /// Where the policies come from: [`source::Fixed`](crate::source::Fixed), a
    /// [`Directory`](crate::source::Directory), or a [`Watch`](crate::source::Watch) over one,
    /// which the driver follows. Without any, every request whose [`Peer`](crate::context::Peer) is
    /// known is allowed; the log warns of that, and [`require_policy`](Self::require_policy)
    /// refuses it.
    pub fn config(mut self, source: impl Into<ConfigSource>) -> Self {
        self.source = source.into();
        self
    }

    /// Refuses every configuration without an enforced ALLOW policy that selects this workload, on
    /// each of its ports, at the start and at a reload.
    pub fn require_policy(mut self) -> Self {
        self.requires_policy = true;
        self
    }

    /// Uses a registry of metrics that is shared with others.
    pub fn metrics(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// The TLS settings for the servers that keys are fetched from.
    pub fn tls(mut self, settings: Settings) -> Self {
        self.tls = settings;
        self
    }

    /// Sets which requests need an end-user token, and how the keys of tokens are fetched.
    pub fn tokens(mut self, set: impl FnOnce(TokenOptions) -> TokenOptions) -> Self {
        self.tokens = set(self.tokens);
        self
    }

    /// Loads the configuration and fetches keys once.
    ///
    /// Fetched key sets get up to five seconds. The driver fetches those that do not come in time;
    /// until then their tokens are refused with 401.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration and the options.
    pub async fn build(self) -> Result<(Guards, Driver), BuildError> {
        let rules = ConfigLoader {
            source: self.source,
            modes: ModeChoice {
                elsewhere: true,
                ..ModeChoice::default()
            },
            is_plaintext: false,
            requires_policy: self.requires_policy,
            tokens: self.tokens,
            tls: &self.tls,
        };
        let mut faults = Faults::new("GuardsBuilder");
        let rules = rules.read(self.workload.namespace(), &mut faults).await;
        let rules = rules.compile(
            &self.workload,
            CompiledOutbound::default(),
            &self.registry,
            &mut faults,
        );
        let (Some(rules), true) = (rules, faults.is_empty()) else {
            return Err(faults.into());
        };
        let rules = rules.begin(&self.registry, None);
        serving_log::guarding(&self.workload, &rules.cells);
        let (config, reloads) = (rules.cells.inbound.clone(), rules.reloads.clone());
        let terms = rules.terms.clone();
        let driver = rules.driver(None).await;
        let guards = Guards::new(Parts {
            workload: self.workload,
            config,
            registry: self.registry,
            reloads,
            terms,
            pulse: driver.follows().then(|| driver.pulse()),
        });
        Ok((guards, driver))
    }
}
