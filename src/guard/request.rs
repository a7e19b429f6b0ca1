//! The attributes of a request that policy rules test.

use std::fmt;
use std::net::IpAddr;

use http::header::{HOST, HeaderValue};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Method};
use serde_json::{Map, Value};

use crate::context::{Caller, Claims, Exchange};
use crate::identity::PeerCertificate;
use crate::matcher::{authority, forwarded, header};
use crate::policy::Attributes;

/// Presents the head of a request to the engine as Envoy's matchers would see it.
///
/// Pseudo-headers come from the method and the URI, and values are trimmed. Headers that Envoy
/// removes before policy runs are absent: hop-by-hop headers, `te` other than `trailers`, and
/// `x-forwarded-client-cert` from a plaintext peer.
///
/// The source of a request is its [`Peer`](crate::context::Peer). For a request with a
/// [`ForwardedPeer`](crate::context::ForwardedPeer), the source is the caller for whom the trusted proxy speaks: a caller without an identity counts as one in
/// plaintext. If the proxy has told no address of the caller, the source address is the
/// connection's.
#[derive(Clone, Copy, Debug)]
pub struct RequestAttributes<'a> {
    method: &'a Method,
    path: &'a str,
    uri_authority: Option<&'a str>,
    headers: &'a HeaderMap,
    caller: Caller<'a>,
    claims: Option<&'a Claims>,
    client_ip: Option<IpAddr>,
    keeps_client_cert: bool,
    exchange: &'a Exchange,
}

impl<'a> RequestAttributes<'a> {
    /// The attributes of a request whose target has been normalized. The exchange supplies the peer
    /// and the end user.
    ///
    /// `None` if the exchange has no [`Peer`](crate::context::Peer): the guard is wired incorrectly, and no decision
    /// would be right.
    #[must_use]
    pub fn new(head: &'a Parts, exchange: &'a Exchange) -> Option<Self> {
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        Self::with_path(head, path, exchange)
    }

    /// As [`new`](Self::new), with a path and query that may differ from the URI's.
    pub(crate) fn with_path(
        head: &'a Parts,
        path: &'a str,
        exchange: &'a Exchange,
    ) -> Option<Self> {
        Some(Self {
            method: &head.method,
            path,
            uri_authority: head.uri.authority().map(Authority::as_str),
            headers: &head.headers,
            caller: exchange.caller()?,
            claims: exchange.claims(),
            client_ip: exchange.client_ip().copied(),
            keeps_client_cert: exchange.keeps_client_cert(),
            exchange,
        })
    }

    /// The same request to another host.
    #[cfg(feature = "rbac")]
    pub(crate) fn to_host<'b>(self, host: &'b str) -> RequestAttributes<'b>
    where
        'a: 'b,
    {
        RequestAttributes {
            uri_authority: Some(host),
            ..self
        }
    }

    /// The host and port of the request.
    pub(crate) fn host(&self) -> Option<&'a str> {
        let authority = self.uri_authority.or_else(|| self.host_line())?;
        Some(authority::without_user(authority.trim()))
    }

    fn host_line(&self) -> Option<&'a str> {
        self.headers.get(HOST)?.to_str().ok()
    }

    fn lines(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let lines = self.headers.get_all(name).iter();
        lines.map(|value| value.as_bytes().trim_ascii())
    }
}

impl Attributes for RequestAttributes<'_> {
    fn method(&self) -> Option<&str> {
        Some(self.method.as_str())
    }

    fn path(&self) -> Option<&str> {
        Some(self.path)
    }

    fn authority(&self) -> Option<&str> {
        self.host()
    }

    // Rule B-14: what the target or a header says of it is the caller's own word.
    fn scheme(&self) -> Option<&str> {
        Some(header::scheme(self.caller.peer().is_tls(), []))
    }

    fn any_header(&self, name: &str, visit: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        if self.keeps_client_cert && name == "x-forwarded-client-cert" {
            return self.lines(name).any(visit);
        }
        header::any_value(
            name,
            self.caller.peer().is_tls(),
            |name| self.lines(name),
            visit,
        )
    }

    fn is_tls(&self) -> bool {
        self.caller.is_tls()
    }

    fn certificate(&self) -> Option<&PeerCertificate> {
        self.caller.certificate()
    }

    fn via(&self) -> Option<&dyn fmt::Display> {
        Some(self.caller.via()?)
    }

    fn direct_remote_ip(&self) -> Option<IpAddr> {
        Some(forwarded::socket_ip(self.caller.ip()))
    }

    fn remote_ip(&self) -> Option<IpAddr> {
        let lines = self.headers.get_all("x-forwarded-for");
        let lines = lines.iter().map(HeaderValue::as_bytes);
        let sidecars = || forwarded::remote_ip(lines, self.caller.ip());
        Some(self.client_ip.unwrap_or_else(sidecars))
    }

    fn destination_ip(&self) -> Option<IpAddr> {
        Some(forwarded::socket_ip(self.caller.peer().local_addr().ip()))
    }

    fn destination_port(&self) -> Option<u16> {
        Some(self.caller.peer().local_addr().port())
    }

    fn sni(&self) -> &str {
        let facts = self.caller.peer().tls_facts();
        facts.and_then(|facts| facts.sni.as_deref()).unwrap_or("")
    }

    fn claims(&self) -> Option<&Map<String, Value>> {
        self.claims.map(Claims::judged)
    }

    fn text_claim(&self, name: &str) -> Option<&str> {
        self.claims?.judged_text(name)
    }

    /// What earlier guards have found out, such as the facts of an external provider.
    fn metadata(&self, filter: &str) -> Option<&Map<String, Value>> {
        self.exchange.metadata(filter)
    }
}
