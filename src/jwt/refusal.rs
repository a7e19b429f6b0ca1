//! Why a token is refused.

use http::StatusCode;

errors! {
    /// Why a token is refused. Prints Envoy's status text, which is also the body of the reply and
    /// reveals nothing of the token or the keys.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    #[non_exhaustive]
    pub enum Refusal {
        /// There is no token, and the guard [requires](super::TokenMode::Required) one.
        NoToken = "Jwt is missing",
        /// The token does not have three parts.
        Form = "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections",
        /// The token or its header exceeds this crate's limit: 16 KiB, 4 KiB for the header.
        TooLarge = "Jwt is too large",
        /// The header is not base64url.
        HeaderBase64 = "Jwt header is an invalid Base64url encoded",
        /// The header is not a JSON object, or has a member twice.
        HeaderJson = "Jwt header is an invalid JSON",
        /// `alg` is missing or not a string.
        AlgorithmType = "Jwt header [alg] field is required and must be a string",
        /// `alg` names an algorithm that is not accepted: `none`, HMAC, or an unknown one.
        Algorithm = "Jwt header [alg] is not supported",
        /// `kid` is not a string, or is longer than 256 bytes.
        KeyId = "Jwt header [kid] field is not a string",
        /// The header asks for a feature that is not supported: `crit`, `b64`, `zip`, `enc`, or a
        /// `typ` or `cty` that is not a token's.
        Header(name: &'static str) = "Jwt header [{name}] is not supported",
        /// The header of a JWT-SVID has a member besides `alg`, `kid` and `typ`.
        HeaderOfSvid = "Jwt header holds a member that a JWT-SVID does not have",
        /// The payload is not base64url.
        PayloadBase64 = "Jwt payload is an invalid Base64url encoded",
        /// The payload is not a JSON object, or has a member twice.
        PayloadJson = "Jwt payload is an invalid JSON",
        /// A claim is not a string.
        NotString(claim: &'static str) = "Jwt payload [{claim}] field is not a string",
        /// A claim is not a number.
        NotInteger(claim: &'static str) = "Jwt payload [{claim}] field is not an integer",
        /// A claim is a number out of range.
        NotPositive(claim: &'static str) =
            "Jwt payload [{claim}] field is not a positive 64 bit integer",
        /// `aud` is neither a string nor a list of strings.
        NotStringList = "Jwt payload [aud] field is not a string or string list",
        /// A required claim is missing (strict rules and JWT-SVIDs only).
        Missing(claim: &'static str) = "Jwt payload [{claim}] field is required",
        /// `sub` holds control characters.
        ControlCharacters = "Jwt payload [sub] field holds control characters",
        /// The signature is not base64url.
        SignatureBase64 = "Jwt signature is an invalid Base64url encoded",
        /// No rule accepts the issuer.
        Issuer = "Jwt issuer is not configured",
        /// The token is not valid yet, or was issued in the future.
        NotYetValid = "Jwt not yet valid",
        /// The token has expired.
        Expired = "Jwt is expired",
        /// The token has another audience.
        Audience = "Audiences in Jwt are not allowed",
        /// The keys of the issuer have not been fetched yet, or are too old.
        NoKeySet = "Jwt verification fails",
        /// No key of the issuer fits.
        NoKey = "Jwks doesn't have key to match kid or alg from Jwt",
        /// The signature is wrong.
        Signature = "Jwt verification fails",
        /// Several good tokens of different principals (strict rules only).
        Ambiguous = "Jwts of one request name different principals",
    }
}

impl Refusal {
    /// 403 for a token with another audience, else 401.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::Audience => StatusCode::FORBIDDEN,
            _ => StatusCode::UNAUTHORIZED,
        }
    }
}
