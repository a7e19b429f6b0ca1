//! The credentials: the identity in use, which can be replaced at any time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use rustls_pki_types::CertificateDer;
use tokio::sync::watch;

use crate::identity::SpiffeId;
use crate::live::{Live, Snapshot};
use crate::tls::clock::Clock;
use crate::tls::dates::{Ago, On};
use crate::tls::identity::bundle::TrustBundles;
use crate::tls::identity::error::IdentityError;
#[cfg(all(feature = "audit", feature = "server", feature = "client"))]
use crate::tls::identity::leaf;
use crate::tls::identity::svid::Identity;
use crate::tls::reason::{Reason, Refusal, refusal};

use super::generation::{Generation, judge};
use super::rustls_verifier::Role;
use super::settings::Settings;

/// The identity in use, shared by every acceptor and connector; cheap to clone.
///
/// Each handshake reads the current generation once, so a certificate, its key and the roots always
/// belong together. After [`replace`](Self::replace) the next handshake uses the new identity, in
/// both directions. Sessions are never resumed and no early data is sent: a resumed session skips
/// the verification of the peer's certificate, so a root that was removed would stay trusted.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_mesh::testing::Pki;
/// use tower_mesh::tls::{Credentials, Settings};
///
/// let pki = Pki::new("cluster.local")?;
/// let credentials = Credentials::new(&pki.identity("default", "patients")?, Settings::default())?;
/// assert_eq!(credentials.spiffe_id().principal(), "cluster.local/ns/default/sa/patients");
/// credentials.replace(&pki.identity("default", "patients")?)?;
/// assert_eq!(credentials.generation(), 2);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Credentials(Arc<Shared>);

struct Shared {
    settings: Settings,
    current: Live<Generation>,
    withdrawn: AtomicBool,
    replaced: watch::Sender<()>,
}

impl Credentials {
    /// Starts to use a first identity.
    ///
    /// # Errors
    /// When the key does not belong to the certificate, the certificate is not valid now, or the
    /// identity's own bundles do not vouch for it.
    pub fn new(identity: &Identity, settings: Settings) -> Result<Self, IdentityError> {
        let first = Generation::new(identity, &settings)?;
        Ok(Self::from_first(first, settings))
    }

    pub(super) fn from_first(first: Generation, settings: Settings) -> Self {
        Self(Arc::new(Shared {
            settings,
            current: Live::new(first),
            withdrawn: AtomicBool::new(false),
            replaced: watch::Sender::new(()),
        }))
    }

    /// Uses another identity from the next handshake on, whole. Returns whether anything changed.
    ///
    /// # Errors
    /// As [`new`](Self::new), and when the identity has another id, or expires earlier than the
    /// current one under the same roots (unless that was withdrawn). The current identity then
    /// stays in use.
    pub fn replace(&self, identity: &Identity) -> Result<bool, IdentityError> {
        let held = self.0.current.snapshot();
        let withdrawn = self.0.withdrawn.load(Ordering::Acquire);
        if held.is(identity, &self.0.settings) && !withdrawn {
            return Ok(false);
        }
        let svid = identity.svid();
        if svid.spiffe_id() != held.id() {
            return Err(svid.chain_error(refusal!(
                Reason::IdNotAllowed,
                "expected {}, got {}: an identity is replaced by one of its own id; restart to become another workload",
                held.id(),
                svid.spiffe_id()
            )));
        }
        let same_roots = self.0.settings.allowed(identity.bundles()) == **held.bundles();
        // After a withdrawal, an earlier end is no reason to refuse.
        if !withdrawn && same_roots && svid.not_after() < held.not_after() {
            return Err(svid.chain_error(refusal!(
                Reason::Expired,
                "the leaf ends on {}, earlier than the one in use, which ends on {}: an older certificate was put back; give the newest",
                On(svid.not_after()),
                On(held.not_after())
            )));
        }
        let next = Generation::new(identity, &self.0.settings)?;
        self.0.current.store(next);
        self.0.withdrawn.store(false, Ordering::Release);
        self.0.replaced.send_replace(());
        Ok(true)
    }

    /// Stops using the identity: no handshake succeeds, in either direction, until
    /// [`replace`](Self::replace) brings another.
    pub fn withdraw(&self) {
        self.0.withdrawn.store(true, Ordering::Release);
        self.0.replaced.send_replace(());
    }

    /// Our own id.
    #[must_use]
    pub fn spiffe_id(&self) -> SpiffeId {
        self.0.current.load().id().clone()
    }

    /// When our certificate expires.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.0.current.load().not_after()
    }

    /// How many identities have been in use: 1 for the first.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.current.generation()
    }

    /// Whether the identity can be used now; `false` once it has expired or was withdrawn.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.current().is_ok()
    }

    /// Whether the identity was [withdrawn](Self::withdraw) and has not been replaced since.
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        self.0.withdrawn.load(Ordering::Acquire)
    }

    /// The roots in use.
    #[must_use]
    pub fn bundles(&self) -> Arc<TrustBundles> {
        Arc::clone(self.0.current.load().bundles())
    }

    /// The clock that judges certificates.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.0.settings.clock
    }

    pub(in crate::tls) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// The serial number of our certificate, in hexadecimal digits.
    #[cfg(all(feature = "audit", feature = "server", feature = "client"))]
    pub(crate) fn serial(&self) -> Option<String> {
        leaf::serial(&self.0.current.load().leaf()?)
    }

    /// Notifies of each replacement from now on.
    pub(crate) fn subscribe(&self) -> Replaced {
        self.0.replaced.subscribe()
    }

    /// The generation in use, valid or not.
    pub(in crate::tls) fn held(&self) -> Snapshot<Generation> {
        self.0.current.snapshot()
    }

    /// Whether these roots vouch for a chain now.
    pub(in crate::tls) fn vouches_for(
        &self,
        bundles: &Arc<TrustBundles>,
        chain: &[CertificateDer<'_>],
        role: Role,
    ) -> bool {
        judge(chain, &[role], bundles, &self.0.settings).is_ok()
    }

    /// The generation for one handshake. A refusal once our own certificate has expired or was
    /// withdrawn.
    pub(in crate::tls) fn current(&self) -> Result<Snapshot<Generation>, Refusal> {
        if self.0.withdrawn.load(Ordering::Acquire) {
            return Err(Reason::NoIdentity.into());
        }
        let current = self.0.current.snapshot();
        let (now, end) = (self.0.settings.clock.now(), current.not_after());
        if now > end {
            return Err(refusal!(
                Reason::OwnIdentityExpired,
                "our own certificate ended on {}: renew it where it is issued, or set the clock right",
                Ago { end, now }
            ));
        }
        Ok(current)
    }
}

debug_fields!(Credentials(credentials) {
    id = credentials.0.current.load().id(),
    generation = credentials.generation()
});

/// Notifies of replacements.
pub(in crate::tls) type Replaced = watch::Receiver<()>;
