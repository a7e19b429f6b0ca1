//! A token issuer for tests.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot make a key or a signature should stop"
)]

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

/// An issuer of end-user tokens that a test trusts, with a fresh key of its own.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use tower_mesh::testing::Issuer;
///
/// let issuer = Issuer::es256("https://issuer.example");
/// let token = issuer.token().subject("alice").audience("patients").expires_in(Duration::from_secs(60)).sign();
/// assert_eq!(token.split('.').count(), 3);
/// assert!(issuer.jwks().contains("\"keys\""));
/// ```
pub struct Issuer {
    name: String,
    key_id: String,
    key: Key,
}

enum Key {
    Ecdsa(&'static str, &'static str, EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(&'static str, RsaKeyPair),
}

impl Issuer {
    /// An issuer whose tokens are signed with ECDSA on P-256. Quick to make: the one to use when
    /// the algorithm does not matter.
    #[must_use]
    pub fn es256(name: impl Into<String>) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        Self::new(name, Key::Ecdsa("ES256", "P-256", key))
    }

    /// An issuer whose tokens are signed with ECDSA on P-384.
    #[must_use]
    pub fn es384(name: impl Into<String>) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("a key");
        Self::new(name, Key::Ecdsa("ES384", "P-384", key))
    }

    /// An issuer whose tokens are signed with Ed25519.
    #[must_use]
    pub fn eddsa(name: impl Into<String>) -> Self {
        let key = Ed25519KeyPair::generate().expect("a key");
        Self::new(name, Key::Ed25519(key))
    }

    /// An issuer whose tokens are signed with RSA (2048 bits), PKCS#1 v1.5 and SHA-256. Slow to
    /// make.
    #[must_use]
    pub fn rs256(name: impl Into<String>) -> Self {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
        Self::new(name, Key::Rsa("RS256", key))
    }

    /// An issuer whose tokens are signed with RSA (2048 bits), PSS and SHA-256. Slow to make.
    #[must_use]
    pub fn ps256(name: impl Into<String>) -> Self {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
        Self::new(name, Key::Rsa("PS256", key))
    }

    fn new(name: impl Into<String>, key: Key) -> Self {
        Self {
            name: name.into(),
            key_id: "key-1".into(),
            key,
        }
    }

    /// Names the key otherwise than `key-1`.
    #[must_use]
    pub fn with_key_id(mut self, key_id: impl Into<String>) -> Self {
        self.key_id = key_id.into();
        self
    }

