//! Reads the header of a token, and refuses what it must not hold.

use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::svid;
use crate::jwt::Refusal;
use crate::jwt::encoding::{Reading, json};
use crate::jwt::keys::algorithm;

/// The most bytes of a decoded header (rule J-14).
const MAX_HEADER: usize = 4 << 10;
const MAX_KEY_ID: usize = 256;
/// How deep a header may nest.
const MAX_DEPTH: usize = 32;

/// The header of a token, as far as this crate reads it.
///
/// The tokens of one issuer mostly have the same header: a rule keeps the one of its last good
/// token, and does not parse the same text again.
pub(crate) struct Header {
    /// The header segment, as sent, and how it was read.
    text: Box<[u8]>,
    reading: Reading,
    /// The algorithm that the header names.
    pub(crate) algorithm: Algorithm,
    key_id: Option<Box<str>>,
    /// Whether `typ` and `cty` are a token's, which counts only once the claims are good.
    pub(super) types: Result<(), Refusal>,
    /// Whether a JWT-SVID may have this header.
    pub(super) of_svid: Result<(), Refusal>,
}

impl Header {
    /// Parses and checks a header segment.
    pub(super) fn parse(text: &[u8], reading: Reading) -> Result<Self, Refusal> {
        let decoded = reading.decode(text).ok_or(Refusal::HeaderBase64)?;
        if decoded.len() > MAX_HEADER {
            return Err(Refusal::TooLarge);
        }
        let members = json::object(&decoded, MAX_DEPTH).ok_or(Refusal::HeaderJson)?;
        let algorithm = check_members(&members)?;
        let key_id = members.get("kid").and_then(Value::as_str);
        Ok(Self {
            text: text.into(),
            reading,
            algorithm,
            key_id: key_id.filter(|id| !id.is_empty()).map(Box::from),
            types: check_types(&members),
            of_svid: svid::check_header(algorithm, &members),
        })
    }

    /// Whether parsing this text would give the same header.
    pub(super) fn is_of(&self, text: &[u8], reading: Reading) -> bool {
        self.reading == reading && *self.text == *text
    }

    /// The key id in the header; an empty one counts as missing.
    pub(crate) fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }
}

debug_fields!(Header { algorithm });

/// Rules J-01, J-02, J-05, J-09, J-10. `jwk`, `jku`, `x5u` and `x5c` are never read (J-08).
fn check_members(header: &Map<String, Value>) -> Result<Algorithm, Refusal> {
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
fn check_types(header: &Map<String, Value>) -> Result<(), Refusal> {
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
