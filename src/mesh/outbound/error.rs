use std::error::Error;
use std::fmt;

use http::{StatusCode, Uri};
use hyper_util::client::legacy;

use crate::mesh::connect::ConnectError;
use crate::message::ResponseFlags;
use crate::tls::HandshakeError;

/// A call that got no response.
#[derive(Debug)]
pub struct ClientError {
    kind: Kind,
    /// The host that was called.
    host: Option<Box<str>>,
}

#[derive(Debug)]
enum Kind {
    Malformed(&'static str),
    UnknownHost,
    Connect(ConnectError),
    Hyper(legacy::Error),
}

impl ClientError {
    /// A request that can be sent nowhere.
    pub(super) fn malformed(mistake: &'static str) -> Self {
        Self {
            kind: Kind::Malformed(mistake),
            host: None,
        }
    }

    pub(super) fn unknown_host(uri: &Uri) -> Self {
        Self {
            kind: Kind::UnknownHost,
            host: uri.host().map(Into::into),
        }
    }

    pub(super) fn connect(error: ConnectError) -> Self {
        Self {
            kind: Kind::Connect(error),
            host: None,
        }
    }

    pub(super) fn hyper(error: legacy::Error) -> Self {
        Self {
            kind: Kind::Hyper(error),
            host: None,
        }
    }

    /// Whether no upstream is configured for the host of the call.
    #[must_use]
    pub fn is_unknown_host(&self) -> bool {
        matches!(self.kind, Kind::UnknownHost)
    }

    /// Whether no connection could be made, so that nothing of the call was sent.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        match &self.kind {
            Kind::Malformed(_) | Kind::UnknownHost => false,
            Kind::Connect(_) => true,
            Kind::Hyper(error) => error.is_connect(),
        }
    }

    /// Why the TLS handshake failed, when it did.
    #[must_use]
    pub fn handshake(&self) -> Option<&HandshakeError> {
        self.connecting().and_then(ConnectError::handshake)
    }

    fn connecting(&self) -> Option<&ConnectError> {
        let mut source = self.source();
        while let Some(error) = source {
            if let Some(error) = error.downcast_ref() {
                return Some(error);
            }
            source = error.source();
        }
        None
    }

    /// Whether the server says that it has not touched the call (RFC 9113 §6.8 and §8.7), so that it may be sent again whatever it is.
    pub(super) fn is_untouched(&self) -> bool {
        let mut source = self.source();
        while let Some(error) = source {
            if let Some(error) = error.downcast_ref::<h2::Error>() {
                let goes_away = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
                let refused =
                    error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
                return error.is_remote() && (goes_away || refused);
            }
            source = error.source();
        }
        false
    }

    /// Whether it waited for a connection that another call was making, which failed or gave up. hyper's pool says so in words alone.
    pub(super) fn is_abandoned(&self) -> bool {
        let source = self.source().and_then(Error::source);
        self.is_connect() && source.is_some_and(|source| source.to_string() == ABANDONED)
    }

    /// Envoy's response flags for it: `NR`, `UF` or `UC`.
    #[must_use]
    pub fn flags(&self) -> ResponseFlags {
        match &self.kind {
            Kind::Malformed(_) | Kind::UnknownHost => ResponseFlags::NO_ROUTE,
            Kind::Connect(_) => ResponseFlags::UPSTREAM_CONNECTION_FAILURE,
            Kind::Hyper(error) if error.is_connect() => ResponseFlags::UPSTREAM_CONNECTION_FAILURE,
            Kind::Hyper(_) => ResponseFlags::UPSTREAM_CONNECTION_TERMINATION,
        }
    }

    /// The status that Envoy would answer with in its place.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match &self.kind {
            Kind::Malformed(_) | Kind::UnknownHost => StatusCode::NOT_FOUND,
            Kind::Connect(_) | Kind::Hyper(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.kind, self.connecting()) {
            (Kind::Malformed(mistake), _) => f.write_str(mistake),
            (Kind::UnknownHost, _) => {
                let host = self.host.as_deref().unwrap_or("(none)");
                write!(f, "no upstream is configured for host {host:?}")
            }
            (Kind::Connect(_) | Kind::Hyper(_), Some(error)) => error.fmt(f),
            (Kind::Connect(_), None) => f.write_str("no connection"),
            (Kind::Hyper(error), None) if error.is_connect() => f.write_str("no connection"),
            (Kind::Hyper(_), None) => f.write_str("the connection ended before a response came"),
        }
    }
}

impl Error for ClientError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            Kind::Malformed(_) | Kind::UnknownHost => None,
            Kind::Connect(error) => Some(error),
            Kind::Hyper(error) => Some(error),
        }
    }
}

const ABANDONED: &str = "request was canceled";
