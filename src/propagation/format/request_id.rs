//! `x-request-id`, and the reason that Envoy keeps in its 15th character.

use http::HeaderValue;

use crate::context::TraceReason as Reason;
use crate::propagation::ids::hex;
use crate::propagation::ids::random;
use crate::propagation::ids::text::Text;

const fn digit(reason: Reason) -> u8 {
    match reason {
        Reason::Sampled => b'9',
        Reason::ServiceForced => b'a',
        Reason::ClientForced => b'b',
    }
}

/// The id of a request: the one that came, or a new one, which is not text yet.
#[derive(Clone, Debug)]
pub(in crate::propagation) enum RequestId {
    Came(HeaderValue),
    New(Uuid),
}

impl RequestId {
    pub(in crate::propagation) fn reason(&self) -> Option<Reason> {
        match self {
            Self::Came(id) => Reason::of(id.as_bytes()),
            Self::New(_) => None,
        }
    }

    /// Whether the id falls under so many hundredths of a percent: every hop with the same
    /// percentage decides alike.
    ///
    /// An id that does not start with 8 hex digits never does, as in Envoy.
    pub(in crate::propagation) fn is_sampled(&self, hundredths: u32) -> bool {
        let first = match self {
            Self::Came(id) => id
                .as_bytes()
                .first_chunk::<8>()
                .and_then(|id| hex::any_case(id)),
            Self::New(id) => id.0.to_be_bytes().first_chunk().copied(),
        };
        first.is_some_and(|first| u32::from_be_bytes(first) % 10_000 < hundredths)
    }

    /// Writes the reason into an id that has a place for one. Returns whether that changes it.
    pub(in crate::propagation) fn mark(&mut self, reason: Reason) -> bool {
        match self {
            Self::Came(id) => match with_reason(id.as_bytes(), reason) {
                Some(marked) => *id = marked,
                None => return false,
            },
            Self::New(id) => id.mark(reason),
        }
        true
    }

    /// The id that came, or the new one.
    pub(in crate::propagation) fn split(self) -> (Option<HeaderValue>, Option<Uuid>) {
        match self {
            Self::Came(id) => (Some(id), None),
            Self::New(id) => (None, Some(id)),
        }
    }
}

/// A random UUID of version 4.
#[derive(Clone, Copy, Debug)]
pub(in crate::propagation) struct Uuid(u128);

impl Uuid {
    pub(in crate::propagation) fn new() -> Self {
        let [high, low] = random::halves();
        let high = high & 0xffff_ffff_ffff_0fff | 0x4000;
        let low = low & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000;
        Self(u128::from(high) << 64 | u128::from(low))
    }

    fn mark(&mut self, reason: Reason) {
        let digit = digit(reason);
        // `9` is 0x39, `a` and `b` are 0x61 and 0x62.
        let nibble = (digit & 0x0f) + if digit > b'9' { 9 } else { 0 };
        self.0 = self.0 & !(0xf << VERSION) | u128::from(nibble) << VERSION;
    }

    /// Appends the UUID's text.
    pub(in crate::propagation) fn push(self, text: &mut Text) {
        let mut digits = [0; 32];
        hex::write(self.0.to_be_bytes(), &mut digits);
        let (fours, _) = digits.as_chunks::<4>();
        for (place, digits) in fours.iter().enumerate() {
            if (2..6).contains(&place) {
                text.push(b"-");
            }
            text.push(digits);
        }
    }
}

/// The id of a request that is recorded, if it does not say so yet; `None` when it does, when it
/// carries another reason, and when it has no place for one.
pub(in crate::propagation) fn recorded(id: &HeaderValue) -> Option<HeaderValue> {
    let id = id.as_bytes();
    match Reason::of(id) {
        Some(_) => None,
        None => with_reason(id, Reason::Sampled),
    }
}

/// The id with the reason written into it; `None` when it has no place for one or holds it already.
fn with_reason(id: &[u8], reason: Reason) -> Option<HeaderValue> {
    let place = id
        .get(Reason::PLACE)
        .filter(|_| id.len() == Reason::LENGTH)?;
    let digit = digit(reason);
    if *place == digit {
        return None;
    }
    let mut text = Text::new();
    text.push(id.get(..Reason::PLACE)?);
    text.push(&[digit]);
    text.push(id.get(Reason::PLACE + 1..)?);
    HeaderValue::from_maybe_shared(text.freeze()).ok()
}

/// Whether an id from outside may stay: H-14.
pub(in crate::propagation) fn is_harmless(id: &[u8]) -> bool {
    (1..=128).contains(&id.len())
        && id
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte))
}

/// The bits of a UUID below its version.
const VERSION: u32 = 76;