    /// The issuer's name, as tokens carry it in `iss`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A token of this issuer, good for an hour unless changed.
    #[must_use]
    pub fn token(&self) -> Token<'_> {
        let mut claims = Map::new();
        claims.insert("iss".into(), self.name.clone().into());
        let header = json!({"alg": self.algorithm(), "kid": self.key_id, "typ": "JWT"});
        let token = Token {
            issuer: self,
            header: header.as_object().cloned().unwrap_or_default(),
            claims,
        };
        token.expires_in(Duration::from_secs(3600))
    }

    /// The public key, as a JWK (RFC 7517).
    #[must_use]
    pub fn jwk(&self) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match &self.key {
            Key::Ecdsa(_, curve, key) => {
                let point = key.public_key().as_ref();
                let (x, y) = point.split_at(point.len() / 2 + 1);
                let x = x.get(1..).unwrap_or_default();
                json!({"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y)})
            }
            Key::Ed25519(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": encode(key.public_key().as_ref())})
            }
            Key::Rsa(_, key) => {
                // RFC 8017 §A.1.1 for 2048 bits: two headers of 4 bytes, a zero, the modulus, and
                // 65537 at the end.
                let der = key.public_key().as_ref();
                let modulus = der.get(9..9 + 256).unwrap_or_default();
                json!({"kty": "RSA", "n": encode(modulus), "e": "AQAB"})
            }
        };
        if let Some(members) = jwk.as_object_mut() {
            members.insert("alg".into(), self.algorithm().into());
            members.insert("kid".into(), self.key_id.clone().into());
            members.insert("use".into(), "sig".into());
        }
        jwk
    }

    /// The JWK set of the one key, as the text that `jwks` takes and `jwksUri` serves.
    #[must_use]
    pub fn jwks(&self) -> String {
        json!({"keys": [self.jwk()]}).to_string()
    }

    fn algorithm(&self) -> &str {
        match &self.key {
            Key::Ecdsa(algorithm, ..) | Key::Rsa(algorithm, _) => algorithm,
            Key::Ed25519(_) => "EdDSA",
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.key {
            Key::Ecdsa(.., key) => {
                let signature = key.sign(&random, message);
                signature.expect("a signature").as_ref().to_vec()
            }
            Key::Ed25519(key) => key.sign(message).as_ref().to_vec(),
            Key::Rsa(algorithm, key) => {
                let padding: &dyn aws_lc_rs::signature::RsaEncoding = match *algorithm {
                    "PS256" => &RSA_PSS_SHA256,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(padding, &random, message, &mut signature)
                    .expect("a signature");
                signature
            }
        }
    }
}

impl fmt::Debug for Issuer {
    /// Prints no key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer")
            .field("name", &self.name)
            .field("algorithm", &self.algorithm())
            .finish_non_exhaustive()
    }
}

/// A token in the making. [`sign`](Self::sign) gives a good one, the other endings give bad ones.
#[derive(Clone, Debug)]
pub struct Token<'i> {
    issuer: &'i Issuer,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl Token<'_> {
    /// Says who the end user is.
    #[must_use]
    pub fn subject(self, subject: impl Into<String>) -> Self {
        let subject: String = subject.into();
        self.claim("sub", subject)
    }

    /// Adds an audience.
    #[must_use]
    pub fn audience(self, audience: impl Into<String>) -> Self {
        let audience: String = audience.into();
        let audiences = match self.claims.get("aud").cloned() {
            None => audience.into(),
            Some(Value::Array(mut list)) => {
                list.push(audience.into());
                Value::Array(list)
            }
            Some(first) => Value::Array(vec![first, audience.into()]),
        };
        self.claim("aud", audiences)
    }

    /// Says how long from now the token is good.
    #[must_use]
    pub fn expires_in(self, time: Duration) -> Self {
        self.expires_at(SystemTime::now() + time)
    }

    /// Lets the token have expired so long ago.
    #[must_use]
    pub fn expired_ago(self, time: Duration) -> Self {
        self.expires_at(SystemTime::now() - time)
    }

    fn expires_at(self, time: SystemTime) -> Self {
        let expiry = time.duration_since(UNIX_EPOCH);
        let expiry = expiry.expect("a clock after 1970");
        self.claim("exp", expiry.as_secs())
    }

    /// Sets a claim.
    #[must_use]
    pub fn claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.claims.insert(name.into(), value.into());
        self
    }

    /// Leaves a claim out.
    #[must_use]
    pub fn without_claim(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Sets a member of the header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.header.insert(name.into(), value.into());
        self
    }

    /// Leaves a member of the header out.
    #[must_use]
    pub fn without_header(mut self, name: &str) -> Self {
        self.header.remove(name);
        self
    }

    /// The token, signed.
    #[must_use]
    pub fn sign(&self) -> String {
        self.sign_texts(&json_text(&self.header), &json_text(&self.claims))
    }

    /// A well-signed token of these header and payload texts, for what no builder would write: a
    /// member twice, a payload that is a list.
    #[must_use]
    pub fn sign_texts(&self, header: &str, payload: &str) -> String {
        let [header, payload] = [header, payload].map(|text| URL_SAFE_NO_PAD.encode(text));
        self.sign_segments(&header, &payload)
    }

    /// A well-signed token of these two segments as they are written, for what no encoder would
    /// write: padding, white space.
    #[must_use]
    pub fn sign_segments(&self, header: &str, payload: &str) -> String {
        let signed = format!("{header}.{payload}");
        let signature = URL_SAFE_NO_PAD.encode(self.issuer.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    /// The token with another subject than was signed.
    #[must_use]
    pub fn tampered(&self) -> String {
        let signed = self.sign();
        let signature = signed.rsplit('.').next().unwrap_or_default();
        let other = self.clone().claim("sub", "somebody-else");
        let other = other.sign();
        let (unsigned, _) = other.rsplit_once('.').unwrap_or_default();
        format!("{unsigned}.{signature}")
    }

    /// The token with `alg: none` and a signature of no worth.
    #[must_use]
    pub fn unsigned(&self) -> String {
        let token = self.clone().header("alg", "none");
        let segments = [&token.header, &token.claims];
        let [header, claims] = segments.map(|object| URL_SAFE_NO_PAD.encode(json_text(object)));
        format!("{header}.{claims}.AA")
    }
}

fn json_text(object: &Map<String, Value>) -> String {
    Value::Object(object.clone()).to_string()
}
