use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, RevocationCheckDepth,
    RevocationOptions, RevocationOptionsBuilder, UnknownStatusPolicy, VerifiedPath,
};

use crate::identity::{SpiffeId, TrustDomain};
use crate::tls::dates::{Long, On};
use crate::tls::identity::allowed::{AllowedIds, few};
use crate::tls::identity::bundle::{TrustBundles, UnknownStatus};
use crate::tls::identity::leaf::{self, Leaf};
use crate::tls::reason::{Reason, Refusal};

use super::rustls_verifier::{JudgeChain, Role};
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
    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        role: Role,
        now: UnixTime,
    ) -> Result<SpiffeId, Refusal> {
        // Counts before parsing anything: path building over a hundred similar certificates costs a
        // tenth of a second (RUSTSEC-2023-0053).
        if intermediates.len() >= MAX_CERTIFICATES {
            return Err(Reason::ChainTooLong.into());
        }
        let read = Leaf::read(leaf)?;
        match self.judge(&read, leaf, intermediates, role, now) {
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

    fn judge(
        &self,
        read: &Leaf,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        role: Role,
        now: UnixTime,
    ) -> Result<(), Refusal> {
        let domain = read.id.trust_domain();
        let anchors = self.bundles.anchors(domain, system_time(now));
        let anchors = anchors.ok_or_else(|| untrusted(domain, &self.bundles))?;
        // The path builder ignores the expiry of roots.
        if anchors.is_empty() {
            let last = self.bundles.not_after(domain);
            return Err(roots_ended(domain, last, system_time(now)));
        }
        let usage = match role {
            Role::Client => KeyUsage::client_auth(),
            Role::Server => KeyUsage::server_auth(),
        };
        let refusal = |error: webpki::Error| match refusal(&error, read) {
            known if known.reason() == Reason::UnknownIssuer => {
                let judges = Judges {
                    domain,
                    roots: &anchors,
                    ended: self.bundles.ended(domain, system_time(now)),
                    algorithms: self.algorithms.all,
                    now: system_time(now),
                };
                unsigned::refusal(leaf, intermediates, &judges)
            }
            known => known,
        };
        let parsed = EndEntityCert::try_from(leaf).map_err(refusal)?;
        let verify = |lists: &[&CertRevocationList<'_>], unknown| {
            let revocation = revocation(lists, unknown);
            let path = parsed.verify_for_usage(
                self.algorithms.all,
                &anchors,
                intermediates,
                now,
                usage,
                revocation,
                Some(&intermediates_may_sign),
            );
            path.map(drop)
        };
        let lists: Vec<_> = self.bundles.revoked(domain).iter().collect();
        verify(&lists, self.bundles.unknown_status(domain)).map_err(refusal)?;
        // The path builder asks only the first of several lists of one issuer. The others are asked
        // one by one, for revoked certificates alone.
        for (index, list) in lists.iter().enumerate() {
            let mut before = lists.iter().take(index);
            let is_later = before.any(|other| other.issuer() == list.issuer());
            if is_later
                && matches!(
                    verify(&[list], UnknownStatus::Passes),
                    Err(webpki::Error::CertRevoked)
                )
            {
                return Err(Reason::Revoked.into());
            }
        }
        read.check()?;
        match &self.expected {
            Expected::Allowed(allowed) if !allowed.allows(&read.id) => {
                Err(another(&allowed.in_words(), &read.id))
            }
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
            return ended(leaf, system_time(*not_after), system_time(*time));
        }
        Error::CertNotValidYet { time, not_before } => {
            return not_begun(leaf, system_time(*not_before), system_time(*time));
        }
        Error::UnsupportedCriticalExtension => {
            return Refusal::with(
                Reason::BadCertificate,
                "a certificate of the chain has a critical extension that is not known: \
                 issue it without that, or with it as one that is not critical",
            );
        }
        Error::InvalidCertValidity => {
            return Refusal::with(
                Reason::BadCertificate,
                "a certificate of the chain ends before it begins: issue it anew",
            );
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

fn ended(leaf: &Leaf, end: SystemTime, now: SystemTime) -> Refusal {
    let which = which(leaf.not_after == end);
    let ago = Long(now.duration_since(end).unwrap_or_default());
    Refusal::with(
        Reason::Expired,
        format_args!(
            "{which} ended on {}, {ago} ago by our clock: issue it anew, or set the clock right",
            On(end)
        ),
    )
}

fn not_begun(leaf: &Leaf, begin: SystemTime, now: SystemTime) -> Refusal {
    let which = which(leaf.not_before == begin);
    let ahead = Long(begin.duration_since(now).unwrap_or_default());
    Refusal::with(
        Reason::NotYetValid,
        format_args!(
            "{which} begins on {}, in {ahead} by our clock: wait, or set the clock right, ours or its issuer's",
            On(begin)
        ),
    )
}

fn which(is_leaf: bool) -> &'static str {
    if is_leaf {
        "the leaf"
    } else {
        "an intermediate certificate"
    }
}

fn roots_ended(domain: &TrustDomain, last: Option<SystemTime>, now: SystemTime) -> Refusal {
    let last = last.unwrap_or(SystemTime::UNIX_EPOCH);
    let ago = Long(now.duration_since(last).unwrap_or_default());
    Refusal::with(
        Reason::Expired,
        format_args!(
            "every root of trust domain {domain} has ended, the last on {}, {ago} ago by our clock: \
             give the roots that are in use now, or set the clock right",
            On(last)
        ),
    )
}

fn untrusted(domain: &TrustDomain, bundles: &TrustBundles) -> Refusal {
    let known: Vec<_> = bundles.trust_domains().collect();
    let known = match known.as_slice() {
        [] => "nor for any other".to_owned(),
        known => format!("only for {}", few(known, "and")),
    };
    Refusal::with(
        Reason::UntrustedDomain,
        format_args!(
            "no roots are held for trust domain {domain}, {known}: \
             give its roots, as `tls::Files::trust` does, or use a certificate of a trust domain that has some"
        ),
    )
}

fn another(expected: &str, got: &SpiffeId) -> Refusal {
    Refusal::with(
        Reason::IdNotAllowed,
        format_args!(
            "expected {expected}, got {got}: another workload answers at this address, or the id expected there is wrong"
        ),
    )
}

/// Leaf included. The path builder itself stops at six intermediates.
const MAX_CERTIFICATES: usize = 8;
