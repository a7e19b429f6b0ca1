//! A certificate authority for tests.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateRevocationListParams, CertifiedIssuer, KeyIdMethod, KeyPair, RevokedCertParams,
    SerialNumber,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use zeroize::Zeroizing;

use crate::identity::{SpiffeId, TrustDomain};
use crate::tls::{Identity, TrustBundles, X509Svid};

use super::certificate::{Authority, Leaf};
use super::pki_error::PkiError;

/// A throw-away certificate authority for one trust domain, made in memory; its keys are ECDSA
/// P-256.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_mesh::testing::{Leaf, Pki};
///
/// let pki = Pki::new("cluster.local")?;
/// let identity = pki.identity("default", "patients")?;
/// assert_eq!(identity.svid().spiffe_id().as_str(), "spiffe://cluster.local/ns/default/sa/patients");
///
/// // A certificate that is wrong in a way of your choice, for a test of what refuses it.
/// let expired = Leaf::workload("spiffe://cluster.local/ns/default/sa/patients").expired();
/// assert!(pki.issue(&expired).is_ok());
/// # Ok(()) }
/// ```
pub struct Pki {
    trust_domain: TrustDomain,
    authority: CertifiedIssuer<'static, KeyPair>,
    /// The certificates between a leaf and the root, nearest to the leaf first.
    intermediates: Vec<CertificateDer<'static>>,
    root: CertificateDer<'static>,
}

impl Pki {
    /// A new root for a trust domain, valid from an hour ago for ten years.
    ///
    /// # Errors
    /// When the name is not that of a trust domain.
    pub fn new(trust_domain: &str) -> Result<Self, PkiError> {
        let trust_domain = TrustDomain::new(trust_domain).map_err(PkiError::new)?;
        Self::with_root(&trust_domain, &Authority::new("root"))
    }

    /// A new root for a trust domain, whose certificate says what you choose.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn with_root(trust_domain: &TrustDomain, root: &Authority) -> Result<Self, PkiError> {
        Self::signing_with(trust_domain, root, key()?)
    }

    fn signing_with(
        trust_domain: &TrustDomain,
        root: &Authority,
        key: KeyPair,
    ) -> Result<Self, PkiError> {
        let params = root.params(trust_domain)?;
        let authority = CertifiedIssuer::self_signed(params, key).map_err(PkiError::new)?;
        Ok(Self {
            trust_domain: trust_domain.clone(),
            root: authority.der().clone(),
            authority,
            intermediates: Vec::new(),
        })
    }

    /// Goes on with a root that [`with_root`](Self::with_root) made for the same trust domain and
    /// name: its certificate and its key, each as PEM.
    ///
    /// # Errors
    /// When a text cannot be read, or the certificate is not of that name and key.
    pub fn from_pem(
        trust_domain: &TrustDomain,
        root: &Authority,
        certificate: &str,
        key: &str,
    ) -> Result<Self, PkiError> {
        let stored = CertificateDer::from_pem_slice(certificate.as_bytes());
        let stored = stored.map_err(PkiError::new)?;
        let key = KeyPair::from_pem(key).map_err(PkiError::new)?;
        let again = Self::signing_with(trust_domain, root, key)?;
        if name_and_key(&stored)? != name_and_key(&again.root)? {
            let message = "the root has another name or another key";
            return Err(PkiError::from_text(message));
        }
        Ok(Self {
            root: stored,
            ..again
        })
    }

    /// An authority below this one; what it issues carries its certificate along.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn intermediate(&self, authority: &Authority) -> Result<Self, PkiError> {
        let params = authority.params(&self.trust_domain)?;
        let authority =
            CertifiedIssuer::signed_by(params, key()?, &self.authority).map_err(PkiError::new)?;
        let mut intermediates = vec![authority.der().clone()];
        intermediates.extend_from_slice(&self.intermediates);
        Ok(Self {
            trust_domain: self.trust_domain.clone(),
            root: self.root.clone(),
            authority,
            intermediates,
        })
    }

    /// The trust domain it vouches for.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Its root certificate.
    #[must_use]
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// Its root certificate as PEM.
    #[must_use]
    pub fn root_pem(&self) -> String {
        pem("CERTIFICATE", &self.root)
    }

    /// The root's key as PEM, for a file.
    #[must_use]
    pub fn key_pem(&self) -> Zeroizing<String> {
        let key = Zeroizing::new(self.authority.key().serialize_der());
        Zeroizing::new(pem("PRIVATE KEY", &key))
    }

    /// The identity of an Istio service account, good for an hour, for names `localhost` and
    /// `127.0.0.1` too, trusting this root alone.
    ///
    /// # Errors
    /// When a part cannot be in a SPIFFE id.
    pub fn identity(&self, namespace: &str, service_account: &str) -> Result<Identity, PkiError> {
        let id = SpiffeId::istio(&self.trust_domain, namespace, service_account);
        let id = id.map_err(PkiError::new)?;
        let leaf = Leaf::workload(id.as_str())
            .dns("localhost")
            .ip(IpAddr::from([127, 0, 0, 1]));
        let svid = self.issue(&leaf)?.svid()?;
        Ok(Identity::new(svid, self.bundles()?))
    }

    /// Bundles that hold this root alone.
    ///
    /// # Errors
    /// Never with a root of our own making.
    pub fn bundles(&self) -> Result<TrustBundles, PkiError> {
        let root = [self.root.clone()];
        let bundles = TrustBundles::new().with(self.trust_domain.clone(), root);
        bundles.map_err(PkiError::new)
    }

    /// A revocation list as PEM: holds these certificates, an hour old, to be replaced by
    /// `next_update`.
    ///
    /// # Errors
    /// When a certificate cannot be read.
    pub fn revocation_list_pem(
        &self,
        revoked: &[&Issued],
        next_update: SystemTime,
    ) -> Result<String, PkiError> {
        let this_update = SystemTime::now() - Duration::from_secs(3600);
        let mut revoked_certs = Vec::new();
        for issued in revoked {
            revoked_certs.push(RevokedCertParams {
                serial_number: issued.serial()?,
                revocation_time: this_update.into(),
                reason_code: None,
                invalidity_date: None,
            });
        }
        let params = CertificateRevocationListParams {
            this_update: this_update.into(),
            next_update: next_update.into(),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.authority).map_err(PkiError::new)?;
        list.pem().map_err(PkiError::new)
    }

    /// Issues a certificate.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn issue(&self, leaf: &Leaf) -> Result<Issued, PkiError> {
        let key = key()?;
        let certificate = leaf.params()?.signed_by(&key, &self.authority);
        let mut chain = vec![certificate.map_err(PkiError::new)?.der().clone()];
        chain.extend_from_slice(&self.intermediates);
        Ok(Issued {
            chain,
            key: Zeroizing::new(key.serialize_der()),
        })
    }
}

