//! What acceptor and connector share: the error, and the peer of a finished handshake.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use rustls::{AlertDescription, CertificateError, InvalidMessage, ProtocolVersion};
use tokio::net::TcpStream;
use tokio::time::error::Elapsed;
use tokio::time::{Duration, timeout};

use crate::context::{Peer, TlsFacts};
use crate::identity::PeerCertificate;
use crate::tls::connection::stream::Stream;
use crate::tls::credentials::settings::{group_name, suite_name};
use crate::tls::credentials::unsigned::harmless;
use crate::tls::identity::leaf::Leaf;
use crate::tls::reason::{Reason, Refusal, refusal};

/// A handshake that failed.
///
/// [`reason`](Self::reason) names the rule, for our own logs and metrics. The peer sees a bare TLS
/// alert.
#[derive(Debug)]
pub struct HandshakeError {
    refusal: Refusal,
    source: Option<io::Error>,
    is_plaintext: bool,
}

impl HandshakeError {
    pub(super) fn new(reason: Reason) -> Self {
        Refusal::new(reason).into()
    }

    /// The TCP connection failed.
    pub(super) fn unreachable(error: io::Error) -> Self {
        Self {
            source: Some(error),
            ..Self::new(Reason::Unreachable)
        }
    }

    /// Which rule refused.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.refusal.reason()
    }

    /// Whether the other side sent something other than TLS records, as a plaintext server does.
    #[must_use]
    pub fn is_plaintext(&self) -> bool {
        self.is_plaintext
    }
}

impl From<Refusal> for HandshakeError {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            source: None,
            is_plaintext: false,
        }
    }
}

impl From<rustls::Error> for HandshakeError {
    fn from(error: rustls::Error) -> Self {
        Self {
            is_plaintext: matches!(
                error,
                rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)
            ),
            // The refusal repeats all that the error says, so it is not the source.
            ..refusal(&error).into()
        }
    }
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        match error.downcast::<rustls::Error>() {
            Ok(tls) => tls.into(),
            Err(error) => Self {
                source: Some(error),
                ..Self::new(Reason::Closed)
            },
        }
    }
}

impl From<Elapsed> for HandshakeError {
    fn from(_: Elapsed) -> Self {
        Self::new(Reason::Timeout)
    }
}

/// The refusal for an error of rustls. Our own refusals come back unchanged.
fn refusal(error: &rustls::Error) -> Refusal {
    use rustls::Error;
    match error {
        Error::InvalidCertificate(CertificateError::Other(other)) => {
            let own = other.0.downcast_ref::<Refusal>();
            own.cloned()
                .unwrap_or_else(|| Reason::BadCertificate.into())
        }
        Error::InvalidCertificate(CertificateError::BadSignature) => Reason::BadSignature.into(),
        Error::InvalidCertificate(error) => of_outside(error),
        Error::NoCertificatesPresented => Reason::NoCertificate.into(),
        Error::NoApplicationProtocol
        | Error::AlertReceived(AlertDescription::NoApplicationProtocol) => Reason::Alpn.into(),
        Error::AlertReceived(alert) => refusal!(
            Reason::PeerRefused,
            "the other side refused us with the alert {alert:?}: its log says why"
        ),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => refusal!(
            Reason::Tls,
            "the other side did not send TLS: does it speak plaintext on this port?"
        ),
        other => Refusal::with(Reason::Tls, harmless(&other.to_string())),
    }
}

/// What the provider's own verifier finds wrong with the certificate of a server outside the mesh.
fn of_outside(error: &CertificateError) -> Refusal {
    let text = match error {
        CertificateError::UnknownIssuer => {
            "the server's certificate is signed by none of the roots that are trusted for it: \
             trust the root that signed it, or have the server show its whole chain"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired: have it renewed, or correct the clock"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet: correct the clock"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the server's certificate is not for the host that is called: call it by a name that it has"
        }
        other => {
            return refusal!(
                Reason::BadCertificate,
                "the server's certificate is refused: {}",
                harmless(&other.to_string())
            );
        }
    };
    Refusal::with(Reason::BadCertificate, text)
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if matches!(self.reason(), Reason::Unreachable | Reason::ProxyHeader) {
            return write!(f, "{}", self.refusal);
        }
        write!(f, "TLS handshake failed: {}", self.refusal)
    }
}

impl std::error::Error for HandshakeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|error| error as _)
    }
}

/// Opens a TCP connection within a time limit.
pub(super) async fn connect_tcp(
    address: SocketAddr,
    limit: Duration,
) -> Result<TcpStream, HandshakeError> {
    let connecting = timeout(limit, TcpStream::connect(address));
    let stream = connecting.await?.map_err(HandshakeError::unreachable)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The peer of a stream whose handshake is done.
pub(super) fn peer<S>(
    stream: &Stream<S>,
    remote: SocketAddr,
    local: SocketAddr,
) -> Result<Peer, HandshakeError> {
    let Some(state) = stream.mutual() else {
        return Ok(match stream.is_tls() {
            true => Peer::other_tls(remote, local),
            false => Peer::plaintext(remote, local),
        });
    };
    let leaf = state.peer_certificates().and_then(<[_]>::first);
    // INVARIANT: both verifiers demand a certificate and have read this very leaf; a handshake
    // without a certificate has failed before.
    let leaf = Leaf::read(leaf.ok_or_else(|| Refusal::new(Reason::NoCertificate))?)?;
    let version = match state.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => Some("TLSv1.2"),
        Some(ProtocolVersion::TLSv1_3) => Some("TLSv1.3"),
        _ => None,
    };
    let facts = TlsFacts {
        certificate: Some(PeerCertificate::from_spiffe_id(leaf.id)),
        certificate_sha256: stream.peer_certificate_sha256(),
        not_after: Some(leaf.not_after),
        version,
        cipher_suite: state
            .negotiated_cipher_suite()
            .and_then(|suite| suite_name(suite.suite())),
        key_exchange: state
            .negotiated_key_exchange_group()
            .and_then(|group| group_name(group.name())),
        sni: stream
            .server_name()
            .map(|name| name.to_ascii_lowercase().into()),
        alpn: state.alpn_protocol().map(Into::into),
    };
    Ok(Peer::tls(remote, local, facts))
}

/// How long a handshake may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandshakeTimeouts {
    /// Until the first byte; 10 s by default.
    pub first_byte: Duration,
    /// From the first byte to the end; 10 s by default.
    pub handshake: Duration,
}

impl Default for HandshakeTimeouts {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
        }
    }
}
