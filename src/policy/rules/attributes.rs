use std::fmt;
use std::net::IpAddr;

use serde_json::{Map, Value};

use crate::identity::PeerCertificate;

/// The questions the engine may ask of a request or a connection.
///
/// Implementations answer from what they already hold; the engine asks each question at most a few
/// times and never stores an answer. For a raw TCP connection the HTTP questions answer `None`.
pub trait Attributes {
    /// `:method`, as sent.
    fn method(&self) -> Option<&str>;

    /// `:path`: the normalized request target, query included.
    fn path(&self) -> Option<&str>;

    /// `:authority`, as sent.
    fn authority(&self) -> Option<&str>;

    /// `:scheme`: `http` or `https`. In a server it is that of the connection, whatever the request
    /// says of it.
    fn scheme(&self) -> Option<&str> {
        None
    }

    /// Calls `visit` with each value of a header, as Envoy's matchers would see them, until it
    /// returns `true`; says whether it did. `name` is in lower case and never a pseudo-header.
    /// Values of headers that Envoy stores once come joined with `,`.
    fn any_header(&self, name: &str, visit: &mut dyn FnMut(&[u8]) -> bool) -> bool;

    /// Whether the connection is TLS.
    fn is_tls(&self) -> bool;

    /// The peer's verified certificate; `None` on plaintext and when the peer showed none.
    fn certificate(&self) -> Option<&PeerCertificate>;

    /// The trusted proxy on whose word the source of the request is known; `None` where the
    /// connection itself shows the source. Explanations print it, and no rule reads it.
    fn via(&self) -> Option<&dyn fmt::Display> {
        None
    }

    /// The TCP peer's address (Envoy's `direct_remote_ip`).
    fn direct_remote_ip(&self) -> Option<IpAddr>;

    /// The address after `x-forwarded-for` (Envoy's `remote_ip`).
    fn remote_ip(&self) -> Option<IpAddr>;

    /// Our own address of the connection.
    fn destination_ip(&self) -> Option<IpAddr>;

    /// Our own port of the connection.
    fn destination_port(&self) -> Option<u16>;

    /// The TLS server name, lower case; empty when there was none.
    fn sni(&self) -> &str;

    /// The payload of the verified token as policy sees it (space-delimited claims already split);
    /// `None` without a token.
    fn claims(&self) -> Option<&Map<String, Value>>;

    /// The text of a top-level claim; `None` where it is missing or no text.
    fn text_claim(&self, name: &str) -> Option<&str> {
        self.claims()?.get(name)?.as_str()
    }

    /// Dynamic metadata of another filter (`experimental.envoy.filters.*`).
    fn metadata(&self, filter: &str) -> Option<&Map<String, Value>> {
        let _ = filter;
        None
    }
}
