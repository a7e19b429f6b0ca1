//! Takes a token's text apart, in Envoy's order, before anything in it is trusted.

use std::borrow::Cow;

use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use crate::jwt::Refusal;
use crate::jwt::encoding::{Reading, json};
use crate::jwt::keys::algorithm;

/// The most bytes of a token, and of its decoded header (rule J-14).
const MAX_TOKEN: usize = 16 << 10;
const MAX_HEADER: usize = 4 << 10;
const MAX_KEY_ID: usize = 256;
/// How deep header and payload may nest.
const MAX_DEPTH: usize = 32;

/// The three parts, with a header that this crate understands. No part is verified yet.
pub(crate) struct Jws<'t> {
    /// The signed text, as sent.
    pub(crate) signed: Cow<'t, [u8]>,
    /// The payload segment, as sent.
    pub(crate) payload: &'t [u8],
    signature: &'t [u8],
    header: Map<String, Value>,
    /// The algorithm that the header names.
    pub(crate) algorithm: Algorithm,
    reading: Reading,
}

impl<'t> Jws<'t> {
    /// Splits a compact serialization and reads its header.
    pub(crate) fn parse(token: &'t [u8], reading: Reading) -> Result<Self, Refusal> {
        if token.len() > MAX_TOKEN {
            return Err(Refusal::TooLarge);
        }
        let [header_text, payload, signature] = split(token, reading).ok_or(Refusal::Form)?;
        let header = reading.decode(header_text).ok_or(Refusal::HeaderBase64)?;
        if header.len() > MAX_HEADER {
            return Err(Refusal::TooLarge);
        }
        let header = json::object(&header, MAX_DEPTH).ok_or(Refusal::HeaderJson)?;
        let algorithm = check_header(&header)?;
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
            algorithm,
            reading,
        })
    }

    /// The key id in the header; an empty one counts as missing.
    pub(crate) fn key_id(&self) -> Option<&str> {
        let id = self.header.get("kid")?.as_str()?;
        (!id.is_empty()).then_some(id)
    }

    /// The decoded payload.
    pub(crate) fn payload_bytes(&self) -> Result<Vec<u8>, Refusal> {
        self.reading
            .decode(self.payload)
            .ok_or(Refusal::PayloadBase64)
    }

    /// The payload as claims, with the types that RFC 7519 gives the registered ones.
    pub(crate) fn claims(&self) -> Result<Map<String, Value>, Refusal> {
        let payload = self.payload_bytes()?;
        let claims = json::object(&payload, MAX_DEPTH).ok_or(Refusal::PayloadJson)?;
        check_claims(&claims)?;
        check_type(&self.header)?;
        Ok(claims)
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
    let skips = reading == Reading::Envoy;
    let mut parts = token
        .split(|byte| *byte == b'.')
        .filter(|part| !(skips && part.is_empty()));
    let [header, payload, signature] = [parts.next()?, parts.next()?, parts.next()?];
    let is_whole = parts.next().is_none() && !header.is_empty() && !signature.is_empty();
    is_whole.then_some([header, payload, signature])
}

/// Rules J-01, J-02, J-05, J-09, J-10. `jwk`, `jku`, `x5u` and `x5c` are never read (J-08).
fn check_header(header: &Map<String, Value>) -> Result<Algorithm, Refusal> {
    let Some(Value::String(name)) = header.get("alg") else {
        return Err(Refusal::AlgorithmType);
    };
    let algorithm = algorithm(name).ok_or(Refusal::Algorithm)?;
    match header.get("kid") {
        None => {}
        Some(Value::String(id)) if id.len() <= MAX_KEY_ID => {}
        Some(_) => return Err(Refusal::KeyId),
    }
    match ["crit", "b64", "zip", "enc"]
        .into_iter()
        .find(|name| header.contains_key(*name))
    {
        Some(name) => Err(Refusal::Header(name)),
        None => Ok(algorithm),
    }
}

/// Rule J-11: `typ` and `cty` must be a token's, or absent.
fn check_type(header: &Map<String, Value>) -> Result<(), Refusal> {
    let is_token = |kind: &str| {
        let kind = kind.to_ascii_lowercase();
        let kind = kind.strip_prefix("application/").unwrap_or(&kind);
        matches!(kind, "jwt" | "jose" | "at+jwt")
    };
    match header.get("typ") {
        None => {}
        Some(Value::String(kind)) if is_token(kind) => {}
        Some(_) => return Err(Refusal::Header("typ")),
    }
    match header.get("cty") {
        Some(Value::String(kind)) if !is_token(kind) => Ok(()),
        None => Ok(()),
        Some(_) => Err(Refusal::Header("cty")),
    }
}

/// `iss sub jti` strings, `iat nbf exp` numbers of at least 0, `aud` a string or a list of strings.
fn check_claims(claims: &Map<String, Value>) -> Result<(), Refusal> {
    const TWO_TO_64: f64 = 18_446_744_073_709_551_616.0;
    for claim in ["iss", "sub", "jti"] {
        if claims.get(claim).is_some_and(|value| !value.is_string()) {
            return Err(Refusal::NotString(claim));
        }
    }
    for claim in ["iat", "nbf", "exp"] {
        match claims.get(claim).map(Value::as_f64) {
            None => {}
            Some(None) => return Err(Refusal::NotInteger(claim)),
            Some(Some(number)) if !(0.0..TWO_TO_64).contains(&number) => {
                return Err(Refusal::NotPositive(claim));
            }
            Some(Some(_)) => {}
        }
    }
    match claims.get("aud") {
        None | Some(Value::String(_)) => {}
        Some(Value::Array(list)) if list.iter().all(Value::is_string) => {}
        Some(_) => return Err(Refusal::NotStringList),
    }
    let subject = claims.get("sub").and_then(Value::as_str);
    if subject.is_some_and(|subject| subject.contains(char::is_control)) {
        return Err(Refusal::ControlCharacters);
    }
    Ok(())
}
