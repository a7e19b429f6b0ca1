//! Descriptions of test certificates, good or wrong in a chosen way.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType,
};

use crate::identity::TrustDomain;

use super::pki_error::PkiError;

/// What a certificate shall say: begins as a good SVID (key usage digitalSignature, critical;
/// client and server authentication; no CA; from an hour ago for an hour) and is made worse by
/// choice.
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

    /// For any use, by the one purpose that means all.
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

    /// Holds an unknown critical extension.
    #[must_use]
    pub fn with_unknown_critical_extension(mut self) -> Self {
        self.unknown_critical = true;
        self
    }

    fn key_usages(mut self, usages: impl IntoIterator<Item = KeyUsagePurpose>) -> Self {
        self.key_usages = KeyUsages::Critical(usages.into_iter().collect());
        self
    }

    pub(super) fn params(&self) -> Result<CertificateParams, PkiError> {
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

/// What the certificate of an authority shall say: begins as a good one and is made worse by
/// choice.
#[derive(Clone, Debug)]
pub struct Authority {
    name: String,
    is_ca: bool,
    path_length: Option<u8>,
    may_sign: bool,
    not_after: SystemTime,
    extended: Vec<ExtendedKeyUsagePurpose>,
    only_uris_of: Option<String>,
}

impl Authority {
    /// An authority of this name, valid from an hour ago for ten years.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            is_ca: true,
            path_length: None,
            may_sign: true,
            not_after: SystemTime::now() + 10 * 365 * 24 * HOUR,
            extended: Vec::new(),
            only_uris_of: None,
        }
    }

    /// Not a CA.
    #[must_use]
    pub fn not_ca(mut self) -> Self {
        self.is_ca = false;
        self
    }

    /// May have this many authorities below it.
    #[must_use]
    pub fn path_length(mut self, length: u8) -> Self {
        self.path_length = Some(length);
        self
    }

    /// A CA whose key usage leaves out the signing of certificates.
    #[must_use]
    pub fn without_cert_sign(mut self) -> Self {
        self.may_sign = false;
        self
    }

    /// Ended a minute ago.
    #[must_use]
    pub fn expired(mut self) -> Self {
        self.not_after = SystemTime::now() - Duration::from_secs(60);
        self
    }

    /// For the signing of code only.
    #[must_use]
    pub fn for_code(mut self) -> Self {
        self.extended = vec![ExtendedKeyUsagePurpose::CodeSigning];
        self
    }

    /// Constrained to URIs of this host.
    #[must_use]
    pub fn only_uris_of(mut self, host: impl Into<String>) -> Self {
        self.only_uris_of = Some(host.into());
        self
    }

    pub(super) fn params(&self, trust_domain: &TrustDomain) -> Result<CertificateParams, PkiError> {
        let uri = Ia5String::try_from(format!("spiffe://{trust_domain}"));
        let mut params = CertificateParams::default();
        params.not_before = (SystemTime::now() - HOUR).into();
        params.not_after = self.not_after.into();
        params.subject_alt_names = vec![SanType::URI(uri.map_err(PkiError::new)?)];
        params.distinguished_name = DistinguishedName::new();
        params.extended_key_usages.clone_from(&self.extended);
        params.use_authority_key_identifier_extension = true;
        let name = &mut params.distinguished_name;
        name.push(DnType::OrganizationName, trust_domain.as_str());
        name.push(DnType::CommonName, &self.name);
        params.is_ca = match self.path_length {
            _ if !self.is_ca => IsCa::ExplicitNoCa,
            Some(length) => IsCa::Ca(BasicConstraints::Constrained(length)),
            None => IsCa::Ca(BasicConstraints::Unconstrained),
        };
        params.key_usages = vec![KeyUsagePurpose::CrlSign];
        if self.may_sign {
            params.key_usages.push(KeyUsagePurpose::KeyCertSign);
        }
        if let Some(host) = &self.only_uris_of {
            let mut constraint = uri_constraint(host);
            constraint.set_criticality(true);
            params.custom_extensions.push(constraint);
        }
        Ok(params)
    }
}

/// NameConstraints with one permitted subtree, a URI's host (RFC 5280 §4.2.1.10); hosts of up to
/// 100 bytes.
fn uri_constraint(host: &str) -> CustomExtension {
    let mut der = host.as_bytes().to_vec();
    der.truncate(100);
    // From the inside out: the URI, its subtree, the permitted ones, the constraints.
    for tag in [0x86, 0x30, 0xa0, 0x30] {
        let length = u8::try_from(der.len()).unwrap_or(u8::MAX);
        der.splice(..0, [tag, length]);
    }
    CustomExtension::from_oid_content(&[2, 5, 29, 30], der)
}

const HOUR: Duration = Duration::from_secs(3600);
