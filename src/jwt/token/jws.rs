//! Takes a token's text apart, in Envoy's order, before anything in it is trusted.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::header::Header;
use crate::jwt::Refusal;
use crate::jwt::encoding::{Reading, json};

/// The most bytes of a token (rule J-14).
const MAX_TOKEN: usize = 16 << 10;
/// How deep a payload may nest.
const MAX_DEPTH: usize = 32;

/// The three parts, with a header that this crate understands. No part is verified yet.
pub(crate) struct Jws<'t> {
    /// The signed text, as sent.
    pub(crate) signed: Cow<'t, [u8]>,
    /// The payload segment, as sent.
    pub(crate) payload: &'t [u8],
    signature: &'t [u8],
    pub(crate) header: Arc<Header>,
    reading: Reading,
}

impl<'t> Jws<'t> {
    /// Splits a compact serialization and reads its header, unless it is the `known` one.
    pub(crate) fn parse(
        token: &'t [u8],
        reading: Reading,
        known: Option<&Arc<Header>>,
    ) -> Result<Self, Refusal> {
        if token.len() > MAX_TOKEN {
            return Err(Refusal::TooLarge);
        }
        let [header_text, payload, signature] = split(token, reading).ok_or(Refusal::Form)?;
        let header = match known.filter(|known| known.is_of(header_text, reading)) {
            Some(known) => Arc::clone(known),
            None => Arc::new(Header::parse(header_text, reading)?),
        };
        let length = header_text.len() + 1 + payload.len();
        let signed = match token.get(..length) {
            // The usual form: header and payload are adjacent.
            Some(start) if start.starts_with(header_text) && start.ends_with(payload) => {
                Cow::Borrowed(start)
            }
            _ => Cow::Owned([header_text, b".", payload].concat()),
        };
        Ok(Self {
            signed,
            payload,
            signature,
            header,
            reading,
        })
    }

    /// The decoded payload.
    pub(crate) fn payload_bytes(&self) -> Result<Vec<u8>, Refusal> {
        self.reading
            .decode(self.payload)
            .ok_or(Refusal::PayloadBase64)
    }

    /// The payload as claims, whatever they are.
    pub(super) fn claims(&self) -> Result<Map<String, Value>, Refusal> {
        let payload = self.payload_bytes()?;
        json::object(&payload, MAX_DEPTH).ok_or(Refusal::PayloadJson)
    }

    /// The decoded signature.
    pub(crate) fn signature(&self) -> Result<Vec<u8>, Refusal> {
        self.reading
            .decode(self.signature)
            .ok_or(Refusal::SignatureBase64)
    }
}

/// Splits a token into exactly three parts; Envoy skips empty ones. The payload of a JWS may be
/// empty (RFC 7515 §2); as a token's it is then refused as JSON.
fn split(token: &[u8], reading: Reading) -> Option<[&[u8]; 3]> {
    let mut rest = Some(token);
    let mut next = || {
        let text = rest?;
        let dot = memchr::memchr(b'.', text);
        rest = dot.and_then(|dot| text.get(dot + 1..));
        dot.map_or(Some(text), |dot| text.get(..dot))
    };
    let skips = reading == Reading::Envoy;
    let mut parts = std::iter::from_fn(&mut next).filter(|part| !(skips && part.is_empty()));
    let [header, payload, signature] = [parts.next()?, parts.next()?, parts.next()?];
    let is_whole = parts.next().is_none() && !header.is_empty() && !signature.is_empty();
    is_whole.then_some([header, payload, signature])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// J-13: what was read leniently is not known to strict rules.
    #[test]
    fn a_known_header_is_taken_for_the_same_text_and_reading_only() {
        let padded = b"eyJhbGciOiJFUzI1NiJ9ICAgICAgICAgICAgIA==.e30.c2ln";
        let lenient = Jws::parse(padded, Reading::Envoy, None).unwrap().header;
        let parse = |token, reading| Jws::parse(token, reading, Some(&lenient));
        let again = parse(&padded[..], Reading::Envoy).unwrap().header;
        assert!(Arc::ptr_eq(&again, &lenient));
        assert!(parse(padded, Reading::Strict).is_err());
        let other = parse(
            b"eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.e30.c2ln",
            Reading::Envoy,
        );
        let other = other.unwrap().header;
        assert_eq!(other.key_id(), Some("a"));
        assert_ne!(other.algorithm, lenient.algorithm);
    }
}
