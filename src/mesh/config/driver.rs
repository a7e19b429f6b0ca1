//! The one future that follows everything that may change while a mesh runs.

use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{MissedTickBehavior, interval};

use super::keys::Keys;
#[cfg(feature = "audit")]
use super::live::CompiledInbound;
use super::live::{Compiler, LiveConfig};
use super::reload::Judge;
#[cfg(feature = "audit")]
use super::reload::RefusalReason;
use super::serving_log;
#[cfg(feature = "audit")]
use crate::mesh::audit::{Auditor, JudgedBy, follow_identity};
use crate::mesh::client::pool::names::Names;
use crate::mesh::dangers::Dangers;
#[cfg(feature = "otlp")]
use crate::mesh::push::otlp_metrics::MetricsPusher;
use crate::source::{ConfigSource, Update};
#[cfg(feature = "audit")]
use crate::tls::Credentials;
use crate::tls::Rotation;

/// Keeps a mesh up to date: watched configuration, fetched keys, its own identity, and the
/// addresses of upstreams that have DNS names. It does the same for
/// [`Guards`](crate::mesh::Guards), which have no identity.
///
/// [`run`](Self::run) it for as long as the mesh serves. Without it, or once it is dropped, the
/// mesh goes on with what it has: policies stay as they were, fetched keys are good until they are
/// too old, and the identity until it expires. Where the driver has something to follow, the mesh
/// is no longer [ready](crate::mesh::Readiness) once the driver is dropped or its task has ended.
/// While it exists and does not run, readiness does not show that.
#[derive(Debug)]
#[must_use = "configuration, keys and identity are only kept fresh while the driver runs"]
pub struct Driver {
    compiler: Compiler,
    cells: LiveConfig,
    judge: Judge,
    source: Option<ConfigSource>,
    keys: Keys,
    rotation: Option<Rotation>,
    dangers: Option<Dangers>,
    names: Option<Names>,
    #[cfg(feature = "otlp")]
    pusher: Option<Arc<MetricsPusher>>,
    #[cfg(feature = "audit")]
    audit: Audit,
    pulse: Pulse,
}

/// Who writes records, and the identity that they tell of.
#[cfg(feature = "audit")]
#[derive(Debug, Default)]
struct Audit {
    auditor: Option<Arc<Auditor>>,
    credentials: Option<Credentials>,
}

/// True while the driver follows all that may change; false once it is dropped or a source has
/// ended.
#[derive(Debug)]
struct Pulse(Arc<AtomicBool>);

impl Pulse {
    fn stop(&self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Driver {
    pub(in crate::mesh) fn new(
        compiler: Compiler,
        cells: LiveConfig,
        judge: Judge,
        source: Option<ConfigSource>,
        keys: Keys,
        rotation: Option<Rotation>,
    ) -> Self {
        Self {
            compiler,
            cells,
            judge,
            source,
            keys,
            rotation,
            dangers: None,
            names: None,
            #[cfg(feature = "otlp")]
            pusher: None,
            #[cfg(feature = "audit")]
            audit: Audit::default(),
            pulse: Pulse(Arc::new(AtomicBool::new(true))),
        }
    }

    /// Makes the driver repeat in the log what protection the mesh gives up.
    pub(in crate::mesh) fn remind_of(mut self, dangers: Dangers) -> Self {
        self.dangers = Some(dangers);
        self
    }

    /// Makes the driver follow these DNS names of upstreams, too.
    pub(in crate::mesh) fn names(mut self, names: Names) -> Self {
        self.names = Some(names);
        self
    }

    /// Makes the driver push metrics.
    #[cfg(feature = "otlp")]
    pub(in crate::mesh) fn pushes(mut self, pusher: Option<Arc<MetricsPusher>>) -> Self {
        self.pusher = pusher;
        self
    }

    /// Makes the driver record changes of the configuration and of this identity.
    #[cfg(feature = "audit")]
    pub(in crate::mesh) fn audits(
        mut self,
        auditor: Option<Arc<Auditor>>,
        credentials: Option<Credentials>,
    ) -> Self {
        self.audit = Audit {
            auditor,
            credentials,
        };
        self
    }

    /// Shared with readiness: whether this driver follows all that may change.
    pub(in crate::mesh) fn pulse(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.pulse.0)
    }

    /// Whether configuration, keys or our identity may change. DNS names of upstreams may come and
    /// go while the mesh runs, so they do not count here.
    pub(in crate::mesh) fn follows(&self) -> bool {
        self.source.is_some() || self.rotation.is_some() || !self.keys.is_empty()
    }

    /// Fetches every new key set once, within a bound.
    pub(in crate::mesh) async fn fetch_first(&mut self) {
        let keyring = &mut self.compiler.keyring;
        let sets = keyring.take_unfetched();
        self.keys.fetch_first(sets, keyring.wants_svid_keys()).await;
    }

    /// Runs for ever. Dropping the future stops everything that it does.
    ///
    /// A changed configuration is compiled whole and then replaces the one before. It is refused
    /// when it is invalid, and when it is damaged or opens the workload, as
    /// [`OnOpening`](crate::source::OnOpening) tells: the one before stays.
    /// [`Readiness::refused`](crate::mesh::Readiness::refused) shows the refusal, and the log
    /// repeats it each minute, until the files change again.
    ///
    /// When it names a new `jwksUri`, the keys are fetched first, for five seconds at most;
    /// everything else goes on meanwhile. When the `jwksUri` of an issuer has changed and does not
    /// answer, the issuer's keys from before stay in use, and `mesh_jwt_moved_key_sets` counts it.
    pub async fn run(mut self) {
        let rotation = self.rotation.take();
        let dangers = self.dangers.take();
        let names = self.names.take();
        #[cfg(feature = "otlp")]
        let pushes = MetricsPusher::run(self.pusher.take());
        #[cfg(not(feature = "otlp"))]
        let pushes = pending::<()>();
        #[cfg(feature = "audit")]
        let records = follow_identity(self.audit.auditor.clone(), self.audit.credentials.take());
        #[cfg(not(feature = "audit"))]
        let records = pending::<()>();
        // Concurrent with the rest and never cancelled half-way: a source may take longer than the
        // time until the next reminder.
        tokio::join!(
            rotate(rotation),
            refresh_names(names),
            pushes,
            records,
            self.refresh(),
            Dangers::remind(dangers)
        );
    }

    /// Follows the source of the configuration, if it may change, and fetches keys; never returns.
    async fn refresh(&mut self) {
        let namespace = self.compiler.workload.namespace().to_owned();
        let mut remind = interval(REMIND);
        remind.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let update = {
                // One future of the source until it is ready: a source may wait by a timer.
                let mut next = pin!(next(&mut self.source, &namespace));
                loop {
                    tokio::select! {
                        update = contained(next.as_mut()) => break update,
                        () = self.keys.refresh() => {}
                        _ = remind.tick() => self.judge.remind(),
                    }
                }
            };
            match update {
                Some(update) => self.take(update).await,
                None => self.end_of_source(),
            }
            // A source that always has an update leaves time for the rest of the driver.
            yield_now().await;
        }
    }

