//! Signature algorithms by `jsonwebtoken`, over keys that `aws-lc-rs` parsed once.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaPublicKeyComponents,
};
use jsonwebtoken::crypto::JwtVerifier;
use jsonwebtoken::signature::{Error, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily};

/// A public key with the one algorithm that it verifies here.
///
/// The library's own verifiers parse the key for every token, and cannot be shared between threads.
pub(crate) struct ParsedKey {
    algorithm: Algorithm,
    key: ParsedPublicKey,
}

/// The algorithm of this name, case-sensitive. HMAC is not accepted (J-02): a key that verifies
/// must not sign.
pub(crate) fn algorithm(name: &str) -> Option<Algorithm> {
    let algorithm: Algorithm = name.parse().ok()?;
    (algorithm.family() != AlgorithmFamily::Hmac).then_some(algorithm)
}

impl ParsedKey {
    /// An RSA key; `None` when the numbers are not a key or the algorithm is not for RSA.
    pub(crate) fn rsa(
        algorithm: Algorithm,
        components: &RsaPublicKeyComponents<Vec<u8>>,
    ) -> Option<Self> {
        let parameters = match algorithm {
            Algorithm::PS256 => &RSA_PSS_2048_8192_SHA256,
            Algorithm::PS384 => &RSA_PSS_2048_8192_SHA384,
            Algorithm::PS512 => &RSA_PSS_2048_8192_SHA512,
            Algorithm::RS256 => &RSA_PKCS1_2048_8192_SHA256,
            Algorithm::RS384 => &RSA_PKCS1_2048_8192_SHA384,
            Algorithm::RS512 => &RSA_PKCS1_2048_8192_SHA512,
            _ => return None,
        };
        let key = components.to_parsed_public_key(parameters).ok()?;
        Some(Self { algorithm, key })
    }

    /// A key on the algorithm's curve; `None` when the point is not on it or the algorithm has no
    /// curve.
    pub(crate) fn on_curve(algorithm: Algorithm, point: &[u8]) -> Option<Self> {
        let key = match algorithm {
            Algorithm::ES256 => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point),
            Algorithm::ES384 => ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point),
            Algorithm::EdDSA => ParsedPublicKey::new(&ED25519, point),
            _ => return None,
        };
        let key = key.ok()?;
        Some(Self { algorithm, key })
    }
}

impl Verifier<Vec<u8>> for ParsedKey {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), Error> {
        self.key
            .verify_sig(message, signature)
            .map_err(Error::from_source)
    }
}

impl JwtVerifier for ParsedKey {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
