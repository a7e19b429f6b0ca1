//! One public key, with a verifier for each algorithm that it serves.

use aws_lc_rs::signature::RsaPublicKeyComponents;
use jsonwebtoken::crypto::JwtVerifier;
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use serde_json::{Map, Value};

use super::verifier::{ParsedKey, algorithm};
use crate::policy::{Jwk, KeyPurpose, PublicKey, Unfit};

/// One public key: parsed once, for each algorithm that it may verify.
pub(crate) struct Key {
    id: Option<Box<str>>,
    verifiers: Vec<ParsedKey>,
}

impl Key {
    /// Reads one JWK (RFC 7517); [`Jwk::read`] checks it.
    pub(crate) fn from_jwk(jwk: &Map<String, Value>, purpose: KeyPurpose) -> Result<Self, Unfit> {
        let jwk = Jwk::read(jwk, purpose)?;
        let verifiers = read_verifiers(jwk.key, jwk.algorithm.as_deref())
            .filter(|verifiers| !verifiers.is_empty())
            .ok_or(Unfit::Other)?;
        Ok(Self {
            id: jwk.id,
            verifiers,
        })
    }

    /// The key's id; `None` when it has none. An empty one is none.
    pub(crate) fn id(&self) -> Option<&str> {
        self.id.as_deref().filter(|id| !id.is_empty())
    }

    /// What verifies signatures of this algorithm with this key; `None` when the key is not for it.
    pub(crate) fn verifier(&self, algorithm: Algorithm) -> Option<&impl JwtVerifier> {
        self.verifiers
            .iter()
            .find(|verifier| verifier.algorithm() == algorithm)
    }

    /// Whether there is an algorithm that both keys verify.
    pub(crate) fn shares_algorithm(&self, other: &Self) -> bool {
        self.verifiers
            .iter()
            .any(|verifier| other.verifier(verifier.algorithm()).is_some())
    }
}

fn read_verifiers(key: PublicKey, stated: Option<&str>) -> Option<Vec<ParsedKey>> {
    let stated = match stated {
        None => None,
        Some(name) => Some(algorithm(name)?),
    };
    let one = |key: Option<ParsedKey>| Some(vec![key?]);
    match key {
        PublicKey::Rsa { n, e } => {
            let components = RsaPublicKeyComponents { n, e };
            let accepted = match &stated {
                Some(algorithm) => std::slice::from_ref(algorithm),
                None => AlgorithmFamily::Rsa.algorithms(),
            };
            accepted
                .iter()
                .map(|algorithm| ParsedKey::rsa(*algorithm, &components))
                .collect()
        }
        PublicKey::P256(point) => one(ParsedKey::on_curve(Algorithm::ES256, &point)),
        PublicKey::P384(point) => one(ParsedKey::on_curve(Algorithm::ES384, &point)),
        PublicKey::Ed25519(point) => one(ParsedKey::on_curve(Algorithm::EdDSA, &point)),
    }
}
