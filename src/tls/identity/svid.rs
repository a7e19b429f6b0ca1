//! Our own identity: certificate chain, key and roots, checked and replaced as one.

use std::path::Path;
use std::time::SystemTime;

use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroize;

use crate::identity::SpiffeId;
use crate::tls::reason::{Reason, Refusal, refusal};

use super::bundle::TrustBundles;
use super::error::IdentityError;
use super::leaf::Leaf;
use super::location::TextLocation;
use super::pem::{self, CertificateBlocks, KeyBlock};

/// Our certificate and the roots that judge others, as one unit: a source returns it, and it is
/// replaced as a whole.
#[derive(Clone, Debug)]
pub struct Identity {
    svid: X509Svid,
    bundles: TrustBundles,
}

impl Identity {
    /// An identity, with the roots that judge others.
    #[must_use]
    pub fn new(svid: X509Svid, bundles: TrustBundles) -> Self {
        Self { svid, bundles }
    }

    /// Our certificate and key.
    #[must_use]
    pub fn svid(&self) -> &X509Svid {
        &self.svid
    }

    /// The roots that judge others.
    #[must_use]
    pub fn bundles(&self) -> &TrustBundles {
        &self.bundles
    }
}

/// A SPIFFE X.509 identity document with its private key: the certificate chain, leaf first, and
/// the key of the leaf.
///
/// The key is wiped from memory on drop, and never printed.
#[derive(Clone)]
pub struct X509Svid {
    leaf: Leaf,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKey,
    locations: Box<Locations>,
}

/// Where the leaf and the key were read, if they came from a text.
#[derive(Clone, Default)]
struct Locations {
    leaf: Option<TextLocation>,
    key: Option<TextLocation>,
}

impl X509Svid {
    /// An identity from its chain, leaf first, and the leaf's key.
    ///
    /// Whether the key belongs to the chain, and whether the chain is valid, is checked when the
    /// identity is first used.
    ///
    /// # Errors
    /// When the chain is empty, or its leaf has no SPIFFE id or breaks a rule of X.509-SVID.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, IdentityError> {
        Self::located(chain, key, Locations::default())
    }

    /// An identity from PEM text: every certificate of one text is the chain, leaf first, and the
    /// one key of the other text is its key (PKCS #8, SEC 1 or PKCS #1, not encrypted). Both may be
    /// the same text.
    ///
    /// # Errors
    /// As [`new`](Self::new), and when a text holds a second key, a revocation list, or a byte that
    /// is not understood; the error names the line. No error shows anything of the key's text.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        Self::from_blocks(read_chain(chain)?, read_key(key)?, [None; 2])
    }

    /// From the blocks of two texts, which may be files.
    pub(in crate::tls) fn from_blocks(
        chain: CertificateBlocks,
        key: KeyBlock,
        [chain_file, key_file]: [Option<&Path>; 2],
    ) -> Result<Self, IdentityError> {
        let location = |text, line, file: Option<&Path>| TextLocation {
            file: file.map(Path::to_owned),
            ..TextLocation::text(text).line(line)
        };
        let locations = Locations {
            leaf: chain
                .first()
                .map(|leaf| location(CHAIN, leaf.line, chain_file)),
            key: Some(location(KEY, key.line, key_file)),
        };
        let chain = chain.into_iter().map(|block| block.value).collect();
        Self::located(chain, key.value, locations)
    }

    fn located(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        locations: Locations,
    ) -> Result<Self, IdentityError> {
        let key = PrivateKey(key);
        let leaf = first_leaf(&chain)
            .map_err(|refusal| IdentityError::from(refusal).maybe_at(locations.leaf.as_ref()))?;
        Ok(Self {
            leaf,
            chain,
            key,
            locations: Box::new(locations),
        })
    }

    /// The id that the leaf holds.
    #[must_use]
    pub fn spiffe_id(&self) -> &SpiffeId {
        &self.leaf.id
    }

    /// When the leaf begins to be valid.
    #[must_use]
    pub fn not_before(&self) -> SystemTime {
        self.leaf.not_before
    }

    /// When the leaf expires.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.leaf.not_after
    }

    /// The certificates, leaf first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    pub(in crate::tls) fn key(&self) -> &PrivateKeyDer<'static> {
        &self.key.0
    }

    /// Adds to an error about the chain where the chain was read.
    pub(in crate::tls) fn chain_error(&self, error: impl Into<IdentityError>) -> IdentityError {
        error.into().maybe_at(self.locations.leaf.as_ref())
    }

    /// Adds to an error about the key where the key was read.
    pub(in crate::tls) fn key_error(&self, error: impl Into<IdentityError>) -> IdentityError {
        error.into().maybe_at(self.locations.key.as_ref())
    }

    /// The file of the chain, for errors.
    pub(in crate::tls) fn chain_file(&self) -> Option<&Path> {
        self.locations.leaf.as_ref()?.file.as_deref()
    }
}

