use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::unknown_host::UnknownHost;
use crate::tls::{HandshakeError, Reason};

/// Why no connection to an upstream could be made, and where it was tried last.
///
/// `Display` says which host and address; the reason is its [`source`](Error::source).
#[derive(Clone, Debug)]
pub struct ConnectError(Arc<Called>);

#[derive(Debug)]
struct Called {
    /// Host and port of the call.
    authority: Box<str>,
    failure: Arc<Failure>,
}

/// Why there is no connection for a call; each call that waited for it gets its own copy.
#[derive(Clone, Debug)]
pub(in crate::mesh) enum NoConnection {
    Dial(Arc<Failure>),
    /// There is one, and HTTP could not begin on it.
    Http(Arc<hyper::Error>),
    /// The runtime that was to make it has ended.
    Abandoned,
}

impl From<Failure> for NoConnection {
    fn from(failure: Failure) -> Self {
        Self::Dial(Arc::new(failure))
    }
}

impl From<hyper::Error> for NoConnection {
    fn from(error: hyper::Error) -> Self {
        Self::Http(Arc::new(error))
    }
}

/// Why it failed, and where.
#[derive(Debug)]
pub(in crate::mesh) struct Failure {
    address: Option<SocketAddr>,
    kind: Kind,
}

#[derive(Debug)]
pub(in crate::mesh) enum Kind {
    UnknownHost(UnknownHost),
    /// DNS knows no address of these names, of those that it was asked for before.
    Unresolved(Box<str>),
    /// DNS was asked for this name and gave no answer.
    Lookup(Box<str>, io::Error),
    Io(io::Error),
    Handshake(HandshakeError),
}

impl ConnectError {
    pub(in crate::mesh) fn new(authority: &str, failure: impl Into<Arc<Failure>>) -> Self {
        // A user that the URI names belongs in no log.
        let host = authority.rsplit('@').next().unwrap_or_default();
        Self(Arc::new(Called {
            authority: host.into(),
            failure: failure.into(),
        }))
    }

    fn kind(&self) -> &Kind {
        &self.0.failure.kind
    }

    /// Whether no upstream is configured for the host.
    #[must_use]
    pub fn is_unknown_host(&self) -> bool {
        matches!(self.kind(), Kind::UnknownHost(_))
    }

    /// Whether DNS knows no address of the host, or of the names of its
    /// [`upstream`](crate::mesh::MeshBuilder::upstream).
    #[must_use]
    pub fn is_unresolved(&self) -> bool {
        matches!(self.kind(), Kind::Unresolved(_) | Kind::Lookup(..))
    }

    /// The address that was tried, the last one of several.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.0.failure.address
    }

    /// Why the TLS handshake failed, when it did, or no TCP connection was there for it.
    #[must_use]
    pub fn handshake(&self) -> Option<&HandshakeError> {
        match self.kind() {
            Kind::Handshake(error) => Some(error),
            Kind::UnknownHost(_) | Kind::Unresolved(_) | Kind::Lookup(..) | Kind::Io(_) => None,
        }
    }
}

impl Failure {
    pub(in crate::mesh) fn at(address: SocketAddr, kind: impl Into<Kind>) -> Self {
        Self {
            address: Some(address),
            kind: kind.into(),
        }
    }

    /// DNS knows no address of these names.
    pub(in crate::mesh) fn unresolved(names: String) -> Self {
        Kind::Unresolved(names.into()).into()
    }

    /// DNS could not be asked for this name.
    pub(in crate::mesh) fn lookup(name: &str, error: io::Error) -> Self {
        Kind::Lookup(name.into(), error).into()
    }
}

impl<K: Into<Kind>> From<K> for Failure {
    fn from(kind: K) -> Self {
        Self {
            address: None,
            kind: kind.into(),
        }
    }
}

impl From<UnknownHost> for Kind {
    fn from(unknown: UnknownHost) -> Self {
        Self::UnknownHost(unknown)
    }
}

impl From<HandshakeError> for Kind {
    fn from(error: HandshakeError) -> Self {
        Self::Handshake(error)
    }
}

impl From<io::Error> for Kind {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Kind::UnknownHost(unknown) = self.kind() {
            return unknown.fmt(f);
        }
        write!(f, "no connection to {}", self.0.authority)?;
        if let Some(address) = self.address() {
            write!(f, " at {address}")?;
        }
        match self.kind() {
            Kind::UnknownHost(_) | Kind::Io(_) => Ok(()),
            Kind::Unresolved(names) => write!(f, ": DNS knows no address of {names}"),
            Kind::Lookup(name, _) => write!(f, ": DNS gives no address of {name}"),
            Kind::Handshake(error) if error.is_plaintext() => f.write_str(
                ": the server speaks plaintext, not TLS: let it serve by mutual TLS (Mesh::serve), or call it as MeshBuilder::outside with ExternalHost::plaintext",
            ),
            Kind::Handshake(_) => Ok(()),
        }
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self.kind() {
            Kind::UnknownHost(_) | Kind::Unresolved(_) => None,
            Kind::Lookup(_, error) | Kind::Io(error) => Some(error),
            // The sentence above says it all.
            Kind::Handshake(error) if error.is_plaintext() => None,
            // That there is no connection is said above, too.
            Kind::Handshake(error) if error.reason() == Reason::Unreachable => error.source(),
            Kind::Handshake(error) => Some(error),
        }
    }
}
