//! The protocols and the server name that Istio's sidecars negotiate (ALPN and SNI).

/// What a connection is for: a version of HTTP, or bytes that are no HTTP.
///
/// Istio's own names come first: a sidecar that also takes plaintext asks only clients that offer
/// them for a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// The server chooses; HTTP/1.1 when it chooses none.
    #[default]
    Either,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// No HTTP. A workload of the mesh is offered `istio`, which Istio's sidecars offer and take on
    /// TCP ports (`istio-peer-exchange`, which they prefer, promises a preamble); a host outside is
    /// offered nothing.
    Tcp,
}

impl Protocol {
    pub(super) fn alpn(self) -> &'static [&'static [u8]] {
        match self {
            Self::Either => &[b"istio-h2", b"istio-http/1.1", b"istio", b"h2", b"http/1.1"],
            Self::Http1 => &[b"istio-http/1.1", b"istio", b"http/1.1"],
            Self::Http2 => &[b"istio-h2", b"istio", b"h2"],
            Self::Tcp => &[b"istio"],
        }
    }
}

/// The server name that Istio's sidecars send for a service: `outbound_.<port>_._.<host>`.
#[must_use]
pub fn outbound_sni(host: &str, port: u16) -> String {
    format!("outbound_.{port}_._.{host}")
}
