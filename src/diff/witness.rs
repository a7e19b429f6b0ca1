//! A request that both sides answer differently.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde_json::{Map, Value, json};

use crate::identity::PeerCertificate;
use crate::policy::Request;

/// A request, or a connection, that shows something: what it says, and nothing that it need not
/// say.
///
/// [`request`](Self::request) asks an engine about it; [`to_json`](Self::to_json) is the line that `tower-mesh check --requests` reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Witness {
    /// `None`: a raw TCP connection.
    pub(super) method: Option<String>,
    pub(super) target: String,
    pub(super) authority: Option<String>,
    pub(super) headers: BTreeMap<String, Vec<String>>,
    pub(super) peer: Option<Peer>,
    pub(super) source_ip: Option<IpAddr>,
    pub(super) remote_ip: Option<IpAddr>,
    pub(super) destination_ip: Option<IpAddr>,
    pub(super) port: u16,
    pub(super) sni: String,
    pub(super) claims: Option<Map<String, Value>>,
}

/// The names of a caller's certificate.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Peer {
    pub(super) uris: Vec<String>,
    pub(super) dns: Vec<String>,
}

impl Peer {
    pub(super) fn uri(uri: impl Into<String>) -> Self {
        Self {
            uris: vec![uri.into()],
            dns: Vec::new(),
        }
    }

    pub(super) fn dns(name: String) -> Self {
        Self {
            uris: Vec::new(),
            dns: vec![name],
        }
    }
}

impl Witness {
    /// `GET /` in plaintext to a port.
    pub(super) fn http(port: u16) -> Self {
        Self {
            method: Some("GET".to_owned()),
            target: "/".to_owned(),
            ..Self::tcp(port)
        }
    }

    /// A raw connection in plaintext to a port.
    pub(super) fn tcp(port: u16) -> Self {
        Self {
            method: None,
            target: String::new(),
            authority: None,
            headers: BTreeMap::new(),
            peer: None,
            source_ip: None,
            remote_ip: None,
            destination_ip: None,
            port,
            sni: String::new(),
            claims: None,
        }
    }

    /// The port it goes to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The request in the engine's words.
    #[must_use]
    pub fn request(&self) -> Request {
        let mut request = match &self.method {
            Some(method) => Request::new().method(method, &self.target),
            None => Request::tcp(),
        };
        if let Some(authority) = &self.authority {
            request = request.authority(authority);
        }
        for (name, lines) in &self.headers {
            for line in lines {
                request = request.header(name, line);
            }
        }
        if let Some(peer) = &self.peer {
            request = request.certificate(PeerCertificate::from_names(
                peer.uris.clone(),
                peer.dns.clone(),
                String::new(),
            ));
        }
        if let Some(ip) = self.source_ip {
            request = request.source_ip(ip);
        }
        if let Some(ip) = self.remote_ip {
            request = request.remote_ip(ip);
        }
        if let Some(ip) = self.destination_ip {
            request = request.destination_ip(ip);
        }
        if let Some(claims) = &self.claims {
            request = request.claims(claims.clone());
        }
        request.sni(&self.sni).port(self.port)
    }

    /// The request as a line of `tower-mesh check --requests`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut line = Map::new();
        let mut say = |key: &str, value: Value| {
            line.insert(key.to_owned(), value);
        };
        match &self.method {
            Some(method) => {
                say("method", json!(method));
                say("path", json!(self.target));
            }
            None => say("protocol", json!("tcp")),
        }
        if let Some(authority) = &self.authority {
            say("authority", json!(authority));
        }
        let headers = self.headers.iter();
        let headers = headers.filter_map(|(name, lines)| match lines.as_slice() {
            [] => None,
            [one] => Some((name.clone(), json!(one))),
            several => Some((name.clone(), json!(several))),
        });
        let headers: Map<String, Value> = headers.collect();
        if !headers.is_empty() {
            say("headers", headers.into());
        }
        if !self.sni.is_empty() {
            say("sni", json!(self.sni));
        }
        if let Some(claims) = &self.claims {
            say("claims", claims.clone().into());
        }
        let source = self.source();
        if !source.is_empty() {
            say("source", source.into());
        }
        let mut destination = Map::from_iter([("port".to_owned(), json!(self.port))]);
        if let Some(ip) = self.destination_ip {
            destination.insert("ip".to_owned(), json!(ip));
        }
        say("destination", destination.into());
        line.into()
    }

    fn source(&self) -> Map<String, Value> {
        let mut source = Map::new();
        let mut say = |key: &str, value: Value| {
            source.insert(key.to_owned(), value);
        };
        if let Some(peer) = &self.peer {
            let rest = |one: &str| one.strip_prefix("spiffe://").map(str::to_owned);
            let uris = peer.uris.as_slice();
            let principal = uris.first().and_then(|one| rest(one));
            match principal.filter(|rest| uris.len() == 1 && !rest.is_empty()) {
                Some(principal) => say("principal", json!(principal)),
                None if uris.is_empty() => {}
                None => say("uri_sans", json!(uris)),
            }
            if !peer.dns.is_empty() {
                say("dns_sans", json!(peer.dns));
            }
        }
        if let Some(ip) = self.source_ip {
            say("ip", json!(ip));
        }
        if let Some(ip) = self.remote_ip {
            say("remote_ip", json!(ip));
        }
        source
    }
}

impl fmt::Display for Witness {
    /// The line of [`to_json`](Self::to_json).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_json().fmt(f)
    }
}
