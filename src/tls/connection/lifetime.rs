//! When a connection must end.
//!
//! Why: rustls checks certificates in the handshake alone, so a connection that stays open would
//! outlive an expired certificate, a removed root, a revocation, or a changed list of ids.
//!
//! How: [`Lifetime::ended`] subscribes to replacements of our identity before its first look, so
//! that none is lost between a look and the wait that follows. Each look asks two questions, in
//! this order. Must the connection end, because an identity on it is no longer valid? Then the grace
//! period is short ([`Lifetimes::cut`]). Should it end, because of its age or because our identity
//! was replaced? Then it is long ([`Lifetimes::drain`]). It then waits for the first of these: a
//! replacement, the maximum age, the moment at which a certificate is about to expire, and the next
//! look at what sends no notice: the wall clock (60 s), a list of ids (1 s), a port's mode (2 s).
//!
//! A replacement alone never makes a connection invalid. The peer's chain is judged again by the new
//! roots: if they refuse it, the reason is [`CloseReason::PeerUntrusted`], otherwise
//! [`CloseReason::Rotated`]. A lifetime gives at most two notices: one while both identities are
//! valid, and one when they are not.

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

/// How long connections last, and how long their requests may take to finish when they end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lifetimes {
    /// The age at which a connection ends, give or take a tenth, so that connections made together
    /// do not end together. 1 hour by default.
    pub max_age: Duration,
    /// The grace period after the maximum age, and after a rotation of our certificate or roots. 30
    /// s by default.
    pub drain: Duration,
    /// The grace period when an identity on either side is no longer valid. 4 s by default, so that
    /// the connection is closed within 5 s. When a certificate is about to expire, the grace period
    /// begins this long before.
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

/// How long a connection may go on, whatever protocol it carries.
///
/// A server or client awaits [`ended`](Self::ended) while it uses the connection. Then the
/// connection takes no new request, finishes those in progress, and closes. So an identity, a root
/// or a certificate that is no longer valid soon goes out of use.
///
/// ```no_run
/// # async fn serve(mut listener: tower_mesh::tls::Listener) {
/// let connection = listener.accept().await;
/// let mut lifetime = connection.stream().lifetime();
/// // ... while serving the connection:
/// let ended = lifetime.ended().await;
/// println!("closing within {:?}: {}", ended.grace, ended.reason);
/// # }
/// ```
pub struct Lifetime {
    until: Instant,
    while_good: bool,
    /// The last notice was given: no reason is stronger than that one.
    is_over: bool,
    lifetimes: Lifetimes,
    tls: Option<Mutual>,
    /// For a plaintext connection: the port that it was accepted on, and the modes.
    port: Option<(Live<Modes>, u16)>,
}

struct Mutual {
    facts: HandshakeFacts,
    role: Role,
    chain: Vec<CertificateDer<'static>>,
    peer: Peer,
    /// How long before the peer's certificate expires, and before ours does, the connection begins
    /// to end.
    ahead: [Duration; 2],
    /// Our identity was replaced since the handshake.
    rotated: bool,
}

