//! base64url as Envoy reads it, and as RFC 7515 §2 writes it.

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::general_purpose::{URL_SAFE as PADDED, URL_SAFE_NO_PAD};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// RFC 7515: no padding, no white space, no stray bits.
pub(crate) fn decode_strict(text: &[u8]) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// As [`decode_strict`], or padded as a whole: so some issuers write the members of their keys.
pub(crate) fn decode_padded(text: &[u8]) -> Option<Vec<u8>> {
    if text.ends_with(b"=") {
        PADDED.decode(text).ok()
    } else {
        decode_strict(text)
    }
}

/// Envoy: padding may be there, white space is skipped, stray bits are dropped.
pub(crate) fn decode_lenient(text: &[u8]) -> Option<Vec<u8>> {
    const ENVOY: GeneralPurpose = GeneralPurpose::new(
        &URL_SAFE,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    if text.iter().any(u8::is_ascii_whitespace) {
        let dense: Vec<u8> = text
            .iter()
            .copied()
            .filter(|byte| !byte.is_ascii_whitespace())
            .collect();
        return ENVOY.decode(dense).ok();
    }
    ENVOY.decode(text).ok()
}
