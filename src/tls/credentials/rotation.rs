use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;

use tokio::time::{Duration, Instant, sleep};

use crate::error_chain::ErrorChain;
use crate::tls::identity::svid::Identity;
use crate::tls::reason::Reason;
use crate::tls::source::contract::{Source, SourceError};

use super::in_use::Credentials;
use super::settings::Settings;

/// Keeps [`Credentials`] fresh from a [`Source`].
///
/// What the source yields is judged before it is used; a bad one is counted and logged, and the identity in use stays, to its last second,
/// unless the source says that it was withdrawn. One that is not valid yet is put to use once it is, unless another has come by then.
/// Dropping the rotation leaves the credentials as they are.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_mesh::testing::Pki;
/// use tower_mesh::tls::{Fixed, Rotation, Settings};
///
/// let source = Fixed::new(Pki::new("cluster.local")?.identity("default", "patients")?);
/// let (credentials, rotation) = Rotation::start(source, Settings::default()).await?;
/// tokio::spawn(rotation.run());
/// assert!(credentials.is_valid());
/// # Ok(()) }
/// ```
pub struct Rotation {
    source: Box<dyn Source>,
    credentials: Credentials,
    /// Was refused only because our clock is behind its beginning.
    early: Option<Identity>,
    stats: Arc<RotationStats>,
}

impl Rotation {
    /// Loads the first identity.
    ///
    /// # Errors
    /// When the source has none now, or one that cannot be used.
    pub async fn start(
        source: impl Source + 'static,
        settings: Settings,
    ) -> Result<(Credentials, Self), SourceError> {
        let mut source: Box<dyn Source> = Box::new(source);
        let first = next(&mut *source).await?;
        let credentials = Credentials::new(&first, settings)?;
        let rotation = Self {
            source,
            credentials: credentials.clone(),
            early: None,
            stats: Arc::new(RotationStats::begin()),
        };
        Ok((credentials, rotation))
    }

    /// What became of the identities that the source yielded, for metrics; outlives the rotation.
    #[must_use]
    pub fn stats(&self) -> Arc<RotationStats> {
        Arc::clone(&self.stats)
    }

    /// Rotates for ever.
    pub async fn run(mut self) -> Infallible {
        loop {
            self.step().await;
        }
    }

    /// Waits for the source's next word and acts on it. May be dropped and called again.
    pub async fn step(&mut self) {
        let next = {
            let mut next = pin!(next(&mut *self.source));
            loop {
                let Some(early) = &self.early else {
                    break next.await;
                };
                tokio::select! {
                    next = &mut next => break next,
                    () = sleep(LOOK_AGAIN) => {
                        if let Ok(is_new) = self.credentials.replace(early) {
                            self.early = None;
                            used(&self.credentials, &self.stats, is_new);
                        }
                    }
                }
            }
        };
        match next {
            Ok(identity) => self.try_out(identity),
            Err(error) if error.is_withdrawn() => {
                self.stats.heard();
                self.early = None;
                self.credentials.withdraw();
                tracing::error!("our identity was withdrawn, no handshake is made");
            }
            Err(error) => {
                self.failed(&error);
                // One that panics keeps no pauses.
                if error.is_panic() {
                    sleep(AFTER_PANIC).await;
                }
            }
        }
    }

    fn try_out(&mut self, identity: Identity) {
        match self.credentials.replace(&identity) {
            Ok(is_new) => {
                self.early = None;
                used(&self.credentials, &self.stats, is_new);
            }
            Err(error) => {
                self.source.refused();
                self.early = (error.reason() == Reason::NotYetValid).then_some(identity);
                self.failed(&error.into());
            }
        }
    }

    fn failed(&self, error: &SourceError) {
        self.stats.failed(error.reason());
        let reason = error.reason().map_or("source", |reason| reason.as_str());
        tracing::warn!(error = %ErrorChain(error), reason, "identity not rotated, the one in use stays");
    }
}

fn used(credentials: &Credentials, stats: &RotationStats, is_new: bool) {
    stats.heard();
    if is_new {
        stats.rotations.fetch_add(1, Ordering::Relaxed);
        let generation = credentials.generation();
        tracing::info!(generation, id = %credentials.spiffe_id(), "identity rotated");
    }
}

/// The source's next word; that it panicked, if it did.
async fn next(source: &mut dyn Source) -> Result<Identity, SourceError> {
    let mut next = pin!(async { source.next().await });
    poll_fn(|cx| {
        // The future is dropped and not polled again.
        catch_unwind(AssertUnwindSafe(|| next.as_mut().poll(cx)))
            .unwrap_or_else(|_| Poll::Ready(Err(SourceError::panicked())))
    })
    .await
}

impl fmt::Debug for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotation")
            .field("credentials", &self.credentials)
            .finish_non_exhaustive()
    }
}

/// What became of the identities that a [`Rotation`] was given.
#[derive(Debug)]
pub struct RotationStats {
    begun: Instant,
    rotations: AtomicU64,
    /// The source had nothing to give.
    unheard: AtomicU64,
    rejected: [AtomicU64; Reason::ALL.len()],
    /// Milliseconds from the beginning to the source's last good word.
    heard: AtomicU64,
    is_down: AtomicBool,
}

impl RotationStats {
    fn begin() -> Self {
        Self {
            begun: Instant::now(),
            rotations: AtomicU64::new(0),
            unheard: AtomicU64::new(0),
            rejected: std::array::from_fn(|_| AtomicU64::new(0)),
            heard: AtomicU64::new(0),
            is_down: AtomicBool::new(false),
        }
    }

    fn heard(&self) {
        let since = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard.store(since, Ordering::Relaxed);
        self.is_down.store(false, Ordering::Relaxed);
    }

    fn failed(&self, reason: Option<Reason>) {
        self.is_down.store(true, Ordering::Relaxed);
        let rejected = reason.and_then(|reason| self.rejected.get(reason.index()));
        let counter = rejected.unwrap_or(&self.unheard);
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// How often another identity was put to use.
    #[must_use]
    pub fn rotations(&self) -> u64 {
        self.rotations.load(Ordering::Relaxed)
    }

    /// How often the source failed or gave one that cannot be used.
    #[must_use]
    pub fn errors(&self) -> u64 {
        let rejected = Reason::ALL.iter().map(|&reason| self.rejected(reason));
        self.unheard() + rejected.sum::<u64>()
    }

    /// How often the source itself failed.
    #[must_use]
    pub fn unheard(&self) -> u64 {
        self.unheard.load(Ordering::Relaxed)
    }

    /// How often it gave an identity that cannot be used, for a reason.
    #[must_use]
    pub fn rejected(&self, reason: Reason) -> u64 {
        let counter = self.rejected.get(reason.index());
        counter.map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// How long ago the source last said something that could be used.
    #[must_use]
    pub fn age(&self) -> Duration {
        let heard = Duration::from_millis(self.heard.load(Ordering::Relaxed));
        self.begun.elapsed().saturating_sub(heard)
    }

    /// Whether its last word was an error; the identity in use stays until it ends.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.is_down.load(Ordering::Relaxed)
    }
}

/// How often it is tried again to use an identity that was not valid yet.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
const AFTER_PANIC: Duration = Duration::from_secs(5);
