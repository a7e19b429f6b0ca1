//! The roots and revocation lists that judge peers, for each trust domain.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, TrustAnchor};
use webpki::{CertRevocationList, OwnedCertRevocationList};

use crate::identity::TrustDomain;
use crate::tls::reason::{Reason, refusal};

use super::error::IdentityError;
use super::leaf;
use super::location::TextLocation;
use super::pem::{self, Located};

/// The roots that vouch for identities: one set per trust domain, never one pool (SPIFFE X.509-SVID
/// §5).
///
/// The id in a certificate selects the set that judges it, so the roots of one domain can never
/// vouch for another.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TrustBundles(BTreeMap<TrustDomain, TrustBundle>);

#[derive(Clone, Default)]
struct TrustBundle {
    certificates: Vec<CertificateDer<'static>>,
    anchors: Vec<TrustAnchor<'static>>,
    /// When each root expires; an anchor does not hold that.
    ends: Vec<Option<SystemTime>>,
    revoked: Vec<Arc<CertRevocationList<'static>>>,
    /// The lists as they came, for comparison.
    revoked_der: Vec<CertificateRevocationListDer<'static>>,
    unknown: UnknownStatus,
}

/// What happens to a certificate whose status is on no revocation list.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::tls) enum UnknownStatus {
    #[default]
    Refused,
    Passes,
}

impl TrustBundles {
    /// No domain at all: no peer is trusted.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the roots of a trust domain, and replaces those that it had. Its revocation lists stay.
    ///
    /// # Errors
    /// When there is no certificate, or one that cannot be read as a root.
    pub fn with(
        mut self,
        trust_domain: TrustDomain,
        roots: impl IntoIterator<Item = CertificateDer<'static>>,
    ) -> Result<Self, IdentityError> {
        let certificates: Vec<_> = roots.into_iter().collect();
        if certificates.is_empty() {
            return Err(refusal!(
                Reason::UntrustedDomain,
                "no root certificate found for trust domain {trust_domain}: \
                 give each as a -----BEGIN CERTIFICATE----- block"
            )
            .into());
        }
        let anchors = certificates
            .iter()
            .map(|root| webpki::anchor_from_trusted_cert(root).map(|anchor| anchor.to_owned()))
            .collect::<Result<_, _>>()
            .map_err(|_| IdentityError::new(Reason::BadCertificate, NO_ROOT))?;
        let bundle = self.0.entry(trust_domain).or_default();
        bundle.ends = certificates.iter().map(leaf::not_after).collect();
        bundle.certificates = certificates;
        bundle.anchors = anchors;
        Ok(self)
    }

    /// Adds the roots of a trust domain from PEM text: every certificate in it. Text between blocks
    /// is skipped, and so are keys.
    ///
    /// # Errors
    /// When the text holds no certificate, a certificate that cannot be read as a root, a
    /// revocation list, or a byte that is not understood (two blocks without a line break between
    /// them, a block without its end, a block of an unknown kind, …). The error names the line.
    pub fn with_pem(self, trust_domain: TrustDomain, pem: &[u8]) -> Result<Self, IdentityError> {
        let roots = read_roots(pem)?;
        self.with(trust_domain, roots)
            .map_err(|error| error.at(TextLocation::text(ROOTS)))
    }

    /// Adds revocation lists of a trust domain from PEM text, to those that it has: every list in
    /// it. Text between blocks is skipped.
    ///
    /// From then on each certificate of a chain must be covered by a list of its issuer that has
    /// not expired, and must not be revoked there. A certificate whose status is unknown is
    /// refused. Of several lists of one issuer, each can revoke; the first must also be one that
    /// has not expired.
    ///
    /// # Errors
    /// When the domain has no roots, or the text holds no list, a list that cannot be read, another
    /// kind of block, or a byte that is not understood. The error names the line.
    pub fn with_revoked_pem(
        self,
        trust_domain: &TrustDomain,
        pem: &[u8],
    ) -> Result<Self, IdentityError> {
        self.revoked_with(trust_domain, pem, UnknownStatus::Refused)
    }

    /// As [`with_revoked_pem`](Self::with_revoked_pem), but only a certificate on a list is
    /// refused. A certificate passes when its issuer has no list, and a list that has expired still
    /// counts. For domains whose lists may come late, where an outage would be worse. If lists were
    /// added by both methods, the stricter rule holds.
    ///
    /// # Errors
    /// As [`with_revoked_pem`](Self::with_revoked_pem).
    pub fn with_revoked_pem_if_known(
        self,
        trust_domain: &TrustDomain,
        pem: &[u8],
    ) -> Result<Self, IdentityError> {
        self.revoked_with(trust_domain, pem, UnknownStatus::Passes)
    }

