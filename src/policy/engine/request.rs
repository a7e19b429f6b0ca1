use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Map, Value};

use crate::identity::PeerCertificate;
use crate::matcher::path::PathRefusal;
use crate::matcher::{authority, forwarded, header};
use crate::policy::Attributes;

/// A request or connection in words: for tests, for the command line, for anything that asks the
/// engine without a server.
///
/// A new one is `GET /` in plaintext from `127.0.0.1` to port 80 of `127.0.0.1`, without a token.
/// [`Engine::judge`](super::Engine::judge) treats it as a server would: it normalizes the path and
/// splits space-delimited claims. [`Engine::decide`](super::Engine::decide) takes both as they
/// stand.
///
/// # Example
/// ```
/// use tower_mesh::policy::Request;
///
/// let request = Request::new()
///     .post("/patients/7")
///     .from("cluster.local/ns/default/sa/patient-check-in")
///     .header("x-ward", "3");
/// # let _ = request;
/// ```
#[derive(Clone, Debug)]
pub struct Request {
    method: Option<String>,
    target: Option<String>,
    /// The scheme of an absolute target.
    scheme: Option<&'static str>,
    /// Whether what the request says of its scheme is ignored.
    is_scheme_of_connection: bool,
    /// Whether the host is also judged without its port and without a dot at its end.
    judges_bare_host: bool,
    authority: Option<String>,
    headers: Vec<(String, Vec<u8>)>,
    is_tls: bool,
    certificate: Option<PeerCertificate>,
    source_ip: IpAddr,
    remote_ip: Option<IpAddr>,
    destination_ip: IpAddr,
    port: u16,
    sni: String,
    claims: Option<Map<String, Value>>,
}

impl Request {
    /// `GET /` in plaintext from `127.0.0.1` to port 80.
    #[must_use]
    pub fn new() -> Self {
        Self {
            method: Some("GET".to_owned()),
            target: Some("/".to_owned()),
            ..Self::tcp()
        }
    }

    /// A raw TCP connection in plaintext from `127.0.0.1` to port 80.
    #[must_use]
    pub fn tcp() -> Self {
        Self {
            method: None,
            target: None,
            scheme: None,
            is_scheme_of_connection: false,
            judges_bare_host: false,
            authority: None,
            headers: Vec::new(),
            is_tls: false,
            certificate: None,
            source_ip: Ipv4Addr::LOCALHOST.into(),
            remote_ip: None,
            destination_ip: Ipv4Addr::LOCALHOST.into(),
            port: 80,
            sni: String::new(),
            claims: None,
        }
    }

    /// `GET` of this target.
    #[must_use]
    pub fn get(self, target: impl Into<String>) -> Self {
        self.method("GET", target)
    }

    /// `POST` to this target.
    #[must_use]
    pub fn post(self, target: impl Into<String>) -> Self {
        self.method("POST", target)
    }

    /// `PUT` to this target.
    #[must_use]
    pub fn put(self, target: impl Into<String>) -> Self {
        self.method("PUT", target)
    }

    /// `PATCH` of this target.
    #[must_use]
    pub fn patch(self, target: impl Into<String>) -> Self {
        self.method("PATCH", target)
    }

    /// `DELETE` of this target.
    #[must_use]
    pub fn delete(self, target: impl Into<String>) -> Self {
        self.method("DELETE", target)
    }

    /// Any method on a request target: path and query as sent, or absolute (`http://host/path`).
    #[must_use]
    pub fn method(mut self, method: impl Into<String>, target: impl Into<String>) -> Self {
        self.method = Some(method.into());
        self.target = Some(target.into());
        self
    }

    /// The host the request is for.
    #[must_use]
    pub fn authority(mut self, authority: impl Into<String>) -> Self {
        self.authority = Some(authority.into());
        self
    }

