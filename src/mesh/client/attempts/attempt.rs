//! One attempt of a call: pick an endpoint, send, and note how it went.

use std::error::Error;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;

use http::header::HOST;
use http::uri::{Authority, Parts, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Uri};

use super::resend::Cause;
use crate::mesh::client::body::outgoing::ClientBody;
use crate::mesh::client::error::ClientError;
use crate::mesh::client::pool::cluster::Cluster;
use crate::mesh::client::pool::connect_error::{ConnectError, Failure, NoConnection};
use crate::mesh::client::pool::connection::broken::Break;
use crate::mesh::client::pool::connection::dial::Dialer;
use crate::mesh::client::pool::connection::origin::Origin;
use crate::mesh::client::pool::endpoint::Answer;
use crate::message::CallProgress;
use crate::propagation::Tries;

/// Where a call goes and over which protocol.
#[derive(Clone, Debug)]
pub(in crate::mesh::client) struct Route {
    pub(in crate::mesh::client) dialer: Arc<Dialer>,
    pub(in crate::mesh::client) cluster: Arc<Cluster>,
    pub(in crate::mesh::client) is_http2: bool,
    /// What makes spans of attempts.
    pub(in crate::mesh::client) tries: Option<Arc<Tries>>,
    /// What the call's record learns of its attempts.
    pub(in crate::mesh::client) progress: Arc<CallProgress>,
}

/// An attempt in progress. It is boxed because hyper's own future has no name.
pub(super) type Attempt = Pin<Box<dyn Future<Output = Result<Answer, Failed>> + Send>>;

/// Why an attempt got no response.
#[derive(Debug)]
pub(super) enum Failed {
    /// The upstream has no address.
    NoEndpoint(Failure),
    /// No endpoint could be reached; this is why the last one failed, and whether others had failed
    /// before it.
    NoConnection(NoConnection, bool),
    /// The connection ended or broke HTTP.
    Broken(Arc<hyper::Error>),
    /// The future was polled after it had ended.
    Ended,
}

/// Sends a request to the first endpoint that can be reached.
pub(super) fn attempt(route: Route, mut request: Request<ClientBody>) -> Attempt {
    write_target(&mut request, route.is_http2);
    Box::pin(async move {
        let mut order = route.cluster.endpoint_order();
        let (mut failure, mut closed) = (None, 0);
        let mut is_retried = false;
        // A per-try deadline would wrap the rest of this loop.
        while let Some(candidate) = order.next(Some((&route.dialer, route.is_http2))) {
            route.progress.begins(candidate.endpoint.server.clone());
            let tried = route.tries.as_ref().map(|tries| {
                let address = candidate.endpoint.address.to_string();
                tries.begin(request.headers_mut(), address)
            });
            let checkout = candidate.endpoint.checkout(&route.dialer, route.is_http2);
            let connection = match checkout.await {
                Ok(connection) => connection,
                Err(error) => {
                    if let Some(tried) = tried {
                        tried.failed(error.flags());
                    }
                    is_retried = failure.replace(error).is_some();
                    order.pass_over(&candidate);
                    continue;
                }
            };
            route.progress.reached(connection.server());
            let origin = connection.origin;
            // The outcome of the request is known here; an outlier detector would be called next.
            let mut error = match connection.send(request).await {
                Ok(mut answer) => {
                    answer.tried = tried.map(|tried| tried.answered(&answer.response));
                    return Ok(answer);
                }
                Err(error) => error,
            };
            if let Some(tried) = tried {
                tried.failed(Break::of(error.error()).flag());
            }
            match error.take_message() {
                Some(unsent) if may_send_elsewhere(origin, &mut closed) => request = unsent,
                _ => return Err(Failed::Broken(Arc::new(error.into_error()))),
            }
        }
        Err(match failure {
            Some(error) => Failed::NoConnection(error, is_retried),
            None => Failed::NoEndpoint(Failure::unresolved(route.cluster.names())),
        })
    })
}

/// Whether a request may go to another connection after its own one closed before it was sent.
/// `closed` counts the connections for which this was another call's doing.
fn may_send_elsewhere(origin: Origin, closed: &mut u32) -> bool {
    match origin {
        // The server closed it while it was idle. The pool has already dropped it, so this ends.
        Origin::Pool => true,
        // It was open before this call had its turn. Other calls may make the next one, too, so
        // this is bounded.
        Origin::OtherDial => {
            *closed += 1;
            *closed <= MOST_CLOSED
        }
        // The server closes new connections.
        Origin::OwnDial => false,
    }
}

/// How many connections of other calls may close before one call is sent.
const MOST_CLOSED: u32 = 3;

impl Failed {
    /// The error that the caller gets.
    pub(super) fn of_call_to(self, authority: Option<&Authority>) -> ClientError {
        let connect = |failure: Arc<Failure>| {
            let authority = authority.map_or("", Authority::as_str);
            ClientError::connect(ConnectError::new(authority, failure))
        };
        match self {
            Self::NoEndpoint(failure) => connect(Arc::new(failure)),
            Self::NoConnection(no_connection, is_retried) => {
                let error = match no_connection {
                    NoConnection::Dial(failure) => connect(failure),
                    NoConnection::Http(error) => ClientError::broken(authority, error),
                    NoConnection::Abandoned => ClientError::abandoned(authority),
                };
                error.after_retries(is_retried)
            }
            Self::Broken(error) => ClientError::broken(authority, error),
            Self::Ended => ClientError::ended(),
        }
    }
}

