//! A JWK set: which of its keys are usable, and which key fits a token.

use std::collections::BTreeSet;
use std::fmt;

use jsonwebtoken::Algorithm;
use jsonwebtoken::signature::Verifier;
use serde_json::Value;

use super::key::Key;
use crate::jwt::Refusal;
use crate::jwt::encoding::Reading;
use crate::policy::{KeyPurpose, KeySetFault, Unfit, keys};

/// How many keys are tried on a token that names none.
const MAX_CANDIDATES: usize = 8;

/// The public keys of an issuer, parsed from a JWK set (RFC 7517 §5).
///
/// Keys that cannot verify a token are left out and counted: symmetric, private and weak ones, and
/// those for another use. A key without `alg` verifies every algorithm of its type, as in Envoy.
#[non_exhaustive]
pub struct KeySet {
    keys: Vec<Key>,
    doubled: usize,
    skipped: usize,
    private: usize,
}

impl KeySet {
    /// Parses a JWK set: a JSON object with a list `keys`.
    ///
    /// # Errors
    ///
    /// When the text is not such an object, has a member twice, nests deeper than 16, holds more
    /// than 1 MiB, 10,000 values or 100 keys, or none that can verify a token.
    pub fn parse(text: &str) -> Result<Self, KeySetError> {
        Self::parse_for(text, KeyPurpose::Tokens)
    }

    /// Parses the bundle of a trust domain (SPIFFE Trust Domain and Bundle §4): the keys of its
    /// JWT-SVIDs, those with `use: jwt-svid` and a `kid`. Roots of certificates are left out.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse).
    pub fn parse_bundle(text: &str) -> Result<Self, KeySetError> {
        Self::parse_for(text, KeyPurpose::Svids)
    }

    fn parse_for(text: &str, purpose: KeyPurpose) -> Result<Self, KeySetError> {
        let list = keys(text).map_err(KeySetError)?;
        let parsed = Self::from_list(&list, purpose);
        match parsed.is_empty() {
            true => Err(KeySetError(KeySetFault::NoUsableKey)),
            false => Ok(parsed),
        }
    }

    /// The keys of this list that are usable, if any are.
    pub(super) fn from_list(list: &[Value], purpose: KeyPurpose) -> Self {
        let mut parsed = Self {
            keys: Vec::with_capacity(list.len()),
            doubled: 0,
            skipped: 0,
            private: 0,
        };
        for entry in list {
            let Value::Object(jwk) = entry else {
                parsed.skipped += 1;
                continue;
            };
            match Key::from_jwk(jwk, purpose) {
                Ok(key) => parsed.keys.push(key),
                Err(unfit) => {
                    parsed.skipped += 1;
                    parsed.private += usize::from(unfit == Unfit::Private);
                }
            }
        }
        parsed.doubled = doubled(&parsed.keys);
        parsed
    }

    /// How many keys can verify tokens.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no key; a set of `parse` has at least one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many keys were left out.
    #[must_use]
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// How many of those left out were private keys, which should never have been published.
    #[must_use]
    pub fn private(&self) -> usize {
        self.private
    }

    /// How many key ids belong to several keys that verify the same algorithm; a token of that
    /// algorithm can name none of them.
    #[must_use]
    pub fn doubled(&self) -> usize {
        self.doubled
    }

    /// Verifies a signature with every key that fits the token's header (rules J-03, J-05, J-06).
    pub(crate) fn verify(
        &self,
        algorithm: Algorithm,
        id: Option<&str>,
        reading: Reading,
        signed: &[u8],
        signature: &Vec<u8>,
    ) -> Result<(), Refusal> {
        // As in Envoy, but only where there is nothing to choose from.
        let has_any_name = reading == Reading::Envoy
            && matches!(self.keys.as_slice(), [only] if only.id().is_none());
        let named = id.filter(|_| !has_any_name);
        let mut candidates = self
            .keys
            .iter()
            .filter(|key| named.is_none() || key.id() == named)
            .filter_map(|key| key.verifier(algorithm));
        let most = if named.is_some() { 1 } else { MAX_CANDIDATES };
        if !(1..=most).contains(&candidates.clone().count()) {
            return Err(Refusal::NoKey);
        }
        if candidates.any(|key| key.verify(signed, signature).is_ok()) {
            Ok(())
        } else {
            Err(Refusal::Signature)
        }
    }
}

/// Counts ambiguous ids (rule J-06): those that several keys share for one algorithm (RFC 7517
/// §4.5).
fn doubled(keys: &[Key]) -> usize {
    let twins = keys.iter().enumerate().filter_map(|(index, key)| {
        let id = key.id()?;
        keys.iter()
            .take(index)
            .any(|other| other.id() == Some(id) && other.shares_algorithm(key))
            .then_some(id)
    });
    twins.collect::<BTreeSet<_>>().len()
}

debug_fields!(KeySet(set) { keys = set.keys.len(), skipped = set.skipped });

/// Why a JWK set was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySetError(pub(super) KeySetFault);

impl fmt::Display for KeySetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for KeySetError {}
