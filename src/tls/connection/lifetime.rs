use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::time::SystemTime;

use rustls_pki_types::CertificateDer;
use tokio::time::{Duration, Instant, sleep_until};

use crate::context::Peer;
use crate::live::{Live, Snapshot};
use crate::tls::credentials::generation::Generation;
use crate::tls::credentials::in_use::Replaced;
use crate::tls::credentials::rustls_verifier::Role;
use crate::tls::identity::allowed::AllowedIds;
use crate::tls::jitter::{FOREVER, jitter};
use crate::tls::mode::{Mode, Modes};

use super::close::{CloseNotice, CloseReason};
use super::facts::HandshakeFacts;

/// How long connections go on, and how long what is under way on them may take to finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lifetimes {
    /// The age at which a connection ends, a tenth more or less, so that those made together do not end together. An hour by default.
    pub max_age: Duration,
    /// For a connection that ends of age, or because we have another certificate or other roots by now; 30 s by default.
    pub drain: Duration,
    /// For a connection with an identity that is no longer good, on either side; 4 s by default, so that all is over within five. An end that
    /// is foreseen, that of a certificate, begins this much earlier.
    pub cut: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(3600),
            drain: Duration::from_secs(30),
            cut: Duration::from_secs(4),
        }
    }
}

/// How long a connection may go on, whatever is spoken on it.
///
/// Who serves or keeps a connection awaits [`ended`](Self::ended) beside it. Then the connection takes no new request, finishes those it
/// has, and closes: an identity, a root or a certificate that is no longer good is soon used nowhere.
///
/// ```no_run
/// # async fn serve(mut listener: tower_mesh::tls::Listener) {
/// let connection = listener.accept().await;
/// let mut lifetime = connection.stream().lifetime();
/// // ... beside serving the connection:
/// let ended = lifetime.ended().await;
/// println!("closing within {:?}: {}", ended.grace, ended.reason);
/// # }
/// ```
pub struct Lifetime {
    until: Instant,
    while_good: bool,
    /// It has ended as it must, and there is no worse.
    is_over: bool,
    lifetimes: Lifetimes,
    tls: Option<Mutual>,
    /// Of a plaintext connection, the port that must go on taking such.
    port: Option<(Live<Modes>, u16)>,
}

struct Mutual {
    facts: HandshakeFacts,
    role: Role,
    chain: Vec<CertificateDer<'static>>,
    peer: Peer,
    /// How long before the end of the peer's certificate, and of ours, the connection begins to end.
    ahead: [Duration; 2],
    /// Our identity was replaced since.
    rotated: bool,
}

impl Lifetime {
    /// Of a connection without two identities, which only ages.
    pub(super) fn new(lifetimes: Lifetimes) -> Self {
        Self {
            until: Instant::now() + jitter(lifetimes.max_age, 10),
            while_good: false,
            is_over: false,
            lifetimes: Lifetimes {
                drain: lifetimes.drain.min(FOREVER),
                cut: lifetimes.cut.min(FOREVER),
                ..lifetimes
            },
            tls: None,
            port: None,
        }
    }

    /// Of a plaintext connection to a port whose mode may come to be STRICT.
    pub(super) fn for_port(lifetimes: Lifetimes, modes: Live<Modes>, port: u16) -> Self {
        Self {
            port: Some((modes, port)),
            ..Self::new(lifetimes)
        }
    }

    /// Of a connection with this peer, which in this role showed this chain.
    pub(super) fn for_mutual(
        lifetimes: Lifetimes,
        facts: HandshakeFacts,
        role: Role,
        chain: Vec<CertificateDer<'static>>,
        peer: Peer,
    ) -> Self {
        let now = facts.credentials.settings().clock.now();
        let ahead = |not_after: Option<SystemTime>| {
            let left = not_after.and_then(|not_after| not_after.duration_since(now).ok());
            lifetimes.cut.min(left.unwrap_or_default() / 10)
        };
        let ahead = [
            ahead(not_after(&peer)),
            ahead(Some(facts.credentials.not_after())),
        ];
        let tls = Mutual {
            facts,
            role,
            chain,
            peer,
            ahead,
            rotated: false,
        };
        Self {
            tls: Some(tls),
            ..Self::new(lifetimes)
        }
    }

    /// Goes on through age and rotations: ends only when an identity on either side is no longer good. For connections of a server that cannot
    /// be told to let a connection finish, so that each end costs it requests.
    #[must_use]
    pub fn while_good(mut self) -> Self {
        self.while_good = true;
        self
    }

    /// Resolves when the connection should end, and says why.
    ///
    /// May be awaited again while the connection ends: of age, or as we have another certificate, both identities on it are still good, and it
    /// then resolves once more when one no longer is. After any other end it never does.
    pub async fn ended(&mut self) -> CloseNotice {
        if self.is_over {
            return pending().await;
        }
        let tls = self.tls.as_ref();
        // Before the first look, so that nothing is missed between.
        let mut replaced = tls.map(|tls| tls.facts.credentials.subscribe());
        loop {
            let now = Instant::now();
            if let Some(reason) = self.no_longer_good() {
                self.is_over = true;
                return self.end(reason, self.lifetimes.cut);
            }
            if let Some(reason) = self.outlived(now) {
                self.while_good = true;
                return self.end(reason, self.lifetimes.drain);
            }
            let until = if self.while_good {
                FOREVER
            } else {
                self.until - now
            };
            tokio::select! {
                () = changed(&mut replaced) => {}
                () = sleep_until(now + until.min(self.look())) => {}
            }
        }
    }

