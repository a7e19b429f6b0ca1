use std::fmt;
use std::time::SystemTime;

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroize;

use crate::identity::SpiffeId;

use super::bundle::TrustBundles;
use super::leaf::Leaf;
use super::reason::{Reason, Refusal};

/// Who we are and whom we trust, as one unit: what a source delivers and what is swapped whole.
#[derive(Clone, Debug)]
pub struct Identity {
    svid: X509Svid,
    bundles: TrustBundles,
}

impl Identity {
    /// An identity with the roots to judge others by.
    #[must_use]
    pub fn new(svid: X509Svid, bundles: TrustBundles) -> Self {
        Self { svid, bundles }
    }

    /// Our certificate and key.
    #[must_use]
    pub fn svid(&self) -> &X509Svid {
        &self.svid
    }

    /// The roots we judge others by.
    #[must_use]
    pub fn bundles(&self) -> &TrustBundles {
        &self.bundles
    }
}

/// A SPIFFE X.509 identity document with its private key: the certificate chain, leaf first, and the key of the leaf.
///
/// The key is wiped from memory on drop, and never printed.
#[derive(Clone)]
pub struct X509Svid {
    id: SpiffeId,
    not_before: SystemTime,
    not_after: SystemTime,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKey,
}

impl X509Svid {
    /// An identity from its chain, leaf first, and the leaf's key.
    ///
    /// That the key belongs to the chain, and that the chain holds, is judged when the identity is put to use.
    ///
    /// # Errors
    /// When the chain is empty, or its leaf has no SPIFFE id or breaks a rule of X.509-SVID.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, IdentityError> {
        let key = PrivateKey(key);
        let first = chain
            .first()
            .ok_or_else(|| IdentityError::new(Reason::NoCertificate, "the chain is empty"))?;
        let leaf = Leaf::read(first)?;
        leaf.check()?;
        Ok(Self {
            id: leaf.id,
            not_before: leaf.not_before,
            not_after: leaf.not_after,
            chain,
            key,
        })
    }

    /// An identity from PEM text: the chain, leaf first, and the key (PKCS #8, SEC 1 or PKCS #1).
    ///
    /// # Errors
    /// As [`new`](Self::new), and when a text is not PEM. No error holds anything of the key's text.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| {
                IdentityError::new(Reason::BadCertificate, "the certificates are not PEM")
            })?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| {
            let text = match error {
                pem::Error::NoItemsFound => "no private key found",
                _ => "the private key is not PEM",
            };
            IdentityError::new(Reason::KeyMismatch, text)
        })?;
        Self::new(chain, key)
    }

    /// The id that the leaf holds.
    #[must_use]
    pub fn spiffe_id(&self) -> &SpiffeId {
        &self.id
    }

    /// When the leaf begins to be valid.
    #[must_use]
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// When the leaf ends.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// The certificates, leaf first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    pub(super) fn key(&self) -> &PrivateKeyDer<'static> {
        &self.key.0
    }
}

impl fmt::Debug for X509Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("X509Svid")
            .field("id", &self.id)
            .field("not_after", &self.not_after)
            .field("chain", &self.chain.len())
            .finish_non_exhaustive()
    }
}

/// Key bytes that are wiped on drop, which the bare type does not do.
struct PrivateKey(PrivateKeyDer<'static>);

impl Clone for PrivateKey {
    fn clone(&self) -> Self {
        Self(self.0.clone_key())
    }
}

impl Drop for PrivateKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Why an identity cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityError {
    refusal: Refusal,
}

impl IdentityError {
    pub(super) fn new(reason: Reason, text: impl fmt::Display) -> Self {
        Self {
            refusal: Refusal::with(reason, text),
        }
    }

    /// Which rule it breaks.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.refusal.reason()
    }
}

impl From<Refusal> for IdentityError {
    fn from(refusal: Refusal) -> Self {
        Self { refusal }
    }
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the identity cannot be used: {}", self.refusal)
    }
}

impl std::error::Error for IdentityError {}
