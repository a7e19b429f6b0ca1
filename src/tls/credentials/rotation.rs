//! Replaces the identity in use by each new one of a source.
//!
//! Why: a bad renewal must not replace a good identity, and a failing source must not end the use of
//! one. So each result of the source is one of these cases. A good identity replaces the one in use,
//! whole. A bad one is refused and counted, the source learns of it ([`Source::refused`]), and the
//! one in use stays. An identity that is not valid yet is refused too, but kept, and tried again
//! every 5 s until it is valid or the source returns another: the issuer's clock may be ahead of
//! ours. A withdrawal ends the use of the current identity at once. A panic of the source counts as
//! a failure and is followed by a pause, because the source may not pause by itself.

use std::convert::Infallible;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::time::{Duration, sleep};

use crate::error_chain::ErrorChain;
use crate::tls::identity::svid::Identity;
use crate::tls::reason::Reason;
use crate::tls::source::contract::{Source, SourceError};

use super::in_use::Credentials;
use super::rotation_stats::RotationStats;
use super::settings::Settings;

/// Keeps [`Credentials`] fresh from a [`Source`].
///
/// The rotation judges each identity of the source before it uses it. It counts and logs a bad one,
/// and the identity in use stays until it expires, unless the source says that it was withdrawn. An
/// identity that is not valid yet is kept and used once it is valid, unless another has come by
/// then. Dropping the rotation leaves the credentials as they are.
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
    /// An identity that was refused only because our clock is earlier than its beginning.
    early: Option<Identity>,
    stats: Arc<RotationStats>,
}

impl Rotation {
    /// Loads the first identity.
    ///
    /// # Errors
    /// When the source has no identity now, or one that cannot be used.
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

    /// Counts of the identities that the source returned, for metrics. They outlive the rotation.
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

    /// Waits for the source's next result and acts on it. May be dropped and called again.
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
                // A source that panics may not pause by itself.
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
        stats.count_rotation();
        let generation = credentials.generation();
        tracing::info!(generation, id = %credentials.spiffe_id(), "identity rotated");
    }
}

/// The source's next result; an error if it panicked.
async fn next(source: &mut dyn Source) -> Result<Identity, SourceError> {
    let mut next = pin!(async { source.next().await });
    poll_fn(|cx| {
        // The future is dropped and not polled again.
        catch_unwind(AssertUnwindSafe(|| next.as_mut().poll(cx)))
            .unwrap_or_else(|_| Poll::Ready(Err(SourceError::panicked())))
    })
    .await
}

debug_fields!(Rotation { credentials });

/// How often to try an identity again that was not valid yet.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
const AFTER_PANIC: Duration = Duration::from_secs(5);
