//! Judges a changed configuration by the one in use: the checks, in order.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::foreign::warn_of_foreign;
use super::opening::Losses;
use super::presence::{near, require_allow, warn_without_allow};
use super::protection::PortProtections;
use super::standing::{RefusalReason, Reloads};
use super::strict::refuse_strict;
use crate::istio::{Problem, Problems};
use crate::mesh::config::live::{CompiledInbound, Compiler, LiveConfig};
use crate::source::{OnOpening, Update};
use crate::tls::Credentials;

/// Judges changed configurations by the one in use.
#[derive(Debug)]
pub(in crate::mesh) struct Judge {
    reloads: Reloads,
    requires_policy: bool,
    credentials: Option<Credentials>,
    is_plaintext: bool,
    /// When the current refusal was last logged.
    last_logged: Option<Instant>,
}

impl Judge {
    pub(in crate::mesh) fn new(
        reloads: Reloads,
        requires_policy: bool,
        credentials: Option<Credentials>,
    ) -> Self {
        Self {
            reloads,
            requires_policy,
            credentials,
            is_plaintext: false,
            last_logged: None,
        }
    }

    /// Sets whether the mesh speaks plaintext, which refuses STRICT ports.
    pub(in crate::mesh) fn plaintext(self, is_plaintext: bool) -> Self {
        Self {
            is_plaintext,
            ..self
        }
    }

    /// Judges an update, and returns the configuration to publish.
    ///
    /// # Errors
    ///
    /// Why the change is refused. The log and readiness show it, too.
    pub(in crate::mesh) fn judge(
        &mut self,
        update: Update,
        compiler: &mut Compiler,
        cells: &LiveConfig,
    ) -> Result<CompiledInbound, Arc<Problems>> {
        self.verdict(update, compiler, cells)
            .map_err(|(reason, problems)| {
                let problems = Arc::new(problems);
                self.reloads.refuse(reason, Arc::clone(&problems));
                self.last_logged = Some(Instant::now());
                problems
            })
    }

    /// Why the last change was refused.
    #[cfg(feature = "audit")]
    pub(in crate::mesh) fn reason(&self) -> Option<RefusalReason> {
        self.reloads.refused().map(|refused| refused.reason)
    }

    /// Notes that the judged configuration is in use.
    pub(in crate::mesh) fn published(&mut self) {
        self.reloads.accept();
        self.last_logged = None;
    }

    /// Repeats the current refusal in the log, if the last line about it is old enough.
    pub(in crate::mesh) fn remind(&mut self) {
        if self.last_logged.is_some_and(|at| at.elapsed() >= REMIND) {
            self.reloads.tell();
            self.last_logged = Some(Instant::now());
        }
    }

    fn verdict(
        &self,
        update: Update,
        compiler: &mut Compiler,
        cells: &LiveConfig,
    ) -> Result<CompiledInbound, (RefusalReason, Problems)> {
        let invalid = |problems| (RefusalReason::Invalid, problems);
        let on_opening = update.on_opening;
        let configuration = update.configuration.map_err(invalid)?;
        let serving = cells.inbound.snapshot();
        let damage = serving.holdings.damage(&configuration.holdings);
        if on_opening == OnOpening::Refuse {
            refuse(RefusalReason::Damage, damage.clone())?;
        }
        let config = compiler.compile(&configuration).map_err(invalid)?;
        let (old, new) = (cells.modes.snapshot(), cells.modes_of(&config));
        let protections = PortProtections {
            program: config.engine.program(),
            modes: &new,
        };
        if self.is_plaintext {
            refuse_strict(protections.program, &configuration, &compiler.workload)
                .map_err(|problems| (RefusalReason::Strict, problems))?;
        }
        if self.requires_policy {
            require_allow(protections, &configuration, &compiler.workload)
                .map_err(|problems| (RefusalReason::NoPolicy, problems))?;
        }
        let before = PortProtections {
            program: serving.engine.program(),
            modes: &old,
        };
        let losses = Losses::between(before, protections);
        let mut openings = losses.openings;
        if !openings.is_empty() {
            openings.extend(near(&configuration, &compiler.workload));
        }
        if on_opening == OnOpening::Refuse {
            refuse(RefusalReason::Opening, openings.clone())?;
        }
        let opens = damage.into_iter().chain(openings).collect();
        if let Some(problems) = Problems::from_list(opens) {
            self.reloads.count_opening();
            tracing::warn!(
                target: "tower_mesh::config",
                %problems,
                "the changed configuration is damaged or opens this workload, and is used anyway"
            );
        }
        for change in losses.fewer {
            tracing::warn!(
                target: "tower_mesh::config",
                change,
                "fewer policies apply than before"
            );
        }
        if !self.requires_policy {
            warn_without_allow(protections, &configuration, &compiler.workload);
        }
        if let Some(credentials) = &self.credentials {
            warn_of_foreign(protections.program, &configuration, credentials);
        }
        Ok(config)
    }
}

fn refuse(reason: RefusalReason, problems: Vec<Problem>) -> Result<(), (RefusalReason, Problems)> {
    match Problems::from_list(problems) {
        None => Ok(()),
        Some(problems) => Err((reason, problems)),
    }
}

/// How often the log repeats a refusal.
const REMIND: Duration = Duration::from_secs(60);