    /// Publishes an update or refuses it, and reports the result to its source.
    async fn take(&mut self, update: Update) {
        let verdict = self.judge.judge(update, &mut self.compiler, &self.cells);
        let answer = match verdict {
            Ok(config) => {
                // New rules are published once their keys are there or have had their time.
                self.fetch_first().await;
                #[cfg(feature = "audit")]
                self.record_change(&config).await;
                let modes = self.cells.modes.snapshot();
                self.compiler.serves(&config);
                self.cells.publish(config);
                self.judge.published();
                serving_log::replaced(&self.cells, &modes);
                Ok(())
            }
            Err(problems) => {
                #[cfg(feature = "audit")]
                self.record_refusal().await;
                Err(problems)
            }
        };
        let Some(source) = &mut self.source else {
            return;
        };
        let answer = answer.as_ref().map(drop).map_err(|problems| &**problems);
        let answered = catch_unwind(AssertUnwindSafe(|| source.as_source().answered(answer)));
        if answered.is_err() {
            self.end_of_source();
        }
    }

    /// Records the first configuration and the first identity.
    #[cfg(feature = "audit")]
    pub(in crate::mesh) async fn record_start(&mut self) {
        let serving = self.cells.inbound.snapshot();
        let (Some(auditor), Some(config)) = (&self.audit.auditor, &serving.audited) else {
            return;
        };
        let first = JudgedBy {
            generation: serving.generation(),
            config: config.clone(),
        };
        auditor.config_changes(None, &first).await;
        if let Some(credentials) = &self.audit.credentials {
            auditor.identity(credentials);
        }
    }

    /// Records that a configuration is about to be published.
    #[cfg(feature = "audit")]
    async fn record_change(&mut self, next: &CompiledInbound) {
        let (Some(auditor), Some(config)) = (&self.audit.auditor, &next.audited) else {
            return;
        };
        let serving = self.cells.inbound.snapshot();
        let next = JudgedBy {
            generation: serving.generation() + 1,
            config: config.clone(),
        };
        let old = serving.audited.as_ref();
        auditor.config_changes(old, &next).await;
    }

    #[cfg(feature = "audit")]
    async fn record_refusal(&mut self) {
        let serving = self.cells.inbound.snapshot();
        let (Some(auditor), Some(config)) = (&self.audit.auditor, &serving.audited) else {
            return;
        };
        let stays = JudgedBy {
            generation: serving.generation(),
            config: config.clone(),
        };
        let reason = self.judge.reason().map_or("unknown", RefusalReason::as_str);
        auditor.config_refused(&stays, reason).await;
    }

    fn end_of_source(&mut self) {
        self.source = None;
        self.pulse.stop();
        tracing::error!(
            target: "tower_mesh::config",
            "the source of the configuration has ended; the configuration stays as it is"
        );
    }
}

/// Polls a source's future. A panic is the end of the source, and not of the driver, which also
/// rotates the identity.
fn contained(
    mut next: Pin<&mut impl Future<Output = Option<Update>>>,
) -> impl Future<Output = Option<Update>> {
    poll_fn(move |cx| {
        catch_unwind(AssertUnwindSafe(|| next.as_mut().poll(cx))).unwrap_or(Poll::Ready(None))
    })
}

/// The next update of a source; never resolves without a source.
async fn next(source: &mut Option<ConfigSource>, namespace: &str) -> Option<Update> {
    match source {
        Some(source) => source.as_source().next(namespace).await,
        None => pending().await,
    }
}

/// Follows the DNS names of upstreams; never returns.
async fn refresh_names(names: Option<Names>) -> Infallible {
    match names {
        Some(mut names) => names.refresh().await,
        None => pending().await,
    }
}

/// Follows the identity's source, if it has one; never returns.
async fn rotate(rotation: Option<Rotation>) -> Infallible {
    match rotation {
        Some(rotation) => rotation.run().await,
        None => pending().await,
    }
}

/// How often the judge looks whether to repeat a refusal in the log.
const REMIND: Duration = Duration::from_secs(1);
