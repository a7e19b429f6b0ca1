//! Judges a peer's chain by SPIFFE's rules, and the peer's id by what was expected.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls_pki_types::UnixTime;
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, RevocationCheckDepth,
    RevocationOptions, RevocationOptionsBuilder, UnknownStatusPolicy, VerifiedPath,
};

use crate::identity::{SpiffeId, TrustDomain};
use crate::tls::dates::{Ago, Long, On};
use crate::tls::identity::allowed::{AllowedIds, few};
use crate::tls::identity::bundle::{TrustBundles, UnknownStatus};
use crate::tls::identity::leaf::{self, Leaf};
use crate::tls::reason::{Reason, Refusal, refusal};

use super::rustls_verifier::{JudgeChain, PeerChain, Role};
use super::settings::Settings;
use super::unsigned::{self, Judges};

/// Judges the chain of a peer, in either direction, by SPIFFE's rules.
///
/// It checks in this order: the number of certificates, the leaf's one id, the bundle of that id's
/// trust domain, a path to one of its roots, the rules for leaf and intermediates that a path
/// builder does not know, and whether the id is one of those expected. The name that the client
/// asked for does not matter, and DNS names only have to be well-formed. The stock verifiers know
/// none of these rules, so neither is used.
#[derive(Debug)]
pub(super) struct Verifier {
    bundles: Arc<TrustBundles>,
    algorithms: WebPkiSupportedAlgorithms,
    expected: Expected,
}

/// The identities that are accepted.
#[derive(Clone, Debug)]
pub(super) enum Expected {
    /// Every identity that a bundle vouches for; policy decides the rest.
    Anyone,
    /// Only the ids that may answer at a destination.
    Allowed(AllowedIds),
}

impl JudgeChain for Verifier {
    fn verify(&self, shown: &PeerChain<'_>) -> Result<SpiffeId, Refusal> {
        // Counts before parsing anything: path building over a hundred similar certificates costs a
        // tenth of a second (RUSTSEC-2023-0053).
        if shown.intermediates.len() >= MAX_CERTIFICATES {
            return Err(Reason::ChainTooLong.into());
        }
        let read = Leaf::read(shown.leaf)?;
        match self.judge(&read, shown) {
            Ok(()) => Ok(read.id),
            // The refusal already names the id.
            Err(refusal) if refusal.reason() == Reason::IdNotAllowed => Err(refusal),
            // Names the id. The id is not proven when the chain was refused.
            Err(refusal) => Err(refusal.about(&read.id)),
        }
    }
}

impl Verifier {
    pub(super) fn new(bundles: Arc<TrustBundles>, settings: &Settings, expected: Expected) -> Self {
        Self {
            bundles,
            algorithms: settings.algorithms(),
            expected,
        }
    }

    fn judge(&self, read: &Leaf, shown: &PeerChain<'_>) -> Result<(), Refusal> {
        let domain = read.id.trust_domain();
        let now = system_time(shown.now);
        let anchors = self.bundles.anchors(domain, now);
        let anchors = anchors.ok_or_else(|| untrusted(domain, &self.bundles))?;
        // The path builder ignores the expiry of roots.
        if anchors.is_empty() {
            let end = self.bundles.not_after(domain);
            let end = end.unwrap_or(SystemTime::UNIX_EPOCH);
            return Err(refusal!(
                Reason::Expired,
                "every root of trust domain {domain} has ended, the last on {}: \
                 give the roots that are in use now, or set the clock right",
                Ago { end, now }
            ));
        }
        let usage = match shown.role {
            Role::Client => KeyUsage::client_auth(),
            Role::Server => KeyUsage::server_auth(),
        };
        let refusal = |error: webpki::Error| match refusal(&error, read) {
            known if known.reason() == Reason::UnknownIssuer => {
                let judges = Judges {
                    domain,
                    roots: &anchors,
                    ended: self.bundles.ended(domain, now),
                    algorithms: self.algorithms.all,
                    now,
                };
                unsigned::refusal(shown.leaf, shown.intermediates, &judges)
            }
            known => known,
        };
        let parsed = EndEntityCert::try_from(shown.leaf).map_err(refusal)?;
        let verify = |lists: &[&CertRevocationList<'_>], unknown| {
            let revocation = revocation(lists, unknown);
            let path = parsed.verify_for_usage(
                self.algorithms.all,
                &anchors,
                shown.intermediates,
                shown.now,
                usage,
                revocation,
                Some(&intermediates_may_sign),
            );
            path.map(drop)
        };
        let lists: Vec<_> = self
            .bundles
            .revoked(domain)
            .iter()
            .map(Arc::as_ref)
            .collect();
        verify(&lists, self.bundles.unknown_status(domain)).map_err(refusal)?;
        // The path builder asks only the first of several lists of one issuer. The others are asked
        // one by one, for revoked certificates alone.
        for (index, list) in lists.iter().enumerate() {
            let mut before = lists.iter().take(index);
            let is_later = before.any(|other| other.issuer() == list.issuer());
            let verdict = |list| verify(&[list], UnknownStatus::Passes);
            if is_later && verdict(list) == Err(webpki::Error::CertRevoked) {
                return Err(Reason::Revoked.into());
            }
        }
        read.check()?;
        match &self.expected {
            Expected::Allowed(allowed) if !allowed.allows(&read.id) => Err(refusal!(
                Reason::IdNotAllowed,
                "expected {}, got {}: another workload answers at this address, or the id expected there is wrong",
                allowed.in_words(),
                read.id
            )),
            Expected::Anyone | Expected::Allowed(_) => Ok(()),
        }
    }
}

