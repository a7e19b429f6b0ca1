use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::credentials::Credentials;
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
            tally: Arc::default(),
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
            Ok(false) => {}
            Ok(true) => {
                self.tally.rotations.fetch_add(1, Ordering::Relaxed);
                let generation = self.credentials.generation();
                tracing::info!(generation, id = %self.credentials.spiffe_id(), "identity rotated");
            }
            Err(error) if error.is_withdrawn() => {
                self.credentials.withdraw();
                tracing::error!("our identity was withdrawn, no handshake is made");
            }
            Err(error) => {
                self.tally.errors.fetch_add(1, Ordering::Relaxed);
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
#[derive(Debug, Default)]
pub struct RotationTally {
    rotations: AtomicU64,
    errors: AtomicU64,
}

impl RotationTally {
    /// How often another identity was put to use.
    #[must_use]
    pub fn rotations(&self) -> u64 {
        self.rotations.load(Ordering::Relaxed)
    }

    /// How often the source failed or gave one that cannot be used.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }
}
