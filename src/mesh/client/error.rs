//! The error of a call.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, InvalidUri};
use http::{StatusCode, Uri};

use super::head_timeout::Over;
use super::pool::connect_error::ConnectError;
use super::pool::connection::broken::Break;
use super::pool::unknown_host::UnknownHost;
use crate::message::{CallFailure, ResponseFlags};
use crate::tls::HandshakeError;

/// The error of a call that got no response.
///
/// `Display` writes what failed; [`source`](Error::source) gives the cause, one level at a time.
#[derive(Debug)]
pub struct ClientError {
    kind: Kind,
    /// Whether it was tried again, in vain.
    is_retried: bool,
}

#[derive(Debug)]
enum Kind {
    Malformed(Box<str>),
    Uri(InvalidUri),
    UnknownHost(UnknownHost),
    Connect(ConnectError),
    Timeout {
        /// Host and port of the call.
        authority: Box<str>,
        after: Duration,
        /// The status that tonic's clients derive from this error.
        #[cfg(feature = "tonic")]
        status: Option<tonic::Status>,
    },
    /// The request for which the call is made has no time left; nothing was sent.
    OutOfTime {
        authority: Box<str>,
        #[cfg(feature = "tonic")]
        status: Option<tonic::Status>,
    },
    /// The connection was made, and then ended or broke HTTP.
    Broken {
        authority: Box<str>,
        error: Arc<hyper::Error>,
    },
    /// The runtime that made the connection has shut down.
    Abandoned(Box<str>),
}

