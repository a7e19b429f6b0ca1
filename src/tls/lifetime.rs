use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::SystemTime;

use rustls_pki_types::CertificateDer;
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep_until};

use super::credentials::Credentials;
use super::leaf;
use super::verifier::Role;

/// How long a connection may go on, whatever is spoken on it.
///
/// Who serves or keeps a connection awaits [`ended`](Self::ended) beside it. Then the connection takes no new request, finishes those it
/// has, and closes: an identity, a root or a certificate that is no longer good is soon used nowhere.
///
/// ```no_run
/// # async fn serve(mut listener: tower_mesh::tls::Listener) {
/// let connection = listener.accept().await;
/// let lifetime = connection.stream().lifetime();
/// // ... beside serving the connection:
/// let end = lifetime.ended().await;
/// println!("closing within {:?}: {end}", end.grace());
/// # }
/// ```
pub struct Lifetime {
    until: Instant,
    tls: Option<Tls>,
}

struct Tls {
    made: Made,
    role: Role,
    chain: Vec<CertificateDer<'static>>,
    not_after: Option<SystemTime>,
}

/// With which identity of ours a connection was made.
#[derive(Clone)]
pub(super) struct Made {
    pub(super) credentials: Credentials,
    pub(super) generation: u64,
}

impl Lifetime {
    /// Of a connection without two identities, which only ages.
    pub(super) fn of_any() -> Self {
        Self {
            until: Instant::now() + jitter(MAX_AGE),
            tls: None,
        }
    }

    /// Of a connection whose peer, in this role, showed this chain.
    pub(super) fn of_mutual(made: Made, role: Role, chain: Vec<CertificateDer<'static>>) -> Self {
        Self {
            tls: Some(Tls {
                not_after: chain.first().and_then(leaf::not_after),
                made,
                role,
                chain,
            }),
            ..Self::of_any()
        }
    }

    /// Ends at this age instead of an hour; a tenth more or less, so that connections made together do not end together.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.until = Instant::now() + jitter(age);
        self
    }

    /// Resolves when the connection should end, and says why.
    pub async fn ended(self) -> End {
        let Some(tls) = self.tls else {
            sleep_until(self.until).await;
            return End::Age;
        };
        let mut replaced = tls.made.credentials.subscribe();
        loop {
            let now = Instant::now();
            if now >= self.until {
                return End::Age;
            }
            if let Some(end) = tls.ended() {
                return end;
            }
            // The wall clock may jump, so it is looked at every now and then.
            let look = tls.remaining().min(LOOK);
            tokio::select! {
                _ = replaced.changed() => {}
                () = sleep_until(self.until.min(now + look)) => {}
            }
        }
    }
}

impl Tls {
    fn ended(&self) -> Option<End> {
        let credentials = &self.made.credentials;
        let now = credentials.settings().clock.now();
        if self.not_after.is_some_and(|not_after| now > not_after) {
            return Some(End::PeerExpired);
        }
        if credentials.generation() != self.made.generation {
            let trusted = credentials.vouches_for(&self.chain, self.role);
            return Some(if trusted {
                End::Rotated
            } else {
                End::PeerUntrusted
            });
        }
        (!credentials.is_valid()).then_some(End::OwnExpired)
    }

    /// Until the first of both certificates ends, and the second that it lasts.
    fn remaining(&self) -> Duration {
        let credentials = &self.made.credentials;
        let now = credentials.settings().clock.now();
        let own = credentials.not_after();
        let first = self.not_after.map_or(own, |peer| peer.min(own));
        first.duration_since(now).unwrap_or_default() + Duration::from_secs(1)
    }
}

impl fmt::Debug for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lifetime")
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

/// Why a connection should end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum End {
    /// It has lived long enough.
    Age,
    /// Our certificate has ended, or was withdrawn, and there is no other.
    OwnExpired,
    /// The peer's certificate has ended.
    PeerExpired,
    /// The roots that vouched for the peer are gone.
    PeerUntrusted,
    /// We have another certificate or other roots by now.
    Rotated,
}

impl End {
    /// How long what is under way may take to finish: half a minute, or 5 seconds once an identity is no longer good.
    #[must_use]
    pub fn grace(self) -> Duration {
        match self {
            Self::Age | Self::Rotated => Duration::from_secs(30),
            Self::OwnExpired | Self::PeerExpired | Self::PeerUntrusted => Duration::from_secs(5),
        }
    }

    /// The reason as metrics and logs write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::OwnExpired => "own_expired",
            Self::PeerExpired => "peer_expired",
            Self::PeerUntrusted => "peer_untrusted",
            Self::Rotated => "rotated",
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Tells who waits that the identity was replaced.
pub(super) type Replaced = watch::Receiver<()>;

/// A tenth more or less.
fn jitter(age: Duration) -> Duration {
    // Randomness enough to spread load, and no one's secret.
    let random = RandomState::new().build_hasher().finish() % 2001;
    let share = 0.9 + 0.0001 * f64::from(u32::try_from(random).unwrap_or(0));
    age.mul_f64(share)
}

const MAX_AGE: Duration = Duration::from_secs(3600);
const LOOK: Duration = Duration::from_secs(60);