    fn revoked_with(
        mut self,
        trust_domain: &TrustDomain,
        pem: &[u8],
        unknown: UnknownStatus,
    ) -> Result<Self, IdentityError> {
        let lists_text = TextLocation::text(LISTS);
        let bundle = self.0.get_mut(trust_domain).ok_or_else(|| {
            let refusal = refusal!(
                Reason::Revocation,
                "no roots are held for trust domain {trust_domain}, to which these lists belong: give its roots first"
            );
            IdentityError::from(refusal).at(lists_text.clone())
        })?;
        let lists = pem::revocation_lists(pem)
            .map_err(|error| IdentityError::pem(Reason::Revocation, LISTS, error))?;
        if lists.is_empty() {
            let text = "no revocation list found: give each as a -----BEGIN X509 CRL----- block";
            return Err(IdentityError::new(Reason::Revocation, text).at(lists_text));
        }
        // The stricter of two policies holds; without a list there was none yet.
        if bundle.revoked_der.is_empty() || unknown == UnknownStatus::Refused {
            bundle.unknown = unknown;
        }
        for Located { line, value } in lists {
            let list = OwnedCertRevocationList::from_der(&value).map_err(|_| {
                let error = IdentityError::new(Reason::Revocation, "a list that cannot be read");
                error.at(TextLocation::text(LISTS).line(line))
            })?;
            bundle.revoked.push(Arc::new(list.into()));
            bundle.revoked_der.push(value);
        }
        Ok(self)
    }

    /// Keeps only these domains.
    pub(in crate::tls) fn only(&self, domains: &[TrustDomain]) -> Self {
        let kept = self.0.iter().filter(|(domain, _)| domains.contains(domain));
        Self(
            kept.map(|(domain, bundle)| (domain.clone(), bundle.clone()))
                .collect(),
        )
    }

    /// When the last root of a trust domain expires, and with it everything that it vouches for;
    /// `None` for an unknown domain.
    #[must_use]
    pub fn not_after(&self, trust_domain: &TrustDomain) -> Option<SystemTime> {
        let roots = self.roots(trust_domain);
        roots.iter().filter_map(leaf::not_after).max()
    }

    /// The trust domains that have roots.
    pub fn trust_domains(&self) -> impl Iterator<Item = &TrustDomain> {
        self.0.keys()
    }

    /// The root certificates of a trust domain; empty for an unknown domain.
    #[must_use]
    pub fn roots(&self, trust_domain: &TrustDomain) -> &[CertificateDer<'static>] {
        self.0
            .get(trust_domain)
            .map_or(&[], |bundle| &bundle.certificates)
    }

    /// The revocation lists of a trust domain; empty when none are kept.
    pub(in crate::tls) fn revoked(
        &self,
        trust_domain: &TrustDomain,
    ) -> &[Arc<CertRevocationList<'static>>] {
        let bundle = self.0.get(trust_domain);
        bundle.map_or(&[], |bundle| &bundle.revoked)
    }

    /// What happens to a certificate of the domain whose status is on no list.
    pub(in crate::tls) fn unknown_status(&self, trust_domain: &TrustDomain) -> UnknownStatus {
        let bundle = self.0.get(trust_domain);
        bundle.map_or_else(UnknownStatus::default, |bundle| bundle.unknown)
    }

    /// The roots of a trust domain that have expired.
    pub(in crate::tls) fn ended(
        &self,
        trust_domain: &TrustDomain,
        now: SystemTime,
    ) -> Vec<&CertificateDer<'static>> {
        let Some(bundle) = self.0.get(trust_domain) else {
            return Vec::new();
        };
        let roots = bundle.certificates.iter().zip(&bundle.ends);
        let ended = roots.filter(|(_, end)| has_ended(end.as_ref(), now));
        ended.map(|(root, _)| root).collect()
    }

    /// The roots of a known trust domain that have not expired.
    pub(in crate::tls) fn anchors(
        &self,
        trust_domain: &TrustDomain,
        now: SystemTime,
    ) -> Option<Cow<'_, [TrustAnchor<'static>]>> {
        let bundle = self.0.get(trust_domain)?;
        let has_ended = |end: &Option<SystemTime>| has_ended(end.as_ref(), now);
        if !bundle.ends.iter().any(has_ended) {
            return Some(Cow::Borrowed(&bundle.anchors));
        }
        let anchors = bundle.anchors.iter().zip(&bundle.ends);
        let good = anchors.filter(|(_, end)| !has_ended(end));
        Some(good.map(|(anchor, _)| anchor.clone()).collect())
    }
}

fn has_ended(end: Option<&SystemTime>, now: SystemTime) -> bool {
    end.is_some_and(|end| *end < now)
}

/// Reads the certificates of a PEM text as roots.
pub(in crate::tls) fn read_roots(
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let roots = pem::certificates(pem)
        .map_err(|error| IdentityError::pem(Reason::BadCertificate, ROOTS, error))?;
    let is_root = |root: &CertificateDer<'_>| webpki::anchor_from_trusted_cert(root).is_ok();
    if let Some(bad) = roots.iter().find(|root| !is_root(&root.value)) {
        let error = IdentityError::new(Reason::BadCertificate, NO_ROOT);
        return Err(error.at(TextLocation::text(ROOTS).line(bad.line)));
    }
    Ok(roots.into_iter().map(|root| root.value).collect())
}

impl PartialEq for TrustBundle {
    fn eq(&self, other: &Self) -> bool {
        self.certificates == other.certificates
            && self.revoked_der == other.revoked_der
            && self.unknown == other.unknown
    }
}

impl Eq for TrustBundle {}

impl fmt::Debug for TrustBundles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roots = |(domain, bundle): (_, &TrustBundle)| (domain, bundle.certificates.len());
        f.debug_map().entries(self.0.iter().map(roots)).finish()
    }
}

/// The names of the texts, for errors.
const ROOTS: &str = "the roots";
const LISTS: &str = "the revocation lists";
const NO_ROOT: &str = "a certificate that cannot be read as a root";
