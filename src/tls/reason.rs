use std::fmt;

use crate::identity::SpiffeId;
use crate::log_limit::LogLimit;

/// Why a handshake was refused, an identity not taken, or a connection not made: a closed set, fit for a metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    /// No application protocol in common.
    Alpn,
    /// The certificate cannot be read.
    BadCertificate,
    /// A DNS name of the leaf has a byte outside `[A-Za-z0-9.*_-]`: a name of another kind in disguise.
    BadDnsName,
    /// The handshake's signature does not hold, or one is of a kind that is not accepted (SHA-1, RSA under 2048 bits).
    BadSignature,
    /// More certificates than are looked at, or a path too long or too costly to build.
    ChainTooLong,
    /// The connection ended during the handshake.
    Closed,
    /// The leaf names its extended key usages, and not both of client and server authentication.
    ExtendedKeyUsage,
    /// The certificate has ended.
    Expired,
    /// The client's first message is longer than is read.
    HelloTooLong,
    /// A good identity that is not one of those expected.
    IdNotAllowed,
    /// An intermediate certificate breaks a rule (not a CA, may not sign, path length).
    Intermediate,
    /// The private key does not belong to the certificate.
    KeyMismatch,
    /// The leaf's key usage is absent, not critical, or not that of a leaf.
    KeyUsage,
    /// The leaf is a CA.
    LeafIsCa,
    /// The chain holds name constraints that cannot be judged, or are broken.
    NameConstraints,
    /// The peer showed no certificate.
    NoCertificate,
    /// Our own identity was withdrawn, so no handshake is made with it.
    NoIdentity,
    /// The leaf has no URI name, or one that is not the SPIFFE id of a workload.
    NoSpiffeId,
    /// The certificate has not begun.
    NotYetValid,
    /// Our own identity has ended, so no handshake is made with it.
    OwnIdentityExpired,
    /// The peer refused us; its alert is in the error.
    PeerRefused,
    /// Plaintext on a port that takes only mutual TLS.
    PlaintextRefused,
    /// Whether it is revoked cannot be known: no list of its issuer's, or one that has ended or does not hold.
    Revocation,
    /// Revoked by its issuer.
    Revoked,
    /// More than one URI name.
    SanCount,
    /// The peer took too long.
    Timeout,
    /// Not TLS as it should be: garbage, no version or cipher in common, …
    Tls,
    /// Too many handshakes at once.
    TooMany,
    /// Too many connections of one source that have not said anything.
    TooManySilent,
    /// The trust domain's bundle does not vouch for the chain.
    UnknownIssuer,
    /// Nobody takes a TCP connection at the address.
    Unreachable,
    /// No bundle is held for the id's trust domain.
    UntrustedDomain,
}

impl Reason {
    /// Every reason, in the order of [`index`](Self::index).
    pub const ALL: &'static [Self] = &[
        Self::Alpn,
        Self::BadCertificate,
        Self::BadDnsName,
        Self::BadSignature,
        Self::ChainTooLong,
        Self::Closed,
        Self::ExtendedKeyUsage,
        Self::Expired,
        Self::HelloTooLong,
        Self::IdNotAllowed,
        Self::Intermediate,
        Self::KeyMismatch,
        Self::KeyUsage,
        Self::LeafIsCa,
        Self::NameConstraints,
        Self::NoCertificate,
        Self::NoIdentity,
        Self::NoSpiffeId,
        Self::NotYetValid,
        Self::OwnIdentityExpired,
        Self::PeerRefused,
        Self::PlaintextRefused,
        Self::Revocation,
        Self::Revoked,
        Self::SanCount,
        Self::Timeout,
        Self::Tls,
        Self::TooMany,
        Self::TooManySilent,
        Self::UnknownIssuer,
        Self::Unreachable,
        Self::UntrustedDomain,
    ];

    /// The reason as metrics and logs write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alpn => "alpn",
            Self::BadCertificate => "bad_certificate",
            Self::BadDnsName => "bad_dns_name",
            Self::BadSignature => "bad_signature",
            Self::ChainTooLong => "chain_too_long",
            Self::Closed => "closed",
            Self::ExtendedKeyUsage => "extended_key_usage",
            Self::Expired => "expired",
            Self::HelloTooLong => "hello_too_long",
            Self::IdNotAllowed => "id_not_allowed",
            Self::Intermediate => "intermediate",
            Self::KeyMismatch => "key_mismatch",
            Self::KeyUsage => "key_usage",
            Self::LeafIsCa => "leaf_is_ca",
            Self::NameConstraints => "name_constraints",
            Self::NoCertificate => "no_certificate",
            Self::NoIdentity => "no_identity",
            Self::NoSpiffeId => "no_spiffe_id",
            Self::NotYetValid => "not_yet_valid",
            Self::OwnIdentityExpired => "own_identity_expired",
            Self::PeerRefused => "peer_refused",
            Self::PlaintextRefused => "plaintext_refused",
            Self::Revocation => "revocation",
            Self::Revoked => "revoked",
            Self::SanCount => "san_count",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::TooMany => "too_many",
            Self::TooManySilent => "too_many_silent",
            Self::UnknownIssuer => "unknown_issuer",
            Self::Unreachable => "unreachable",
            Self::UntrustedDomain => "untrusted_domain",
        }
    }

    /// Its place in [`ALL`](Self::ALL).
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A limit of log lines for each reason, so that many of one hide none of another.
#[derive(Debug)]
pub(super) struct LimitByReason([LogLimit; Reason::ALL.len()]);

impl LimitByReason {
    pub(super) const fn new() -> Self {
        Self([const { LogLimit::new() }; Reason::ALL.len()])
    }

    pub(super) fn of(&self, reason: Reason) -> &LogLimit {
        let [first, ..] = &self.0;
        self.0.get(reason.index()).unwrap_or(first)
    }
}

/// Of the connections that are refused.
pub(super) static REFUSED: LimitByReason = LimitByReason::new();

/// A refusal by one of the rules of this room: the reason, and what is known beyond it.
///
/// The detail never repeats bytes of a peer that were not checked to be harmless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    reason: Reason,
    detail: Option<Box<str>>,
}

impl Refusal {
    pub(super) fn new(reason: Reason) -> Self {
        Self {
            reason,
            detail: None,
        }
    }

    pub(super) fn with(reason: Reason, detail: impl fmt::Display) -> Self {
        Self {
            reason,
            detail: Some(detail.to_string().into()),
        }
    }

    /// Says first whom it is about.
    pub(super) fn about(mut self, id: &SpiffeId) -> Self {
        let about = match &self.detail {
            Some(detail) => format!("{id}: {detail}"),
            None => id.to_string(),
        };
        self.detail = Some(about.into());
        self
    }

    /// Which rule refused.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self::new(reason)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.as_str())?;
        match &self.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}
