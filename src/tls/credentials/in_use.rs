use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use rustls_pki_types::CertificateDer;
use tokio::sync::watch;

use crate::identity::SpiffeId;
use crate::live::{Live, Snapshot};
use crate::tls::clock::Clock;
use crate::tls::dates::{Long, On};
use crate::tls::identity::bundle::TrustBundles;
use crate::tls::identity::error::IdentityError;
use crate::tls::identity::svid::Identity;
use crate::tls::reason::{Reason, Refusal};

use super::generation::Generation;
use super::rustls_verifier::{JudgeChain, Role};
use super::settings::Settings;
use super::verifier::{Expected, Verifier};

/// The identity in use, shared by every acceptor and connector; cheap to clone.
///
/// Each handshake reads the current generation once, so a certificate, its key and the roots always belong together, and whatever
/// [`replace`](Self::replace) puts in is what the very next handshake uses, in both directions. Sessions are never resumed and nothing is
/// sent early: a resumed session skips the verification of the peer's certificate, so a root that was taken away would stay good.
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
    /// Puts a first identity to use.
    ///
    /// # Errors
    /// When its key is not the certificate's, it is not valid now, or its own bundles do not vouch for it as a peer's would.
    pub fn new(identity: &Identity, settings: Settings) -> Result<Self, IdentityError> {
        let first = Generation::new(identity, &settings)?;
        Ok(Self::from_first(first, settings))
    }

    pub(in crate::tls) fn from_first(first: Generation, settings: Settings) -> Self {
        Self(Arc::new(Shared {
            settings,
            current: Live::new(first),
            withdrawn: AtomicBool::new(false),
            replaced: watch::Sender::new(()),
        }))
    }

    /// Puts another identity to use, whole, from the next handshake on. Says whether anything changed.
    ///
    /// # Errors
    /// As [`new`](Self::new), and when it holds another id, or ends earlier than the held one under the same roots and that was not withdrawn. The held one
    /// then stays.
    pub fn replace(&self, identity: &Identity) -> Result<bool, IdentityError> {
        let held = self.0.current.snapshot();
        let withdrawn = self.0.withdrawn.load(Ordering::Acquire);
        if held.is(identity, &self.0.settings) && !withdrawn {
            return Ok(false);
        }
        let svid = identity.svid();
        if svid.spiffe_id() != held.id() {
            let text = format_args!(
                "expected {}, got {}: an identity is replaced by one of its own id; restart to become another workload",
                held.id(),
                svid.spiffe_id()
            );
            return Err(svid.chain_error(IdentityError::new(Reason::IdNotAllowed, text)));
        }
        let same_roots = self.0.settings.allowed(identity.bundles()) == **held.bundles();
        // One that was withdrawn holds nobody to its end.
        if !withdrawn && same_roots && svid.not_after() < held.not_after() {
            let text = format_args!(
                "the leaf ends on {}, earlier than the one in use, which ends on {}: an older certificate was put back; give the newest",
                On(svid.not_after()),
                On(held.not_after())
            );
            return Err(svid.chain_error(IdentityError::new(Reason::Expired, text)));
        }
        let next = Generation::new(identity, &self.0.settings)?;
        self.0.current.store(next);
        self.0.withdrawn.store(false, Ordering::Release);
        self.0.replaced.send_replace(());
        Ok(true)
    }

    /// Stops using the identity: no handshake is made, in either direction, until [`replace`](Self::replace) brings another.
    pub fn withdraw(&self) {
        self.0.withdrawn.store(true, Ordering::Release);
        self.0.replaced.send_replace(());
    }

    /// Our own id.
    #[must_use]
    pub fn spiffe_id(&self) -> SpiffeId {
        self.0.current.load().id().clone()
    }

    /// When our certificate ends.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.0.current.load().not_after()
    }

    /// How many identities have been in use: 1 for the first.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.current.generation()
    }

    /// Whether the identity can be used now; `false` once it has ended or was withdrawn.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.current().is_ok()
    }

    /// Whether the identity was [withdrawn](Self::withdraw), and none has come since.
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        self.0.withdrawn.load(Ordering::Acquire)
    }

    /// The roots in use.
    #[must_use]
    pub fn bundles(&self) -> Arc<TrustBundles> {
        Arc::clone(self.0.current.load().bundles())
    }

    /// The clock that certificates are judged by.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.0.settings.clock
    }

    pub(in crate::tls) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Tells of each replacement from now on.
    pub(in crate::tls) fn subscribe(&self) -> Replaced {
        self.0.replaced.subscribe()
    }

    /// What is in use, good or not.
    pub(in crate::tls) fn held(&self) -> Snapshot<Generation> {
        self.0.current.snapshot()
    }

    /// Whether a chain that was good would be so now, by these roots.
    pub(in crate::tls) fn vouches_for(
        &self,
        bundles: &Arc<TrustBundles>,
        chain: &[CertificateDer<'_>],
        role: Role,
    ) -> bool {
        let settings = &self.0.settings;
        let verifier = Verifier::new(Arc::clone(bundles), settings, Expected::Anyone);
        chain.split_first().is_some_and(|(leaf, rest)| {
            let verdict = verifier.verify(leaf, rest, role, settings.clock.unix());
            verdict.is_ok()
        })
    }

    /// The generation for one handshake; refused once our own certificate has ended, or was withdrawn.
    pub(in crate::tls) fn current(&self) -> Result<Snapshot<Generation>, Refusal> {
        if self.0.withdrawn.load(Ordering::Acquire) {
            return Err(Reason::NoIdentity.into());
        }
        let current = self.0.current.snapshot();
        let (now, end) = (self.0.settings.clock.now(), current.not_after());
        if now > end {
            let ago = Long(now.duration_since(end).unwrap_or_default());
            let text = format_args!(
                "our own certificate ended on {}, {ago} ago by our clock: renew it where it is issued, or set the clock right",
                On(end)
            );
            return Err(Refusal::with(Reason::OwnIdentityExpired, text));
        }
        Ok(current)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let current = self.0.current.load();
        f.debug_struct("Credentials")
            .field("id", current.id())
            .field("generation", &self.generation())
            .finish_non_exhaustive()
    }
}

/// Tells who waits that the identity was replaced.
pub(in crate::tls) type Replaced = watch::Receiver<()>;
