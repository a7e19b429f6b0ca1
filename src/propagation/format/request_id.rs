//! `x-request-id`, and the reason that Envoy keeps in its 15th character.

use http::HeaderValue;

use crate::propagation::ids::hex;
use crate::propagation::ids::text::Text;
use crate::propagation::ids::random;

/// Why a request is traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::propagation) enum Reason {
    Sampled,
    ServiceForced,
    ClientForced,
}

impl Reason {
    const fn mark(self) -> u8 {
        match self {
            Self::Sampled => b'9',
            Self::ServiceForced => b'a',
            Self::ClientForced => b'b',
        }
    }
}

/// A random UUID of version 4.
pub(in crate::propagation) fn new() -> HeaderValue {
    let [high, low] = random::halves();
    let high = high & 0xffff_ffff_ffff_0fff | 0x4000;
    let low = low & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000;
    let [a, b, c, d, e, f, g, h] = high.to_be_bytes();
    let [i, j, rest @ ..] = low.to_be_bytes();
    let mut text = Text::new();
    text.push_hex([a, b, c, d]);
    for group in [[e, f], [g, h], [i, j]] {
        text.push(b"-");
        text.push_hex(group);
    }
    text.push(b"-");
    text.push_hex(rest);
    HeaderValue::from_maybe_shared(text.freeze()).unwrap_or(HeaderValue::from_static("0"))
}

/// The reason an id carries; `None` when nothing has been decided.
pub(in crate::propagation) fn reason(id: &[u8]) -> Option<Reason> {
    match mark(id)? {
        b'9' => Some(Reason::Sampled),
        b'a' => Some(Reason::ServiceForced),
        b'b' => Some(Reason::ClientForced),
        _ => None,
    }
}

/// The id with the reason written into it; `None` when it has no place for one or says so already.
pub(in crate::propagation) fn with_reason(id: &[u8], reason: Reason) -> Option<HeaderValue> {
    if mark(id)? == reason.mark() {
        return None;
    }
    let mut text = Text::new();
    text.push(id.get(..PLACE)?);
    text.push(&[reason.mark()]);
    text.push(id.get(PLACE + 1..)?);
    HeaderValue::from_maybe_shared(text.freeze()).ok()
}

fn mark(id: &[u8]) -> Option<u8> {
    (id.len() == LENGTH).then(|| id.get(PLACE).copied())?
}

/// Whether the id falls under so many hundredths of a percent: every hop with the same percentage decides alike.
///
/// An id that does not start with 8 hex digits never does, as in Envoy.
pub(in crate::propagation) fn is_sampled(id: &[u8], hundredths: u32) -> bool {
    id.first_chunk::<8>()
        .and_then(|digits| hex::any_case(digits))
        .is_some_and(|number| u32::from_be_bytes(number) % 10_000 < hundredths)
}

/// Whether an id from outside may stay: H-14.
pub(in crate::propagation) fn is_harmless(id: &[u8]) -> bool {
    (1..=128).contains(&id.len())
        && id
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte))
}

const LENGTH: usize = 36;
/// The version nibble of a UUID.
const PLACE: usize = 14;