fn system_time(time: UnixTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs())
}

/// Looks up every certificate below the root. Without lists, nothing is looked up.
fn revocation<'a>(
    lists: &'a [&'a CertRevocationList<'a>],
    unknown: UnknownStatus,
) -> Option<RevocationOptions<'a>> {
    let (unknown, ended) = match unknown {
        UnknownStatus::Passes => (UnknownStatusPolicy::Allow, ExpirationPolicy::Ignore),
        UnknownStatus::Refused => (UnknownStatusPolicy::Deny, ExpirationPolicy::Enforce),
    };
    let options = RevocationOptionsBuilder::new(lists).ok()?;
    let options = options
        .with_depth(RevocationCheckDepth::Chain)
        .with_status_policy(unknown)
        .with_expiration_policy(ended);
    Some(options.build())
}

/// The path builder checks only CA:TRUE; this also refuses a CA that may not sign certificates (RFC
/// 5280 §4.2.1.3).
fn intermediates_may_sign(path: &VerifiedPath<'_>) -> Result<(), webpki::Error> {
    let mut intermediates = path.intermediate_certificates();
    if intermediates.all(|certificate| leaf::may_sign(&certificate.der())) {
        Ok(())
    } else {
        Err(webpki::Error::EndEntityUsedAsCa)
    }
}

/// The refusal for an error of the path builder. A rule that the leaf is known to break says more
/// than the error.
fn refusal(error: &webpki::Error, leaf: &Leaf) -> Refusal {
    use webpki::Error;
    let reason = match error {
        Error::CertExpired { time, not_after } => {
            let (end, now) = (system_time(*not_after), system_time(*time));
            return refusal!(
                Reason::Expired,
                "{} ended on {}: issue it anew, or set the clock right",
                which(leaf.not_after == end),
                Ago { end, now }
            );
        }
        Error::CertNotValidYet { time, not_before } => {
            let (begin, now) = (system_time(*not_before), system_time(*time));
            return refusal!(
                Reason::NotYetValid,
                "{} begins on {}, in {} by our clock: wait, or set the clock right, ours or its issuer's",
                which(leaf.not_before == begin),
                On(begin),
                Long(begin.duration_since(now).unwrap_or_default())
            );
        }
        Error::UnsupportedCriticalExtension => {
            let text = "a certificate of the chain has a critical extension that is not known: \
                issue it without that, or with it as one that is not critical";
            return Refusal::with(Reason::BadCertificate, text);
        }
        Error::InvalidCertValidity => {
            let text = "a certificate of the chain ends before it begins: issue it anew";
            return Refusal::with(Reason::BadCertificate, text);
        }
        Error::CaUsedAsEndEntity => Reason::LeafIsCa,
        Error::EndEntityUsedAsCa | Error::PathLenConstraintViolated => Reason::Intermediate,
        Error::SignatureAlgorithmMismatch
        | Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => Reason::BadSignature,
        Error::MaximumPathBuildCallsExceeded
        | Error::MaximumPathDepthExceeded
        | Error::MaximumSignatureChecksExceeded => Reason::ChainTooLong,
        Error::MalformedNameConstraint
        | Error::MaximumNameConstraintComparisonsExceeded
        | Error::NameConstraintViolation => Reason::NameConstraints,
        Error::EmptyEkuExtension | Error::RequiredEkuNotFoundContext(_) => Reason::ExtendedKeyUsage,
        Error::CertRevoked => Reason::Revoked,
        Error::UnknownRevocationStatus
        | Error::CrlExpired { .. }
        | Error::InvalidCrlSignatureForPublicKey
        | Error::IssuerNotCrlSigner => Reason::Revocation,
        // Authorities with the same name and different keys are common (each Istio mesh has its
        // `O=cluster.local`), so a bad signature mostly means that another authority signed.
        Error::InvalidSignatureForPublicKey | Error::UnknownIssuer => Reason::UnknownIssuer,
        _ => Reason::BadCertificate,
    };
    match leaf.check() {
        Err(refusal) if refusal.reason() == reason => refusal,
        _ => Refusal::new(reason),
    }
}

fn which(is_leaf: bool) -> &'static str {
    if is_leaf {
        "the leaf"
    } else {
        "an intermediate certificate"
    }
}

fn untrusted(domain: &TrustDomain, bundles: &TrustBundles) -> Refusal {
    let known: Vec<_> = bundles.trust_domains().collect();
    let known = match known.as_slice() {
        [] => "nor for any other".to_owned(),
        known => format!("only for {}", few(known, "and")),
    };
    refusal!(
        Reason::UntrustedDomain,
        "no roots are held for trust domain {domain}, {known}: \
         give its roots, as `tls::Files::trust` does, or use a certificate of a trust domain that has some"
    )
}

/// Leaf included. The path builder itself stops at six intermediates.
const MAX_CERTIFICATES: usize = 8;
