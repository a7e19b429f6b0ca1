use std::convert::Infallible;
use std::future::pending;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use super::fetch::Fetch;
use super::keys::Keys;
use super::live::{Cells, Compiler};
use super::reload::Judge;
use crate::mesh::announce;
use crate::mesh::client::pool::names::Names;
use crate::mesh::plaintext::Plaintext;
use crate::source::Watch;
use crate::tls::Rotation;

/// Keeps a mesh fresh: watched configuration, fetched keys, its own identity, the addresses of upstreams that have DNS names. Or
/// [`Guards`](crate::mesh::Guards), which have no identity.
///
/// [`run`](Self::run) it for as long as the mesh serves. Without it, or once it is dropped, the mesh goes on with what it has: policies
/// stay as they were, fetched keys stay good until they are too old, and the identity until it ends. When there is anything to be kept fresh,
/// the mesh is no longer [ready](crate::mesh::Readiness) once the driver is dropped or its task has ended;
/// while it exists and is not run, readiness says nothing of it.
#[derive(Debug)]
#[must_use = "configuration, keys and identity are only kept fresh while the driver runs"]
pub struct Driver {
    compiler: Compiler,
    cells: Cells,
    judge: Judge,
    watch: Option<Watch>,
    keys: Keys,
    rotation: Option<Rotation>,
    plaintext: Option<Plaintext>,
    names: Names,
    pulse: Pulse,
}

/// Whether all that may change is followed; until it is dropped, or something breaks off.
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
        cells: Cells,
        judge: Judge,
        watch: Option<Watch>,
        fetch: Fetch,
        rotation: Option<Rotation>,
    ) -> Self {
        Self {
            compiler,
            cells,
            judge,
            watch,
            keys: Keys::new(fetch),
            rotation,
            plaintext: None,
            names: Names::default(),
            pulse: Pulse(Arc::new(AtomicBool::new(true))),
        }
    }

    /// Repeats, while it runs, that the mesh speaks plaintext.
    pub(in crate::mesh) fn remind_of(self, plaintext: Option<Plaintext>) -> Self {
        Self { plaintext, ..self }
    }

    /// Follows these names of upstreams, too.
    pub(in crate::mesh) fn names(mut self, names: Names) -> Self {
        self.names = names;
        self
    }

    /// Whether this driver follows all that may change; `None` when nothing does.
    pub(in crate::mesh) fn pulse(&self) -> Option<Arc<AtomicBool>> {
        let follows = self.watch.is_some()
            || self.rotation.is_some()
            || !self.keys.is_empty()
            || !self.names.is_empty();
        follows.then(|| Arc::clone(&self.pulse.0))
    }

    /// Gives every new key set its first chance to come.
    pub(in crate::mesh) async fn fetch_first(&mut self) {
        let sets = self.compiler.keyring.take_unfetched();
        self.keys.fetch_first(sets).await;
    }

    /// Runs for ever; dropping the future stops everything that it does.
    ///
    /// A configuration that changes is compiled whole and then replaces the one before. One that is wrong is refused, and so is one that is
    /// damaged or opens the workload, as [`OnOpening`](crate::source::OnOpening) says: the one before stays,
    /// [`Readiness::refused`](crate::mesh::Readiness::refused) tells, and so does the log, each minute, until the files change again.
    ///
    /// Where it names a new `jwksUri`, that is asked first, for five seconds at most; everything else goes on meanwhile. Where an issuer's
    /// `jwksUri` moved and does not answer, its keys from before serve, and `mesh_jwt_moved_key_sets` counts it.
    pub async fn run(mut self) {
        let rotation = self.rotation.take();
        let plaintext = self.plaintext.take();
        let mut names = mem::take(&mut self.names);
        // Beside the rest and never dropped half-way: a source may take longer than the next look is away.
        tokio::join!(
            rotate(rotation),
            names.refresh(),
            self.refresh(),
            Plaintext::remind(plaintext)
        );
    }

    /// Looks at the configuration, if it is watched, and fetches keys, for ever.
    async fn refresh(&mut self) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = look.tick(), if self.watch.is_some() => self.look().await,
                () = self.keys.refresh() => {}
            }
        }
    }

    async fn look(&mut self) {
        let Some(mut watch) = self.watch.take() else {
            return;
        };
        let namespace = self.compiler.workload.namespace().to_owned();
        // Reading files blocks, so it happens elsewhere.
        let looked = spawn_blocking(move || {
            let changed = watch.changed(&namespace);
            (watch, changed)
        });
        let Ok((watch, changed)) = looked.await else {
            self.pulse.stop();
            tracing::error!(target: "tower_mesh::config", "the watch broke off; the configuration stays as it is");
            return;
        };
        self.judge.watched(watch.is_unsettled());
        let on_opening = watch.opening();
        self.watch = Some(watch);
        let Some(read) = changed else {
            return self.judge.remind();
        };
        let judged = self
            .judge
            .judge(read, on_opening, &mut self.compiler, &self.cells);
        let Some(config) = judged else { return };
        // What needs keys begins when they are there, or have had their time.
        self.fetch_first().await;
        let modes = self.cells.modes.snapshot();
        self.cells.publish(config);
        self.judge.published();
        announce::replaced(&self.cells, &modes);
    }
}

/// Follows the identity's source, if it has one, for ever.
async fn rotate(rotation: Option<Rotation>) -> Infallible {
    match rotation {
        Some(rotation) => rotation.run().await,
        None => pending().await,
    }
}

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(1);
