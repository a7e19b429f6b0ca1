//! The question to an authorizer.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, Version};

use crate::context::{Claims, Exchange, ForwardedPeer, Peer};
use crate::gate;
use crate::matcher::authority;

/// A request that a provider decides about: an owned copy of what policy judges.
///
/// A mesh makes it. To test an [`Authorizer`](super::Authorizer), make it
/// [yourself](Self::new).
///
/// ```
/// use http::Request;
/// use serde_json::{Map, json};
/// use tower_mesh::external::AuthorizationRequest;
/// use tower_mesh::{Claims, Peer};
///
/// let desk = "spiffe://cluster.local/ns/default/sa/desk".parse()?;
/// let peer = Peer::proven("10.0.0.1:4711".parse()?, "10.0.0.2:8443".parse()?, desk);
/// let claims = Map::from_iter([("iss".into(), json!("clinic")), ("sub".into(), json!("alice"))]);
/// let request = Request::get("/patients/7?full=1").header("host", "patients").body(())?;
///
/// let request = AuthorizationRequest::new(&peer, request).with_claims(Claims::new(claims));
/// assert_eq!(request.path(), "/patients/7?full=1");
/// assert_eq!(request.host(), Some("patients"));
/// assert_eq!(request.principal(), Some("cluster.local/ns/default/sa/desk"));
/// assert_eq!(request.claims().and_then(Claims::subject), Some("alice"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct AuthorizationRequest {
    method: Method,
    path: Box<str>,
    host: Option<Box<str>>,
    version: Version,
    headers: HeaderMap,
    peer: Peer,
    forwarded: Option<ForwardedPeer>,
    claims: Option<Claims>,
    body: Option<Body>,
    content_length: Option<u64>,
    time: SystemTime,
    deadline: Option<Duration>,
}

#[derive(Clone)]
struct Body {
    bytes: Bytes,
    is_partial: bool,
}

impl AuthorizationRequest {
    /// A request of this peer, for tests of an authorizer. Method, target, version and headers are
    /// those of `request`.
    #[must_use]
    pub fn new(peer: &Peer, request: Request<()>) -> Self {
        let (mut head, ()) = request.into_parts();
        let exchange = Exchange::from_peer(&mut head.extensions, peer);
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        Self::of(&head, path, &exchange, peer)
    }

    /// The question about a request with the path and query that policy judges. `None` if the
    /// exchange has no peer: then no guard can decide.
    pub(crate) fn from_exchange(head: &Parts, path: &str, exchange: &Exchange) -> Option<Self> {
        let mut request = Self::of(head, path, exchange, exchange.peer()?);
        // It is the caller's own word, which nothing has been appended to.
        gate::take_off_hearsay(&mut request.headers, exchange);
        Some(request)
    }

    fn of(head: &Parts, path: &str, exchange: &Exchange, peer: &Peer) -> Self {
        let line = || head.headers.get(HOST)?.to_str().ok();
        let host = head.uri.authority().map(Authority::as_str).or_else(line);
        let length = head.headers.get(CONTENT_LENGTH).map(HeaderValue::to_str);
        Self {
            method: head.method.clone(),
            path: path.into(),
            host: host.map(|host| authority::without_user(host.trim()).into()),
            version: head.version,
            headers: head.headers.clone(),
            peer: peer.clone(),
            forwarded: exchange.forwarded_peer().cloned(),
            claims: exchange.claims().cloned(),
            body: None,
            content_length: length.and_then(|length| length.ok()?.trim().parse().ok()),
            time: SystemTime::now(),
            deadline: None,
        }
    }

    /// Sets the claims of the verified token.
    #[must_use]
    pub fn with_claims(mut self, claims: Claims) -> Self {
        self.claims = Some(claims);
        self
    }

    /// Sets the whole body.
    #[must_use]
    pub fn with_body(self, bytes: impl Into<Bytes>) -> Self {
        self.with_body_part(bytes.into(), false)
    }

    /// Sets the beginning of a longer body.
    #[must_use]
    pub fn with_partial_body(self, bytes: impl Into<Bytes>) -> Self {
        self.with_body_part(bytes.into(), true)
    }

