use serde_json::{Map, Value};

use super::base64url::decode;
use super::curve::{P256, P384};

/// One public key that may verify tokens, as its JWK says (RFC 7517); no signature has been looked
/// at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Jwk {
    /// `kid`.
    pub(crate) id: Option<Box<str>>,
    /// `alg`, one that the key is for; `None`: all that its kind allows.
    pub(crate) algorithm: Option<Box<str>>,
    pub(crate) key: PublicKey,
}

/// The key itself, its numbers big end first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PublicKey {
    Ed25519(Vec<u8>),
    /// The uncompressed point (SEC 1 §2.3.3), on the curve.
    P256(Vec<u8>),
    P384(Vec<u8>),
    /// Without leading zeros.
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
}

/// What a key is to verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyPurpose {
    /// Tokens of an issuer: `use` is absent or `sig`.
    Tokens,
    /// JWT-SVIDs of a trust domain: `use` is `jwt-svid`, and there is a `kid` (SPIFFE Trust Domain
    /// and Bundle §4.2, rule J-20).
    Svids,
}

/// Why a JWK is left out of its set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// A private key where only public keys belong; its publisher should be informed.
    Private,
    /// Symmetric, of another use, of an unknown kind, weak or malformed.
    Other,
}

impl Jwk {
    /// Reads one JWK, by the rules J-02, J-03, J-04 and J-07.
    pub(crate) fn read(jwk: &Map<String, Value>, purpose: KeyPurpose) -> Result<Self, Unfit> {
        if is_private(jwk) {
            return Err(Unfit::Private);
        }
        let id = match jwk.get("kid") {
            None if purpose == KeyPurpose::Svids => return Err(Unfit::Other),
            None => None,
            Some(Value::String(id)) if id.len() <= 256 => Some(id.as_str().into()),
            Some(_) => return Err(Unfit::Other),
        };
        if !verifies(jwk, purpose) {
            return Err(Unfit::Other);
        }
        let (key, algorithms) = public_key(jwk).ok_or(Unfit::Other)?;
        let algorithm = match jwk.get("alg") {
            None => None,
            // HMAC is none (J-02), and the key decides (J-03).
            Some(Value::String(name)) if algorithms.contains(&name.as_str()) => {
                Some(name.as_str().into())
            }
            Some(_) => return Err(Unfit::Other),
        };
        Ok(Self { id, algorithm, key })
    }
}

/// Whether the key can sign what it should only verify.
pub(super) fn is_private(jwk: &Map<String, Value>) -> bool {
    ["d", "p", "q", "dp", "dq", "qi", "oth"]
        .iter()
        .any(|private| jwk.contains_key(*private))
}

/// Whether `use` and `key_ops` let the key verify signatures (RFC 7517 §4.2, §4.3: together they
/// must agree).
fn verifies(jwk: &Map<String, Value>, purpose: KeyPurpose) -> bool {
    let public_use = match (purpose, jwk.get("use")) {
        (KeyPurpose::Tokens, None) => None,
        (KeyPurpose::Tokens, Some(Value::String(word))) if word == "sig" => Some(()),
        (KeyPurpose::Svids, Some(Value::String(word))) if word == "jwt-svid" => Some(()),
        _ => return false,
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

/// The key, and the algorithms that it may verify.
fn public_key(jwk: &Map<String, Value>) -> Option<(PublicKey, &'static [&'static str])> {
    let text = |member: &str| jwk.get(member).and_then(Value::as_str);
    let bytes = |member: &str| decode(text(member)?);
    match text("kty")? {
        "RSA" => {
            let (n, e) = (strip_zeros(bytes("n")?), strip_zeros(bytes("e")?));
            is_strong_rsa(&n, &e).then_some((PublicKey::Rsa { n, e }, RSA))
        }
        "EC" => {
            let (curve, width) = match text("crv")? {
                "P-256" => (P256, 32),
                "P-384" => (P384, 48),
                _ => return None,
            };
            let (x, y) = (bytes("x")?, bytes("y")?);
            if x.len() != width || y.len() != width || !curve.has(&x, &y) {
                return None;
            }
            let point = [&[4][..], &x, &y].concat();
            Some(match width {
                32 => (PublicKey::P256(point), &["ES256"]),
                _ => (PublicKey::P384(point), &["ES384"]),
            })
        }
        "OKP" if text("crv")? == "Ed25519" => {
            let x = bytes("x")?;
            (x.len() == 32).then_some((PublicKey::Ed25519(x), &["EdDSA"]))
        }
        _ => None,
    }
}

const RSA: &[&str] = &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];

/// The number without leading zero bytes, which some issuers send.
fn strip_zeros(number: Vec<u8>) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.into_iter().skip(zeros).collect()
}

/// 2048 to 8192 bits, an odd exponent of 3 to 2^33, and no ROCA fingerprint. Both numbers come
/// without leading zeros.
fn is_strong_rsa(n: &[u8], e: &[u8]) -> bool {
    let zeros = n.first().map_or(0, |first| first.leading_zeros() as usize);
    let bits = n.len() * 8 - zeros;
    let exponent = e.iter().try_fold(0_u64, |number, byte| {
        Some(number.checked_mul(256)? | u64::from(*byte))
    });
    (2048..=8192).contains(&bits)
        && exponent.is_some_and(|e| e % 2 == 1 && (3..=1 << 33).contains(&e))
        && n.last().is_some_and(|last| last % 2 == 1)
        && !has_roca_fingerprint(n)
}

/// Whether the modulus is what Infineon's broken generator makes (CVE-2017-15361): a power of 65537
/// modulo every small prime.
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
