use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use crate::identity::{SpiffeId, TrustDomain};
use crate::tls::{Identity, TrustBundles, X509Svid};

/// A throw-away certificate authority for one trust domain, made in memory; its keys are ECDSA P-256.
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
        let mut params = authority_params(&trust_domain, "root")?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, key()?).map_err(PkiError::new)?;
        Ok(Self {
            trust_domain,
            root: authority.der().clone(),
            authority,
            intermediates: Vec::new(),
        })
    }

    /// An authority below this one; what it issues carries its certificate along.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn intermediate(&self, name: &str) -> Result<Self, PkiError> {
        self.intermediate_with(name, |_| {})
    }

    /// As [`intermediate`](Self::intermediate), changed at will; for chains that are wrong.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub(crate) fn intermediate_with(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Result<Self, PkiError> {
        let mut params = authority_params(&self.trust_domain, name)?;
        change(&mut params);
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

    /// The identity of an Istio service account, good for an hour, for names `localhost` and `127.0.0.1` too, trusting this root alone.
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

    /// Issues a certificate.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn issue(&self, leaf: &Leaf) -> Result<Issued, PkiError> {
        let key = key()?;
        let certificate = leaf
            .params()?
            .signed_by(&key, &self.authority)
            .map_err(PkiError::new)?;
        let mut chain = vec![certificate.der().clone()];
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

/// What a certificate shall say: begins as a good SVID (key usage digitalSignature, critical; client and server authentication; no CA;
/// from an hour ago for an hour) and is made worse by choice.
#[derive(Clone, Debug)]
pub struct Leaf {
    uris: Vec<String>,
    dns: Vec<String>,
    ips: Vec<IpAddr>,
    common_name: Option<String>,
    not_before: SystemTime,
    not_after: SystemTime,
    key_usages: KeyUsages,
    extended: Vec<ExtendedKeyUsagePurpose>,
    is_ca: bool,
    unknown_critical: bool,
}

#[derive(Clone, Debug)]
enum KeyUsages {
    Critical(Vec<KeyUsagePurpose>),
    NotCritical,
    Absent,
}

impl Leaf {
    /// A good certificate for one SPIFFE id, which is not checked.
    #[must_use]
    pub fn workload(spiffe_id: impl Into<String>) -> Self {
        Self::without_uri().uri(spiffe_id)
    }

    /// A certificate without a URI name, such as that of a plain HTTPS server.
    #[must_use]
    pub fn without_uri() -> Self {
        let now = SystemTime::now();
        Self {
            uris: Vec::new(),
            dns: Vec::new(),
            ips: Vec::new(),
            common_name: None,
            not_before: now - HOUR,
            not_after: now + HOUR,
            key_usages: KeyUsages::Critical(vec![KeyUsagePurpose::DigitalSignature]),
            extended: vec![
                ExtendedKeyUsagePurpose::ClientAuth,
                ExtendedKeyUsagePurpose::ServerAuth,
            ],
            is_ca: false,
            unknown_critical: false,
        }
    }

    /// Adds a URI name.
    #[must_use]
    pub fn uri(mut self, uri: impl Into<String>) -> Self {
        self.uris.push(uri.into());
        self
    }

    /// Adds a DNS name.
    #[must_use]
    pub fn dns(mut self, name: impl Into<String>) -> Self {
        self.dns.push(name.into());
        self
    }

    /// Adds an address.
    #[must_use]
    pub fn ip(mut self, address: IpAddr) -> Self {
        self.ips.push(address);
        self
    }

    /// Sets the subject's common name.
    #[must_use]
    pub fn common_name(mut self, name: impl Into<String>) -> Self {
        self.common_name = Some(name.into());
        self
    }

    /// Sets when it is valid.
    #[must_use]
    pub fn valid(mut self, not_before: SystemTime, not_after: SystemTime) -> Self {
        self.not_before = not_before;
        self.not_after = not_after;
        self
    }

    /// Ended a minute ago.
    #[must_use]
    pub fn expired(self) -> Self {
        let now = SystemTime::now();
        self.valid(now - HOUR, now - Duration::from_secs(60))
    }

    /// Begins in 30 seconds.
    #[must_use]
    pub fn not_yet_valid(self) -> Self {
        let now = SystemTime::now();
        self.valid(now + Duration::from_secs(30), now + HOUR)
    }