    /// Adds a header line. Blanks around the value are trimmed, as codecs do; `host` sets the
    /// authority.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name = name.to_ascii_lowercase();
        let value = value.as_ref().trim_ascii();
        if name == "host" {
            self.authority = Some(String::from_utf8_lossy(value).into_owned());
        } else {
            self.headers.push((name, value.to_owned()));
        }
        self
    }

    /// Sent over mutual TLS by this principal (`cluster.local/ns/default/sa/web`, with or without
    /// `spiffe://`).
    #[must_use]
    pub fn from(self, principal: &str) -> Self {
        let principal = principal.strip_prefix("spiffe://").unwrap_or(principal);
        let uri = format!("spiffe://{principal}");
        self.certificate(PeerCertificate::from_names(
            vec![uri],
            Vec::new(),
            String::new(),
        ))
    }

    /// Sent over mutual TLS with this certificate.
    #[must_use]
    pub fn certificate(mut self, certificate: PeerCertificate) -> Self {
        self.is_tls = true;
        self.certificate = Some(certificate);
        self
    }

    /// Sent over TLS without a client certificate.
    #[must_use]
    pub fn anonymous_tls(mut self) -> Self {
        self.is_tls = true;
        self.certificate = None;
        self
    }

    /// The TCP peer's address.
    #[must_use]
    pub fn source_ip(mut self, address: IpAddr) -> Self {
        self.source_ip = forwarded::socket_ip(address);
        self
    }

    /// The address after `x-forwarded-for`; by default worked out from that header.
    #[must_use]
    pub fn remote_ip(mut self, address: IpAddr) -> Self {
        self.remote_ip = Some(address);
        self
    }

    /// Our own address of the connection.
    #[must_use]
    pub fn destination_ip(mut self, address: IpAddr) -> Self {
        self.destination_ip = forwarded::socket_ip(address);
        self
    }

    /// Our own port of the connection.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// The server name of the TLS handshake.
    #[must_use]
    pub fn sni(mut self, name: &str) -> Self {
        self.sni = name.to_ascii_lowercase();
        self
    }

    /// The claims of a verified token.
    #[must_use]
    pub fn claims(mut self, claims: Map<String, Value>) -> Self {
        self.claims = Some(claims);
        self
    }

    /// Sent by an end user: the issuer and the subject of a verified token.
    #[must_use]
    pub fn user(self, issuer: &str, subject: &str) -> Self {
        self.claim("iss", issuer).claim("sub", subject)
    }

    /// Sent with the JWT-SVID of a workload, `spiffe://DOMAIN/PATH`: the request principal is this
    /// id. As policy cuts it at its last slash, `iss` and `sub` are its two halves here.
    #[must_use]
    pub fn jwt_svid(self, id: &str) -> Self {
        let (issuer, subject) = id.rsplit_once('/').unwrap_or((id, ""));
        self.user(issuer, subject)
    }

    /// Adds one claim of a verified token.
    #[must_use]
    pub fn claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        let claims = self.claims.get_or_insert_default();
        claims.insert(name.into(), value.into());
        self
    }

    /// The header lines, without that of the host; names are in lower case.
    #[cfg(feature = "gate")]
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let lines = self.headers.iter();
        lines.map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// The same request without the headers of these names.
    #[cfg(feature = "gate")]
    pub(crate) fn without_lines(mut self, is_removed: impl Fn(&str) -> bool) -> Self {
        self.headers.retain(|(name, _)| !is_removed(name));
        self
    }

    /// The request target as sent.
    pub(super) fn target(&self) -> Option<&str> {
        self.target.as_deref()
    }

    /// Whether host and header values are of bytes that a server takes there.
    ///
    /// # Errors
    /// When a server answers 400.
    pub(super) fn check_bytes(&self) -> Result<(), PathRefusal> {
        let host = self.authority.as_deref().unwrap_or_default();
        if !authority::is_legal(host.as_bytes()) {
            return Err(PathRefusal::Authority);
        }
        // RFC 9110 §5.5: a tab is the only control that a value may hold.
        let is_text = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
        let mut values = self.headers.iter().map(|(_, value)| value);
        if values.all(|value| value.iter().all(is_text)) {
            Ok(())
        } else {
            Err(PathRefusal::IllegalByte)
        }
    }

    /// The same request without a token.
    pub(super) fn without_claims(mut self) -> Self {
        self.claims = None;
        self
    }

    /// The same request with claims in another form.
    pub(super) fn map_claims(
        mut self,
        form: impl FnOnce(Map<String, Value>) -> Map<String, Value>,
    ) -> Self {
        self.claims = self.claims.map(form);
        self
    }

    /// The same request, whose scheme is that of its connection, whatever it says (rule B-14).
    #[cfg(feature = "gate")]
    pub(crate) fn with_scheme_of_connection(self) -> Self {
        Self {
            is_scheme_of_connection: true,
            ..self
        }
    }

    /// The same request, whose host is also judged without its port and without a dot at its end
    /// (rule B-05).
    #[cfg(feature = "gate")]
    pub(crate) fn with_bare_host(self) -> Self {
        Self {
            judges_bare_host: true,
            ..self
        }
    }

    /// The same request to the other forms of its host that are judged, too.
    pub(super) fn to_other_hosts(&self) -> impl Iterator<Item = Self> {
        let host = self.authority.as_deref().filter(|_| self.judges_bare_host);
        let forms = host.into_iter().flat_map(authority::other_forms);
        forms.map(|host| self.clone().authority(&*host))
    }

    /// The same request with its absolute target taken apart: the scheme, if it was one, and the
    /// rest.
    pub(super) fn with_target(&self, scheme: Option<&'static str>, target: &str) -> Self {
        Self {
            scheme,
            target: Some(target.to_owned()),
            ..self.clone()
        }
    }

    fn lines_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let lines = self.headers.iter().filter(move |(line, _)| line == name);
        lines.map(|(_, value)| value.as_slice())
    }
}

impl Default for Request {
    fn default() -> Self {
        Self::new()
    }
}

impl Attributes for Request {
    fn method(&self) -> Option<&str> {
        self.method.as_deref()
    }

    fn path(&self) -> Option<&str> {
        self.target()
    }

    fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }

    fn scheme(&self) -> Option<&str> {
        self.target.as_ref()?;
        if self.is_scheme_of_connection {
            return Some(header::scheme(self.is_tls, []));
        }
        let forwarded = || header::scheme(self.is_tls, self.lines_of("x-forwarded-proto"));
        Some(self.scheme.unwrap_or_else(forwarded))
    }

    fn any_header(&self, name: &str, visit: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        header::any_value(name, self.is_tls, |name| self.lines_of(name), visit)
    }

    fn is_tls(&self) -> bool {
        self.is_tls
    }

    fn certificate(&self) -> Option<&PeerCertificate> {
        self.certificate.as_ref()
    }

    fn direct_remote_ip(&self) -> Option<IpAddr> {
        Some(self.source_ip)
    }

    fn remote_ip(&self) -> Option<IpAddr> {
        let forwarded = || forwarded::remote_ip(self.lines_of("x-forwarded-for"), self.source_ip);
        Some(self.remote_ip.unwrap_or_else(forwarded))
    }

    fn destination_ip(&self) -> Option<IpAddr> {
        Some(self.destination_ip)
    }

    fn destination_port(&self) -> Option<u16> {
        Some(self.port)
    }

    fn sni(&self) -> &str {
        &self.sni
    }

    fn claims(&self) -> Option<&Map<String, Value>> {
        self.claims.as_ref()
    }
}