impl From<&Failed> for Cause {
    fn from(failed: &Failed) -> Self {
        let error = match failed {
            Failed::NoConnection(NoConnection::Http(error), _) | Failed::Broken(error) => error,
            Failed::NoConnection(..) | Failed::NoEndpoint(_) | Failed::Ended => return Self::Other,
        };
        let mut source = error.source();
        while let Some(error) = source {
            if let Some(error) = error.downcast_ref::<h2::Error>() {
                let goes_away = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
                let refused =
                    error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
                return match error.is_remote() && (goes_away || refused) {
                    true => Self::Untouched,
                    false => Self::Other,
                };
            }
            source = error.source();
        }
        Self::Other
    }
}

/// Writes the request target in the form of its protocol and, for HTTP/1, the `Host` header.
fn write_target(request: &mut Request<ClientBody>, is_http2: bool) {
    let is_connect = request.method() == Method::CONNECT;
    let mut parts = mem::take(request.uri_mut()).into_parts();
    if is_connect && parts.scheme.is_none() {
        let port = parts.authority.as_ref().and_then(Authority::port_u16);
        let is_secure = port == Some(443);
        parts.scheme = Some(if is_secure {
            Scheme::HTTPS
        } else {
            Scheme::HTTP
        });
        parts.path_and_query = Some(PathAndQuery::from_static("/"));
    }
    if !is_http2 {
        let host = host_header(&parts);
        let headers = request.headers_mut();
        if let Some(host) = host
            && !headers.contains_key(HOST)
        {
            headers.insert(HOST, host);
        }
        parts.scheme = None;
        if is_connect {
            parts.path_and_query = None;
        } else {
            parts.authority = None;
        }
    }
    // The remaining parts always form a valid URI.
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
}

/// The host, with the port unless it is the scheme's default.
fn host_header(parts: &Parts) -> Option<HeaderValue> {
    let authority = parts.authority.as_ref()?;
    let scheme = parts.scheme.as_ref().map(Scheme::as_str);
    let usual = match scheme {
        Some("https" | "wss") => 443,
        _ => 80,
    };
    // A URI with a user is refused earlier, so the authority is only host and port.
    let text = match authority.port_u16() {
        Some(port) if port != usual => authority.as_str(),
        _ => authority.host(),
    };
    HeaderValue::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_outlives_connections_that_close_before_it_is_sent() {
        let mut closed = 0;
        for _ in 0..10 {
            assert!(may_send_elsewhere(Origin::Pool, &mut closed));
        }
        for allowed in [true, true, true, false] {
            assert_eq!(may_send_elsewhere(Origin::OtherDial, &mut closed), allowed);
        }
        assert!(!may_send_elsewhere(Origin::OwnDial, &mut 0));
    }

    #[test]
    fn a_target_is_written_as_its_protocol_does() {
        let rows = [
            (
                "GET",
                "http://a.default/x?y",
                "/x?y",
                Some("a.default"),
                "http://a.default/x?y",
            ),
            (
                "GET",
                "http://a.default",
                "/",
                Some("a.default"),
                "http://a.default/",
            ),
            (
                "GET",
                "http://a.default:80/",
                "/",
                Some("a.default"),
                "http://a.default:80/",
            ),
            ("GET", "https://a:80/", "/", Some("a:80"), "https://a:80/"),
            ("GET", "https://a:443/", "/", Some("a"), "https://a:443/"),
            ("GET", "wss://a:443/", "/", Some("a"), "wss://a:443/"),
            (
                "GET",
                "http://[::1]:8080/",
                "/",
                Some("[::1]:8080"),
                "http://[::1]:8080/",
            ),
            (
                "CONNECT",
                "a.default:80",
                "a.default:80",
                Some("a.default"),
                "http://a.default:80/",
            ),
            (
                "CONNECT",
                "a.default:443",
                "a.default:443",
                Some("a.default"),
                "https://a.default:443/",
            ),
            (
                "CONNECT",
                "http://a.default/",
                "a.default",
                Some("a.default"),
                "http://a.default/",
            ),
        ];
        for (method, uri, target, host, second) in rows {
            for is_http2 in [false, true] {
                let request = Request::builder().method(method).uri(uri);
                let mut request = request.body(ClientBody::empty()).unwrap();
                write_target(&mut request, is_http2);
                let wanted = if is_http2 { second } else { target };
                assert_eq!(request.uri().to_string(), wanted, "{method} {uri}");
                let written = request
                    .headers()
                    .get(HOST)
                    .map(|host| host.to_str().unwrap());
                assert_eq!(written, host.filter(|_| !is_http2), "{method} {uri}");
            }
        }
        let request = Request::get("http://a.default/").header("host", "other");
        let mut request = request.body(ClientBody::empty()).unwrap();
        write_target(&mut request, false);
        assert_eq!(request.headers()[HOST], "other");
    }
}
