//! A source that asks an authority for the next identity before this one expires.

use std::future::Future;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep_until, timeout};

use crate::tls::clock::Clock;
use crate::tls::identity::svid::Identity;
use crate::tls::jitter::jitter;

use super::contract::{NextIdentity, Source, SourceError};

/// An identity that we must request again and again, for example from the interface of a
/// certificate authority.
///
/// The source requests the next identity after half of the remaining validity, give or take a
/// tenth, so that workloads that started together do not ask together. After a failure it asks
/// again in 1 s, then after twice the time for each further failure, up to 150 s, each give or take
/// a fifth. An answer that does not come within a [limit](Self::limit) is a failure, and so is an
/// identity that cannot be used.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_mesh::testing::Pki;
/// use tower_mesh::tls::{Renewed, Rotation, Settings, SourceError};
///
/// let authority = std::sync::Arc::new(Pki::new("cluster.local")?);
/// let source = Renewed::new(move || {
///     let authority = authority.clone();
///     // Here: make a key, send a signing request, wait for the chain.
///     async move {
///         let issued = authority.identity("default", "patients");
///         issued.map_err(|error| SourceError::caused_by("the authority issued nothing", error))
///     }
/// });
/// let (credentials, rotation) = Rotation::start(source, Settings::default()).await?;
/// tokio::spawn(rotation.run());
/// assert!(credentials.is_valid());
/// # Ok(()) }
/// ```
pub struct Renewed<F> {
    issue: F,
    clock: Clock,
    limit: Duration,
    due: Option<Due>,
    /// The last answer was an identity, and it was not refused.
    is_content: bool,
    pause: Duration,
}

/// When to ask next, on both clocks, because the wall clock may jump either way.
#[derive(Clone, Copy)]
struct Due {
    wall: SystemTime,
    at: Instant,
}

impl<F, Fut> Renewed<F>
where
    F: FnMut() -> Fut + Send,
    Fut: Future<Output = Result<Identity, SourceError>> + Send,
{
    /// A source that calls this function. Its future may be dropped before it is done; the function
    /// is then called again.
    pub fn new(issue: F) -> Self {
        Self {
            issue,
            clock: Clock::system(),
            limit: LIMIT,
            due: None,
            is_content: false,
            pause: Duration::ZERO,
        }
    }
}

impl<F> Renewed<F> {
    setters! {
        /// Reads the time from another clock, for tests.
        clock: Clock,
        /// How long an answer may take; 60 s by default.
        limit: Duration,
    }

    fn has_identity(&mut self, not_after: SystemTime) {
        self.is_content = true;
        let left = not_after.duration_since(self.clock.now());
        let half = jitter(left.unwrap_or_default() / 2, 10);
        self.again_in(half.max(SHORTEST_PAUSE));
    }

    fn has_none(&mut self) {
        self.is_content = false;
        self.pause = (self.pause * 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        self.again_in(jitter(self.pause, 20));
    }

    fn again_in(&mut self, wait: Duration) {
        self.due = Some(Due {
            wall: self.clock.now() + wait,
            at: Instant::now() + wait,
        });
    }
}

impl Due {
    async fn wait(self, clock: &Clock) {
        loop {
            let now = Instant::now();
            let left = self.wall.duration_since(clock.now()).unwrap_or_default();
            let left = left.min(self.at.saturating_duration_since(now));
            if left.is_zero() {
                return;
            }
            sleep_until(now + left.min(LOOK)).await;
        }
    }
}

impl<F, Fut> Source for Renewed<F>
where
    F: FnMut() -> Fut + Send,
    Fut: Future<Output = Result<Identity, SourceError>> + Send,
{
    fn next(&mut self) -> NextIdentity<'_> {
        Box::pin(async {
            if self.is_content {
                self.pause = Duration::ZERO;
            }
            if let Some(due) = self.due {
                due.wait(&self.clock).await;
            }
            let issued = timeout(self.limit, (self.issue)()).await;
            let issued = issued.unwrap_or_else(|_| {
                let text = format!("no answer within {:?}", self.limit);
                Err(SourceError::new(text))
            });
            match &issued {
                Ok(identity) => self.has_identity(identity.svid().not_after()),
                Err(_) => self.has_none(),
            }
            issued
        })
    }

    fn refused(&mut self) {
        self.has_none();
    }
}

debug_fields!(Renewed<F> { pause });

const LIMIT: Duration = Duration::from_secs(60);
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(150);
const LOOK: Duration = Duration::from_secs(60);
