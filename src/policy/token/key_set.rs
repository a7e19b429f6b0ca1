use std::fmt;

use serde_json::{Map, Value};

use super::json;
#[cfg(feature = "vet")]
use super::jwk::is_private;
use super::jwk::{Jwk, KeyPurpose};

/// Bytes of a JWK set.
pub(crate) const MAX_BYTES: usize = 1 << 20;
/// Keys of a JWK set.
const MAX_KEYS: usize = 100;
/// Nesting of a JWK set.
const MAX_DEPTH: usize = 16;

/// What keeps a JWK set from being used at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeySetFault {
    TooLarge,
    Json,
    NoList,
    TooMany,
    NoUsableKey,
    #[cfg(feature = "jwt")]
    Sequence,
}

impl fmt::Display for KeySetFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(f, "larger than {MAX_BYTES} bytes"),
            Self::Json => f.write_str(
                "not a JSON object, or one with a member twice, nested too deep or of too many \
                 values",
            ),
            Self::NoList => f.write_str("no list `keys`"),
            Self::TooMany => write!(f, "more than {MAX_KEYS} keys"),
            Self::NoUsableKey => f.write_str("no key that can verify a token"),
            #[cfg(feature = "jwt")]
            Self::Sequence => f.write_str("a `spiffe_sequence` that is no whole number of 64 bits"),
        }
    }
}

/// The entries of a JWK set's `keys` (RFC 7517 §5, rule J-46), whatever each is.
///
/// # Errors
/// When the text is no such set, or is too large.
pub(crate) fn keys(text: &str) -> Result<Vec<Value>, KeySetFault> {
    members(text).map(|(list, _)| list)
}

/// The bundle of a trust domain (SPIFFE Trust Domain and Bundle §4): a JWK set that says how new it
/// is and when to look again.
#[cfg(feature = "jwt")]
pub(crate) struct SpiffeBundle {
    pub(crate) keys: Vec<Value>,
    pub(crate) sequence: Option<u64>,
    /// In seconds.
    pub(crate) refresh_hint: Option<u64>,
}

#[cfg(feature = "jwt")]
impl SpiffeBundle {
    /// Reads a bundle. Its keys may be any, or none at all.
    ///
    /// # Errors
    /// As [`keys`]; also for a sequence that is no number, which could hide an older bundle.
    pub(crate) fn read(text: &str) -> Result<Self, KeySetFault> {
        let (keys, others) = members(text)?;
        let sequence = match others.get("spiffe_sequence") {
            None => None,
            Some(sequence) => Some(sequence.as_u64().ok_or(KeySetFault::Sequence)?),
        };
        Ok(Self {
            keys,
            sequence,
            refresh_hint: others.get("spiffe_refresh_hint").and_then(Value::as_u64),
        })
    }
}

/// The entries of `keys`, and the other members of a JWK set.
fn members(text: &str) -> Result<(Vec<Value>, Map<String, Value>), KeySetFault> {
    if text.len() > MAX_BYTES {
        return Err(KeySetFault::TooLarge);
    }
    let mut set = json::object(text.as_bytes(), MAX_DEPTH).ok_or(KeySetFault::Json)?;
    let Some(Value::Array(list)) = set.remove("keys") else {
        return Err(KeySetFault::NoList);
    };
    if list.len() > MAX_KEYS {
        return Err(KeySetFault::TooMany);
    }
    Ok((list, set))
}

/// Whether some key of the set can verify a token.
///
/// # Errors
/// When none can, or the text is no JWK set.
pub(super) fn check(text: &str, purpose: KeyPurpose) -> Result<(), KeySetFault> {
    let is_usable =
        |key: &Value| matches!(key, Value::Object(members) if Jwk::read(members, purpose).is_ok());
    match keys(text)?.iter().any(is_usable) {
        true => Ok(()),
        false => Err(KeySetFault::NoUsableKey),
    }
}

/// Whether a text that is meant as a JWK set holds a key that tokens can be made with: a private
/// one, or a symmetric one.
#[cfg(feature = "vet")]
pub(crate) fn has_secret_key(text: &str) -> bool {
    // However broken it is otherwise: the key is out.
    let set: Value = serde_json::from_str(text).unwrap_or_default();
    let list = set.get("keys").and_then(Value::as_array);
    let is_secret = |members: &Map<String, Value>| is_private(members) || members.contains_key("k");
    let mut members = list.into_iter().flatten().filter_map(Value::as_object);
    members.any(is_secret)
}
