//! Why a handshake failed, as an enum for metrics and as a sentence.

use std::fmt;

use crate::identity::SpiffeId;
use crate::log_limit::LogLimit;

use super::closed_set::closed_set;

closed_set! {
    /// Why a handshake was refused, an identity not used, or a connection not made: a closed set,
    /// fit for a metric's label.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub enum Reason {
        /// No application protocol in common.
        Alpn = "alpn": "no application protocol in common: \
            offer `h2` or `http/1.1` by ALPN, or none",
        /// The certificate cannot be read.
        BadCertificate = "bad_certificate": "a certificate cannot be read: \
            issue it as an X.509 version 3 certificate in DER, or PEM that holds it",
        /// A DNS name of the leaf has a byte outside `[A-Za-z0-9.*_-]`, so it may be another kind
        /// of name in disguise.
        BadDnsName = "bad_dns_name": "a DNS name of the leaf has a character outside `A-Z a-z 0-9 \
            . * _ -`: leave it out of subjectAltName; \
            a SPIFFE id is written as `URI:`, not as `DNS:`",
        /// A signature is wrong, or of a kind that is not accepted (SHA-1, RSA under 2048 bits).
        BadSignature = "bad_signature": "a signature does not hold, \
            or is of a kind that is refused (SHA-1, RSA under 2048 bits, DSA): \
            use ECDSA P-256, or RSA of 2048 bits or more, with SHA-256",
        /// The chain has too many certificates, or its path is too long or too costly to build.
        ChainTooLong = "chain_too_long": "the chain has too many certificates: \
            show at most 8, the leaf first, without the root",
        /// The connection ended during the handshake.
        Closed = "closed": "the other side closed the connection during the handshake",
        /// The leaf's extended key usage lacks client or server authentication.
        ExtendedKeyUsage = "extended_key_usage": "the extendedKeyUsage of a certificate in the \
            chain does not allow this: \
            write `extendedKeyUsage=serverAuth,clientAuth` for the leaf, and none for its issuers",
        /// The certificate has expired.
        Expired = "expired": "a certificate of the chain has expired: issue a new one",
        /// The client's first message is too long.
        HelloTooLong = "hello_too_long": "the client's first message is too long",
        /// A valid identity that is not one of those expected.
        IdNotAllowed = "id_not_allowed": "the id is not one of those expected",
        /// An intermediate certificate breaks a rule (not a CA, may not sign, path length).
        Intermediate = "intermediate": "an intermediate certificate may not sign the one below it: \
            it needs `basicConstraints=critical,CA:TRUE`, with a pathlen that leaves room, \
            and `keyUsage=critical,keyCertSign`",
        /// The private key does not belong to the certificate.
        KeyMismatch = "key_mismatch": "the private key does not belong to the certificate",
        /// The leaf's key usage is absent, not critical, or not that of a leaf.
        KeyUsage = "key_usage": "the leaf's keyUsage is not that of a leaf: \
            write `keyUsage=critical,digitalSignature`",
        /// The leaf is a CA.
        LeafIsCa = "leaf_is_ca": "the leaf is a CA (basicConstraints CA:TRUE), which signs others \
            and is no workload: issue a leaf below it, with `basicConstraints=critical,CA:FALSE`",
        /// The chain holds name constraints that cannot be judged, or are broken.
        NameConstraints = "name_constraints": "an issuer in the chain has nameConstraints that are \
            broken or cannot be judged: issue it without nameConstraints on URI names",
        /// The peer showed no certificate.
        NoCertificate = "no_certificate": "the other side showed no certificate, \
            and only callers with one are taken here: \
            give it one, or set the port's PeerAuthentication to PERMISSIVE",
        /// Our own identity was withdrawn, so it makes no handshake.
        NoIdentity = "no_identity": "our own identity was withdrawn by its source: \
            none is used until the source gives another",
        /// The leaf has no URI name, or one that is not the SPIFFE id of a workload.
        NoSpiffeId = "no_spiffe_id": "the leaf has no URI name, and SPIFFE asks for one: \
            add `subjectAltName=URI:spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT`",
        /// The certificate is not valid yet.
        NotYetValid = "not_yet_valid": "a certificate of the chain is not valid yet: \
            correct the clocks",
        /// Our own identity has expired, so it makes no handshake.
        OwnIdentityExpired = "own_identity_expired": "our own certificate has expired: \
            renew it at its issuer",
        /// The peer refused us; its alert is in the error.
        PeerRefused = "peer_refused": "the other side refused us: its log says why",
        /// Plaintext on a port that takes only mutual TLS.
        PlaintextRefused = "plaintext_refused": "plaintext on a port that takes mutual TLS alone: \
            call it by TLS with a certificate, or set the port's PeerAuthentication to PERMISSIVE",
        /// A trusted proxy's connection does not begin with a PROXY header that can be read.
        ProxyHeader = "proxy_header": "the connection does not begin with a PROXY header that can \
            be read: have the proxy send one of version 2",
        /// The revocation status is unknown: the issuer has no list, or its list has expired or is
        /// not valid.
        Revocation = "revocation": "the revocation status of a certificate of the chain is \
            unknown: give a revocation list of each issuer that has not expired",
        /// Revoked by its issuer.
        Revoked = "revoked": "a certificate of the chain was revoked by its issuer: issue another",
        /// More than one URI name.
        SanCount = "san_count": "the leaf has several URI names, and SPIFFE asks for exactly one: \
            leave its SPIFFE id alone in subjectAltName",
        /// The peer took too long.
        Timeout = "timeout": "the other side took too long",
        /// The bytes are not valid TLS: garbage, no common version or cipher, …
        Tls = "tls": "the other side sent bytes that are not valid TLS",
        /// Too many handshakes at once.
        TooMany = "too_many": "too many handshakes at once",
        /// Too many connections of one source that have sent nothing.
        TooManySilent = "too_many_silent": "too many connections of one address that have sent \
            nothing",
        /// The trust domain's bundle does not vouch for the chain.
        UnknownIssuer = "unknown_issuer": "no root of its trust domain signed the certificate: put \
            the missing intermediate after the leaf, or the root that signed it among the roots",
        /// The TCP connection failed.
        Unreachable = "unreachable": "no TCP connection",
        /// No bundle is held for the id's trust domain.
        UntrustedDomain = "untrusted_domain": "no roots are held for its trust domain",
    }
}