    /// What is under way may take so long to finish, and no certificate is outlived by that.
    fn end(&self, reason: CloseReason, grace: Duration) -> CloseNotice {
        let left = self.tls.as_ref().map(Mutual::time_left);
        let grace = left.map_or(grace, |left| grace.min(left));
        CloseNotice { reason, grace }
    }

    /// Why the connection must end.
    fn no_longer_good(&mut self) -> Option<CloseReason> {
        if let Some((modes, port)) = &self.port
            && modes.load().for_port(*port) == Mode::Strict
        {
            return Some(CloseReason::ModeChanged);
        }
        self.tls.as_mut()?.no_longer_good()
    }

    /// Why the connection should end, good as it is.
    fn outlived(&self, now: Instant) -> Option<CloseReason> {
        let rotated = self.tls.as_ref().is_some_and(|tls| tls.rotated);
        match (self.while_good, now >= self.until) {
            (true, _) => None,
            (false, true) => Some(CloseReason::Age),
            (false, false) => rotated.then_some(CloseReason::Rotated),
        }
    }

    /// When to look next.
    fn look(&self) -> Duration {
        match (&self.tls, &self.port) {
            // The wall clock may jump, so it is looked at every now and then.
            (Some(tls), _) => tls.remaining().min(tls.look()),
            (None, Some(_)) => LOOK_AT_MODE,
            (None, None) => FOREVER,
        }
    }
}

/// Resolves when the identity was replaced, where there is one.
async fn changed(replaced: &mut Option<Replaced>) {
    match replaced {
        // Who waits holds the credentials, so it is never an error.
        Some(replaced) => drop(replaced.changed().await),
        None => pending().await,
    }
}

impl Mutual {
    /// Why the connection must end.
    fn no_longer_good(&mut self) -> Option<CloseReason> {
        let credentials = &self.facts.credentials;
        let now = credentials.settings().clock.now();
        let is_about_to_end = |not_after: SystemTime, ahead| {
            let left = not_after.duration_since(now).unwrap_or_default();
            left <= ahead
        };
        let [peers, own] = self.ahead;
        if not_after(&self.peer).is_some_and(|not_after| is_about_to_end(not_after, peers)) {
            return Some(CloseReason::PeerExpired);
        }
        let held = credentials.held();
        if held.generation() != self.facts.generation {
            if !self.would_let_in(&held) {
                return Some(CloseReason::PeerUntrusted);
            }
            // Of the generation that was judged: one that came since is seen as another.
            self.facts.generation = held.generation();
            self.facts.bundles = Arc::clone(held.bundles());
            self.rotated = true;
        }
        if !self.facts.credentials.is_valid() || is_about_to_end(self.own_not_after(), own) {
            return Some(CloseReason::OwnExpired);
        }
        let allowed = match (&self.facts.allowed, self.peer.spiffe_id()) {
            (Some(allowed), Some(id)) => allowed.allows(id),
            _ => true,
        };
        (!allowed).then_some(CloseReason::PeerNotAccepted)
    }

    /// We have another identity or other roots: would the peer still be let in?
    fn would_let_in(&self, held: &Snapshot<Generation>) -> bool {
        let credentials = &self.facts.credentials;
        **held.bundles() == *self.facts.bundles
            || credentials.vouches_for(held.bundles(), &self.chain, self.role)
    }

    /// When the first of the certificates ends that we show: the connection's own, and what we hold by now.
    fn own_not_after(&self) -> SystemTime {
        let held = self.facts.credentials.not_after();
        self.facts.not_after.min(held)
    }

    /// Until the first of both sides' certificates ends.
    fn time_left(&self) -> Duration {
        let now = self.facts.credentials.settings().clock.now();
        let own = self.own_not_after();
        let first = not_after(&self.peer).map_or(own, |peers| peers.min(own));
        first.duration_since(now).unwrap_or_default()
    }

    /// Until the first of both sides' certificates is about to end.
    fn remaining(&self) -> Duration {
        let now = self.facts.credentials.settings().clock.now();
        let left = |not_after: SystemTime, ahead| {
            let left = not_after.duration_since(now).unwrap_or_default();
            left.saturating_sub(ahead)
        };
        let [peers, own] = self.ahead;
        let own = left(self.own_not_after(), own);
        let first = not_after(&self.peer).map(|not_after| left(not_after, peers));
        // Timers tell whole milliseconds, certificates whole seconds.
        first.map_or(own, |peer| peer.min(own)) + Duration::from_millis(1)
    }

    fn look(&self) -> Duration {
        let allowed = self.facts.allowed.as_ref();
        if allowed.is_some_and(AllowedIds::changes) {
            LOOK_AT_LIST
        } else {
            LOOK
        }
    }
}

fn not_after(peer: &Peer) -> Option<SystemTime> {
    peer.tls_facts()?.not_after
}

impl fmt::Debug for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lifetime")
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

const LOOK: Duration = Duration::from_secs(60);
const LOOK_AT_LIST: Duration = Duration::from_secs(1);
const LOOK_AT_MODE: Duration = Duration::from_secs(2);
