//! Reads a leaf certificate and applies SPIFFE's rules for it.

use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;
use x509_parser::asn1_rs::Tag;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{ExtendedKeyUsage, GeneralName, ParsedExtension, X509Extension};
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use crate::identity::SpiffeId;
use crate::tls::reason::{Reason, Refusal, refusal};

/// The contents of a leaf certificate, read once.
///
/// Reading checks only the name (SPIFFE X.509-SVID §2: exactly one URI, the id of a workload);
/// [`check`](Self::check) applies the rules that a path builder does not know. Only the id is kept,
/// because it alone selects the authority that must vouch for it. The authority of any trust domain
/// may write anything into the other names (DNS, subject, …).
#[derive(Clone, Debug)]
pub(in crate::tls) struct Leaf {
    pub(in crate::tls) id: SpiffeId,
    pub(in crate::tls) not_before: SystemTime,
    pub(in crate::tls) not_after: SystemTime,
    rules: Result<(), Refusal>,
}

impl Leaf {
    pub(in crate::tls) fn read(der: &CertificateDer<'_>) -> Result<Self, Refusal> {
        let parsed = parse(der)?;
        let names = names(&parsed)?;
        let id = match names.uris.as_slice() {
            [] => return Err(Reason::NoSpiffeId.into()),
            [only] => SpiffeId::new(only).map_err(|error| {
                refusal!(
                    Reason::NoSpiffeId,
                    "the leaf's URI name is not the SPIFFE id of a workload: {error}; \
                     write `subjectAltName=URI:spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT`"
                )
            })?,
            several @ [_, _, ..] => {
                return Err(refusal!(
                    Reason::SanCount,
                    "the leaf has {} URI names, and SPIFFE asks for exactly one: \
                     leave its SPIFFE id as the only `URI:` of subjectAltName",
                    several.len()
                ));
            }
        };
        let rules = if names.has_bad_dns {
            Err(Reason::BadDnsName.into())
        } else {
            usage(&parsed)
        };
        Ok(Self {
            id,
            not_before: time(parsed.validity().not_before),
            not_after: time(parsed.validity().not_after),
            rules,
        })
    }

    /// Applies the rules of SPIFFE X.509-SVID §4: a leaf's key usages are right, it is no CA, and
    /// its DNS names are well-formed.
    pub(in crate::tls) fn check(&self) -> Result<(), Refusal> {
        self.rules.clone()
    }
}

/// Whether this certificate may sign others: a CA whose key usage says so.
pub(in crate::tls) fn may_sign(der: &CertificateDer<'_>) -> bool {
    parse(der).is_ok_and(|parsed| {
        let usage = parsed.key_usage();
        parsed.is_ca() && usage.is_ok_and(|usage| usage.is_some_and(|u| u.value.key_cert_sign()))
    })
}

/// When a certificate expires; `None` when it cannot be read.
pub(in crate::tls) fn not_after(der: &CertificateDer<'_>) -> Option<SystemTime> {
    let parsed = parse(der).ok()?;
    Some(time(parsed.validity().not_after))
}

/// The serial number of a certificate, in hexadecimal digits.
#[cfg(all(feature = "audit", feature = "server", feature = "client"))]
pub(in crate::tls) fn serial(der: &CertificateDer<'_>) -> Option<String> {
    Some(parse(der).ok()?.tbs_certificate.raw_serial_as_string())
}

/// Reads a certificate, all of it.
pub(in crate::tls) fn parse<'a>(
    der: &'a CertificateDer<'_>,
) -> Result<X509Certificate<'a>, Refusal> {
    match X509Certificate::from_der(der) {
        Ok(([], parsed)) => Ok(parsed),
        _ => Err(Reason::BadCertificate.into()),
    }
}

/// The subject alternative names, as far as they matter.
struct Names<'a> {
    uris: Vec<&'a str>,
    /// Whether a DNS name has a byte that no host name has: such a name may be something else in
    /// disguise, for example a SPIFFE id.
    has_bad_dns: bool,
}