/// A limit on log lines for each reason, so that many lines of one reason hide no other reason.
#[derive(Debug)]
pub(super) struct LimitByReason([LogLimit; Reason::ALL.len()]);

impl LimitByReason {
    pub(super) const fn new() -> Self {
        Self([const { LogLimit::new() }; Reason::ALL.len()])
    }

    pub(super) fn get(&self, reason: Reason) -> &LogLimit {
        let [first, ..] = &self.0;
        self.0.get(reason.index()).unwrap_or(first)
    }
}

/// For connections that are refused.
pub(super) static REFUSED: LimitByReason = LimitByReason::new();

/// A refusal by a rule of this module: the reason, and a sentence that says what is wrong and how
/// to correct it.
///
/// `Display` writes the sentence, after the peer's id if that is known. It never repeats bytes of a
/// peer that were not checked to be harmless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    reason: Reason,
    sentence: Option<Box<str>>,
    about: Option<SpiffeId>,
}

/// Makes a [`Refusal`] from a [`Reason`] and a sentence that is more specific than the reason's
/// own. The sentence takes arguments as `format!` does:
///
/// ```text
/// refusal!(Reason::Expired, "the certificate expired at {not_after}")
/// ```
macro_rules! refusal {
    ($reason:expr, $($sentence:tt)+) => {
        $crate::tls::reason::Refusal::with($reason, format_args!($($sentence)+))
    };
}

pub(super) use refusal;

impl Refusal {
    pub(super) fn new(reason: Reason) -> Self {
        Self {
            reason,
            sentence: None,
            about: None,
        }
    }

    /// With a sentence that says more than the reason does.
    pub(super) fn with(reason: Reason, sentence: impl fmt::Display) -> Self {
        Self {
            sentence: Some(sentence.to_string().into()),
            ..Self::new(reason)
        }
    }

    /// Begins with the peer's id.
    pub(super) fn about(mut self, id: &SpiffeId) -> Self {
        self.about = Some(id.clone());
        self
    }

    /// The rule that refused.
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
        if let Some(id) = &self.about {
            write!(f, "{id}: ")?;
        }
        let sentence = self.sentence.as_deref();
        f.write_str(sentence.unwrap_or_else(|| self.reason.sentence()))
    }
}

impl std::error::Error for Refusal {}
