//! What is refused now, and what became of earlier changes: for readiness, metrics and the log.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::istio::Problems;
use crate::live::Live;
use crate::metrics::Registry;

/// A changed configuration that is refused, while the one before stays in use:
/// [`Readiness::refused`](crate::mesh::Readiness::refused).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefusedReload {
    /// The check that failed.
    pub reason: RefusalReason,
    /// Every problem that this check found.
    pub problems: Arc<Problems>,
    /// The time since it was refused.
    pub lasts: Duration,
}

/// Why a changed configuration is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalReason {
    /// A file that held documents holds none, or no file does; see
    /// [`OnOpening`](crate::source::OnOpening).
    Damage,
    /// It cannot be read, or does not compile.
    Invalid,
    /// No ALLOW policy selects the workload, and the mesh [requires
    /// one](crate::MeshBuilder::require_policy).
    NoPolicy,
    /// A port has lost a guard that it had; see [`OnOpening`](crate::source::OnOpening).
    Opening,
    /// A port is STRICT, and the mesh speaks [plaintext](crate::mesh::DangerousMesh::plaintext).
    Strict,
}

impl RefusalReason {
    const ALL: [Self; 5] = [
        Self::Damage,
        Self::Invalid,
        Self::NoPolicy,
        Self::Opening,
        Self::Strict,
    ];

    /// The value of the label `reason` of `mesh_config_refusals_total`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Damage => "damage",
            Self::Invalid => "invalid",
            Self::NoPolicy => "no_policy",
            Self::Opening => "opening",
            Self::Strict => "strict",
        }
    }

    /// What to do about it, in one line; where the change can be intended, also how to accept it.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Damage | Self::Opening => {
                "put back what is gone; if it is meant, restart the workload, or watch with \
                 `on_opening(OnOpening::Warn)`"
            }
            Self::Invalid => "correct it",
            Self::NoPolicy => "write an ALLOW policy that selects this workload",
            Self::Strict => "give the mesh an identity, or write `mode: PERMISSIVE`",
        }
    }
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Counts what became of changed configurations, and holds the current refusal. Clones share it.
#[derive(Clone, Debug)]
pub(in crate::mesh) struct Reloads(Arc<ReloadStats>);

#[derive(Debug)]
struct ReloadStats {
    refused: Live<Option<Refused>>,
    refusals: [AtomicU64; RefusalReason::ALL.len()],
    openings: AtomicU64,
    /// When the configuration in use was published, in whole seconds since 1970.
    taken: AtomicU64,
    /// When a change was last refused; 0 if none was.
    refused_at: AtomicU64,
}

#[derive(Debug)]
struct Refused {
    reason: RefusalReason,
    problems: Arc<Problems>,
    since: Instant,
}

impl Reloads {
    pub(in crate::mesh) fn new() -> Self {
        Self(Arc::new(ReloadStats {
            refused: Live::new(None),
            refusals: Default::default(),
            openings: AtomicU64::new(0),
            taken: AtomicU64::new(now()),
            refused_at: AtomicU64::new(0),
        }))
    }

    /// When the configuration in use was published.
    pub(in crate::mesh) fn taken(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.0.taken.load(Ordering::Relaxed))
    }

    /// When a change was last refused; `None` if none was.
    pub(in crate::mesh) fn refused_at(&self) -> Option<SystemTime> {
        let at = self.0.refused_at.load(Ordering::Relaxed);
        (at > 0).then(|| UNIX_EPOCH + Duration::from_secs(at))
    }

    /// The current refusal, if any.
    pub(in crate::mesh) fn refused(&self) -> Option<RefusedReload> {
        let refused = self.0.refused.load();
        refused.as_ref().map(|refused| RefusedReload {
            reason: refused.reason,
            problems: Arc::clone(&refused.problems),
            lasts: refused.since.elapsed(),
        })
    }

    /// Registers the metrics.
    pub(in crate::mesh) fn show(
        &self,
        registry: &Registry,
        generation: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        for reason in RefusalReason::ALL {
            let shown = self.clone();
            registry.counter_of(
                "mesh_config_refusals_total",
                "Changed configurations that were refused, by reason.",
                &[("reason", reason.as_str())],
                move || {
                    shown
                        .count(reason)
                        .map(|count| count.load(Ordering::Relaxed))
                },
            );
        }
        let shown = self.clone();
        registry.counter_of(
            "mesh_config_openings_total",
            "Changed configurations that were damaged or opened the workload, and counted all the \
             same.",
            &[],
            move || Some(shown.0.openings.load(Ordering::Relaxed)),
        );
        let shown = self.clone();
        registry.gauge_of(
            "mesh_config_refused",
            "Whether a changed configuration is refused now: 1, or 0.",
            &[],
            move || Some(f64::from(u8::from(shown.0.refused.load().is_some()))),
        );
        let shown = self.clone();
        registry.gauge_of(
            "mesh_config_last_success_timestamp_seconds",
            "When the configuration in use came into use, in seconds since 1970.",
            &[],
            move || Some(shown.0.taken.load(Ordering::Relaxed) as f64),
        );
        let shown = self.clone();
        registry.gauge_of(
            "mesh_config_last_error_timestamp_seconds",
            "When a changed configuration was last refused, in seconds since 1970; absent as long \
             as none was.",
            &[],
            move || {
                let at = shown.0.refused_at.load(Ordering::Relaxed);
                (at > 0).then_some(at as f64)
            },
        );
        registry.gauge_of(
            "mesh_config_generation",
            "How many configurations have been in use.",
            &[],
            // A counter does not reach 2^53.
            move || Some(generation() as f64),
        );
    }

    /// Notes a refusal, which is current until a change is accepted.
    pub(super) fn refuse(&self, reason: RefusalReason, problems: Arc<Problems>) {
        if let Some(count) = self.count(reason) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.0.refused_at.store(now(), Ordering::Relaxed);
        self.0.refused.store(Some(Refused {
            reason,
            problems,
            since: Instant::now(),
        }));
        self.tell();
    }

    /// Logs the current refusal, if any.
    pub(super) fn tell(&self) {
        if let Some(refused) = &*self.0.refused.snapshot() {
            tracing::error!(
                target: "tower_mesh::config",
                reason = refused.reason.as_str(),
                for_seconds = refused.since.elapsed().as_secs(),
                remedy = refused.reason.remedy(),
                problems = %first(&refused.problems),
                "configuration refused; the one before stays"
            );
        }
    }

    /// Notes that a change was published, which ends the current refusal.
    pub(super) fn accept(&self) {
        self.0.taken.store(now(), Ordering::Relaxed);
        if self.0.refused.load().is_some() {
            self.0.refused.store(None);
        }
    }

    /// Counts a change that opens the workload and is published all the same.
    pub(super) fn count_opening(&self) {
        self.0.openings.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self, reason: RefusalReason) -> Option<&AtomicU64> {
        let index = RefusalReason::ALL.iter().position(|one| *one == reason)?;
        self.0.refusals.get(index)
    }
}

/// Whole seconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// The first problems, one a line: as many as a log line should hold.
fn first(problems: &Problems) -> String {
    let all = problems.as_slice();
    let mut text: Vec<_> = all.iter().take(MOST).map(ToString::to_string).collect();
    if let Some(more) = all.len().checked_sub(MOST).filter(|more| *more > 0) {
        text.push(format!("and {more} more"));
    }
    text.join("\n")
}

const MOST: usize = 50;