impl ClientError {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            is_retried: false,
        }
    }

    /// The last of several tries failed with this error.
    pub(super) fn after_retries(mut self, is_retried: bool) -> Self {
        self.is_retried = is_retried;
        self
    }

    /// A request that cannot be sent.
    pub(super) fn malformed(mistake: impl Into<Box<str>>) -> Self {
        Self::new(Kind::Malformed(mistake.into()))
    }

    /// A text that is not a URI.
    pub(super) fn uri(error: InvalidUri) -> Self {
        Self::new(Kind::Uri(error))
    }

    /// A URI without `http` or `https`. The error shows `words`, the same URI, with `http://`.
    pub(super) fn no_scheme(words: Option<&Uri>) -> Self {
        const SENTENCE: &str = "the URI of a call begins with http:// or https://";
        let words = words.filter(|uri| !uri.to_string().contains('@'));
        let Some(authority) = words.and_then(Uri::authority) else {
            return Self::malformed(format!("{SENTENCE}: write http://charts.default/ say"));
        };
        // A path may name people, and errors are often logged, so the path is left out.
        let whole = format!("http://{authority}/...");
        let shown = whole.get(..LONGEST_SHOWN).unwrap_or(&whole);
        Self::malformed(format!("{SENTENCE}: write {shown}"))
    }

    pub(super) fn unknown_host(unknown: UnknownHost) -> Self {
        Self::new(Kind::UnknownHost(unknown))
    }

    pub(super) fn connect(error: ConnectError) -> Self {
        Self::new(Kind::Connect(error))
    }

    /// The response head did not arrive in time.
    pub(super) fn timeout(authority: Option<&Authority>, over: Over) -> Self {
        Self::new(Kind::Timeout {
            authority: named(authority),
            after: over.after,
            #[cfg(feature = "tonic")]
            status: over
                .is_deadline
                .then(|| tonic::Status::deadline_exceeded("the time of grpc-timeout is over")),
        })
    }

    /// The caller of the request for which the call is made waits no longer.
    pub(super) fn out_of_time(authority: Option<&Authority>, is_grpc: bool) -> Self {
        #[cfg(not(feature = "tonic"))]
        let _ = is_grpc;
        Self::new(Kind::OutOfTime {
            authority: named(authority),
            #[cfg(feature = "tonic")]
            status: is_grpc
                .then(|| tonic::Status::deadline_exceeded("the time of the request is over")),
        })
    }

    pub(super) fn broken(authority: Option<&Authority>, error: Arc<hyper::Error>) -> Self {
        let authority = named(authority);
        Self::new(Kind::Broken { authority, error })
    }

    pub(super) fn abandoned(authority: Option<&Authority>) -> Self {
        Self::new(Kind::Abandoned(named(authority)))
    }

    /// The future was polled after it had ended.
    pub(super) fn ended() -> Self {
        Self::malformed("the future of a call is polled after its end")
    }

    /// Whether no upstream is configured for the host of the call.
    #[must_use]
    pub fn is_unknown_host(&self) -> bool {
        matches!(self.kind, Kind::UnknownHost(_))
    }

    /// Whether no connection could be made. Nothing of the call was sent.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        matches!(self.kind, Kind::Connect(_) | Kind::Abandoned(_))
    }

    /// Whether the response head did not arrive in time: see
    /// [`ClientOptions::response_timeout`](crate::mesh::ClientOptions::response_timeout). The
    /// server may have processed the request. Also `true` where nothing was sent, because the
    /// request for which the call was made had no time left.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.kind, Kind::Timeout { .. } | Kind::OutOfTime { .. })
    }

    /// Why no connection could be made, if the call failed for that reason.
    #[must_use]
    pub fn connect_error(&self) -> Option<&ConnectError> {
        match &self.kind {
            Kind::Connect(error) => Some(error),
            _ => None,
        }
    }

    /// Why the TLS handshake failed, if it did.
    #[must_use]
    pub fn handshake(&self) -> Option<&HandshakeError> {
        self.connect_error().and_then(ConnectError::handshake)
    }

    /// Envoy's response flags for this error: `NR`, `UF`, `UH` (the upstream has no address), `DF`
    /// (DNS did not answer), `UT`, `UC` (the connection ended), `UR` (the server reset the stream),
    /// `LR` (we did) or `UPE` (the server broke HTTP); and `URX` before it if the call was tried
    /// more than once.
    #[must_use]
    pub fn flags(&self) -> ResponseFlags {
        let flag = match &self.kind {
            Kind::Malformed(_) | Kind::Uri(_) | Kind::UnknownHost(_) => ResponseFlags::NO_ROUTE,
            Kind::Timeout { .. } | Kind::OutOfTime { .. } => ResponseFlags::UPSTREAM_TIMEOUT,
            Kind::Connect(error) => error.flags(),
            Kind::Abandoned(_) => ResponseFlags::UPSTREAM_CONNECTION_FAILURE,
            Kind::Broken { error, .. } => Break::of(error).flag(),
        };
        match self.is_retried {
            true => flag.union(ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED),
            false => flag,
        }
    }

    /// What the access log says of this error, in Envoy's words.
    pub(super) fn logged(&self) -> CallFailure {
        let reset = |why: &str| format!("upstream_reset_before_response_started{{{why}}}");
        let (details, transport) = match &self.kind {
            Kind::Malformed(_) | Kind::Uri(_) | Kind::UnknownHost(_) => {
                ("route_not_found".to_owned(), None)
            }
            Kind::Connect(error) if error.is_unknown_host() => ("route_not_found".to_owned(), None),
            Kind::Connect(error) if error.is_unresolved() => {
                ("no_healthy_upstream".to_owned(), None)
            }
            Kind::Connect(error) => match error.transport_failure() {
                Some(why) => {
                    let details = reset(&format!("remote_connection_failure|{why}"));
                    (details, Some(why.into()))
                }
                None => (reset("connection_timeout"), None),
            },
            Kind::Abandoned(_) => (reset("local_connection_failure"), None),
            Kind::Timeout { .. } | Kind::OutOfTime { .. } => ("response_timeout".to_owned(), None),
            Kind::Broken { error, .. } => (reset(Break::of(error).details()), None),
        };
        CallFailure {
            details: details.into(),
            transport,
            address: self.connect_error().and_then(ConnectError::address),
        }
    }

    /// The status that Envoy would answer with in place of this error.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match &self.kind {
            Kind::Malformed(_) | Kind::Uri(_) | Kind::UnknownHost(_) => StatusCode::NOT_FOUND,
            Kind::Timeout { .. } | Kind::OutOfTime { .. } => StatusCode::GATEWAY_TIMEOUT,
            Kind::Broken { error, .. } => Break::of(error).status(),
            Kind::Connect(_) | Kind::Abandoned(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Malformed(mistake) => f.write_str(mistake),
            Kind::Uri(_) => f.write_str("the URI of the call cannot be read"),
            Kind::UnknownHost(unknown) => unknown.fmt(f),
            Kind::Connect(error) => error.fmt(f),
            Kind::Timeout {
                authority, after, ..
            } => {
                write!(f, "no response from {authority} within {after:?}")
            }
            Kind::OutOfTime { authority, .. } => write!(
                f,
                "no call to {authority}: the caller of this request waits no longer"
            ),
            Kind::Abandoned(authority) => write!(
                f,
                "no connection to {authority}: the runtime that made it has ended"
            ),
            Kind::Broken { authority, .. } => {
                write!(
                    f,
                    "the connection to {authority} ended before a response came"
                )
            }
        }
    }
}

impl Error for ClientError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            #[cfg(feature = "tonic")]
            Kind::Timeout {
                status: Some(status),
                ..
            }
            | Kind::OutOfTime {
                status: Some(status),
                ..
            } => Some(status),
            Kind::Malformed(_)
            | Kind::UnknownHost(_)
            | Kind::Timeout { .. }
            | Kind::OutOfTime { .. }
            | Kind::Abandoned(_) => None,
            Kind::Uri(error) => Some(error),
            // `Display` has already written this error, so its cause is next.
            Kind::Connect(error) => error.source(),
            Kind::Broken { error, .. } => Some(&**error),
        }
    }
}

/// The authority without a user.
fn named(authority: Option<&Authority>) -> Box<str> {
    let authority = authority.map_or("the server", Authority::as_str);
    authority.rsplit('@').next().unwrap_or_default().into()
}

const LONGEST_SHOWN: usize = 120;
