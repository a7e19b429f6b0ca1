use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use crate::context::{SpanId, TraceId};

thread_local! {
    /// Seeded once per thread from the operating system's randomness (through the standard library's hash keys), then never blocks.
    static STATE: Cell<[u64; 2]> = Cell::new([seed(), seed() | 1]);
}

fn seed() -> u64 {
    RandomState::new().hash_one(0_u64)
}

/// 64 random bits, not for secrets: xoroshiro128++ of Blackman and Vigna.
pub(in crate::propagation) fn bits() -> u64 {
    STATE.with(|state| {
        let [a, b] = state.get();
        let drawn = a.wrapping_add(b).rotate_left(17).wrapping_add(a);
        let mixed = a ^ b;
        state.set([
            a.rotate_left(49) ^ mixed ^ (mixed << 21),
            mixed.rotate_left(28),
        ]);
        drawn
    })
}

/// A new trace id, all 16 bytes random.
pub(in crate::propagation) fn trace_id() -> TraceId {
    loop {
        let bytes = u128::from(bits()) << 64 | u128::from(bits());
        if let Some(id) = TraceId::from_bytes(bytes.to_be_bytes()) {
            return id;
        }
    }
}

/// A new span id.
pub(in crate::propagation) fn span_id() -> SpanId {
    loop {
        if let Some(id) = SpanId::from_bytes(bits().to_be_bytes()) {
            return id;
        }
    }
}
