//! How an attribute is read from a request.

use std::fmt::{self, Write};
use std::net::SocketAddr;

use serde_json::{Map, Value as Json};
use smallvec::SmallVec;

use super::fault::{Fault, Outcome};
use super::value::Value;
use crate::cel::attribute::{Attribute, Text};
use crate::identity::SpiffeId;
use crate::policy::Attributes;

impl Attribute {
    /// Hands the value to `then`. A value that the request holds in one piece is not copied.
    pub(in crate::cel) fn read<'e>(
        &'e self,
        request: &dyn Attributes,
        then: &mut dyn FnMut(Value<'_>) -> Outcome<'e>,
    ) -> Outcome<'e> {
        if let Some(value) = self.held(request)? {
            return then(value);
        }
        match self {
            Self::Header(name) => self.read_header(name, request, then),
            Self::Text(text) => {
                let mut buffer = Buffer(SmallVec::new());
                let is_written = text.write(request, &mut buffer);
                match std::str::from_utf8(&buffer.0) {
                    Ok(text) if is_written => then(Value::Text(text)),
                    _ => Err(Fault::Absent(self)),
                }
            }
            Self::DestinationPort | Self::Mtls | Self::Audiences | Self::Claims(_) => {
                Err(Fault::Absent(self))
            }
        }
    }

    /// The value, if the request holds it in one piece; `None` for headers, and for texts that are
    /// made of several.
    pub(in crate::cel) fn held<'r>(
        &self,
        request: &'r dyn Attributes,
    ) -> Result<Option<Value<'r>>, Fault<'_>> {
        let value = match self {
            Self::Header(_) => return Ok(None),
            Self::Text(text) => match text.held(request) {
                Held::Piece(text) => text.map(Value::Text),
                Held::Parts => return Ok(None),
            },
            Self::DestinationPort => {
                let port = request.destination_port();
                port.map(|port| Value::Int(port.into()))
            }
            Self::Mtls => Some(Value::Bool(
                request.is_tls() && request.certificate().is_some(),
            )),
            Self::Audiences => audiences(request).map(Value::List),
            Self::Claims(path) => match path.split_last() {
                None => request.claims().map(Value::Map),
                Some((last, parents)) => {
                    let members = self.members(request, parents)?;
                    members.get(&**last).map(Value::of_json)
                }
            },
        };
        value.map(Some).ok_or(Fault::Absent(self))
    }

    /// Whether the request has the attribute, as `has` asks for it.
    pub(in crate::cel) fn is_present<'e>(&'e self, request: &dyn Attributes) -> Outcome<'e> {
        match self {
            Self::Header(name) => Ok(request.any_header(name, &mut |_| true)),
            Self::Claims(path) => match path.split_last() {
                Some((last, parents)) => Ok(self.members(request, parents)?.contains_key(&**last)),
                None => Ok(request.claims().is_some()),
            },
            Self::Text(_) | Self::DestinationPort | Self::Mtls | Self::Audiences => {
                match self.read(request, &mut |_| Ok(true)) {
                    Err(Fault::Absent(_)) => Ok(false),
                    outcome => outcome,
                }
            }
        }
    }

    /// The members of the claims at this path.
    fn members<'r>(
        &self,
        request: &'r dyn Attributes,
        path: &[Box<str>],
    ) -> Result<&'r Map<String, Json>, Fault<'_>> {
        let mut members = request.claims().ok_or(Fault::Absent(self))?;
        for name in path {
            match members.get(&**name).ok_or(Fault::Absent(self))? {
                Json::Object(inner) => members = inner,
                other => {
                    let found = Value::of_json(other).type_name();
                    return Err(Fault::Types("_[_]", found, "string"));
                }
            }
        }
        Ok(members)
    }

    fn read_header<'e>(
        &'e self,
        name: &str,
        request: &dyn Attributes,
        then: &mut dyn FnMut(Value<'_>) -> Outcome<'e>,
    ) -> Outcome<'e> {
        let mut then = |value: &[u8]| match std::str::from_utf8(value) {
            Ok(text) => then(Value::Text(text)),
            Err(_) => Err(Fault::NotText(self)),
        };
        let mut lines = 0_usize;
        request.any_header(name, &mut |_| {
            lines += 1;
            false
        });
        let mut outcome = Err(Fault::Absent(self));
        match lines {
            0 => {}
            1 => {
                request.any_header(name, &mut |value| {
                    outcome = then(value);
                    true
                });
            }
            _ => {
                let mut joined = SmallVec::<[u8; 256]>::new();
                let mut is_first = true;
                request.any_header(name, &mut |value| {
                    if !std::mem::replace(&mut is_first, false) {
                        joined.push(b',');
                    }
                    joined.extend_from_slice(value);
                    false
                });
                outcome = then(&joined);
            }
        }
        outcome
    }
}

