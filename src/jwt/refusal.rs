use std::fmt;

use http::StatusCode;

/// Why a token is refused. Prints Envoy's status text, which is also the body of the reply and
/// reveals nothing of the token or the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The token does not have three parts.
    Form,
    /// The token or its header exceeds this crate's limit: 16 KiB, 4 KiB for the header.
    TooLarge,
    /// The header is not base64url.
    HeaderBase64,
    /// The header is not a JSON object, or has a member twice.
    HeaderJson,
    /// `alg` is missing or not a string.
    AlgorithmType,
    /// `alg` names an algorithm that is not accepted: `none`, HMAC, or an unknown one.
    Algorithm,
    /// `kid` is not a string, or is longer than 256 bytes.
    KeyId,
    /// The header asks for a feature that is not supported: `crit`, `b64`, `zip`, `enc`, or a `typ`
    /// or `cty` that is not a token's.
    Header(&'static str),
    /// The payload is not base64url.
    PayloadBase64,
    /// The payload is not a JSON object, or has a member twice.
    PayloadJson,
    /// A claim is not a string.
    NotString(&'static str),
    /// A claim is not a number.
    NotInteger(&'static str),
    /// A claim is a number out of range.
    NotPositive(&'static str),
    /// `aud` is neither a string nor a list of strings.
    NotStringList,
    /// A required claim is missing (strict rules only).
    Missing(&'static str),
    /// `sub` holds control characters.
    ControlCharacters,
    /// The signature is not base64url.
    SignatureBase64,
    /// No rule accepts the issuer.
    Issuer,
    /// The token is not valid yet, or was issued in the future.
    NotYetValid,
    /// The token has expired.
    Expired,
    /// The token has another audience.
    Audience,
    /// The keys of the issuer have not been fetched yet, or are too old.
    NoKeySet,
    /// No key of the issuer fits.
    NoKey,
    /// The signature is wrong.
    Signature,
    /// Several good tokens of different principals (strict rules only).
    Ambiguous,
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

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => {
                "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"
            }
            Self::TooLarge => "Jwt is too large",
            Self::HeaderBase64 => "Jwt header is an invalid Base64url encoded",
            Self::HeaderJson => "Jwt header is an invalid JSON",
            Self::AlgorithmType => "Jwt header [alg] field is required and must be a string",
            Self::Algorithm => "Jwt header [alg] is not supported",
            Self::KeyId => "Jwt header [kid] field is not a string",
            Self::Header(name) => return write!(f, "Jwt header [{name}] is not supported"),
            Self::PayloadBase64 => "Jwt payload is an invalid Base64url encoded",
            Self::PayloadJson => "Jwt payload is an invalid JSON",
            Self::NotString(claim) => {
                return write!(f, "Jwt payload [{claim}] field is not a string");
            }
            Self::NotInteger(claim) => {
                return write!(f, "Jwt payload [{claim}] field is not an integer");
            }
            Self::NotPositive(claim) => {
                return write!(
                    f,
                    "Jwt payload [{claim}] field is not a positive 64 bit integer"
                );
            }
            Self::NotStringList => "Jwt payload [aud] field is not a string or string list",
            Self::Missing(claim) => return write!(f, "Jwt payload [{claim}] field is required"),
            Self::ControlCharacters => "Jwt payload [sub] field holds control characters",
            Self::SignatureBase64 => "Jwt signature is an invalid Base64url encoded",
            Self::Issuer => "Jwt issuer is not configured",
            Self::NotYetValid => "Jwt not yet valid",
            Self::Expired => "Jwt is expired",
            Self::Audience => "Audiences in Jwt are not allowed",
            Self::NoKeySet | Self::Signature => "Jwt verification fails",
            Self::NoKey => "Jwks doesn't have key to match kid or alg from Jwt",
            Self::Ambiguous => "Jwts of one request name different principals",
        })
    }
}

impl std::error::Error for Refusal {}