    /// May sign certificates.
    #[must_use]
    pub fn with_cert_sign(self) -> Self {
        self.key_usages([
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyCertSign,
        ])
    }

    /// May sign revocation lists.
    #[must_use]
    pub fn with_crl_sign(self) -> Self {
        self.key_usages([KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign])
    }

    /// May not make the signatures that TLS needs.
    #[must_use]
    pub fn without_digital_signature(self) -> Self {
        self.key_usages([KeyUsagePurpose::KeyEncipherment])
    }

    /// Says nothing of key usage.
    #[must_use]
    pub fn without_key_usage(mut self) -> Self {
        self.key_usages = KeyUsages::Absent;
        self
    }

    /// Its key usage may be overlooked.
    #[must_use]
    pub fn with_key_usage_not_critical(mut self) -> Self {
        self.key_usages = KeyUsages::NotCritical;
        self
    }

    /// Says nothing of extended key usage.
    #[must_use]
    pub fn without_extended_key_usage(mut self) -> Self {
        self.extended.clear();
        self
    }

    /// For clients only.
    #[must_use]
    pub fn client_only(mut self) -> Self {
        self.extended = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self
    }

    /// For servers only.
    #[must_use]
    pub fn server_only(mut self) -> Self {
        self.extended = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self
    }

    /// For anything, said by the one purpose that means all.
    #[must_use]
    pub fn any_purpose(mut self) -> Self {
        self.extended = vec![ExtendedKeyUsagePurpose::Any];
        self
    }

    /// A CA.
    #[must_use]
    pub fn ca(mut self) -> Self {
        self.is_ca = true;
        self
    }

    /// Holds a critical extension that nobody knows.
    #[must_use]
    pub fn with_unknown_critical_extension(mut self) -> Self {
        self.unknown_critical = true;
        self
    }

    fn key_usages(mut self, usages: impl IntoIterator<Item = KeyUsagePurpose>) -> Self {
        self.key_usages = KeyUsages::Critical(usages.into_iter().collect());
        self
    }

    fn params(&self) -> Result<CertificateParams, PkiError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(name) = &self.common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        let name = |name: &String| Ia5String::try_from(name.as_str()).map_err(PkiError::new);
        for uri in &self.uris {
            params.subject_alt_names.push(SanType::URI(name(uri)?));
        }
        for dns in &self.dns {
            params.subject_alt_names.push(SanType::DnsName(name(dns)?));
        }
        let ips = self.ips.iter().copied().map(SanType::IpAddress);
        params.subject_alt_names.extend(ips);
        params.not_before = self.not_before.into();
        params.not_after = self.not_after.into();
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages.clone_from(&self.extended);
        params.is_ca = if self.is_ca {
            IsCa::Ca(BasicConstraints::Unconstrained)
        } else {
            IsCa::ExplicitNoCa
        };
        match &self.key_usages {
            KeyUsages::Critical(usages) => params.key_usages.clone_from(usages),
            KeyUsages::NotCritical => {
                // digitalSignature is the first of a BIT STRING's bits.
                let usage = CustomExtension::from_oid_content(&[2, 5, 29, 15], vec![3, 2, 7, 0x80]);
                params.custom_extensions.push(usage);
            }
            KeyUsages::Absent => {}
        }
        if self.unknown_critical {
            let mut unknown =
                CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999], vec![5, 0]);
            unknown.set_criticality(true);
            params.custom_extensions.push(unknown);
        }
        Ok(params)
    }
}

/// A certificate that could not be made.
#[derive(Debug)]
pub struct PkiError(Box<dyn std::error::Error + Send + Sync>);

impl PkiError {
    fn new(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for PkiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the test certificate cannot be made")
    }
}

impl std::error::Error for PkiError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

fn authority_params(trust_domain: &TrustDomain, name: &str) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    let now = SystemTime::now();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, trust_domain.as_str());
    params.distinguished_name.push(DnType::CommonName, name);
    let uri = Ia5String::try_from(format!("spiffe://{trust_domain}")).map_err(PkiError::new)?;
    params.subject_alt_names = vec![SanType::URI(uri)];
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = (now - HOUR).into();
    params.not_after = (now + 10 * 365 * 24 * HOUR).into();
    params.use_authority_key_identifier_extension = true;
    Ok(params)
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
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

const HOUR: Duration = Duration::from_secs(3600);
