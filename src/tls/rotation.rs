use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::time::{Duration, Instant};

use super::credentials::Credentials;
use super::reason::Reason;
use super::settings::Settings;
use super::source::{Source, SourceError};

/// Keeps [`Credentials`] fresh from a [`Source`].
///
/// What the source yields is judged before it is used; a bad one is counted and logged, and the identity in use stays, to its last second,
/// unless the source says that it was withdrawn.
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
    tally: Arc<RotationTally>,
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
        let first = source.next().await?;
        let credentials = Credentials::new(&first, settings)?;
        let rotation = Self {
            source,
            credentials: credentials.clone(),
            tally: Arc::new(RotationTally::begin()),
        };
        Ok((credentials, rotation))
    }

    /// What became of the identities that the source yielded, for metrics; outlives the rotation.
    #[must_use]
    pub fn tally(&self) -> Arc<RotationTally> {
        Arc::clone(&self.tally)
    }

    /// Rotates for ever.
    pub async fn run(mut self) -> Infallible {
        loop {
            self.step().await;
        }
    }

    /// Waits for the source's next word and acts on it. May be dropped and called again.
    pub async fn step(&mut self) {
        let next = self.source.next().await;
        match next.and_then(|identity| Ok(self.credentials.replace(&identity)?)) {
            Ok(false) => self.tally.heard(),
            Ok(true) => {
                self.tally.heard();
                self.tally.rotations.fetch_add(1, Ordering::Relaxed);
                let generation = self.credentials.generation();
                tracing::info!(generation, id = %self.credentials.spiffe_id(), "identity rotated");
            }
            Err(error) if error.is_withdrawn() => {
                self.tally.heard();
                self.credentials.withdraw();
                tracing::error!("our identity was withdrawn, no handshake is made");
            }
            Err(error) => {
                self.tally.failed(error.reason());
                let reason = error.reason().map_or("source", |reason| reason.as_str());
                tracing::warn!(%error, reason, "identity not rotated, the one in use stays");
            }
        }
    }
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
pub struct RotationTally {
    begun: Instant,
    rotations: AtomicU64,
    /// The source had nothing to give.
    unheard: AtomicU64,
    rejected: [AtomicU64; Reason::ALL.len()],
    /// Milliseconds from the beginning to the source's last good word.
    heard: AtomicU64,
    is_down: AtomicBool,
}

impl RotationTally {
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
