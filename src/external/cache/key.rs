//! The declared attributes of a request, as one text of bytes.
//!
//! The text is compared whole, and no hash stands for it: with a collision the decision about one
//! caller would serve another.

use std::io::{self, Write};
use std::net::IpAddr;

use http::HeaderName;
use http::request::Parts;
use serde_json::Value;
use smallvec::SmallVec;

use crate::external::authorizer::Stage;
use crate::identity::PeerCertificate;
use crate::istio::CacheKey;
use crate::policy::Attributes;

/// A request with a longer key is asked about each time.
const MAX_KEY: usize = 4 << 10;
/// A key of this length needs no allocation.
const INLINE: usize = 256;
/// Stands in place of a length for what is not there.
const ABSENT: u32 = u32::MAX;

/// The attributes of one request. Each is written with its length, so that no two requests write
/// the same for different attributes.
#[derive(Default)]
pub(super) struct Key(SmallVec<[u8; INLINE]>);

/// Declared attributes, ready to be read.
#[derive(Debug)]
pub(super) struct Reader {
    attributes: Box<[Attribute]>,
    needs_token: bool,
}

#[derive(Debug)]
enum Attribute {
    Header(HeaderName),
    Other(CacheKey),
}

impl Reader {
    /// A reader of these attributes. A header whose name is none is in no request.
    pub(super) fn new(keys: &[CacheKey]) -> Self {
        let attribute = |key: &CacheKey| match key {
            // In HTTP/2 a request has no such header.
            CacheKey::Header(name) if name == "host" => Some(Attribute::Other(CacheKey::Host)),
            CacheKey::Header(name) => HeaderName::try_from(name).ok().map(Attribute::Header),
            other => Some(Attribute::Other(other.clone())),
        };
        Self {
            attributes: keys.iter().filter_map(attribute).collect(),
            needs_token: keys.iter().any(CacheKey::needs_token),
        }
    }

    /// The key of a request. `None` if it is too long, and before tokens are verified if claims
    /// are part of it: requests with different tokens would be equal.
    pub(super) fn read(&self, head: &Parts, request: &dyn Attributes, stage: Stage) -> Option<Key> {
        if self.needs_token && stage == Stage::BeforeTokens {
            return None;
        }
        let mut key = Key::default();
        for attribute in &self.attributes {
            match attribute {
                // As it was sent: the provider sees the same.
                Attribute::Header(name) => key.lines(head, name),
                Attribute::Other(attribute) => key.attribute(attribute, request),
            }
            if key.0.len() > MAX_KEY {
                return None;
            }
        }
        Some(key)
    }
}

impl Key {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn attribute(&mut self, attribute: &CacheKey, request: &dyn Attributes) {
        let path = || request.path().unwrap_or_default();
        match attribute {
            CacheKey::Method => self.text(request.method()),
            CacheKey::Path => self.text(Some(path())),
            CacheKey::PathWithoutQuery => self.text(path().split(['?', '#']).next()),
            CacheKey::Host => self.text(request.authority()),
            CacheKey::Scheme => self.text(request.scheme()),
            CacheKey::RequestPrincipal => {
                self.0.push(u8::from(request.claims().is_some()));
                self.text(request.text_claim("iss"));
                self.text(request.text_claim("sub"));
            }
            CacheKey::Claim(name) => {
                self.claim(request.claims().and_then(|claims| claims.get(name)));
            }
            CacheKey::Principal => self.certificate(request.certificate()),
            CacheKey::SourceIp => self.address(request.direct_remote_ip()),
            CacheKey::RemoteIp => self.address(request.remote_ip()),
            CacheKey::DestinationPort => {
                let port = request.destination_port().map(u16::to_le_bytes);
                self.piece(port.as_ref().map(<[u8; 2]>::as_slice));
            }
            CacheKey::Sni => self.text(Some(request.sni())),
            // INVARIANT: a header is an attribute of its own kind.
            CacheKey::Header(_) => self.piece(None),
        }
    }

    /// All that a provider could call the identity of the source. A certificate of the mesh has one
    /// SPIFFE id and nothing else.
    pub(super) fn certificate(&mut self, certificate: Option<&PeerCertificate>) {
        let Some(certificate) = certificate else {
            self.0.push(0);
            return;
        };
        match &certificate.spiffe_id {
            Some(id) => {
                self.0.push(1);
                self.text(Some(id.as_str()));
            }
            None => {
                self.0.push(2);
                for names in [&certificate.uri_sans, &certificate.dns_sans] {
                    for name in names {
                        self.text(Some(name));
                    }
                    self.piece(None);
                }
                self.text(Some(&certificate.subject));
            }
        }
    }

    fn lines(&mut self, head: &Parts, name: &HeaderName) {
        for value in head.headers.get_all(name) {
            self.piece(Some(value.as_bytes()));
        }
        self.piece(None);
    }

    fn address(&mut self, address: Option<IpAddr>) {
        match address {
            Some(IpAddr::V4(address)) => self.piece(Some(&address.octets())),
            Some(IpAddr::V6(address)) => self.piece(Some(&address.octets())),
            None => self.piece(None),
        }
    }

    /// A claim with all that is in it, in JSON. A text is the common case.
    fn claim(&mut self, claim: Option<&Value>) {
        match claim {
            None => self.piece(None),
            Some(Value::String(text)) => {
                self.0.push(b's');
                self.text(Some(text));
            }
            Some(value) => {
                self.0.push(b'j');
                // It cannot fail: what is written goes to memory. One that is cut is too long.
                let _ = serde_json::to_writer(&mut *self, value);
                self.piece(None);
            }
        }
    }

    fn text(&mut self, text: Option<&str>) {
        self.piece(text.map(str::as_bytes));
    }

    fn piece(&mut self, bytes: Option<&[u8]>) {
        let Some(bytes) = bytes else {
            self.0.extend_from_slice(&ABSENT.to_le_bytes());
            return;
        };
        let length = u32::try_from(bytes.len()).unwrap_or(ABSENT);
        self.0.extend_from_slice(&length.to_le_bytes());
        let _ = self.write(bytes);
    }
}

impl Write for Key {
    /// Keeps the beginning of what makes the key too long.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let kept = bytes.get(..=MAX_KEY).unwrap_or(bytes);
        self.0.extend_from_slice(kept);
        match self.0.len() > MAX_KEY {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