    fn with_body_part(mut self, bytes: Bytes, is_partial: bool) -> Self {
        self.body = Some(Body { bytes, is_partial });
        self
    }

    /// Sets the time at which the request came.
    #[must_use]
    pub fn with_time(mut self, time: SystemTime) -> Self {
        self.time = time;
        self
    }

    /// Sets how long the caller still waits.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The path with its query, as policy judges it.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The host with its port, if the request names one: `:authority`, or else `host`.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// `https` if the connection is the mesh's TLS, else `http`, whatever the request says of it.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        match self.peer.is_tls() {
            true => "https",
            false => "http",
        }
    }

    /// The version of HTTP.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The headers. They hold the caller's tokens and cookies: log none of them.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The other end of the connection.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The caller, if a trusted proxy sends the request.
    #[must_use]
    pub fn forwarded_peer(&self) -> Option<&ForwardedPeer> {
        self.forwarded.as_ref()
    }

    /// The identity of the source, as policies write it: of the caller if a trusted proxy speaks
    /// for it, else of the peer. `None` for a source without an identity.
    #[must_use]
    pub fn principal(&self) -> Option<&str> {
        match &self.forwarded {
            Some(caller) => caller.principal(),
            None => self.peer.principal(),
        }
    }

    /// The address of the source: of the caller if a trusted proxy has told it, else of the peer.
    #[must_use]
    pub fn source_addr(&self) -> SocketAddr {
        let told = self.forwarded.as_ref().and_then(ForwardedPeer::address);
        told.unwrap_or_else(|| self.peer.remote_addr())
    }

    /// The claims of the verified token. `None` without a token, and for a provider that is asked
    /// [before tokens are verified](super::Stage::BeforeTokens).
    #[must_use]
    pub fn claims(&self) -> Option<&Claims> {
        self.claims.as_ref()
    }

    /// The body, or its beginning; `None` if the provider [wants](super::Authorizer::wants_body)
    /// none.
    #[must_use]
    pub fn body(&self) -> Option<&Bytes> {
        self.body.as_ref().map(|body| &body.bytes)
    }

    /// Whether [`body`](Self::body) is only the beginning of the request's.
    #[must_use]
    pub fn has_partial_body(&self) -> bool {
        self.body.as_ref().is_some_and(|body| body.is_partial)
    }

    /// The length of the whole body in bytes, if `content-length` states it.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// The time of the request.
    #[must_use]
    pub fn time(&self) -> SystemTime {
        self.time
    }

    /// How long the question may take, counted from the moment it was asked. `None` in a test that
    /// sets none.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.deadline
    }
}

// Neither headers nor query nor body, because they may hold secrets.
debug_fields!(AuthorizationRequest(request) {
    method = request.method,
    path = request.path.split('?').next().unwrap_or_default(),
    host = request.host,
    version = request.version,
    principal = request.principal(),
    claims = request.claims
});

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> Peer {
        let [remote, local] = ["10.0.0.1:4711", "10.0.0.2:8443"].map(|addr| addr.parse().unwrap());
        Peer::plaintext(remote, local)
    }

    #[test]
    fn the_host_is_the_targets_or_else_the_headers() {
        for (target, line, host) in [
            ("/", Some("a:80"), Some("a:80")),
            ("http://b/x", Some("a"), Some("b")),
            ("http://user@b:1/x", None, Some("b:1")),
            ("/", None, None),
        ] {
            let mut request = Request::get(target);
            if let Some(line) = line {
                request = request.header(HOST, line);
            }
            let request = AuthorizationRequest::new(&peer(), request.body(()).unwrap());
            assert_eq!(request.host(), host, "{target} {line:?}");
        }
    }

    #[test]
    fn what_it_prints_holds_no_secret() {
        let request = Request::get("/a?token=secret")
            .header("authorization", "Bearer secret")
            .body(());
        let request = AuthorizationRequest::new(&peer(), request.unwrap()).with_body("secret");
        let shown = format!("{request:?}");
        assert!(
            shown.contains("\"/a\"") && !shown.contains("secret"),
            "{shown}"
        );
    }
}
