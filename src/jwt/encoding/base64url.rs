//! Decodes base64url, as leniently as Envoy or as strictly as RFC 7515 §2.

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{NO_PAD, URL_SAFE_NO_PAD};

/// As RFC 7515: without padding, white space and stray bits.
pub(crate) fn decode_strict(text: &[u8]) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// As Envoy: skips white space, drops stray bits, and accepts padding if it is complete.
///
/// White space is looked for only in a text that does not decode: it is in no alphabet.
pub(crate) fn decode_lenient(text: &[u8]) -> Option<Vec<u8>> {
    decode_dense(text).or_else(|| {
        let dense: Vec<_> = text
            .iter()
            .copied()
            .filter(|byte| !is_white(*byte))
            .collect();
        decode_dense(&dense)
    })
}

fn decode_dense(text: &[u8]) -> Option<Vec<u8>> {
    const ENVOY: GeneralPurpose =
        GeneralPurpose::new(&URL_SAFE, NO_PAD.with_decode_allow_trailing_bits(true));
    ENVOY.decode(without_padding(text)?).ok()
}

/// The text without its padding; `None` when the padding does not fill the last group of four.
fn without_padding(text: &[u8]) -> Option<&[u8]> {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let is_whole = padding == 0 || (padding <= 2 && text.len().is_multiple_of(4));
    is_whole
        .then_some(text.get(..text.len() - padding))
        .flatten()
}

/// White space in C's sense, vertical tab included.
fn is_white(byte: u8) -> bool {
    byte == b' ' || matches!(byte, b'\t'..=b'\r')
}
