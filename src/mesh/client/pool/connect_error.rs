//! Why a connection to an upstream could not be made.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::address::without_user;
use super::unknown_host::UnknownHost;
use crate::message::ResponseFlags;
use crate::tls::{HandshakeError, Reason};

/// Why no connection to an upstream could be made, and which address was tried last.
///
/// `Display` names the host and the address; [`source`](Error::source) gives the cause.
#[derive(Clone, Debug)]
pub struct ConnectError(Arc<Called>);

#[derive(Debug)]
struct Called {
    /// Host and port of the call.
    authority: Box<str>,
    failure: Arc<Failure>,
}

/// Why a call has no connection. Each call that waited for the same connection gets a copy.
#[derive(Clone, Debug)]
pub(in crate::mesh) enum NoConnection {
    Dial(Arc<Failure>),
    /// The connection was made, but the HTTP handshake failed.
    Http(Arc<hyper::Error>),
    /// The runtime that was making the connection has shut down.
    Abandoned,
}

impl NoConnection {
    /// Envoy's response flags for it.
    pub(in crate::mesh) fn flags(&self) -> ResponseFlags {
        match self {
            Self::Dial(_) | Self::Abandoned => ResponseFlags::UPSTREAM_CONNECTION_FAILURE,
            Self::Http(_) => ResponseFlags::UPSTREAM_CONNECTION_TERMINATION,
        }
    }
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

/// What failed, and at which address.
#[derive(Debug)]
pub(in crate::mesh) struct Failure {
    address: Option<SocketAddr>,
    kind: Kind,
}

#[derive(Debug)]
pub(in crate::mesh) enum Kind {
    UnknownHost(UnknownHost),
    /// DNS has no address for these names. The driver asked for them in advance.
    Unresolved(Box<str>),
    /// The DNS query for this name failed.
    Lookup(Box<str>, io::Error),
    Io(io::Error),
    Handshake(HandshakeError),
}

impl ConnectError {
    pub(in crate::mesh) fn new(authority: &str, failure: impl Into<Arc<Failure>>) -> Self {
        Self(Arc::new(Called {
            authority: without_user(authority).into(),
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

    /// Whether DNS has no address for the host, or for the names of its
    /// [`upstream`](crate::mesh::MeshBuilder::upstream).
    #[must_use]
    pub fn is_unresolved(&self) -> bool {
        matches!(self.kind(), Kind::Unresolved(_) | Kind::Lookup(..))
    }

    /// The last address that was tried.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.0.failure.address
    }

    /// Envoy's response flags for this error: `NR`, `UH` (DNS knows no address), `DF` (DNS did not
    /// answer) or `UF`.
    #[must_use]
    pub fn flags(&self) -> ResponseFlags {
        match self.kind() {
            Kind::UnknownHost(_) => ResponseFlags::NO_ROUTE,
            Kind::Unresolved(_) => ResponseFlags::NO_HEALTHY_UPSTREAM,
            Kind::Lookup(..) => ResponseFlags::DNS_RESOLUTION_FAILED,
            Kind::Io(_) | Kind::Handshake(_) => ResponseFlags::UPSTREAM_CONNECTION_FAILURE,
        }
    }

    /// Envoy's reason of a transport that failed; `None` if it took too long, or if there is no
    /// address to connect to.
    pub(in crate::mesh) fn transport_failure(&self) -> Option<String> {
        let refused = |error: &io::Error| match error.kind() {
            io::ErrorKind::TimedOut => None,
            _ => {
                let text = error.to_string();
                // Envoy has the text of the operating system alone.
                let text = text.split(" (os error").next().unwrap_or_default();
                Some(format!("delayed_connect_error:_{}", text.replace(' ', "_")))
            }
        };
        match self.kind() {
            Kind::UnknownHost(_) | Kind::Unresolved(_) | Kind::Lookup(..) => None,
            Kind::Io(error) => refused(error),
            Kind::Handshake(error) => match (error.reason(), error.source()) {
                (Reason::Timeout, _) => None,
                (Reason::Unreachable, Some(source)) => match source.downcast_ref() {
                    Some(error) => refused(error),
                    None => Some("delayed_connect_error".to_owned()),
                },
                (reason, _) => Some(format!("TLS_error:_{}", reason.as_str())),
            },
        }
    }

    /// Why the TLS handshake failed, or why there was no TCP connection for it.
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

    /// DNS has no address for these names.
    pub(in crate::mesh) fn unresolved(names: String) -> Self {
        Kind::Unresolved(names.into()).into()
    }

    /// The DNS query for this name failed.
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
                ": the server speaks plaintext, not TLS: let it serve by mutual TLS (Mesh::serve), \
                 or call it as MeshBuilder::outside with ExternalHost::plaintext",
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
            // `Display` has already written the whole error.
            Kind::Handshake(error) if error.is_plaintext() => None,
            // `Display` has already written that there is no connection.
            Kind::Handshake(error) if error.reason() == Reason::Unreachable => error.source(),
            Kind::Handshake(error) => Some(error),
        }
    }
}