debug_fields!(X509Svid(svid) {
    id = svid.leaf.id,
    not_after = svid.leaf.not_after,
    chain = svid.chain.len()
});

/// Reads the leaf of a chain, which must be its first certificate.
fn first_leaf(chain: &[CertificateDer<'_>]) -> Result<Leaf, Refusal> {
    let read = |der| {
        let leaf = Leaf::read(der)?;
        leaf.check()?;
        Ok(leaf)
    };
    let (first, rest) = chain.split_first().ok_or_else(no_certificate)?;
    read(first).map_err(|refusal: Refusal| {
        let later = rest.iter().position(|der| read(der).is_ok());
        let Some(index) = later else {
            return refusal;
        };
        let (number, count) = (index + 2, chain.len());
        refusal!(
            refusal.reason(),
            "the chain begins with another certificate than its leaf, which is number {number} of {count}: \
             put the leaf first, and after each certificate the one that signed it"
        )
    })
}

fn no_certificate() -> Refusal {
    Refusal::with(
        Reason::NoCertificate,
        "no certificate found: give the chain, leaf first, each certificate as a -----BEGIN CERTIFICATE----- block",
    )
}

/// The certificates of a PEM text, one at least.
pub(in crate::tls) fn read_chain(text: &[u8]) -> Result<CertificateBlocks, IdentityError> {
    let chain = pem::certificates(text)
        .map_err(|error| IdentityError::pem(Reason::BadCertificate, CHAIN, error))?;
    if chain.is_empty() {
        let refusal = if pem::contains(text, b"PRIVATE KEY-----") {
            Refusal::with(Reason::NoCertificate, KEY_FOR_CHAIN)
        } else {
            no_certificate()
        };
        return Err(IdentityError::from(refusal).at(TextLocation::text(CHAIN)));
    }
    Ok(chain)
}

/// The private key of a PEM text.
pub(in crate::tls) fn read_key(text: &[u8]) -> Result<KeyBlock, IdentityError> {
    let key = pem::private_key(text)
        .map_err(|error| IdentityError::pem(Reason::KeyMismatch, KEY, error))?;
    key.ok_or_else(|| {
        let said = if pem::contains(text, b"CERTIFICATE-----") {
            CHAIN_FOR_KEY
        } else {
            "no private key found: give the leaf's key as a -----BEGIN PRIVATE KEY----- block"
        };
        IdentityError::new(Reason::KeyMismatch, said).at(TextLocation::text(KEY))
    })
}

const KEY_FOR_CHAIN: &str =
    "no certificate found, but a private key: give the chain here, and the key in its own file";
const CHAIN_FOR_KEY: &str = "no private key found, but a certificate: give the leaf's key here, and the chain in its own file";

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

/// The names of the two texts, for errors.
const CHAIN: &str = "the chain";
const KEY: &str = "the private key";
