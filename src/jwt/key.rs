use aws_lc_rs::signature::RsaPublicKeyComponents;
use jsonwebtoken::crypto::JwtVerifier;
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use serde_json::{Map, Value};

use super::base64url;
use super::verifier::{ParsedKey, algorithm};

/// One public key: parsed once, for each algorithm that it may verify.
pub(crate) struct Key {
    id: Option<Box<str>>,
    verifiers: Vec<ParsedKey>,
}

/// Why a JWK is left out of its set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// A private key where only public ones belong: whoever published it should know.
    Private,
    /// Symmetric, of another use, of an unknown kind, weak or malformed.
    Other,
}

impl Key {
    /// Reads one JWK (RFC 7517), by the rules J-02, J-03, J-04 and J-07.
    pub(crate) fn from_jwk(jwk: &Map<String, Value>) -> Result<Self, Unfit> {
        if ["d", "p", "q", "dp", "dq", "qi", "oth"]
            .iter()
            .any(|private| jwk.contains_key(*private))
        {
            return Err(Unfit::Private);
        }
        let id = match jwk.get("kid") {
            None => None,
            Some(Value::String(id)) if id.len() <= 256 => Some(id.as_str().into()),
            Some(_) => return Err(Unfit::Other),
        };
        let verifiers = verifies(jwk)
            .then(|| read_verifiers(jwk))
            .flatten()
            .filter(|verifiers| !verifiers.is_empty())
            .ok_or(Unfit::Other)?;
        Ok(Self { id, verifiers })
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

/// Whether `use` and `key_ops` let the key verify signatures (RFC 7517 §4.2, §4.3: together they must agree).
fn verifies(jwk: &Map<String, Value>) -> bool {
    let public_use = match jwk.get("use") {
        None => None,
        Some(Value::String(word)) if word == "sig" => Some(()),
        Some(_) => return false,
    };
    match jwk.get("key_ops") {
        None => true,
        Some(Value::Array(operations)) => {
            let of_signing = |operation: &Value| operation == "verify" || operation == "sign";
            operations.iter().any(|operation| operation == "verify")
                && (public_use.is_none() || operations.iter().all(of_signing))
        }
        Some(_) => false,
    }
}

fn read_verifiers(jwk: &Map<String, Value>) -> Option<Vec<ParsedKey>> {
    let text = |member: &str| jwk.get(member).and_then(Value::as_str);
    let stated = match jwk.get("alg") {
        None => None,
        Some(name) => Some(algorithm(name.as_str()?)?),
    };
    let bytes = |member: &str| base64url::decode_padded(text(member)?.as_bytes());
    match text("kty")? {
        "RSA" => {
            let (n, e) = (strip_zeros(bytes("n")?), strip_zeros(bytes("e")?));
            if !is_strong_rsa(&n, &e) {
                return None;
            }
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
        "EC" => {
            let (algorithm, width) = match text("crv")? {
                "P-256" => (Algorithm::ES256, 32),
                "P-384" => (Algorithm::ES384, 48),
                _ => return None,
            };
            let (x, y) = (bytes("x")?, bytes("y")?);
            if x.len() != width || y.len() != width {
                return None;
            }
            // SEC 1 §2.3.3, uncompressed; the library refuses a point that is not on the curve.
            let point = [&[4][..], &x, &y].concat();
            on_curve(algorithm, stated, &point)
        }
        "OKP" if text("crv")? == "Ed25519" => {
            let x = bytes("x")?;
            if x.len() != 32 {
                return None;
            }
            on_curve(Algorithm::EdDSA, stated, &x)
        }
        _ => None,
    }
}

fn on_curve(
    algorithm: Algorithm,
    stated: Option<Algorithm>,
    point: &[u8],
) -> Option<Vec<ParsedKey>> {
    if stated.is_some_and(|stated| stated != algorithm) {
        return None;
    }
    Some(vec![ParsedKey::on_curve(algorithm, point)?])
}

/// The number without leading zero bytes, which some issuers send.
fn strip_zeros(number: Vec<u8>) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.into_iter().skip(zeros).collect()
}

/// 2048 to 8192 bits, an odd exponent of 3 to 2^33, and no ROCA fingerprint. Both numbers come without leading zeros.
fn is_strong_rsa(n: &[u8], e: &[u8]) -> bool {
    let bits = n
        .first()
        .map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
    let exponent = e.iter().try_fold(0_u64, |number, byte| {
        number
            .checked_mul(256)
            .map(|number| number | u64::from(*byte))
    });
    (2048..=8192).contains(&bits)
        && exponent.is_some_and(|e| e % 2 == 1 && (3..=1 << 33).contains(&e))
        && n.last().is_some_and(|last| last % 2 == 1)
        && !has_roca_fingerprint(n)
}

/// Whether the modulus is what Infineon's broken generator makes (CVE-2017-15361): a power of 65537 modulo every small prime.
fn has_roca_fingerprint(n: &[u8]) -> bool {
    const PRIMES: [u32; 38] = [
        3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89,
        97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
    ];
    PRIMES.iter().all(|&prime| {
        let residue = n.iter().fold(0, |residue, byte| {
            (residue * 256 + u32::from(*byte)) % prime
        });
        let mut power = 1;
        for _ in 0..prime {
            if power == residue {
                return true;
            }
            power = power * 65537 % prime;
        }
        false
    })
}