impl fmt::Debug for Pki {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pki")
            .field("trust_domain", &self.trust_domain)
            .finish_non_exhaustive()
    }
}

/// A certificate that a [`Pki`] issued, with its key, whatever is wrong with it.
#[derive(Clone)]
pub struct Issued {
    chain: Vec<CertificateDer<'static>>,
    key: Zeroizing<Vec<u8>>,
}

impl Issued {
    /// The certificate and those up to the root, leaf first; the root is not among them.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The chain as PEM.
    #[must_use]
    pub fn chain_pem(&self) -> String {
        let texts = self.chain.iter().map(|der| pem("CERTIFICATE", der));
        texts.collect()
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.to_vec()).into()
    }

    /// The key as PEM, for a file.
    #[must_use]
    pub fn key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(pem("PRIVATE KEY", &self.key))
    }

    fn serial(&self) -> Result<SerialNumber, PkiError> {
        let leaf = self.chain.first().map(AsRef::as_ref).unwrap_or_default();
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(PkiError::new)?;
        Ok(SerialNumber::from_slice(parsed.raw_serial()))
    }

    /// The certificate as an identity of ours.
    ///
    /// # Errors
    /// When the certificate is wrong in a way that its own holder notices.
    pub fn svid(&self) -> Result<X509Svid, PkiError> {
        X509Svid::new(self.chain.clone(), self.key()).map_err(PkiError::new)
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued")
            .field("chain", &self.chain.len())
            .finish_non_exhaustive()
    }
}

/// What tells one root from the next, whenever it was made: its subject and its public key.
fn name_and_key(root: &CertificateDer<'_>) -> Result<(Vec<u8>, Vec<u8>), PkiError> {
    let (_, parsed) = X509Certificate::from_der(root).map_err(PkiError::new)?;
    let name = parsed.subject().as_raw().to_vec();
    Ok((name, parsed.public_key().raw.to_vec()))
}

fn key() -> Result<KeyPair, PkiError> {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(PkiError::new)
}

fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    let body = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der);
    for line in body.as_bytes().chunks(64) {
        text.extend(line.iter().map(|&byte| char::from(byte)));
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}
