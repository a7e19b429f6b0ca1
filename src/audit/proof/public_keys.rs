//! The keys that checkpoints are verified with.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::audit::scalar::{Timestamp, hex_of, parse_timestamp, sha256};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// How a checkpoint is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Algorithm {
    /// Ed25519; the public key has 32 bytes.
    Ed25519,
    /// ECDSA over P-256 with SHA-256, the signature in DER; the public key is an uncompressed point of
    /// 65 bytes.
    Es256,
}

/// A key that checkpoints are verified with, in the text form of C2SP: name, key id and key, joined
/// with `+`, as `patients+1f2e3d4c+AX…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    name: String,
    algorithm: Algorithm,
    bytes: Vec<u8>,
}

/// Keys that checkpoints are verified with.
#[derive(Clone, Debug, Default)]
pub struct PublicKeys(BTreeMap<(String, [u8; 4]), (PublicKey, Option<Timestamp>)>);

/// Why a text is no list of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKeyError {
    line: usize,
    what: &'static str,
}

/// What is wrong with the signature of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignatureFault {
    Bad,
    Retired,
    UnknownKey,
}

impl Algorithm {
    /// The byte of C2SP before the key.
    fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 1,
            Self::Es256 => 2,
        }
    }
}

impl PublicKey {
    pub(crate) fn new(name: &str, algorithm: Algorithm, bytes: Vec<u8>) -> Self {
        Self {
            name: name.to_owned(),
            algorithm,
            bytes,
        }
    }

    /// The name in the signatures.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it signs.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    fn id(&self) -> [u8; 4] {
        key_id(&self.name, self.algorithm, &self.bytes)
    }

    fn holds(&self, text: &[u8], signature: &[u8]) -> bool {
        match self.algorithm {
            Algorithm::Ed25519 => {
                UnparsedPublicKey::new(&ED25519, &self.bytes).verify(text, signature)
            }
            Algorithm::Es256 => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.bytes).verify(text, signature)
            }
        }
        .is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![self.algorithm.byte()];
        bytes.extend_from_slice(&self.bytes);
        let (id, key) = (hex_of(&self.id()), BASE64_STANDARD.encode(bytes));
        write!(f, "{}+{id}+{key}", self.name)
    }
}

impl FromStr for PublicKey {
    type Err = PublicKeyError;

    fn from_str(text: &str) -> Result<Self, PublicKeyError> {
        let wrong = |what| PublicKeyError { line: 1, what };
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(wrong("a key has the form `name+id+key`"));
        };
        if !is_name(name) {
            return Err(wrong("the name of a key is empty, or has spaces"));
        }
        let bytes = BASE64_STANDARD.decode(key).unwrap_or_default();
        let (algorithm, bytes) = match bytes.split_first() {
            Some((1, bytes)) if bytes.len() == 32 => (Algorithm::Ed25519, bytes),
            Some((2, bytes)) if bytes.len() == 65 => (Algorithm::Es256, bytes),
            _ => {
                return Err(wrong(
                    "the key is neither one of Ed25519 nor one of P-256 in base64",
                ));
            }
        };
        let key = Self::new(name, algorithm, bytes.to_vec());
        if hex_of(&key.id()) != id {
            return Err(wrong("the id does not fit the name and the key"));
        }
        Ok(key)
    }
}

impl PublicKeys {
    /// Reads a key in each line. `until` and a time after it say that the key was retired then: it
    /// signs nothing later. Empty lines, and those that begin with `#`, are left out.
    ///
    /// # Errors
    /// A line has another form.
    pub fn parse(text: &str) -> Result<Self, PublicKeyError> {
        let mut keys = Self::default();
        for (index, line) in text.lines().enumerate() {
            let wrong = |what| PublicKeyError {
                line: index + 1,
                what,
            };
            let mut words = line.split_whitespace();
            let Some(key) = words.next().filter(|word| !word.starts_with('#')) else {
                continue;
            };
            let key: PublicKey = key
                .parse()
                .map_err(|error: PublicKeyError| wrong(error.what))?;
            let until = match (words.next(), words.next(), words.next()) {
                (None, ..) => None,
                (Some("until"), Some(time), None) => {
                    Some(parse_timestamp(time).ok_or_else(|| {
                        wrong("after `until` there is no time as 2026-01-02T03:04:05Z")
                    })?)
                }
                _ => return Err(wrong("after a key there may be only `until` and a time")),
            };
            // A second line for a key does not make one good again that was retired.
            let before = keys.0.get(&(key.name.clone(), key.id()));
            let before = before.and_then(|(_, until)| *until);
            let until = match (before, until) {
                (Some(before), Some(until)) => Some(before.min(until)),
                (before, until) => before.or(until),
            };
            keys.0.insert((key.name.clone(), key.id()), (key, until));
        }
        Ok(keys)
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn judge(
        &self,
        name: &str,
        id: [u8; 4],
        text: &[u8],
        signature: &[u8],
        time: Timestamp,
    ) -> Result<(), SignatureFault> {
        let Some((key, until)) = self.0.get(&(name.to_owned(), id)) else {
            return Err(SignatureFault::UnknownKey);
        };
        if !key.holds(text, signature) {
            return Err(SignatureFault::Bad);
        }
        match until.is_some_and(|until| time > until) {
            true => Err(SignatureFault::Retired),
            false => Ok(()),
        }
    }
}

impl FromIterator<PublicKey> for PublicKeys {
    fn from_iter<T: IntoIterator<Item = PublicKey>>(keys: T) -> Self {
        let keys = keys.into_iter();
        Self(
            keys.map(|key| ((key.name.clone(), key.id()), (key, None)))
                .collect(),
        )
    }
}

impl fmt::Display for PublicKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for PublicKeyError {}

/// C2SP, `signed-note`: the first bytes of the SHA-256 of name, line break, algorithm and key.
pub(super) fn key_id(name: &str, algorithm: Algorithm, key: &[u8]) -> [u8; 4] {
    let hash = sha256(&[name.as_bytes(), b"\n", &[algorithm.byte()], key]);
    let [a, b, c, d, ..] = hash;
    [a, b, c, d]
}

/// C2SP: a name is not empty and has no spaces and no `+`.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 128
        && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_go_checksum_database_is_read() {
        let text = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
        let key: PublicKey = text.parse().unwrap();
        assert_eq!(key.to_string(), text);
        let keys = PublicKeys::parse(&format!(
            "# a comment\n\n{text} until 2030-01-01T00:00:00Z\n"
        ));
        assert!(!keys.unwrap().is_empty());
    }

    #[test]
    fn a_wrong_key_is_refused_with_its_line() {
        let good = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
        for (line, what) in [
            ("x", "form"),
            ("+033de0ae+Ac4zctda0e5eza", "name"),
            ("a+033de0ae+Ac4zctda0e5eza", "neither"),
            (&good.replace("033", "133"), "id"),
            (&format!("{good} from x"), "until"),
            (&format!("{good} until x"), "time"),
        ] {
            let error = PublicKeys::parse(&format!("{good}\n{line}\n")).unwrap_err();
            assert!(error.to_string().starts_with("line 2: "), "{error}");
            assert!(error.to_string().contains(what), "{error}");
        }
    }
}
