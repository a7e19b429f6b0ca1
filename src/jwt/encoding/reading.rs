//! How strictly a token is read: as Envoy reads it, or by the letter.

use super::base64url;

/// How strictly texts are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Reading {
    /// As Envoy does: tolerates padding, white space and empty parts.
    #[default]
    Envoy,
    /// As RFC 7515 (rule J-13).
    Strict,
}

impl Reading {
    pub(crate) fn decode(self, text: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Envoy => base64url::decode_lenient(text),
            Self::Strict => base64url::decode_strict(text),
        }
    }
}
