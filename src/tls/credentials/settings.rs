//! What applies to all handshakes: cryptography, TLS versions, the clock.

use std::sync::Arc;

use rustls::crypto::hash::HashAlgorithm;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::sign::SigningKey;
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, NamedGroup, SupportedCipherSuite, SupportedProtocolVersion};
use rustls_pki_types::PrivateKeyDer;

use crate::identity::TrustDomain;
use crate::tls::clock::Clock;
use crate::tls::identity::bundle::TrustBundles;

/// What applies to all handshakes of a process: cryptography, versions, the clock.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(in crate::tls) provider: Provider,
    pub(in crate::tls) clock: Clock,
    tls_1_3_only: bool,
    trust_domains: Option<Vec<TrustDomain>>,
}

impl Settings {
    /// Settings with a provider of cryptography: TLS 1.3 preferred, TLS 1.2 accepted, the system's
    /// clock.
    #[must_use]
    pub fn new(provider: Provider) -> Self {
        Self {
            provider,
            clock: Clock::system(),
            tls_1_3_only: false,
            trust_domains: None,
        }
    }

    /// Refuses TLS 1.2. Off by default: a stock Envoy client offers nothing newer.
    #[must_use]
    pub fn tls_1_3_only(mut self) -> Self {
        self.tls_1_3_only = true;
        self
    }

    /// Allows only the post-quantum hybrid X25519MLKEM768 as key exchange, and so only TLS 1.3.
    /// With a provider that lacks it, every handshake fails.
    #[must_use]
    pub fn post_quantum_only(mut self) -> Self {
        let groups = &mut Arc::make_mut(&mut self.provider.crypto).kx_groups;
        groups.retain(|group| group.name() == NamedGroup::X25519MLKEM768);
        self.tls_1_3_only = true;
        self
    }

    setters! {
        /// Reads the time from another clock, for tests of expiry and of clocks that jump.
        clock: Clock,
    }

    /// Accepts only peers of these trust domains, even if an identity's bundles hold more. Our own
    /// must be among them. By default, all domains that have a bundle.
    #[must_use]
    pub fn trust_domains(mut self, domains: impl IntoIterator<Item = TrustDomain>) -> Self {
        self.trust_domains = Some(domains.into_iter().collect());
        self
    }

    pub(super) fn allowed(&self, bundles: &TrustBundles) -> TrustBundles {
        match &self.trust_domains {
            Some(domains) => bundles.only(domains),
            None => bundles.clone(),
        }
    }

    pub(super) fn algorithms(&self) -> WebPkiSupportedAlgorithms {
        self.provider.crypto.signature_verification_algorithms
    }

    /// SHA-256, as the provider computes it for its suites; `None` if no suite has it.
    pub(in crate::tls) fn sha256(&self, bytes: &[u8]) -> Option<[u8; 32]> {
        let suites = self.provider.crypto.cipher_suites.iter();
        let mut hashes = suites.map(|suite| match suite {
            SupportedCipherSuite::Tls12(suite) => suite.common.hash_provider,
            SupportedCipherSuite::Tls13(suite) => suite.common.hash_provider,
        });
        let sha256 = hashes.find(|hash| hash.algorithm() == HashAlgorithm::SHA256)?;
        sha256.hash(bytes).as_ref().try_into().ok()
    }

    pub(in crate::tls) fn versions(&self) -> &'static [&'static SupportedProtocolVersion] {
        if self.tls_1_3_only { NEWEST } else { BOTH }
    }
}

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
impl Default for Settings {
    fn default() -> Self {
        Self::new(Provider::default())
    }
}

/// The implementation of cryptography. It is passed in and never the process-wide default, so that
/// two libraries in one process cannot disagree.
#[derive(Clone)]
pub struct Provider {
    pub(in crate::tls) crypto: Arc<CryptoProvider>,
    pub(super) load_key: LoadKey,
}

/// Reads a key by reference, so that its bytes can be wiped afterwards. The provider's own hook
/// takes the bytes and does not wipe them.
type LoadKey = fn(&PrivateKeyDer<'_>) -> Result<Arc<dyn SigningKey>, rustls::Error>;

impl Provider {
    /// The AWS-LC provider: post-quantum key exchange first.
    #[cfg(feature = "aws-lc-rs")]
    #[must_use]
    pub fn aws_lc_rs() -> Self {
        use rustls::crypto::aws_lc_rs as room;
        Self::hardened(room::default_provider(), room::sign::any_supported_type)
    }

    /// The *ring* provider: no post-quantum key exchange.
    #[cfg(feature = "ring")]
    #[must_use]
    pub fn ring() -> Self {
        use rustls::crypto::ring as room;
        Self::hardened(room::default_provider(), room::sign::any_supported_type)
    }

    /// Keeps TLS 1.3's suites, the TLS 1.2 suites that Istio's sidecars use, and the groups
    /// X25519MLKEM768, X25519 and P-256.
    #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
    fn hardened(mut crypto: CryptoProvider, load_key: LoadKey) -> Self {
        let suites = &mut crypto.cipher_suites;
        suites.retain(|suite| SUITES.contains(&suite.suite()));
        let groups = &mut crypto.kx_groups;
        groups.retain(|group| group_name(group.name()).is_some());
        Self {
            crypto: Arc::new(crypto),
            load_key,
        }
    }
}

#[cfg(feature = "aws-lc-rs")]
impl Default for Provider {
    fn default() -> Self {
        Self::aws_lc_rs()
    }
}

#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
impl Default for Provider {
    fn default() -> Self {
        Self::ring()
    }
}

debug_fields!(Provider(provider) { key_exchange = provider.crypto.kx_groups });

static NEWEST: &[&SupportedProtocolVersion] = &[&TLS13];
static BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

/// The suites in use.
const SUITES: [CipherSuite; 7] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS13_AES_256_GCM_SHA384,
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
];

/// The IANA name of a suite in use. The library names those of TLS 1.3 in its own way.
pub(in crate::tls) fn suite_name(suite: CipherSuite) -> Option<&'static str> {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => Some("TLS_AES_128_GCM_SHA256"),
        CipherSuite::TLS13_AES_256_GCM_SHA384 => Some("TLS_AES_256_GCM_SHA384"),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => Some("TLS_CHACHA20_POLY1305_SHA256"),
        other => SUITES.contains(&other).then(|| other.as_str())?,
    }
}

/// The IANA name of a key exchange group in use.
pub(in crate::tls) fn group_name(group: NamedGroup) -> Option<&'static str> {
    match group {
        NamedGroup::X25519MLKEM768 => Some("X25519MLKEM768"),
        NamedGroup::X25519 => Some("x25519"),
        NamedGroup::secp256r1 => Some("secp256r1"),
        _ => None,
    }
}
