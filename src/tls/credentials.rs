use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use rustls::client::Resumption;
use rustls::server::{ClientHello, NoServerSessionStorage};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::CertificateDer;
use tokio::sync::watch;

use crate::identity::SpiffeId;
use crate::live::{Live, Snapshot};

use super::bundle::TrustBundles;
use super::identity::{Identity, IdentityError, X509Svid};
use super::lifetime::Replaced;
use super::reason::{Reason, Refusal};
use super::settings::Settings;
use super::verifier::{Expected, Role, Verifier};

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
        Ok(Self(Arc::new(Shared {
            settings,
            current: Live::new(first),
            withdrawn: AtomicBool::new(false),
            replaced: watch::Sender::new(()),
        })))
    }

    /// Puts another identity to use, whole, from the next handshake on. Says whether anything changed.
    ///
    /// # Errors
    /// As [`new`](Self::new), and when it holds another id, or ends earlier than the held one under the same roots. The held one then stays.
    pub fn replace(&self, identity: &Identity) -> Result<bool, IdentityError> {
        let held = self.0.current.snapshot();
        let withdrawn = self.0.withdrawn.load(Ordering::Acquire);
        if held.is(identity) && !withdrawn {
            return Ok(false);
        }
        let svid = identity.svid();
        if *svid.spiffe_id() != held.id {
            return Err(IdentityError::new(Reason::IdNotAllowed, svid.spiffe_id()));
        }
        if *identity.bundles() == *held.bundles && svid.not_after() < held.not_after {
            return Err(IdentityError::new(
                Reason::Expired,
                "it ends earlier than the one in use",
            ));
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
        self.0.current.load().id.clone()
    }

    /// When our certificate ends.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.0.current.load().not_after
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

    /// The roots in use.
    #[must_use]
    pub fn bundles(&self) -> Arc<TrustBundles> {
        Arc::clone(&self.0.current.load().bundles)
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Tells of each replacement from now on.
    pub(super) fn subscribe(&self) -> Replaced {
        self.0.replaced.subscribe()
    }

    /// Whether a chain that was good would be so now.
    pub(super) fn vouches_for(&self, chain: &[CertificateDer<'_>], role: Role) -> bool {
        let settings = &self.0.settings;
        let algorithms = settings.provider.crypto.signature_verification_algorithms;
        let verifier = Verifier::new(self.bundles(), algorithms, Expected::Anyone);
        chain.split_first().is_some_and(|(leaf, rest)| {
            let verdict = verifier.verify(leaf, rest, role, settings.clock.unix());
            verdict.is_ok()
        })
    }

    /// The generation for one handshake; refused once our own certificate has ended, or was withdrawn.
    pub(super) fn current(&self) -> Result<Snapshot<Generation>, Refusal> {
        if self.0.withdrawn.load(Ordering::Acquire) {
            return Err(Reason::NoIdentity.into());
        }
        let current = self.0.current.snapshot();
        if self.0.settings.clock.now() > current.not_after {
            return Err(Reason::OwnIdentityExpired.into());
        }
        Ok(current)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let current = self.0.current.load();
        f.debug_struct("Credentials")
            .field("id", &current.id)
            .field("generation", &self.generation())
            .finish_non_exhaustive()
    }
}

/// One identity, made ready for handshakes.
pub(super) struct Generation {
    id: SpiffeId,
    not_after: SystemTime,
    chain: Vec<CertificateDer<'static>>,
    bundles: Arc<TrustBundles>,
    key: Arc<SingleCertAndKey>,
    server: Arc<ServerConfig>,
    server_without_alpn: Arc<ServerConfig>,
}

impl Generation {
    fn new(identity: &Identity, settings: &Settings) -> Result<Self, IdentityError> {
        let svid = identity.svid();
        let key = (settings.provider.load_key)(svid.key()).map_err(|_| {
            IdentityError::new(Reason::KeyMismatch, "the private key cannot be read")
        })?;
        let certified = CertifiedKey::new(svid.chain().to_vec(), key);
        certified.keys_match().map_err(|_| {
            IdentityError::new(
                Reason::KeyMismatch,
                "the private key is not the certificate's",
            )
        })?;
        let bundles = Arc::new(identity.bundles().clone());
        judge_as_peers_will(svid, &bundles, settings)?;
        let key = Arc::new(SingleCertAndKey::from(certified));
        let mut server = server_config(&bundles, &key, settings)?;
        let server_without_alpn = Arc::new(server.clone());
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            id: svid.spiffe_id().clone(),
            not_after: svid.not_after(),
            chain: svid.chain().to_vec(),
            bundles,
            key,
            server: Arc::new(server),
            server_without_alpn,
        })
    }

    /// For a client that offers these protocols.
    ///
    /// Istio's TCP clusters offer `istio-peer-exchange` and `istio` only. Such a client is answered without ALPN, and then speaks HTTP all the
    /// same; any other without a protocol of ours is refused.
    pub(super) fn server_config(&self, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
        let mut istio = false;
        for protocol in hello.alpn().into_iter().flatten() {
            match protocol {
                b"h2" | b"http/1.1" => return Arc::clone(&self.server),
                other => istio |= other.starts_with(b"istio"),
            }
        }
        if istio {
            Arc::clone(&self.server_without_alpn)
        } else {
            Arc::clone(&self.server)
        }
    }

    /// For one connection to one of these ids.
    pub(super) fn client_config(
        &self,
        expected: Arc<[SpiffeId]>,
        alpn: &[&[u8]],
        settings: &Settings,
    ) -> Result<ClientConfig, rustls::Error> {
        let crypto = &settings.provider.crypto;
        let verifier = Verifier::new(
            Arc::clone(&self.bundles),
            crypto.signature_verification_algorithms,
            Expected::OneOf(expected),
        );
        let mut config = ClientConfig::builder_with_details(
            Arc::clone(crypto),
            Arc::new(settings.clock.clone()),
        )
        .with_protocol_versions(settings.versions())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::clone(&self.key) as _);
        config.resumption = Resumption::disabled();
        config.cert_compressors = Vec::new();
        config.cert_decompressors = Vec::new();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(config)
    }

    fn is(&self, identity: &Identity) -> bool {
        self.chain == identity.svid().chain() && *self.bundles == *identity.bundles()
    }
}