/// A text of a request.
enum Held<'r> {
    /// As the request holds it.
    Piece(Option<&'r str>),
    /// To be written from its parts.
    Parts,
}

impl Text {
    fn held(self, request: &dyn Attributes) -> Held<'_> {
        let certificate = || request.certificate();
        let spiffe_id = || certificate()?.spiffe_id.as_ref();
        Held::Piece(match self {
            Self::Method => request.method(),
            Self::Path => request.path(),
            Self::UrlPath => request
                .path()
                .and_then(|path| path.split(['?', '#']).next()),
            Self::Query => request.path().map(query),
            Self::Host => request.authority(),
            Self::Scheme => request.scheme(),
            Self::SourcePrincipal => spiffe_id().map(SpiffeId::principal),
            Self::SourceNamespace => spiffe_id().and_then(SpiffeId::namespace),
            Self::SourceServiceAccount => spiffe_id().and_then(SpiffeId::service_account),
            Self::SourceTrustDomain => spiffe_id().map(|id| id.trust_domain().as_str()),
            Self::Sni => Some(request.sni()),
            Self::UriSan => certificate().and_then(|names| first(&names.uri_sans)),
            Self::DnsSan => certificate().and_then(|names| first(&names.dns_sans)),
            Self::Subject => {
                let subject = certificate().map(|names| names.subject.as_str());
                subject.filter(|subject| !subject.is_empty())
            }
            Self::Presenter => request.text_claim("azp"),
            Self::SourceIp
            | Self::RemoteIp
            | Self::DestinationIp
            | Self::DestinationAddress
            | Self::RequestPrincipal => return Held::Parts,
        })
    }

    /// Writes a text that has parts; `false` if the request does not have them.
    fn write(self, request: &dyn Attributes, to: &mut Buffer) -> bool {
        let ip = match self {
            Self::SourceIp => request.direct_remote_ip(),
            Self::RemoteIp => request.remote_ip(),
            Self::DestinationIp => request.destination_ip(),
            Self::DestinationAddress => {
                let address = request.destination_ip().zip(request.destination_port());
                let address = address.map(SocketAddr::from);
                return address.is_some_and(|address| write!(to, "{address}").is_ok());
            }
            _ => {
                let issuer = request.text_claim("iss");
                let parts = issuer.zip(request.text_claim("sub"));
                return parts
                    .is_some_and(|(issuer, subject)| write!(to, "{issuer}/{subject}").is_ok());
            }
        };
        ip.is_some_and(|ip| write!(to, "{ip}").is_ok())
    }
}

fn first(names: &[String]) -> Option<&str> {
    names.first().map(String::as_str)
}

fn query(path: &str) -> &str {
    let path = path.split('#').next().unwrap_or_default();
    path.split_once('?').map_or("", |(_, query)| query)
}

/// The claim `aud` as a list.
fn audiences(request: &dyn Attributes) -> Option<&[Json]> {
    match request.claims()?.get("aud")? {
        Json::Array(audiences) => Some(audiences),
        audience @ Json::String(_) => Some(std::slice::from_ref(audience)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Object(_) => None,
    }
}

/// A text on the stack, unless it is long.
struct Buffer(SmallVec<[u8; 128]>);

impl Write for Buffer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
