use std::fmt;
use std::time::SystemTime;

use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroize;

use crate::identity::SpiffeId;

use super::bundle::TrustBundles;
use super::leaf::Leaf;
use super::pem;
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

    /// An identity from PEM text: the chain, leaf first, which is every certificate of the one text, and the one key of the other (PKCS #8, SEC 1
    /// or PKCS #1, not encrypted). Both may be the same text.
    ///
    /// # Errors
    /// As [`new`](Self::new), and when a text holds a second key, a revocation list, or anything else of which not every byte is understood; the
    /// error names the line. No error holds anything of the key's text.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        Self::new(read_chain(chain)?, read_key(key)?)
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

/// The certificates of a PEM text.
pub(super) fn read_chain(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let chain = pem::certificates(text).map_err(|error| {
        IdentityError::new(Reason::BadCertificate, format_args!("the chain, {error}"))
    })?;
    Ok(chain.into_iter().map(|block| block.value).collect())
}

/// The private key of a PEM text.
pub(super) fn read_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, IdentityError> {
    let key = pem::private_key(text).map_err(|error| {
        IdentityError::new(
            Reason::KeyMismatch,
            format_args!("the private key, {error}"),
        )
    })?;
    key.ok_or_else(|| IdentityError::new(Reason::KeyMismatch, "no private key found"))
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

    /// What is wrong: the rule, and what is known beyond it.
    #[must_use]
    pub fn refusal(&self) -> &Refusal {
        &self.refusal
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