impl Lifetime {
    /// For a connection without two identities, which ends by age alone.
    pub(in crate::tls) fn of_age(lifetimes: Lifetimes) -> Self {
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

    /// For a plaintext connection to a port whose mode may become STRICT.
    pub(super) fn for_port(lifetimes: Lifetimes, modes: Live<Modes>, port: u16) -> Self {
        Self {
            port: Some((modes, port)),
            ..Self::of_age(lifetimes)
        }
    }

    /// For a connection whose peer had this role and showed this chain.
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
            ..Self::of_age(lifetimes)
        }
    }

    /// Ignores age and rotations: the connection ends only when an identity on either side is no
    /// longer valid. For servers that cannot finish the requests of a single connection, so that
    /// each early end would fail requests.
    #[must_use]
    pub fn while_good(mut self) -> Self {
        self.while_good = true;
        self
    }

    /// Resolves when the connection should end, with the reason.
    ///
    /// May be awaited again while the connection ends. After an end by age or rotation both
    /// identities are still valid, and it resolves once more if one stops being valid. After any
    /// other end it never resolves again.
    pub async fn ended(&mut self) -> CloseNotice {
        if self.is_over {
            return pending().await;
        }
        let tls = self.tls.as_ref();
        // Subscribes before the first look, so that no replacement is missed in between.
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

    /// The grace period is cut short when one of the connection's certificates expires first.
    fn end(&self, reason: CloseReason, grace: Duration) -> CloseNotice {
        let left = self.tls.as_ref().map(Mutual::time_left);
        let grace = left.map_or(grace, |left| grace.min(left));
        CloseNotice { reason, grace }
    }

    /// The reason why the connection must end, if there is one.
    fn no_longer_good(&mut self) -> Option<CloseReason> {
        if let Some((modes, port)) = &self.port
            && modes.load().for_port(*port) == Mode::Strict
        {
            return Some(CloseReason::ModeChanged);
        }
        self.tls.as_mut()?.no_longer_good()
    }

    /// The reason why a connection should end whose identities are valid, if there is one.
    fn outlived(&self, now: Instant) -> Option<CloseReason> {
        let rotated = self.tls.as_ref().is_some_and(|tls| tls.rotated);
        match (self.while_good, now >= self.until) {
            (true, _) => None,
            (false, true) => Some(CloseReason::Age),
            (false, false) => rotated.then_some(CloseReason::Rotated),
        }
    }

    /// How long to wait before the next look.
    fn look(&self) -> Duration {
        match (&self.tls, &self.port) {
            // Looks again every now and then, because the wall clock may jump.
            (Some(tls), _) => tls.remaining().min(tls.look()),
            (None, Some(_)) => LOOK_AT_MODE,
            (None, None) => FOREVER,
        }
    }
}

/// Resolves when the identity is replaced; never resolves where there is none.
async fn changed(replaced: &mut Option<Replaced>) {
    match replaced {
        // The caller holds the credentials, so the sender is alive and this is never an error.
        Some(replaced) => drop(replaced.changed().await),
        None => pending().await,
    }
}

impl Mutual {
    /// The reason why the connection must end, if there is one.
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
            // Takes the number of the generation that was judged: one that came since has another
            // number, and is judged next.
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

    /// Whether the peer would still be let in, now that we hold another identity or other roots.
    fn would_let_in(&self, held: &Snapshot<Generation>) -> bool {
        let credentials = &self.facts.credentials;
        **held.bundles() == *self.facts.bundles
            || credentials.vouches_for(held.bundles(), &self.chain, self.role)
    }

    /// When the first of our certificates expires: the one that the connection was made with, or
    /// the one that we hold now.
    fn own_not_after(&self) -> SystemTime {
        let held = self.facts.credentials.not_after();
        self.facts.not_after.min(held)
    }

    /// The time until the first certificate of either side expires.
    fn time_left(&self) -> Duration {
        self.time_until([Duration::ZERO; 2])
    }

    /// The time until the connection begins to end because a certificate of either side expires.
    fn remaining(&self) -> Duration {
        // Timers count whole milliseconds, certificates whole seconds.
        self.time_until(self.ahead) + Duration::from_millis(1)
    }

    /// The time until the first of two moments: so long before the peer's certificate expires, and
    /// before ours does.
    fn time_until(&self, [peers, own]: [Duration; 2]) -> Duration {
        let now = self.facts.credentials.settings().clock.now();
        let left = |not_after: SystemTime, ahead| {
            let left = not_after.duration_since(now).unwrap_or_default();
            left.saturating_sub(ahead)
        };
        let own = left(self.own_not_after(), own);
        let first = not_after(&self.peer).map(|not_after| left(not_after, peers));
        first.map_or(own, |peer| peer.min(own))
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

debug_fields!(Lifetime { until });

const LOOK: Duration = Duration::from_secs(60);
const LOOK_AT_LIST: Duration = Duration::from_secs(1);
const LOOK_AT_MODE: Duration = Duration::from_secs(2);