fn server_config(
    bundles: &Arc<TrustBundles>,
    key: &Arc<SingleCertAndKey>,
    settings: &Settings,
) -> Result<ServerConfig, IdentityError> {
    let crypto = &settings.provider.crypto;
    let verifier = Verifier::new(
        Arc::clone(bundles),
        crypto.signature_verification_algorithms,
        Expected::Anyone,
    );
    let mut config =
        ServerConfig::builder_with_details(Arc::clone(crypto), Arc::new(settings.clock.clone()))
            .with_protocol_versions(settings.versions())
            .map_err(|error| IdentityError::new(Reason::Tls, error))?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::clone(key) as _);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.send_half_rtt_data = false;
    config.cert_compressors = Vec::new();
    config.cert_decompressors = Vec::new();
    Ok(config)
}

/// An identity that a peer with our bundles would refuse is not put to use (it would only fail later, on every call).
fn judge_as_peers_will(
    svid: &X509Svid,
    bundles: &Arc<TrustBundles>,
    settings: &Settings,
) -> Result<(), Refusal> {
    let algorithms = settings.provider.crypto.signature_verification_algorithms;
    let verifier = Verifier::new(Arc::clone(bundles), algorithms, Expected::Anyone);
    let (leaf, rest) = svid.chain().split_first().ok_or(Reason::NoCertificate)?;
    for role in [Role::Client, Role::Server] {
        verifier.verify(leaf, rest, role, settings.clock.unix())?;
    }
    Ok(())
}