fn names<'a>(parsed: &'a X509Certificate<'_>) -> Result<Names<'a>, Refusal> {
    let mut names = Names {
        uris: Vec::new(),
        has_bad_dns: false,
    };
    let extension = parsed
        .subject_alternative_name()
        .map_err(|_| Reason::BadCertificate)?;
    for name in extension
        .iter()
        .flat_map(|extension| &extension.value.general_names)
    {
        match name {
            GeneralName::URI(uri) => names.uris.push(uri),
            GeneralName::DNSName(name) => names.has_bad_dns |= !name.bytes().all(is_in_host),
            // What is not even ASCII.
            GeneralName::Invalid(DNS_NAME, _) => names.has_bad_dns = true,
            GeneralName::Invalid(..) => return Err(Reason::BadCertificate.into()),
            _ => {}
        }
    }
    Ok(names)
}

/// Letters, digits and hyphens; the dot between labels; the wildcard; and the underscore that some
/// host names have against the rules.
fn is_in_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'*' | b'_' | b'-')
}

fn usage(parsed: &X509Certificate<'_>) -> Result<(), Refusal> {
    if parsed.is_ca() {
        return Err(Reason::LeafIsCa.into());
    }
    key_usage(parsed)?;
    let extended = parsed
        .extended_key_usage()
        .map_err(|_| Reason::BadCertificate)?;
    if let Some(extended) = extended {
        both_sides(extended.value)?;
    }
    let mut extensions = parsed
        .iter_extensions()
        .map(X509Extension::parsed_extension);
    if extensions.any(|extension| matches!(extension, ParsedExtension::ParseError { .. })) {
        return Err(Reason::BadCertificate.into());
    }
    Ok(())
}

/// SPIFFE X.509-SVID §4.3.
fn key_usage(parsed: &X509Certificate<'_>) -> Result<(), Refusal> {
    let wrong = |text: &str| {
        let good = "`keyUsage=critical,digitalSignature`";
        Err(refusal!(Reason::KeyUsage, "{text} {good}"))
    };
    let usage = parsed.key_usage().map_err(|_| Reason::BadCertificate)?;
    let Some(usage) = usage else {
        return wrong("the leaf lacks keyUsage, which SPIFFE asks for: add");
    };
    let value = usage.value;
    match (value.key_cert_sign(), value.crl_sign()) {
        (true, true) => {
            wrong("the leaf's keyUsage has keyCertSign and cRLSign, which are a CA's: write")
        }
        (true, false) => wrong("the leaf's keyUsage has keyCertSign, which is a CA's: write"),
        (false, true) => wrong("the leaf's keyUsage has cRLSign, which is a CA's: write"),
        (false, false) if !value.digital_signature() => {
            wrong("the leaf lacks keyUsage digitalSignature, which SPIFFE asks for: add")
        }
        (false, false) if !usage.critical => {
            wrong("the leaf's keyUsage is not critical, as SPIFFE asks: write")
        }
        (false, false) => Ok(()),
    }
}

/// A workload is client and server, so its leaf must allow both.
fn both_sides(usage: &ExtendedKeyUsage<'_>) -> Result<(), Refusal> {
    let lacks = match (usage.server_auth, usage.client_auth) {
        (true, true) => return Ok(()),
        (false, true) => "serverAuth",
        (true, false) => "clientAuth",
        (false, false) => "serverAuth and clientAuth",
    };
    Err(refusal!(
        Reason::ExtendedKeyUsage,
        "the leaf's extendedKeyUsage lacks {lacks}, and a workload is both server and client: \
         write `extendedKeyUsage=serverAuth,clientAuth`"
    ))
}

fn time(time: ASN1Time) -> SystemTime {
    // Times before 1970 count as 1970, which every rule here treats alike.
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or(0))
}

/// The context-specific tag of `dNSName` (RFC 5280 §4.2.1.6).
const DNS_NAME: Tag = Tag(2);
